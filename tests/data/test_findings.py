"""Data sets that lie, each of which check-data, finetune and evaluate name; each beside its honest twin."""

import shutil

import numpy as np
import pytest
from fakes import random_label, write_image, write_label, write_pairs
from PIL import Image
from test_labels import write_png

from fcnxs.data.check import check
from fcnxs.data.findings import across
from fcnxs.data.layouts import open_samples
from fcnxs.vis import save_mask

RED_FIRST = [[0, 0, 0], [255, 0, 0], [0, 255, 0]]
GREEN_FIRST = [[0, 0, 0], [0, 255, 0], [255, 0, 0]]


def found(folder, classes=3, split=None, allow=(), exif="apply"):
    """Refusals and warnings by their kinds, and the bad pairs."""
    report = check(open_samples(folder, split, allow=allow).reading(exif, allow), classes)
    refused = {each.kind: each.text for each in report.findings if each.refuses}
    warned = {each.kind: each.text for each in report.findings if not each.refuses}
    return refused, warned, [text for _, text in report.bad]


def palettes(folder, used, count=5):
    """Pairs with palette labels, saved with `RED_FIRST` or, by number, the palettes `used`."""
    for i in range(count):
        write_image(folder / "images" / f"p{i}.png", i)
        (folder / "labels").mkdir(exist_ok=True)
        save_mask(folder / "labels" / f"p{i}.png", random_label([0, 1, 2], i), used.get(i, RED_FIRST))
    return folder


def test_an_honest_data_set_has_no_finding(tmp_path):
    write_pairs(tmp_path, "", 4, values=(0, 1, 2, 255))
    assert found(tmp_path) == ({}, {}, [])
    assert found(palettes(tmp_path / "p", {})) == ({}, {}, [])


def test_grey_of_four_bits_is_what_was_saved(tmp_path):
    write_pairs(tmp_path, "", 2, values=(0, 1, 2))
    write_png(tmp_path / "labels" / "p1.png", random_label([0, 1, 2], 1), 4)
    assert found(tmp_path) == ({}, {}, [])
    np.testing.assert_array_equal(open_samples(tmp_path).read(1)[1], random_label([0, 1, 2], 1))


def test_one_number_with_different_colours_is_refused(tmp_path):
    refused, _, _ = found(palettes(tmp_path, {3: GREEN_FIRST}))
    assert "labels/p3.png: 1 has the colour (0, 255, 0), but (255, 0, 0) in " in refused["colours"]
    assert "the palettes of 1 of 5 labels differ from the others" in refused["colours"]
    refused, warned, _ = found(tmp_path, allow=["colours"])
    assert refused == {} and "labels/p3.png" in warned["colours"]
    unused = [*RED_FIRST, *[[9, 9, 9]] * 5]
    shutil.rmtree(tmp_path / "labels")
    assert found(palettes(tmp_path, {3: unused})) == ({}, {}, [])  # no pixel has those numbers


def test_colours_are_compared_between_training_and_validation(tmp_path):
    train = check(open_samples(palettes(tmp_path / "a", {}, 3)), 3)
    for i in range(3):
        write_image(tmp_path / "b" / "images" / f"p{i}.png", 10 + i)
        (tmp_path / "b" / "labels").mkdir(exist_ok=True)
        save_mask(tmp_path / "b" / "labels" / f"p{i}.png", random_label([0, 1, 2], i), GREEN_FIRST)
    val = check(open_samples(tmp_path / "b"), 3)
    assert train.findings == val.findings == []
    (finding,) = across({"train": train, "val": val}, ())
    assert finding.kind == "colours" and finding.refuses and "3 of 6 labels differ" in finding.text
    (finding,) = across({"train": train, "val": val}, ["colours"])
    assert not finding.refuses and across({"train": train, "val": train}, ["overlap"])[0].kind == "overlap"


def test_grey_beside_palettes_is_warned_of(tmp_path):
    palettes(tmp_path, {})
    write_label(tmp_path / "labels" / "p4.png", random_label([0, 1, 2]))
    refused, warned, _ = found(tmp_path)
    assert refused == {} and list(warned) == ["mixed"]
    assert "labels/p4.png: is grey, as are 1 labels, while 4 have a palette" in warned["mixed"]


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_jpeg_labels_are_bad_whatever_their_name(suffix, tmp_path):
    write_pairs(tmp_path, "", 3, values=(0, 1, 2))
    (tmp_path / "labels" / "p1.png").unlink()
    Image.fromarray(random_label([0, 1, 2], 1)).save(tmp_path / "labels" / f"p1.{suffix}", "JPEG")
    refused, _, (bad,) = found(tmp_path)
    assert refused == {} and f"labels/p1.{suffix}: saved as JPEG" in bad and "--allow lossy" in bad
    _, warned, _ = found(tmp_path, allow=["lossy"])
    assert "1 of 3 labels are so" in warned["lossy"]


def test_masks_of_255_beside_masks_of_1_are_warned_of(tmp_path):
    write_pairs(tmp_path, "", 3, values=(0, 1))
    write_pairs(tmp_path, "", 2, values=(0, 255), first=3)
    refused, warned, _ = found(tmp_path, 2)
    assert refused == {} and "has only the values 0 and 255, as 2 of 5 labels, while 3 have" in warned["masks"]
    assert "labels/p3.png" in warned["masks"]
    write_pairs(tmp_path / "all", "", 2, values=(0, 255))
    refused, _, _ = found(tmp_path / "all", 2)
    assert "labels/p0.png: the labels have only the values 0 and 255" in refused["masks"]
    refused, warned, _ = found(tmp_path / "all", 2, allow=["masks"])
    assert refused == {} and "masks" in warned


def test_grey_levels_are_named_as_such(tmp_path):
    write_pairs(tmp_path, "", 2, values=(0, 127, 255))
    _, _, (bad, _) = found(tmp_path)
    assert "labels/p0.png: value 127 in " in bad and "0, 127, 255 look like grey levels: write class" in bad
    write_pairs(tmp_path, "", 2, values=(0, 1, 7, 255))
    assert "grey levels" not in found(tmp_path)[2][0]


def test_a_class_that_is_always_255_is_warned_of(tmp_path):
    write_pairs(tmp_path, "", 2, values=(0, 1, 255))
    _, warned, _ = found(tmp_path)
    share = np.mean([read[1] == 255 for read in map(open_samples(tmp_path).read, range(2))])
    assert f"no pixel of 1 class: 2; {share:.2%} of the pixels are 255" in warned["absent"]
    report = check(open_samples(tmp_path), 3, names=["ground", "cat", "dog"])
    assert "no pixel of 1 class: dog" in report.warnings[0]


def turned(folder, orientation, size, number=0, stored=True):
    """A photograph that EXIF turns, and a label drawn on its pixels as stored, or on the upright ones."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    write_image(folder / "images" / f"t{number}.jpg", 50 + number, size)
    Image.open(folder / "images" / f"t{number}.jpg").save(folder / "images" / f"t{number}.jpg", exif=exif)
    label = random_label([0, 1, 2], number, size)
    write_label(folder / "labels" / f"t{number}.png", label if stored else np.rot90(label, -1))
    return label


@pytest.mark.parametrize(
    ("orientation", "size", "how"),
    [
        (3, (40, 50), "turns 1 by 180 degrees"),
        (2, (40, 50), "mirrors 1"),
        (4, (40, 50), "mirrors 1"),
        (6, (50, 50), "turns 1 by 90 degrees"),
        (8, (40, 40), "turns 1 by 90 degrees"),
    ],
)
def test_turns_that_fit_either_way_are_warned_of(orientation, size, how, tmp_path):
    write_pairs(tmp_path, "", 2, values=(0, 1, 2))
    label = turned(tmp_path, orientation, size)
    refused, warned, bad = found(tmp_path)
    assert refused == {} and bad == [] and f"of 3 images, EXIF {how}" in warned["exif"]
    assert "images/t0.jpg" in warned["exif"] and "--exif ignore" in warned["exif"]
    assert found(tmp_path, exif="ignore") == ({}, {}, [])
    image, read = open_samples(tmp_path).reading("ignore").read(2)
    np.testing.assert_array_equal(image, np.asarray(Image.open(tmp_path / "images" / "t0.jpg")))
    np.testing.assert_array_equal(read, label)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_that_fit_only_one_way_say_which(orientation, tmp_path):
    write_pairs(tmp_path, "", 1, values=(0, 1, 2))
    turned(tmp_path, orientation, (40, 50))
    turned(tmp_path, 3, (40, 50), 1)
    _, warned, (bad,) = found(tmp_path)
    assert "they fit with --exif ignore" in bad
    assert "turns 1, whose labels fit them only unturned" in warned["exif"]
    assert found(tmp_path, exif="ignore") == ({}, {}, [])
    turned(tmp_path, orientation, (40, 50), 2, stored=False)
    _, warned, (bad,) = found(tmp_path, exif="ignore")
    assert "they fit with --exif apply" in bad and "only when EXIF turns them" in warned["exif"]


def test_a_label_of_its_own_orientation_is_turned_and_warned_of(tmp_path):
    write_pairs(tmp_path, "", 1, values=(0, 1, 2))
    exif = Image.Exif()
    exif[0x0112] = 3
    label = random_label([0, 1, 2])
    Image.fromarray(label).save(tmp_path / "labels" / "p0.png", exif=exif)
    _, warned, _ = found(tmp_path)
    assert "1 of 1 labels have an EXIF orientation of their own" in warned["exif"]
    np.testing.assert_array_equal(open_samples(tmp_path).read(0)[1], label[::-1, ::-1])


def test_images_that_are_twice_in_a_list_are_refused(tmp_path):
    write_pairs(tmp_path, "", 3, values=(0, 1, 2))
    (tmp_path / "images" / "link.png").symlink_to("p1.png")
    shutil.copy(tmp_path / "labels" / "p1.png", tmp_path / "labels" / "link.png")
    line = "{}\timages/{}.png\tlabels/p1.png\n"
    for names, count in ((("p0", "p1", "p0", "p0"), 3), (("p1", "link"), 2), (("p1", "../images/p1"), 2)):
        (tmp_path / "all.lst").write_text("".join(line.format(i, name) for i, name in enumerate(names)))
        refused, _, _ = found(tmp_path / "all.lst")
        assert f"the data set has this image {count} times; 1 of its " in refused["repeated"], names
        refused, warned, _ = found(tmp_path / "all.lst", allow=["repeated"])
        assert "repeated" not in refused and "repeated" in warned


def test_copies_under_other_names_are_warned_of(tmp_path):
    write_pairs(tmp_path, "", 3, values=(0, 1, 2))
    shutil.copy(tmp_path / "images" / "p1.png", tmp_path / "images" / "p2.png")
    _, warned, _ = found(tmp_path)
    assert "p2.png: has the same pixels as " in warned["copies"] and "1 of 3 images" in warned["copies"]
    assert "1 with different labels" in warned["copies"]


@pytest.mark.parametrize(
    ("folders", "split", "taken"),
    [
        (("Train", "Val"), None, "Train"),
        (("Train", "VAL"), "val", "VAL"),
        (("train", "Train"), None, "train"),
        (("training", "validation"), None, None),
        (("train2017", "val2017"), None, None),
        (("my_train", "my_test"), None, None),
        (("Test",), None, None),
        (("TRAIN", "Train"), None, None),
        (("site/train", "site/val"), None, None),
        (("trained", "valley", "tests1"), None, ""),
    ],
)
def test_splits_are_never_taken_together(folders, split, taken, tmp_path):
    for i, folder in enumerate(folders):
        write_pairs(tmp_path, folder, 2, values=(0, 1, 2), first=10 * i)
    if taken is None:
        with pytest.raises(ValueError, match="choose with --split|none was chosen") as refused:
            open_samples(tmp_path, split)
        assert "--allow splits" in str(refused.value) and folders[0] in str(refused.value)
        assert len(open_samples(tmp_path, split, allow=["splits"])) == 2 * len(folders)
        return
    samples = open_samples(tmp_path, split)
    assert {str(image.relative_to(tmp_path / "images").parent) for image in samples.images} <= {
        *([taken] if taken else folders)
    }
    assert len(samples) == (2 if taken else 2 * len(folders)) and not check(samples, 3).fails


def test_links_to_folders_are_followed_and_loops_end(tmp_path):
    write_pairs(tmp_path, "", 3, values=(0, 1, 2))
    write_pairs(tmp_path / "other", "", 3, values=(0, 1, 2), first=5)
    for kind in ("images", "labels"):
        (tmp_path / kind / "siteB").symlink_to(tmp_path / "other" / kind)
        (tmp_path / "other" / kind / "loop").symlink_to(tmp_path / kind)
        (tmp_path / kind / ".hidden").symlink_to(tmp_path / "other")
        (tmp_path / kind / "around").symlink_to(tmp_path)
    assert len(open_samples(tmp_path)) == 6 and found(tmp_path) == ({}, {}, [])

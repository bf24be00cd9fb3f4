"""`fcnxs import-data`: what it writes, chooses, divides, cuts, leaves out and refuses."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
from conftest import photo
from PIL import Image

from fcnxs.data.labels import load_label
from fcnxs.tools.main import main

NAMES = ("Sky", "Road", "Car", "Void")
COLOURS = np.array([(128, 128, 128), (128, 64, 128), (64, 0, 128), (0, 0, 0)], np.uint8)


def numbers(seed, height=30, width=40, values=4):
    """A random label, uint8 (H, W)."""
    return np.random.default_rng(seed).integers(0, values, (height, width)).astype(np.uint8)


def save(file, pixels, **settings):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **settings)


@pytest.fixture
def camvid(tmp_path):
    """Six photographs of two drives, with colour labels, as CamVid ships them; returns the folder."""
    source = tmp_path / "camvid"
    for i in range(6):
        name = f"000{i % 2}TP_{i}"
        save(source / "701_StillsRaw_full" / f"{name}.png", photo(30, 40, i))
        save(source / "LabeledApproved_full" / f"{name}_L.png", COLOURS[numbers(i)])
    lines = [f"{r} {g} {b}\t{name}\n" for (r, g, b), name in zip(COLOURS.tolist(), NAMES)]
    (source / "label_colors.txt").write_text("".join(lines))
    return source


def names_in(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def label(file):
    return load_label(file).values


def digest(folder):
    """What a folder has: names, contents, sizes and times."""
    return {
        name: (hashlib.sha256((folder / name).read_bytes()).digest(), (folder / name).stat().st_mtime_ns)
        for name in names_in(folder)
    }


def ran(capsys, *arguments):
    """Exit code, and what was printed on both streams."""
    code = main(["import-data", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def refused(capsys, target, *arguments):
    """The one line of a refusal, after which there is no target and nothing beside it."""
    code, text = ran(capsys, *arguments)
    assert code == 2 and text.count("\n") == 1 and text.startswith("fcnxs: "), text
    assert not target.exists() and not [*target.parent.glob(".fcnxs*")]
    return text


def test_colour_labels_become_class_numbers(camvid, tmp_path, capsys):
    before, target = digest(camvid), tmp_path / "streets"
    code, text = ran(capsys, camvid, target, "--ignore", "Void")
    assert code == 0, text
    for i in range(6):
        name, expected = f"000{i % 2}TP_{i}", numbers(i)
        expected[expected == 3] = 255
        np.testing.assert_array_equal(label(target / "labels" / f"{name}.png"), expected)
        image = target / "images" / f"{name}.png"
        assert image.samefile(camvid / "701_StillsRaw_full" / f"{name}.png")  # a hard link
    assert (target / "classes.txt").read_text() == "Sky\nRoad\nCar\n"
    palette = load_label(target / "labels" / "0000TP_0.png").colours[:3]
    assert palette.tolist() == [(COLOURS[i].astype(int) @ (1, 256, 65536)) for i in range(3)]
    assert digest(camvid) == before
    assert main(["check-data", str(target)]) == 0
    assert "Sky" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "names", "table"),
    [
        (["--ignore", "3"], "Sky Road Car", [0, 1, 2, 255]),
        (["--ignore", "Sky", "--ignore", "255"], "Road Car Void", [255, 0, 1, 2]),
        (["--merge", "Road,Car=ground"], "Sky ground Void", [0, 1, 1, 2]),
        (["--merge", "Void=Sky"], "Sky Road Car", [0, 1, 2, 0]),
        (["--merge", "Void=background"], "Sky Road Car background", [0, 1, 2, 3]),
        (["--keep-classes", "Car,Road"], "background Car Road", [0, 2, 1, 0]),
        (["--keep-classes", "Car,Road", "--rest", "ignore"], "Car Road", [255, 1, 0, 255]),
        (["--keep-classes", "Car", "--ignore", "Void"], "background Car", [0, 0, 1, 255]),
        (
            ["--keep-classes", "Car,rest", "--merge", "Sky,Road=rest", "--rest", "ignore"],
            "Car rest",
            [1, 1, 0, 255],
        ),
    ],
)
def test_classes_are_chosen(camvid, tmp_path, capsys, options, names, table):
    target = tmp_path / "streets"
    code, text = ran(capsys, camvid, target, *options)
    assert code == 0, text
    assert (target / "classes.txt").read_text().split() == names.split()
    expected = np.array(table)[numbers(4)]
    np.testing.assert_array_equal(label(target / "labels" / "0000TP_4.png"), expected)


def test_a_merged_class_has_the_colour_of_its_name(camvid, tmp_path, capsys):
    target = tmp_path / "streets"
    assert ran(capsys, camvid, target, "--merge", "Sky,Road,Car=Car")[0] == 0
    colours = load_label(target / "labels" / "0000TP_0.png").colours[:2]
    assert colours.tolist() == [COLOURS[i].astype(int) @ (1, 256, 65536) for i in (2, 3)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--ignore", "void"],
            "no class is 'void'; did you mean 'Void'? (there are 0 Sky, 1 Road, 2 Car, 3 Void)",
        ),
        (["--ignore", "4"], "no class is '4'"),
        (["--merge", "Car"], "--merge Car: expected names and their new name"),
        (["--merge", "Car=x", "--merge", "Car=y"], "--merge Car=y: 'Car' is ignored or merged elsewhere"),
        (["--merge", "Car=Road", "--merge", "Road=y"], "merged elsewhere"),
        (["--merge", "Car=x", "--ignore", "Car"], "ignored or merged elsewhere"),
        (["--keep-classes", "Car,Car"], "names 'Car' twice"),
        (["--keep-classes", "Bus"], "--keep-classes: no class is 'Bus'"),
        (["--keep-classes", "Car", "--rest", "ignore"], "1 class remains (Car)"),
        (["--val-fraction", "1.5"], "expected a number between 0 and 1"),
        (["--group", "x"], "--group: goes with --val-fraction"),
        (["--val-fraction", "0.5", "--group", "("], "not a regular expression"),
        (
            ["--val-fraction", "0.5", "--group", "_[0-4]"],
            "does not match the image 701_StillsRaw_full/0001TP_5.png",
        ),
        (["--overlap", "4"], "--overlap 4: goes with --tiles"),
        (["--tiles", "4", "--overlap", "4"], "--overlap 4"),
        (["--binary", "--colors", "x.csv"], "--colors and --binary say different things"),
        (["--threshold", "0"], "expected a number from 1 to 255"),
        (["--format", "cvat-xml"], "expected one XML file of CVAT"),
    ],
)
def test_wrong_options_are_refused(camvid, tmp_path, capsys, options, said):
    assert said in refused(capsys, tmp_path / "streets", camvid, tmp_path / "streets", *options)


def test_groups_stay_on_one_side(camvid, tmp_path, capsys):
    target = tmp_path / "streets"
    code, text = ran(capsys, camvid, target, "--val-fraction", "0.4", "--group", r"(\d+)TP")
    assert code == 0, text
    train, val = (names_in(target / "images" / split) for split in ("train", "val"))
    assert len(train) == len(val) == 3
    assert len({name[:4] for name in train}) == len({name[:4] for name in val}) == 1
    assert names_in(target / "labels" / "val") == val


@pytest.mark.parametrize(
    ("fraction", "group", "count"), [("0.01", ".*", 1), ("0.9", ".*", 5), ("0.05", r"(\d+)TP", 3)]
)
def test_val_has_its_share_or_a_group_at_least(camvid, tmp_path, capsys, fraction, group, count):
    code, text = ran(capsys, camvid, tmp_path / "out", "--val-fraction", fraction, "--group", group)
    assert code == 0 and len(names_in(tmp_path / "out" / "images" / "val")) == count, text


def test_one_group_cannot_be_divided(camvid, tmp_path, capsys):
    text = refused(
        capsys, tmp_path / "out", camvid, tmp_path / "out", "--val-fraction", "0.5", "--group", "Stills"
    )
    assert "leaves train or val empty (6 images, 1 group)" in text


def test_the_seed_divides_the_images(camvid, tmp_path, capsys):
    def val(seed, name):
        assert ran(capsys, camvid, tmp_path / name, "--val-fraction", "0.34", "--seed", seed)[0] == 0
        return names_in(tmp_path / name / "images" / "val")

    first = val(0, "a")
    assert len(first) == 2 and val(0, "b") == first
    others = [val(seed, f"c{seed}") for seed in range(1, 5)]
    assert any(each != first for each in others) and all(len(each) == 2 for each in others)


def test_images_are_shrunk_and_cut(camvid, tmp_path, capsys):
    target = tmp_path / "streets"
    assert ran(capsys, camvid, target, "--tiles", "24", "--overlap", "4")[0] == 0
    image, whole = photo(30, 40, 3), numbers(3)
    tiles = [name for name in names_in(target / "images") if name.startswith("0001TP_3")]
    assert tiles == [f"0001TP_3-y{y}-x{x}.png" for y in (0, 6) for x in (0, 16)]
    for y in (0, 6):
        for x in (0, 16):
            name = f"0001TP_3-y{y}-x{x}.png"
            with Image.open(target / "images" / name) as tile:
                np.testing.assert_array_equal(np.asarray(tile), image[y : y + 24, x : x + 24])
            np.testing.assert_array_equal(label(target / "labels" / name), whole[y : y + 24, x : x + 24])
    small = tmp_path / "small"
    code, text = ran(capsys, camvid, small, "--resize-longest", "20")
    assert code == 0 and "6 images that were resized" in text
    np.testing.assert_array_equal(label(small / "labels" / "0001TP_3.png"), whole[1::2, 1::2])
    with Image.open(small / "images" / "0001TP_3.png") as image:
        assert image.size == (20, 15)
    same = tmp_path / "same"  # nothing is larger
    assert "resized" not in ran(capsys, camvid, same, "--resize-longest", "40")[1]
    assert (same / "images" / "0001TP_3.png").samefile(camvid / "701_StillsRaw_full" / "0001TP_3.png")


def test_smoothed_edges_are_refused_or_take_the_nearest_colour(camvid, tmp_path, capsys):
    file, target = camvid / "LabeledApproved_full" / "0000TP_2_L.png", tmp_path / "streets"
    pixels = COLOURS[numbers(2)]
    pixels[3, 5], pixels[3, 6], pixels[4, 7] = (64, 3, 132), (64, 3, 132), (255, 255, 0)
    save(file, pixels)
    text = refused(capsys, target, camvid, target)
    assert "x 5, y 3 has the colour (64, 3, 132)" in text and "3 pixels of 1 mask are" in text
    assert "'Car', (64, 0, 128), at a distance of 5.0" in text and "--nearest" in text
    code, text = ran(capsys, camvid, target, "--nearest", "20")
    assert code == 0
    assert "2 pixels took the nearest colour, at a distance of at most 5.0; 1 pixel is farther" in text
    expected = numbers(2)
    expected[3, 5:7], expected[4, 7] = 2, 255
    np.testing.assert_array_equal(label(target / "labels" / "0000TP_2.png"), expected)


def test_what_is_left_out_is_counted(camvid, tmp_path, capsys):
    images, labels = camvid / "701_StillsRaw_full", camvid / "LabeledApproved_full"
    (labels / "0000TP_0_L.png").unlink()
    (labels / "0000TP_2_L.png").write_bytes(b"no image")
    save(labels / "0001TP_3_L.png", COLOURS[numbers(3, 31)])
    save(labels / "0000TP_4_L.png", COLOURS[np.full((30, 40), 3)])
    save(images / "0001TP_1.png", photo(30, 40))
    (images / "0001TP_1.png").rename(images / "0001TP_1.jp2")
    target = tmp_path / "streets"
    code, text = ran(capsys, camvid, target, "--ignore", "Void")
    assert code == 0, text
    assert names_in(target / "images") == ["0001TP_5.png"]
    kinds = json.loads((target / "import.json").read_text())["kinds"]
    assert {kind: found["count"] for kind, found in kinds.items()} == {
        **dict.fromkeys(("no annotation", "unreadable", "size", "unused", "other format"), 1)
    }
    for kind in kinds.values():
        assert f"{kind['count']} {kind['meaning']}: {kind['names'][0]}" in text


def test_a_target_with_files_is_refused(camvid, tmp_path, capsys):
    target = tmp_path / "streets"
    target.mkdir()
    assert ran(capsys, camvid, target)[0] == 0  # an empty folder is taken
    before = digest(target)
    code, text = ran(capsys, camvid, target)
    assert code == 2 and "is there already, and not an empty folder" in text
    assert digest(target) == before
    code, text = ran(capsys, camvid, camvid / "inside")
    assert code == 2 and "lies in the source" in text and not (camvid / "inside").exists()


def test_names_that_would_be_one_are_told_apart(tmp_path, capsys):
    source, target = tmp_path / "in", tmp_path / "out"
    for i, name in enumerate(("a/x", "b/x", "a/y")):
        save(source / "images" / f"{name}.png", photo(30, 40, i))
        save(source / "masks" / f"{name}.png", numbers(i, values=2))
    save(source / "images" / "a_x.png", photo(30, 40, 3))
    save(source / "masks" / "a_x.png", numbers(3, values=2))
    code, text = ran(capsys, source, target)
    assert code == 0 and "2 images that have another name now" in text
    assert names_in(target / "images") == ["a_x-2.png", "a_x.png", "b_x.png", "y.png"]
    for name in names_in(target / "images"):
        with Image.open(target / "images" / name) as image:
            seed = next(i for i in range(4) if np.array_equal(photo(30, 40, i), np.asarray(image)))
        np.testing.assert_array_equal(label(target / "labels" / name), numbers(seed, values=2))


def test_the_sources_splits_stay(tmp_path, capsys):
    source, target = tmp_path / "in", tmp_path / "out"
    for i, split in enumerate(("train", "valid", "test")):
        save(source / split / f"{i}.jpg", photo(30, 40, i))
        save(source / f"{split}_labels" / f"{i}_L.png", numbers(i, values=2))
    assert ran(capsys, source, target)[0] == 0
    assert names_in(target / "labels") == ["test/2.png", "train/0.png", "val/1.png"]
    text = refused(capsys, tmp_path / "again", source, tmp_path / "again", "--val-fraction", "0.5")
    assert "has a split val of its own" in text


def test_an_unknown_source_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    text = refused(capsys, tmp_path / "out", tmp_path / "empty", tmp_path / "out")
    assert "no known format here; looked for cvat-xml" in text and "--format" in text
    assert "no such file or folder" in refused(capsys, tmp_path / "out", tmp_path / "none", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "task.zip", "w") as archive:
        archive.writestr("annotations.xml", "<annotations/>")
    text = refused(capsys, tmp_path / "out", tmp_path / "task.zip", tmp_path / "out")
    assert "is a ZIP file; unpack it" in text

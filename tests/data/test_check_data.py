"""What check-data finds, and what makes it fail."""

import re

import numpy as np
import pytest
from fakes import citys, random_label, write_image, write_label, write_pairs
from PIL import Image

from fcnxs import FCNXSError
from fcnxs.data.check import check
from fcnxs.data.findings import overlap
from fcnxs.data.layouts import open_samples
from fcnxs.tools.main import main


def write_bad(folder):
    """Seven pairs, of which 0 and 6 are good."""
    write_pairs(folder, "", 7, values=(0, 1, 2, 255))
    images, labels = folder / "images", folder / "labels"
    whole = (images / "p1.png").read_bytes()
    (images / "p1.png").write_bytes(whole[: len(whole) // 2])
    write_label(labels / "p2.png", random_label([0], size=(50, 40)))
    write_image(labels / "p3.png")
    write_label(labels / "p4.png", random_label([0, 3]))
    Image.fromarray(np.zeros((40, 50), np.float32)).save(images / "p5.png", format="TIFF")
    return folder


REASONS = (
    (1, "images/p1.png: cannot read this image"),
    (2, "labels/p2.png: 40x50 pixels, but its image"),
    (3, "labels/p3.png: a colour image"),
    (4, "labels/p4.png: value 3 in "),
    (5, "images/p5.png: cannot read this image: the image (mode F)"),
)


def test_every_bad_pair_is_found_with_its_reason(tmp_path):
    samples, told = open_samples(write_bad(tmp_path)), []
    report = check(samples, 3, on_progress=lambda: told.append(1))
    assert [number for number, _ in report.bad] == [1, 2, 3, 4, 5] and len(told) == 7
    for (_, text), (_, wanted) in zip(report.bad, REASONS):
        assert wanted in text and "\n" not in text
    assert report.fails and report.good == [0, 6]
    rest = check(samples.subset(report.good), 3)
    assert not rest.fails and rest.bad == [] and rest.sizes == {(40, 50): 2}


def test_what_is_counted_is_what_is_there(tmp_path):
    write_pairs(tmp_path, "", 3, values=(0, 1, 4, 255))
    write_image(tmp_path / "images" / "q.png", 9, (30, 60))
    write_label(tmp_path / "labels" / "q.png", np.full((30, 60), 255, np.uint8))
    samples = open_samples(tmp_path)
    report = check(samples, 6, workers=3)
    labels = np.concatenate([samples.read(number)[1].reshape(-1) for number in range(4)])
    np.testing.assert_array_equal(report.pixels, [(labels == value).sum() for value in range(6)])
    assert report.ignored == (labels == 255).sum() > 1800
    assert report.ignored_share == pytest.approx((labels == 255).mean())
    assert report.absent == [2, 3, 5] and report.empty == [3] and not report.fails
    assert report.sizes == {(40, 50): 3, (30, 60): 1}


def test_fingerprints_are_of_pixels_and_their_order(tmp_path):
    write_pairs(tmp_path, "", 3)
    samples = open_samples(tmp_path)
    first = check(samples, 2, workers=1).fingerprint
    assert first == check(samples, 2, workers=4).fingerprint
    assert first != check(samples.subset([1, 0, 2]), 2).fingerprint
    file = tmp_path / "labels" / "p1.png"
    label = np.array(Image.open(file))
    Image.fromarray(label).save(file, compress_level=0)  # other bytes, the same pixels
    assert first == check(samples, 2).fingerprint
    label[3, 4] = 1 - min(label[3, 4], 1)
    write_label(file, label)
    assert first != check(samples, 2).fingerprint


def test_batches_want_one_size(tmp_path):
    write_pairs(tmp_path, "", 2)
    write_pairs(tmp_path, "", 1, first=5, size=(44, 50))
    samples = open_samples(tmp_path)
    assert not check(samples, 2).fails and not check(samples, 2, batch_size=2, crop_size=32).fails
    assert not check(samples.subset([0, 1]), 2, batch_size=2).fails
    (fault,) = check(samples, 2, batch_size=4).faults
    assert "batches of 4 images need images of one size" in fault and "50x40, 50x44" in fault
    assert "--crop-size" in fault and "--accumulate 4" in fault


def test_images_that_the_net_cannot_take(tmp_path):
    write_pairs(tmp_path, "", 1)
    write_pairs(tmp_path, "", 1, first=1, size=(25, 26))
    samples = open_samples(tmp_path)
    ((number, text),) = check(samples, 2).bad
    assert number == 1 and "images/p1.png: 26x25 pixels; the net needs at least 26x26" in text
    assert not check(samples, 2, smallest=(25, 25)).fails and not check(samples, 2, crop_size=26).fails
    with pytest.raises(FCNXSError, match="crop size 25: the net needs at least 26x26"):
        check(samples, 2, crop_size=25)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ((0, 1), None),
        ((0, 1, 255), None),
        ((1, 255), None),
        ((0, 255), "only the values 0 and 255"),
        ((255,), "every pixel of the labels is 255"),
    ],
)
def test_figure_and_ground(values, fault, tmp_path):
    write_pairs(tmp_path, "", 2, values=values)
    report = check(open_samples(tmp_path), 2)
    assert report.bad == [] and report.fails == (fault is not None)
    assert fault is None or (len(report.faults) == 1 and fault in report.faults[0])


def test_images_in_both_of_two_splits_are_found_by_file_and_by_content(tmp_path):
    write_pairs(tmp_path, "train", 4)
    write_pairs(tmp_path, "val", 3, first=10)
    train, val = (open_samples(tmp_path, split) for split in ("train", "val"))
    assert overlap(check(train, 2), check(val, 2)) == []
    Image.open(train.name(2)).save(val.name(0), compress_level=0)  # the same picture under another name
    assert overlap(check(train, 2), check(val, 2)) == [(2, 0)]
    assert overlap(check(train, 2), check(train.subset([3, 0]), 2)) == [(0, 1), (3, 0)]
    for samples in (train, val):  # two that cannot be read are not the same
        samples.images[1].write_text("no picture")
    assert overlap(check(train, 2), check(val, 2)) == [(2, 0)]
    assert overlap(check(train, 2), check(train.subset([1]), 2)) == [(1, 0)]  # but by its name it is


def run(capsys, *arguments):
    code = main(["check-data", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_fails_when_training_would(tmp_path, capsys):
    code, out, err = run(capsys, write_bad(tmp_path), "--num-classes", 3, "--bad", tmp_path / "bad.txt")
    assert code == 1 and "error: 5 bad pairs of 7:" in out and "training would fail" in out and err == ""
    assert all(reason in out for _, reason in REASONS)
    lines = (tmp_path / "bad.txt").read_text().splitlines()
    assert len(lines) == 5 and all(reason in line for (_, reason), line in zip(REASONS, lines))
    assert lines[0].split("\t")[1] == str(tmp_path / "images" / "p1.png")


def test_the_labels_of_each_head_are_checked(tmp_path, capsys):
    """A section for each head; a wrong label of one makes the check fail. `pack` refuses such a folder."""
    for number in range(3):
        write_image(tmp_path / "images" / f"p{number}.png", number)
        for head, values in (("sem", (0, 1, 2)), ("geo", (0, 1, 255))):
            write_label(tmp_path / f"labels-{head}" / f"p{number}.png", random_label(values, number))
    code, out, err = run(capsys, tmp_path)
    assert code == 2 and "classes-geo.txt: no such file; it should name the classes of the head geo" in err
    (tmp_path / "classes-geo.txt").write_text("flat\nsteep\n")
    (tmp_path / "classes-sem.txt").write_text("sky\nsea\nsand\n")
    code, out, _ = run(capsys, tmp_path)
    geo, sem = out.split("head sem:\n")
    assert code == 0 and geo.startswith("head geo:\n") and "no error found" in sem
    for names, section in ((("flat", "steep"), geo), (("sky", "sea", "sand"), sem)):
        found = [int(re.search(rf"{name} +(\d+)", section)[1]) for name in names]
        files = sorted(tmp_path.glob("labels-geo/*" if section is geo else "labels-sem/*"))
        labels = np.stack([np.asarray(Image.open(file)) for file in files])
        assert found == [np.count_nonzero(labels == i) for i in range(len(names))]
    write_label(tmp_path / "labels-sem" / "p1.png", random_label((0, 7), 1))
    (tmp_path / "images" / "p2.png").write_bytes(b"")
    code, out, _ = run(capsys, tmp_path, "--bad", tmp_path / "bad.txt")
    geo, sem = out.split("head sem:\n")
    assert code == 1 and "labels-sem/p1.png" not in geo and "labels-sem/p1.png" in sem
    lines = (tmp_path / "bad.txt").read_text().splitlines()
    assert [line.split("\t")[1].rpartition("/")[2] for line in lines] == ["p2.png", "p1.png"]
    code, _, err = run(capsys, tmp_path, "--num-classes", 2)
    assert code == 2 and "--num-classes 2: goes with nets of one head" in err

    assert main(["pack", str(tmp_path), str(tmp_path / "o.rec")]) == 2
    assert (
        "has labels of the heads geo and sem, and a record has one label; pack a list"
        in capsys.readouterr().err
    )
    (tmp_path / "labels-geo").rename(tmp_path / "geo")
    (tmp_path / "images" / "p2.png").write_bytes((tmp_path / "images" / "p1.png").read_bytes())
    assert main(["pack", str(tmp_path), str(tmp_path / "o.rec")]) == 0  # one head alone
    np.testing.assert_array_equal(open_samples(tmp_path / "o.rec").read(0)[1], random_label((0, 1, 2), 0))
    assert (tmp_path / "classes.txt").read_text() == "sky\nsea\nsand\n"
    (tmp_path / "geo").rename(tmp_path / "labels-geo")
    with pytest.raises(FCNXSError, match="labels: no such folder.*; there are labels of the heads geo and sem"):
        open_samples(tmp_path)
    write_label(tmp_path / "labels" / "p0.png", random_label((0, 1)))
    code, out, _ = run(capsys, tmp_path, "--num-classes", 2)
    assert "head geo" not in out and "labels/p1.png" in out  # which the folder labels/ lacks


def test_long_lists_are_cut_short(tmp_path, capsys):
    write_pairs(tmp_path, "", 25, values=(0, 7))
    code, out, _ = run(capsys, tmp_path, "--num-classes", 2)
    assert code == 1 and out.count("labels/p") == 20 and "  and 5 more\n" in out


def test_the_command_looks_at_train_and_val(voc, tmp_path, capsys):
    code, out, _ = run(capsys, voc, "--classes", voc / "classes.txt")
    assert code == 0 and "train: 6 images" in out and "val: 3 images" in out and "star" in out
    assert "no image is in both train and val" in out and "no error found that makes training fail" in out
    assert "3 sizes, width 272 to 336, height 272 to 336" in out
    code, out, _ = run(capsys, voc, "--classes", voc / "classes.txt", "--split", "val", "--also", "val")
    assert code == 0 and "train:" not in out
    code, out, _ = run(capsys, voc, "--classes", voc / "classes.txt", "--batch-size", 2)
    assert (
        code == 1
        and "error: batches of 2 images need images of one size" in out
        and "because of the errors in train\n" in out
    )
    names = (voc / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    pair = f"0\t{voc}/JPEGImages/{names[0]}.jpg\t{voc}/SegmentationClass/{names[0]}.png\n"
    for name in ("a.lst", "b.lst"):
        (tmp_path / name).write_text(pair)
    code, out, _ = run(capsys, tmp_path / "a.lst", "--also", tmp_path / "b.lst", "--allow", "overlap")
    assert code == 0 and "21 classes, by default VOC's" in out and "1 image in both" in out
    assert f"{names[0]}.jpg is " in out


def test_the_command_takes_data_sets_by_name(tmp_path, capsys, monkeypatch):
    citys(tmp_path)
    code, out, _ = run(capsys, "citys", "--root", tmp_path)
    assert code == 0 and "train: 2 images" in out and "val: 2 images" in out and "vegetation" in out
    (tmp_path / "voc").mkdir()
    monkeypatch.chdir(tmp_path)
    for arguments, message in (
        (["voc", "--root", "nix"], "nix/VOC2012/ImageSets.*the folder here is ./voc"),
        (["./voc"], "voc: no data set in this folder; expected a folder in VOC layout"),
        (["citys", "--root", "x", "--split", "test"], "citys has no split 'test'"),
        (["cities"], "cities: no such folder or list, and no data set by name"),
        (["./voc", "--root", "x"], "--root x: goes with a data set by name"),
        (["citys", "--root", tmp_path, "--batch-size", "0"], "--batch-size 0: expected 1 or more"),
        (["citys", "--root", tmp_path, "--num-classes", "1"], "--num-classes 1: expected 2 to 255"),
        (["citys", "--root", tmp_path, "--crop-size", "9"], "crop size 9: the net needs at least 26x26"),
        (["citys", "--root", tmp_path, "--num-classes", "4", "--classes", "x"], "--num-classes: give only one"),
    ):
        code, out, err = run(capsys, *arguments)
        assert code == 2 and err.count("\n") == 1 and re.search(message, err), err

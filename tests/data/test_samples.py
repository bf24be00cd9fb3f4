"""Data sets of one's own: lists, VOC folders, folder pairs."""

import shutil

import numpy as np
import pytest
from fakes import random_label, write_image, write_label, write_pairs

from fcnxs import FCNXSError
from fcnxs.data.images import read_image
from fcnxs.data.labels import read_label
from fcnxs.data.layouts import open_samples, splits_of


def stems(samples):
    return [image.stem for image in samples.images]


def test_lists_and_voc_folders(voc, tmp_path):
    train, val = open_samples(voc), open_samples(voc, default="val")
    assert stems(train) == [f"train_000{i}" for i in range(6)] and len(val) == 3
    assert open_samples(voc, "val").fingerprint() == val.fingerprint() != train.fingerprint()
    image, label = val.read(1)
    np.testing.assert_array_equal(image, read_image(voc / "JPEGImages" / "val_0001.jpg"))
    np.testing.assert_array_equal(label, read_label(voc / "SegmentationClass" / "val_0001.png"))
    assert label.dtype == np.uint8 and val.name(1) == str(voc / "JPEGImages" / "val_0001.jpg")
    assert val.classes is None and val.palette is None and splits_of(voc) == ["train", "val"]
    (tmp_path / "l.lst").write_text(f"0\t{val.name(2)}\t{val.label_name(2)}\n")
    np.testing.assert_array_equal(open_samples(tmp_path / "l.lst").read(0)[0], val.read(2)[0])
    with pytest.raises(FCNXSError, match="l.lst: is a list, which has no splits; leave 'val' out"):
        open_samples(tmp_path / "l.lst", "val")


def test_folder_pairs_with_splits(tmp_path):
    write_pairs(tmp_path, "train", 3)
    write_pairs(tmp_path, "val", 2, first=7)
    assert stems(open_samples(tmp_path)) == ["p0", "p1", "p2"] and splits_of(tmp_path) == ["train", "val"]
    val = open_samples(tmp_path, "val")
    assert stems(val) == ["p7", "p8"]
    np.testing.assert_array_equal(val.read(1)[1], random_label((0, 1, 255), 8))
    with pytest.raises(FCNXSError, match="images/nix: no such folder; it has train, val"):
        open_samples(tmp_path, "nix")
    shutil.rmtree(tmp_path / "images" / "train")
    with pytest.raises(FCNXSError, match="images/train: no such folder; it has val"):
        open_samples(tmp_path)  # not all of it, val and all


def test_folder_pairs_without_splits_and_with_folders_in_them(tmp_path):
    """As CUB-200 has them, a folder for each kind of bird."""
    for i, stem in enumerate(("002.Albatross/b.1", "001.Auk/b.2", "001.Auk/a.1")):
        write_image(tmp_path / "images" / f"{stem}.JPG", i)
        write_label(tmp_path / "labels" / f"{stem}.png", random_label([0, 1], i))
    (tmp_path / "images" / "Thumbs.db").touch()
    write_image(tmp_path / "images" / ".hidden.png")
    samples = open_samples(tmp_path)
    assert stems(samples) == ["a.1", "b.2", "b.1"]
    for number, seed in enumerate((2, 1, 0)):
        np.testing.assert_array_equal(samples.read(number)[1], random_label([0, 1], seed))
    assert splits_of(tmp_path) == []
    with pytest.raises(
        FCNXSError, match="images/val: no such folder; there are no splits: leave the split out"
    ):
        open_samples(tmp_path, "val")


def test_pairs_that_lack_a_part_are_refused_by_name(tmp_path):
    write_pairs(tmp_path, "", 3)
    image, label = tmp_path / "images" / "p1.png", tmp_path / "labels" / "p1.png"
    label.rename(tmp_path / "p1.png")
    with pytest.raises(
        FCNXSError, match=r"images/p1.png: no label of this name in .*labels \(.*1 of 3 files have no label"
    ):
        open_samples(tmp_path)
    assert len(open_samples(tmp_path, need=1)) == 3
    (tmp_path / "p1.png").rename(label)
    image.rename(tmp_path / "images" / "q.png")
    with pytest.raises(FCNXSError, match=r"labels/p1.png: no image of this name in .*images"):
        open_samples(tmp_path, need=1)
    every = open_samples(tmp_path, need=0)
    assert stems(every) == ["p0", "p1", "p2", "q"]
    for number, message in ((1, "images/p1.jpg: no such file"), (3, "labels/q.png: no such file")):
        with pytest.raises(FCNXSError, match=message):
            every.read(number)
    shutil.copy(label, tmp_path / "labels" / "p0.gif")
    with pytest.raises(FCNXSError, match="p0.png: differs from p0.gif only by its suffix"):
        open_samples(tmp_path)
    shutil.rmtree(tmp_path / "labels")
    with pytest.raises(FCNXSError, match="labels: no such folder; it should hold the labels of"):
        open_samples(tmp_path)
    assert not any(map(open_samples(tmp_path, need=1).has_label, range(3)))
    shutil.rmtree(tmp_path / "images")
    (tmp_path / "images").mkdir()
    with pytest.raises(FCNXSError, match="images: no image in this folder"):
        open_samples(tmp_path)


def test_a_label_of_another_size_is_refused(tmp_path):
    write_pairs(tmp_path, "", 2)
    write_label(tmp_path / "labels" / "p1.png", random_label([0], size=(50, 40)))
    samples = open_samples(tmp_path)
    samples.read(0)
    with pytest.raises(
        FCNXSError, match=r"labels/p1.png: 40x50 pixels, but its image .*images/p1.png has 50x40"
    ):
        samples.read(1)


def test_subsets_are_numbered_anew_and_fingerprints_tell_them_apart(tmp_path):
    write_pairs(tmp_path / "here", "", 4)
    samples = open_samples(tmp_path / "here")
    some = samples.subset([3, 1])
    assert stems(some) == ["p3", "p1"] and len(some) == 2 and len(samples) == 4
    np.testing.assert_array_equal(some.read(0)[0], samples.read(3)[0])
    assert some.fingerprint() != samples.subset([1, 3]).fingerprint()
    (tmp_path / "here").rename(tmp_path / "there")  # a folder that was moved is the same data set
    assert open_samples(tmp_path / "there").fingerprint() == samples.fingerprint()

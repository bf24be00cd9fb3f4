"""Data sets by name, on small copies of their layouts: the labels are those that GluonCV reads."""

import json
import sys

import fakes
import numpy as np
import pytest

from fcnxs import FCNXSError
from fcnxs.compat import gluoncv
from fcnxs.conventions import VOC_CLASSES
from fcnxs.data.datasets import NAMED, named
from fcnxs.data.images import read_image

THEIRS = {"voc": "pascal_voc", "voc_aug": "pascal_aug", "mhp": "mhpv1"}


AUTHORS = ("siftflow", "siftflow_geo", "nyud", "pascal_context")  # which GluonCV does not have


@pytest.fixture(params=[name for name in NAMED if name not in AUTHORS])
def data(request, tmp_path):
    """Name and root of a data set."""
    getattr(fakes, request.param)(tmp_path)
    return request.param, tmp_path


def by_gluoncv(name, root, split):
    """Labels of GluonCV by the image's name, -1 as 255."""
    dataset = gluoncv.data.datasets[THEIRS.get(name, name)](root=str(root), split=split, mode="testval")
    labels = {}
    for number in range(len(dataset)):
        if name == "voc_aug":
            label = np.array(dataset._load_mat(dataset.masks[number]))
        elif name == "mhp":  # whose images GluonCV resizes
            label = np.array(gluoncv.data.mhp._get_mask(sorted(dataset.masks[number])))
        else:
            label = dataset[number][1].asnumpy()
        image = (
            dataset.coco.imgs[dataset.ids[number]]["file_name"] if name == "coco" else dataset.images[number]
        )
        labels[image.rpartition("/")[2]] = np.where(label == -1, 255, label)
    return labels


def test_labels_are_those_that_gluoncv_reads(data):
    name, root = data
    split = "train" if name == "mhp" else "val"
    samples = named(name, root, split)
    theirs = by_gluoncv(name, root, split)
    assert sorted(theirs) == sorted(image.name for image in samples.images)
    assert stems(samples) == sorted(stems(samples))  # not in the file system's order
    for number, image in enumerate(samples.images):
        picture, label = samples.read(number)
        np.testing.assert_array_equal(label, theirs[image.name])
        np.testing.assert_array_equal(picture, read_image(samples.name(number)))  # as it is stored
        assert label.dtype == np.uint8 and label.max() > 0 and samples.has_label(number)


def stems(samples):
    return [image.stem for image in samples.images]


def test_splits_share_no_image_and_make_up_the_whole(data):
    name, root = data
    parts = {split: named(name, root, split, need=1).fingerprint() for split in NAMED[name].splits}
    train, val = (set(stems(named(name, root, split, need=0))) for split in ("train", "val"))
    assert train and len(set(parts.values())) == len(parts) and not (train & val and name != "coco")
    if "trainval" in parts:
        assert set(stems(named(name, root, "trainval"))) == train | val
    some = named(name, root, "train").subset([1])
    np.testing.assert_array_equal(some.read(0)[1], named(name, root, "train").read(1)[1])


def test_classes_and_palettes_come_along(data):
    name, root = data
    samples = named(name, root)
    classes = {"ade20k": 150, "citys": 19, "mhp": 19}.get(name, 21)
    assert len(samples.classes) == len(samples.palette) == len(set(samples.classes)) == classes
    assert all(len(colour) == 3 and 0 <= min(colour) <= max(colour) <= 255 for colour in samples.palette)
    known = {  # the data sets' own tables
        "ade20k": (0, "wall", [120, 120, 120]),
        "citys": (13, "car", [0, 0, 142]),
        "mhp": (0, "background", [255, 255, 255]),
    }
    number, title, colour = known.get(name, (15, VOC_CLASSES[15], [192, 128, 128]))
    assert (samples.classes[number], samples.palette[number]) == (title, colour)


def test_what_is_missing_is_named_with_what_is_wanted(data, tmp_path):
    name, root = data
    empty = tmp_path / "empty"
    with pytest.raises(
        FCNXSError, match=rf"empty/.*: no such file or folder; the root folder of {name} has .*from"
    ):
        named(name, empty)
    with pytest.raises(FCNXSError, match=f"{name} has no split 'nix'; it has train, val"):
        named(name, root, "nix")
    samples = named(name, root)
    file = samples.labels[1] if name in ("ade20k", "citys") else samples.images[1]
    file.unlink()
    with pytest.raises(FCNXSError, match=f"{file.name}: no such file"):
        named(name, root)
    lenient = named(name, root, need=0)
    assert len(lenient) == len(samples)
    with pytest.raises(FCNXSError, match=f"{file.name}: no such file"):
        lenient.read(1)


def test_files_that_are_no_labels_are_named(tmp_path):
    fakes.voc_aug(tmp_path)
    (tmp_path / "VOCaug" / "dataset" / "cls" / "a.mat").write_bytes(b"no matrix")
    with pytest.raises(FCNXSError, match="cls/a.mat: cannot read this label of SBD"):
        named("voc_aug", tmp_path).read(0)
    fakes.coco(tmp_path)
    annotations = tmp_path / "annotations" / "instances_val2017.json"
    for text in ("no JSON", "[1]", '{"annotations": [{}]}'):
        annotations.write_text(text)
        with pytest.raises(FCNXSError, match="instances_val2017.json: not COCO's annotations"):
            named("coco", tmp_path, "val")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("segmentation", [[0, 0, 1e9, 0, 1e9, 1e9]], "a polygon of 3 points has a length of .* pixels"),
        ("segmentation", [[0, 0, 1e300, 0, float("nan"), 1]], "a polygon of 3 points has a length of nan"),
        ("segmentation", [[-1e9, -1e9, 4, 0, 1, 1e9]], "a polygon of 3 points"),
        ("segmentation", [[0, 0, 90, 80] * 200_000], "a polygon of 400000 points"),
        ("segmentation", [[1, 2]], "a polygon of 1 points"),
        ("segmentation", {"size": [80, 90], "counts": [10**6]}, "Invalid RLE mask"),
        ("segmentation", "x" * 10, "cannot be drawn"),
        ("image_id", None, "not COCO's annotations|cannot be drawn|no such file"),
    ],
)
def test_outlines_that_would_end_the_process(key, value, message, tmp_path):
    """pycocotools trusts polygons: it allocates by their coordinates, and writes where it got nothing."""
    fakes.coco(tmp_path)
    file = tmp_path / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    for annotation in content["annotations"]:
        annotation[key] = value
    file.write_text(json.dumps(content))
    with pytest.raises(FCNXSError, match=message):
        named("coco", tmp_path, "val").read(0)


def test_an_unknown_name_is_refused_and_the_default_root_is_gluoncv_s(monkeypatch, tmp_path):
    with pytest.raises(FCNXSError, match="nix: no data set of this name; there are voc, voc_aug, ade20k"):
        named("nix")
    monkeypatch.setenv("HOME", str(tmp_path))
    fakes.citys(tmp_path / ".mxnet" / "datasets" / "citys")
    assert len(named("citys")) == 2


def test_what_coco_needs_is_said(tmp_path, monkeypatch):
    fakes.coco(tmp_path)
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(FCNXSError, match=r"which is not installed: pip install pycocotools"):
        named("coco", tmp_path)

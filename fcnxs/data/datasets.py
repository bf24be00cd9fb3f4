"""Public data sets by name, in the layouts that GluonCV uses, with its class names and palettes.

Images and labels are read as they are stored, in a fixed order; pixels that GluonCV labels -1 are 255. The
lists are made here and not taken from GluonCV: its `train` of VOC and of SBD includes `val`, its lists of
ADE20K, Cityscapes and MHP are in the file system's order and silently omit images without a label, and its list
of COCO is a pickle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, NamedTuple, Tuple

from ..conventions import PathLike
from ..errors import FCNXSError
from . import layouts
from .samples import Samples


class Kind(NamedTuple):
    """A data set: its folder in GluonCV, splits, files that must exist, where to get them, its reader."""

    home: str
    splits: Tuple[str, ...]
    wanted: str
    source: str
    open: Callable[[Path, str, int], Samples]


def named(name: str, root: PathLike | None = None, split: str = "train", need: int = 2) -> Samples:
    """Split of a data set of `NAMED` in the folder `root` (None: ~/.mxnet/datasets/..., as in GluonCV).

    Args:
        need: number of files of a pair that must exist: 2, 1 (the image; VOC's test has no labels) or 0.

    Raises:
        FCNXSError: there is no such data set or split, or files are missing.
    """
    if name not in NAMED:
        raise FCNXSError(f"{name}: no data set of this name; there are {', '.join(NAMED)}")
    kind = NAMED[name]
    root = Path.home() / ".mxnet" / "datasets" / kind.home if root is None else Path(root)
    if split not in kind.splits:
        raise FCNXSError(f"{name} has no split {split!r}; it has {', '.join(kind.splits)}")
    wanted = kind.wanted.format(split=split)
    first = root / wanted.split(",")[0]
    if not first.exists():
        raise FCNXSError(
            f"{first}: no such file or folder; the root folder of {name} has {wanted} (from {kind.source})"
        )
    return kind.open(root, split, need)


NAMED = {
    "voc": Kind(
        "voc",
        ("train", "val", "trainval", "test"),
        "VOC2012/ImageSets/Segmentation/{split}.txt, VOC2012/JPEGImages, VOC2012/SegmentationClass",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/, VOCdevkit",
        layouts.voc,
    ),
    "voc_aug": Kind(
        "voc",
        ("train", "val", "trainval"),
        "VOCaug/dataset, with train.txt, val.txt, img/ and cls/*.mat",
        "SBD's benchmark.tgz, whose benchmark_RELEASE is named VOCaug",
        layouts.sbd,
    ),
    "ade20k": Kind(
        "ade",
        ("train", "val"),
        "ADEChallengeData2016, with images/ and annotations/, training/ and validation/ in both",
        "http://sceneparsing.csail.mit.edu, ADEChallengeData2016.zip",
        layouts.ade20k,
    ),
    "citys": Kind(
        "citys",
        ("train", "val", "trainval"),
        "leftImg8bit, gtFine",
        "https://www.cityscapes-dataset.com, leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip",
        layouts.cityscapes,
    ),
    "coco": Kind(
        "coco",
        ("train", "val"),
        "annotations/instances_{split}2017.json, {split}2017",
        "https://cocodataset.org, 2017's images and annotations",
        layouts.coco,
    ),
    "mhp": Kind(
        "mhp/LV-MHP-v1",
        ("train", "val", "test"),
        "images, annotations, train_list.txt, test_list.txt",
        "https://lv-mhp.github.io, LV-MHP-v1",
        layouts.mhp,
    ),
}

"""Cityscapes as its makers ship it: leftImg8bit/SPLIT/CITY/ and gtFine/SPLIT/CITY/.

Source: cityscapesScripts, helpers/labels.py, whose 19 classes of the evaluation are taken; pixels of the others
are ignored. Masks of labelIds are read, and those of labelTrainIds where there are none of the former. The
labels of the split test are dummies, ignored everywhere, so that it is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict

from .account import Account
from .found import Class, Found, Options
from .values import Key, by_values, joined

LOOKS_FOR = "leftImg8bit/, gtFine/"
TAKES = ()
IMAGES, MASKS, END = "leftImg8bit", "gtFine", "_leftImg8bit.png"
ID = {  # class: its labelId and its colour, in the order of the trainIds
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
IDS = range(34)


def recognised(source: Path) -> bool:
    """Whether a folder has the two folders."""
    return (source / IMAGES).is_dir() and (source / MASKS).is_dir()


def read(source: Path, options: Options, account: Account) -> Found:
    """Pairs of images and fine labels.

    Raises:
        FCNXSError: no image has a label.
    """
    images = _files(source / IMAGES, END)
    masks = _files(source / MASKS, "_gtFine_labelIds.png")
    trained = {} if masks else _files(source / MASKS, "_gtFine_labelTrainIds.png")
    if trained:
        account.note("there are no labelIds; the labels are read as labelTrainIds, as Cityscapes numbers them")
    classes = [
        Class(name, colour, train_id if trained else label_id)
        for train_id, (name, (label_id, colour)) in enumerate(ID.items())
    ]
    void = [] if trained else [number for number in IDS if number not in {each.number for each in classes}]
    return by_values(
        joined(source, images, masks or trained, account), classes, "Cityscapes", options, account, void
    )


def _files(folder: Path, end: str) -> Dict[Key, Path]:
    files = sorted(folder.glob(f"*/*/*{end}"))
    return {(file.parent.parent.name, f"{file.parent.name}/{file.name[: -len(end)]}"): file for file in files}

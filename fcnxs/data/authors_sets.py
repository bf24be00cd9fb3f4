"""SIFT Flow, NYUDv2 and PASCAL-Context, in the layouts that the data layers of the FCN paper's authors read.

Labels are MATLAB files (.mat), whose 0 is no class, except for PASCAL-Context's, where it is the background.
Source: shelhamer/fcn.berkeleyvision.org siftflow_layers.py, nyud_layers.py, pascalcontext_layers.py.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Dict, Sequence, Tuple

import numpy as np

from ..conventions import CONTEXT_CLASSES, NYUD_CLASSES, SIFTFLOW_CLASSES
from ..errors import FCNXSError, reason
from ..system.files import read_text, refuse_irregular
from ..vis import default_palette
from .kind import Kind
from .labels import check_label
from .samples import Samples

OUTDOOR = "spatial_envelope_256x256_static_8outdoorcategories"  # folder of SIFT Flow's images and labels
# The data sets that have the labels of each head, of a data set by its name.
SETS_OF_HEADS = {
    "siftflow": {"sem": "siftflow", "geo": "siftflow_geo"},
    "siftflow_geo": {"geo": "siftflow_geo"},
}
# Names that PASCAL-Context's list of 400 labels has for three of the 59 classes.
IN_THE_400 = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}


def siftflow(root: Path, split: str, need: int, head: str = "sem") -> Samples:
    """SIFT Flow with its semantic classes (head sem) or its geometric ones (geo); others are 255."""
    labels = {"sem": "SemanticLabels", "geo": "GeoLabels"}[head]
    stems = read_text(root / f"{split}.txt", "this list of images").split()
    pairs = [
        (root / "Images" / OUTDOOR / f"{stem}.jpg", root / labels / OUTDOOR / f"{stem}.mat") for stem in stems
    ]
    return _samples(pairs, need, root, SIFTFLOW_CLASSES[head], partial(_numbered_from_1, "S"))


def nyud(root: Path, split: str, need: int) -> Samples:
    """NYUDv2's colour images with 40 classes; its void is 255."""
    parts = ("train", "val") if split == "trainval" and not (root / "trainval.txt").is_file() else (split,)
    stems = [stem for part in parts for stem in read_text(root / f"{part}.txt", "this list of images").split()]
    pairs = [
        (root / "data" / "images" / f"img_{stem}.png", root / "segmentation" / f"img_{stem}.mat")
        for stem in stems
    ]
    return _samples(pairs, need, root, NYUD_CLASSES, partial(_numbered_from_1, "segmentation"))


def pascal_context(root: Path, split: str, need: int) -> Samples:
    """PASCAL-Context: the 59 classes among its more than 400 labels, and background for all others."""
    voc, context = root / "VOC2010", root / "pascal-context"
    stems = read_text(voc / "ImageSets" / "Main" / f"{split}.txt", "this list of images").split()
    pairs = [(voc / "JPEGImages" / f"{stem}.jpg", context / "trainval" / f"{stem}.mat") for stem in stems]
    table = _context_table(context / "labels.txt")
    return _samples(pairs, need, root, CONTEXT_CLASSES, partial(_context_label, table))


def _samples(
    pairs: Sequence[Tuple[Path, Path]], need: int, root: Path, classes: Sequence[str], label_of: partial
) -> Samples:
    """A data set of pairs, of which `need` files must exist."""
    for file in (file for pair in pairs for file in pair[:need]):
        refuse_irregular(file)
        if not file.is_file():
            raise FCNXSError(f"{file}: no such file")
    images, labels = zip(*pairs) if pairs else ((), ())
    return Samples(images, labels, root, classes, default_palette(classes), label_of)


def _matrix(file: Path, key: str) -> np.ndarray:
    """Whole numbers (H, W), of any type, of a MATLAB file."""
    from scipy.io import loadmat

    try:
        values = np.asarray(loadmat(file)[key])
        if values.ndim != 2 or not values.size or not np.array_equal(values, np.round(values)):
            raise ValueError(f"{key} is an array of {values.dtype} {values.shape}, not whole numbers of pixels")
    except Exception as error:  # SciPy's are of many types
        raise FCNXSError(f"{file}: cannot read this label: {reason(error)}") from None
    return values


def _numbered_from_1(key: str, file: Path) -> np.ndarray:
    """Label, uint8 (H, W), of a file that numbers classes from 1; 0 and -1, no class, become 255."""
    values = _matrix(file, key).astype(np.int64)
    values = np.where(values <= 0, 256, values) - 1
    check_label(values, 255, file)
    return values.astype(np.uint8)


def _context_table(file: Path) -> np.ndarray:
    """Class, uint8, of each number of PASCAL-Context's list of labels, whose lines are `NUMBER: name`."""
    names: Dict[str, int] = {}
    lines = [line for line in read_text(file, "this list of labels").splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        names.setdefault(line.partition(":")[2].replace(" ", ""), number)
    table = np.zeros(len(lines) + 1, np.uint8)
    for number, name in enumerate(CONTEXT_CLASSES[1:], 1):
        name = IN_THE_400.get(name, name)
        if name not in names:
            raise FCNXSError(f"{file}: has no label {name}; expected PASCAL-Context's labels.txt, of 459 lines")
        table[names[name]] = number
    return table


def _context_label(table: np.ndarray, file: Path) -> np.ndarray:
    """Label, uint8 (H, W), of a file with the numbers of all labels."""
    values = _matrix(file, "LabelMap")
    if values.min() < 0 or values.max() >= len(table):
        raise FCNXSError(f"{file}: has the number {int(values.max())}, which labels.txt does not name")
    return table[values.astype(np.int64)]


SETS = {
    **{
        name: Kind(
            "siftflow",
            ("trainval", "test"),
            f"{{split}}.txt, Images/{OUTDOOR}, {labels}/{OUTDOOR}",
            "SiftFlowDataset.zip, and the lists of shelhamer/fcn.berkeleyvision.org data/sift-flow",
            partial(siftflow, head=head),
        )
        for name, labels, head in (("siftflow", "SemanticLabels", "sem"), ("siftflow_geo", "GeoLabels", "geo"))
    },
    "nyud": Kind(
        "nyud",
        ("train", "val", "trainval", "test"),
        "data/images, segmentation, with train.txt, val.txt, test.txt",
        "nyud.tar.gz, and the lists of shelhamer/fcn.berkeleyvision.org data/nyud",
        nyud,
    ),
    "pascal_context": Kind(
        "pascal_context",
        ("train", "val", "trainval"),
        "pascal-context/labels.txt, pascal-context/trainval, VOC2010/ImageSets/Main/{split}.txt",
        "VOC 2010, and PASCAL-Context's trainval.tar.gz and labels.txt",
        pascal_context,
    ),
}

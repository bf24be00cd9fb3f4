"""Layouts of public data sets on disk: which files form a pair, and how label values map to classes."""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np

from ..conventions import VOC_CLASSES, Palette
from ..errors import FCNXSError, reason
from ..system.files import read_text
from ..vis import voc_palette
from .images import check_label, read_label
from .samples import Samples, find_list, read_list

# Numbers of the 19 classes among Cityscapes' 34 (cityscapesScripts, labels.py), in their order; and of
# VOC's 21 among COCO's categories, 0 for the background.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
COCO_IDS = (0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
COCO_LEAST = 1000  # pixels of VOC's classes that an image of COCO has at least, as in GluonCV
MHP_TRAIN = 3000  # lines of train_list.txt that are for training, as in GluonCV


def voc(root: Path, split: str, need: int) -> Samples:
    """PASCAL VOC 2012; its test has no labels (`need` 1)."""
    folder, flist = find_list(root / "VOC2012", split)
    return Samples(*zip(*read_list(folder, flist, need)), folder, VOC_CLASSES, voc_palette(len(VOC_CLASSES)))


class _Sbd(Samples):
    def _read_label(self, number: int) -> np.ndarray:
        from scipy.io import loadmat

        file = self.labels[number]
        try:
            label = loadmat(file, squeeze_me=True, struct_as_record=False)["GTcls"].Segmentation
        except Exception as error:  # SciPy's are of many types
            raise FCNXSError(f"{file}: cannot read this label of SBD: {reason(error)}") from None
        check_label(label, 255, file)
        return label.astype(np.uint8)


def sbd(root: Path, split: str, need: int) -> Samples:
    """SBD, VOC's images with more labels (MATLAB's .mat)."""
    folder = root / "VOCaug" / "dataset"
    parts = ("train", "val") if split == "trainval" else (split,)
    stems = [stem for part in parts for stem in _lines(folder / f"{part}.txt")]
    pairs = [(folder / "img" / f"{stem}.jpg", folder / "cls" / f"{stem}.mat") for stem in stems]
    return _Sbd(*_checked(pairs, need), folder, VOC_CLASSES, voc_palette(len(VOC_CLASSES)))


class _Ade20k(Samples):
    def _read_label(self, number: int) -> np.ndarray:
        return read_label(self.labels[number]) - np.uint8(1)  # 0, no class, becomes 255


def ade20k(root: Path, split: str, need: int) -> Samples:
    """ADE20K: 150 classes; 0 in its files is none of them."""
    folder, part = root / "ADEChallengeData2016", {"train": "training", "val": "validation"}[split]
    images = sorted((folder / "images" / part).glob("*.jpg"))
    pairs = [(image, folder / "annotations" / part / f"{image.stem}.png") for image in images]
    classes, palette = _of_gluoncv("ade20k", "adepallete", skip=1)
    return _Ade20k(*_checked(pairs, need), folder, classes, palette)


class _Cityscapes(Samples):
    def _read_label(self, number: int) -> np.ndarray:
        label = read_label(self.labels[number], max(CITYSCAPES_IDS) + 1)
        table = np.full(256, 255, np.uint8)
        table[list(CITYSCAPES_IDS)] = range(len(CITYSCAPES_IDS))
        return table[label]


def cityscapes(root: Path, split: str, need: int) -> Samples:
    """Cityscapes' fine labels: 19 of its 34 classes; the others are 255."""
    folder, end = root / "leftImg8bit", "_leftImg8bit.png"
    parts = ("train", "val") if split == "trainval" else (split,)
    pairs = []
    for image in (image for part in parts for image in sorted((folder / part).glob(f"*/*{end}"))):
        label = image.name[: -len(end)] + "_gtFine_labelIds.png"
        pairs.append((image, root / "gtFine" / image.relative_to(folder).parent / label))
    return _Cityscapes(*_checked(pairs, need), root, *_of_gluoncv("citys", "cityspallete"))


class _Coco(Samples):
    annotations: object  # pycocotools' COCO

    def label_name(self, number: int) -> str:
        return f"{self.root / 'annotations'}: image {self.labels[number]}"

    def has_label(self, number: int) -> bool:
        return True

    def _read_label(self, number: int) -> np.ndarray:
        """VOC's classes of COCO's instances; the first instance wins where several overlap."""
        image = self.annotations.imgs[self.labels[number]]
        label = np.zeros((image["height"], image["width"]), np.uint8)
        for instance in self.annotations.imgToAnns[image["id"]]:
            if instance["category_id"] in COCO_IDS:
                inside = self.annotations.annToMask(instance).astype(bool)
                label[inside & (label == 0)] = COCO_IDS.index(instance["category_id"])
        return label


def coco(root: Path, split: str, need: int) -> Samples:
    """COCO 2017 with VOC's classes: images with more than `COCO_LEAST` pixels of these classes.

    Raises:
        FCNXSError: pycocotools is not installed, the annotations cannot be read, or an image is missing.
    """
    try:
        from pycocotools.coco import COCO
    except ImportError:
        raise FCNXSError("COCO's annotations are read with pycocotools: pip install 'fcnxs[coco]'") from None

    file = root / "annotations" / f"instances_{split}2017.json"
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints
            coco = COCO(str(file))
        areas: Dict[int, float] = defaultdict(float)
        for instance in coco.anns.values():
            if instance["category_id"] in COCO_IDS:
                areas[instance["image_id"]] += instance["area"]
        ids = sorted(number for number, area in areas.items() if area > COCO_LEAST)
        images = [root / f"{split}2017" / coco.imgs[number]["file_name"] for number in ids]
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise FCNXSError(f"{file}: not COCO's annotations of instances: {reason(error)}") from None
    images, _ = _checked([(image, image) for image in images], need)
    samples = _Coco(images, ids, root, VOC_CLASSES, voc_palette(len(VOC_CLASSES)))
    samples.annotations = coco
    return samples


class _Mhp(Samples):
    def label_name(self, number: int) -> str:
        return str(self.labels[number][0])

    def _read_label(self, number: int) -> np.ndarray:
        """Labels of all persons of an image in one; the first person wins where several overlap."""
        first, *others = (read_label(file) for file in self.labels[number])
        for file, other in zip(self.labels[number][1:], others):
            if other.shape != first.shape:
                raise FCNXSError(f"{file}: its size differs from that of {self.labels[number][0]}")
            first = np.where(first == 0, other, first)
        return first


def mhp(root: Path, split: str, need: int) -> Samples:
    """Multi-Human Parsing, version 1: 19 classes."""
    names = _lines(root / ("test_list.txt" if split == "test" else "train_list.txt"))
    names = {"train": names[:MHP_TRAIN], "val": names[MHP_TRAIN:], "test": names}[split]
    persons: Dict[str, List[Path]] = defaultdict(list)
    for file in sorted((root / "annotations").glob("*.png")):  # IMAGE_PERSONS_PERSON.png
        persons[file.stem.rsplit("_", 2)[0]].append(file)
    images = [root / "images" / name for name in names]
    of_images = [persons.get(image.stem, [root / "annotations" / f"{image.stem}_*.png"]) for image in images]
    _checked([(image, files[0]) for image, files in zip(images, of_images)], need)
    return _Mhp(images, of_images, root, *_of_gluoncv("mhpv1", "mhpv1pallete"))


def _lines(file: Path) -> List[str]:
    return read_text(file, "this list of images").split()


def _checked(pairs: Sequence[Tuple[Path, Path]], need: int) -> Tuple[List[Path], List[Path]]:
    """Images and labels of pairs, of which `need` files must exist."""
    for file in (file for pair in pairs for file in pair[:need]):
        if not file.is_file():
            raise FCNXSError(f"{file}: no such file")
    return [image for image, _ in pairs], [label for _, label in pairs]


def _of_gluoncv(name: str, palette: str, skip: int = 0) -> Tuple[List[str], Palette]:
    """GluonCV's class names and colours (R, G, B) of a data set, without the first `skip` colours."""
    from ..compat import gluoncv

    classes = gluoncv.data.datasets[name].CLASSES
    colours = np.reshape(getattr(gluoncv.utils.viz.segmentation, palette), (-1, 3))
    return list(classes), colours[skip : skip + len(classes)].tolist()

"""Public data sets by name, in the layouts on disk that GluonCV uses, with its class names and palettes.

Images and labels are read as they are stored, in a fixed order; pixels that GluonCV labels -1 are 255.
GluonCV gives the names and colours of the classes alone, since none of its data sets reads what is read here:

- VOC and SBD: its `train` includes `val`, so that scores on `val` would be those of pictures trained on.
- ADE20K, Cityscapes and MHP: its lists are in the file system's order, and omit images without a label.
- COCO: it writes its list of images as a pickle beside the annotations, and decodes all of them first.
- All: it resizes and crops every picture, in `val` too, and gives labels as arrays of MXNet, int32.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from ..conventions import VOC_CLASSES, Palette, PathLike
from ..errors import FCNXSError, last_line, reason
from ..system.files import read_text, refuse_irregular
from ..vis import voc_palette
from .authors_sets import SETS
from .images import refuse_large
from .kind import Kind
from .labels import check_label, read_label
from .lists import find_list, read_list
from .samples import Samples

# Numbers of the 19 classes among Cityscapes' 34 (cityscapesScripts, labels.py), in their order; and of
# VOC's 21 among COCO's categories, 0 for the background.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
COCO_IDS = (0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
COCO_LEAST = 1000  # pixels of VOC's classes that an image of COCO has at least, as in GluonCV
MOST_TURNS = 100  # length of a polygon of COCO, relative to its image's height and width together
MHP_TRAIN = 3000  # lines of train_list.txt that are for training, as in GluonCV


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


def voc(root: Path, split: str, need: int) -> Samples:
    """PASCAL VOC 2012; its test has no labels (`need` 1)."""
    folder, flist = find_list(root / "VOC2012", split)
    return Samples(*zip(*read_list(folder, flist, need)), folder, VOC_CLASSES, voc_palette(len(VOC_CLASSES)))


def _sbd_label(file: Path) -> np.ndarray:
    from scipy.io import loadmat

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
    return Samples(*_checked(pairs, need), folder, VOC_CLASSES, voc_palette(len(VOC_CLASSES)), _sbd_label)


def _ade20k_label(file: Path) -> np.ndarray:
    return read_label(file) - np.uint8(1)  # 0, no class, becomes 255


def ade20k(root: Path, split: str, need: int) -> Samples:
    """ADE20K: 150 classes; 0 in its files is none of them."""
    folder, part = root / "ADEChallengeData2016", {"train": "training", "val": "validation"}[split]
    images = sorted((folder / "images" / part).glob("*.jpg"))
    pairs = [(image, folder / "annotations" / part / f"{image.stem}.png") for image in images]
    colours = names_and_colours("ade20k", "adepallete", skip=1)
    return Samples(*_checked(pairs, need), folder, *colours, _ade20k_label)


def _cityscapes_label(file: Path) -> np.ndarray:
    table = np.full(256, 255, np.uint8)
    table[list(CITYSCAPES_IDS)] = range(len(CITYSCAPES_IDS))
    return table[read_label(file, max(CITYSCAPES_IDS) + 1)]


def cityscapes(root: Path, split: str, need: int) -> Samples:
    """Cityscapes' fine labels: 19 of its 34 classes; the others are 255."""
    folder, end = root / "leftImg8bit", "_leftImg8bit.png"
    parts = ("train", "val") if split == "trainval" else (split,)
    pairs = []
    for image in (image for part in parts for image in sorted((folder / part).glob(f"*/*{end}"))):
        label = image.name[: -len(end)] + "_gtFine_labelIds.png"
        pairs.append((image, root / "gtFine" / image.relative_to(folder).parent / label))
    return Samples(*_checked(pairs, need), root, *names_and_colours("citys", "cityspallete"), _cityscapes_label)


class _Coco(Samples):
    def label_name(self, number: int) -> str:
        return f"{self.root / 'annotations'}: image {self.labels[number]}"

    def has_label(self, number: int) -> bool:
        return True


def _coco_label(annotations: Any, number: int) -> np.ndarray:  # noqa: ANN401  (pycocotools' COCO)
    """VOC's classes of COCO's instances; the first instance wins where several overlap."""
    try:
        image = annotations.imgs[number]
        height, width = image["height"], image["width"]
        refuse_large((width, height), f"image {number} of the annotations")
        label = np.zeros((height, width), np.uint8)
        for instance in annotations.imgToAnns[number]:
            if instance["category_id"] in COCO_IDS:
                check_outlines(instance["segmentation"], height + width)
                inside = annotations.annToMask(instance).astype(bool)
                label[inside & (label == 0)] = COCO_IDS.index(instance["category_id"])
    except FCNXSError:
        raise
    except Exception as error:  # pycocotools' are of many types
        raise FCNXSError(f"image {number} of the annotations: cannot be drawn: {last_line(error)}") from None
    return label


def check_outlines(outlines: Any, sides: int) -> None:  # noqa: ANN401
    """Raise ValueError for polygons far larger than their image: pycocotools would end the process."""
    for outline in outlines if isinstance(outlines, list) else ():  # others are in run lengths, which it checks
        points = np.asarray(outline, np.float64).reshape(-1, 2)
        with np.errstate(over="ignore", invalid="ignore"):
            length = np.abs(np.diff(points, axis=0, append=points[:1])).sum() + np.abs(points).max(initial=0)
        if len(points) < 3 or not length <= MOST_TURNS * sides:  # nor NaN
            raise ValueError(f"a polygon of {len(points)} points has a length of {length:.3g} pixels")


def coco(root: Path, split: str, need: int) -> Samples:
    """COCO 2017 with VOC's classes: images with more than `COCO_LEAST` pixels of these classes.

    Raises:
        FCNXSError: pycocotools is not installed, the annotations cannot be read, or an image is missing.
    """
    try:
        from pycocotools.coco import COCO
    except ImportError:
        raise FCNXSError(
            "COCO's annotations are read with pycocotools, which is not installed: pip install pycocotools"
        ) from None

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
    except Exception as error:  # whatever JSON has in the place of what is looked for
        raise FCNXSError(f"{file}: not COCO's annotations of instances: {reason(error)}") from None
    images, _ = _checked([(image, image) for image in images], need)
    return _Coco(images, ids, root, VOC_CLASSES, voc_palette(len(VOC_CLASSES)), partial(_coco_label, coco))


class _Mhp(Samples):
    def label_name(self, number: int) -> str:
        return str(self.labels[number][0])


def _mhp_label(files: Sequence[Path]) -> np.ndarray:
    """Labels of all persons of an image in one; the first person wins where several overlap."""
    first, *others = map(read_label, files)
    for file, other in zip(files[1:], others):
        if other.shape != first.shape:
            raise FCNXSError(f"{file}: its size differs from that of {files[0]}")
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
    return _Mhp(images, of_images, root, *names_and_colours("mhpv1", "mhpv1pallete"), _mhp_label)


def _lines(file: Path) -> List[str]:
    return read_text(file, "this list of images").split()


def _checked(pairs: Sequence[Tuple[Path, Path]], need: int) -> Tuple[List[Path], List[Path]]:
    """Images and labels of pairs, of which `need` files must exist."""
    for file in (file for pair in pairs for file in pair[:need]):
        refuse_irregular(file)
        if not file.is_file():
            raise FCNXSError(f"{file}: no such file")
    return [image for image, _ in pairs], [label for _, label in pairs]


def names_and_colours(name: str, palette: str, skip: int = 0) -> Tuple[List[str], Palette]:
    """GluonCV's class names and colours (R, G, B) of a data set, without the first `skip` colours."""
    from ..compat import gluoncv

    classes = gluoncv.data.datasets[name].CLASSES
    colours = np.reshape(getattr(gluoncv.utils.viz.segmentation, palette), (-1, 3))
    return list(classes), colours[skip : skip + len(classes)].tolist()


NAMED = {
    "voc": Kind(
        "voc",
        ("train", "val", "trainval", "test"),
        "VOC2012/ImageSets/Segmentation/{split}.txt, VOC2012/JPEGImages, VOC2012/SegmentationClass",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/, VOCdevkit",
        voc,
    ),
    "voc_aug": Kind(
        "voc",
        ("train", "val", "trainval"),
        "VOCaug/dataset, with train.txt, val.txt, img/ and cls/*.mat",
        "SBD's benchmark.tgz, whose benchmark_RELEASE is named VOCaug",
        sbd,
    ),
    "ade20k": Kind(
        "ade",
        ("train", "val"),
        "ADEChallengeData2016, with images/ and annotations/, training/ and validation/ in both",
        "http://sceneparsing.csail.mit.edu, ADEChallengeData2016.zip",
        ade20k,
    ),
    "citys": Kind(
        "citys",
        ("train", "val", "trainval"),
        "leftImg8bit, gtFine",
        "https://www.cityscapes-dataset.com, leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip",
        cityscapes,
    ),
    "coco": Kind(
        "coco",
        ("train", "val"),
        "annotations/instances_{split}2017.json, {split}2017",
        "https://cocodataset.org, 2017's images and annotations",
        coco,
    ),
    "mhp": Kind(
        "mhp/LV-MHP-v1",
        ("train", "val", "test"),
        "images, annotations, train_list.txt, test_list.txt",
        "https://lv-mhp.github.io, LV-MHP-v1",
        mhp,
    ),
    **SETS,
}

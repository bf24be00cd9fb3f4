"""Data sets: numbered images with labels, read from files one by one, and the lists that name the files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np

from ..conventions import Palette, PathLike
from ..errors import FCNXSError
from ..system.files import read_text
from .images import IMAGE_SUFFIXES, read_image, read_label

LABEL_SUFFIXES = (".png", ".bmp", ".gif", ".tif", ".tiff")  # lossless formats
SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")


class Samples:
    """Numbered images with labels.

    Args:
        images: files of the images.
        labels: source of each image's label, by default a file.
        root: folder of all files; `fingerprint` uses names relative to it.
        classes: names of the classes, or None if unknown; `palette`: their colours (R, G, B).
        label_of: reads a label, uint8 (H, W), from its source.
    """

    def __init__(
        self,
        images: Sequence[Path],
        labels: Sequence[object],
        root: PathLike,
        classes: Sequence[str] | None = None,
        palette: Palette | None = None,
        label_of: Callable[[Any], np.ndarray] = read_label,
    ) -> None:
        self.images, self.labels, self.root = list(images), list(labels), Path(root)
        self.classes = None if classes is None else list(classes)
        self.palette = None if palette is None else [list(colour) for colour in palette]
        self.label_of = label_of

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def name(self, number: int) -> str:
        """File of an image, for messages."""
        return str(self.images[number])

    def label_name(self, number: int) -> str:
        """File of a label, or another description of it, for messages."""
        return str(self.labels[number])

    def has_label(self, number: int) -> bool:
        """Whether the image of this number has a label."""
        return Path(self.label_name(number)).is_file()

    def read(self, number: int) -> Tuple[np.ndarray, np.ndarray]:
        """Image, RGB uint8 (H, W, 3), and label, uint8 (H, W): classes, or 255 to leave out.

        Raises:
            FCNXSError: one of them cannot be read or is of another kind, or their sizes differ.
        """
        image, label = read_image(self.images[number]), self.label_of(self.labels[number])
        if image.shape[:2] != label.shape:
            raise FCNXSError(
                f"{self.label_name(number)}: {label.shape[1]}x{label.shape[0]} pixels, but its image "
                f"{self.name(number)} has {image.shape[1]}x{image.shape[0]}"
            )
        return image, label

    def fingerprint(self) -> str:
        """SHA-256 of the images' names in their order, relative to the root; no file is opened."""
        names = [Path(os.path.relpath(image, self.root)).as_posix() for image in self.images]
        return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()

    def subset(self, numbers: Sequence[int]) -> Samples:
        """Data set of the images with these numbers, in this order, renumbered from 0."""
        result = object.__new__(type(self))
        result.__dict__.update(self.__dict__)
        result.images = [self.images[number] for number in numbers]
        result.labels = [self.labels[number] for number in numbers]
        return result


def open_samples(data: PathLike, split: str | None = None, default: str = "train", need: int = 2) -> Samples:
    """Data set that is a `.lst` file, a folder in VOC layout, or a folder with images/ and labels/.

    Args:
        split: split of a folder; None takes `default`, or everything if images/ and labels/ have no splits.
        need: number of files of a pair that must exist: 2, 1 (the image) or 0.

    Raises:
        FCNXSError: `data` is none of these or lacks the split, or a file is missing.
    """
    path = Path(data)
    if _is_folder_pair(path):
        return _folder_pair(path, split, default, need)
    if split is not None and not path.is_dir():
        raise FCNXSError(f"{data}: is a list, which has no splits; leave {split!r} out")
    root, flist = find_list(path, split or default)
    return Samples(*zip(*read_list(root, flist, need)), root)


def read_list(root_dir: PathLike, flist_name: PathLike, need: int = 2) -> List[Tuple[Path, Path]]:
    r"""Pairs of image and label files that a list names.

    A `.lst` file has lines `index \t image \t label`, with paths relative to `root_dir`. A split file
    of the VOC layout has lines `name`, for JPEGImages/name.jpg and SegmentationClass/name.png.
    `need` is the number of files of a pair that must exist: 2, 1 (the image) or 0.

    Raises:
        FCNXSError: the list or a file is missing, a line has another form, or there is no line.
    """
    root, flist = Path(root_dir), Path(root_dir) / flist_name
    pairs = []
    for number, line in enumerate(read_text(flist, "this list of images").splitlines(), 1):
        fields = line.strip().split("\t")
        if fields == [""]:
            continue
        if len(fields) != 3 and (len(fields) != 1 or flist.suffix == ".lst"):
            raise FCNXSError(
                f"{flist}, line {number}: {len(fields)} fields; expected index, image and label, between tabs"
            )
        pair = (root / fields[1], root / fields[2]) if len(fields) == 3 else _voc_pair(root, fields[0])
        for file in pair[:need]:
            if not file.is_file():
                raise FCNXSError(f"{file}: no such file (named in {flist}, line {number})")
        pairs.append(pair)
    if not pairs:
        raise FCNXSError(f"{flist}: the list names no image")
    return pairs


def find_list(data: PathLike, split: str) -> Tuple[Path, Path]:
    """Arguments `root_dir` and `flist_name` of `read_list` for a `.lst` file or a split of a VOC folder.

    Raises:
        FCNXSError: the folder has no list of that split.
    """
    path = Path(data)
    if not path.is_dir():
        return path.parent, Path(path.name)
    flist = Path("ImageSets", "Segmentation", f"{split}.txt")
    if not (path / flist).is_file():
        raise FCNXSError(
            f"{path / flist}: no such file; expected a folder in VOC layout with a split {split!r}, "
            "a folder with images/ and labels/, or a .lst file"
        )
    return path, flist


def _voc_pair(root: Path, name: str) -> Tuple[Path, Path]:
    images = [root / "JPEGImages" / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES]
    image = next((file for file in images if file.is_file()), images[0])
    return image, root / "SegmentationClass" / f"{name}.png"


def splits_of(data: PathLike) -> List[str]:
    """Sorted names of a folder's splits; empty for a list, or a folder without splits."""
    path = Path(data)
    if _is_folder_pair(path):
        return sorted(folder.name for folder in (path / "images").iterdir() if folder.name in SPLITS)
    return sorted(file.stem for file in (path / "ImageSets" / "Segmentation").glob("*.txt"))


def _is_folder_pair(path: Path) -> bool:
    return (path / "images").is_dir() and not (path / "ImageSets").is_dir()


def _folder_pair(path: Path, split: str | None, default: str, need: int) -> Samples:
    """Pairs of images/ and labels/, or of images/SPLIT/ and labels/SPLIT/, that share a name without suffix."""
    part = split or default
    if not (path / "images" / part).is_dir():
        found = splits_of(path)
        if split is not None or found:
            none = f"; there are no splits: leave the split out, or make images/{part}/ and labels/{part}/"
            has = f"; it has {', '.join(found)}" if found else none
            raise FCNXSError(f"{path / 'images' / part}: no such folder{has}")
        part = ""
    folders = path / "images" / part, path / "labels" / part
    images, labels = _by_stem(folders[0], IMAGE_SUFFIXES), _by_stem(folders[1], LABEL_SUFFIXES)
    if not images:
        raise FCNXSError(f"{folders[0]}: no image in this folder ({', '.join(IMAGE_SUFFIXES)})")
    if need != 1 and not folders[1].is_dir():
        raise FCNXSError(f"{folders[1]}: no such folder; it should hold the labels of {folders[0]}")
    stems = sorted({*images, *labels})
    no_image = ("image", labels, images, folders[0], IMAGE_SUFFIXES)
    no_label = ("label", images, labels, folders[1], LABEL_SUFFIXES)
    for kind, those, others, where, suffixes in (no_image, no_label)[:need]:
        alone = [stem for stem in stems if stem in those and stem not in others]
        if alone:
            raise FCNXSError(
                f"{those[alone[0]]}: no {kind} of this name in {where} "
                f"({', '.join(suffixes)}); {len(alone)} of {len(those)} files have no {kind}"
            )
    return Samples(
        [images.get(stem, folders[0] / f"{stem}.jpg") for stem in stems],
        [labels.get(stem, folders[1] / f"{stem}.png") for stem in stems],
        path,
    )


def _by_stem(folder: Path, suffixes: Sequence[str]) -> Dict[str, Path]:
    """Sorted files below a folder with one of these suffixes, by their path without the suffix."""
    result: Dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in suffixes and not file.name.startswith(".") and file.is_file():
            stem = file.relative_to(folder).with_suffix("").as_posix()
            if stem in result:
                raise FCNXSError(f"{file}: differs from {result[stem].name} only by its suffix; remove one")
            result[stem] = file
    return result

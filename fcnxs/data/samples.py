"""Data sets: numbered images with labels, read from files one by one, and the lists that name the files."""

from __future__ import annotations

import hashlib
import io
import os
import re
from pathlib import Path
from typing import Any, BinaryIO, Callable, Collection, Iterable, List, Sequence, Tuple

import numpy as np

from ..conventions import MAX_PIXELS, Palette, PathLike
from ..errors import FCNXSError
from .images import IMAGE_SUFFIXES, load_image
from .labels import Label, leave_out, load_label, read_label
from .lists import LABEL_SUFFIXES, LOSSLESS, by_stem, find_list, fitting, read_list
from .records import SUFFIX, Records

# Names of folders that look like splits, such as train, Val, train2017, my_test.
SPLIT = re.compile(
    r"(?:^|.*[^a-z])(?:train|training|trainval|val|valid|validate|validation|test|testing|dev|eval|evaluation)"
    r"(?:set)?(?:[^a-z].*|$)",
    re.IGNORECASE,
)
Size = Tuple[int, int]
ALL = "; --allow splits takes all of them as one"


class Samples:
    """Numbered images with labels.

    Args:
        images: files of the images.
        labels: source of each image's label, by default a file.
        root: folder of all files; `fingerprint` uses names relative to it.
        classes: names of the classes, or None if unknown; `palette`: their colours (R, G, B).
        label_of: reads a label, uint8 (H, W), from its source.

    Attributes:
        exif, allow, max_pixels, ignore: how files are read (see `load_label`) and checked (see `check`);
            `reading` sets them.
    """

    exif: str = "apply"
    allow: Tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS
    ignore: Tuple[int, ...] = ()

    def __init__(
        self,
        images: Sequence[PathLike],
        labels: Sequence[object],
        root: PathLike,
        classes: Sequence[str] | None = None,
        palette: Palette | None = None,
        label_of: Callable[[Any], np.ndarray] = read_label,
    ) -> None:
        self.images, self.labels, self.root = [Path(image) for image in images], list(labels), Path(root)
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

    def has_image(self, number: int) -> bool:
        """Whether there is an image of this number."""
        return self.images[number].is_file()

    def has_label(self, number: int) -> bool:
        """Whether the image of this number has a label."""
        return Path(self.label_name(number)).is_file()

    def read(self, number: int) -> Tuple[np.ndarray, np.ndarray]:
        """Image, RGB uint8 (H, W, 3), and label, uint8 (H, W): classes, or 255 to leave out.

        Raises:
            FCNXSError: one of them cannot be read or is of another kind, or their sizes differ.
        """
        image, orientation, label = self.load(number)
        differs = self.misfit(number, image.shape[:2], label.values.shape, orientation)
        if differs:
            raise FCNXSError(differs)
        return image, label.values

    def load(self, number: int) -> Tuple[np.ndarray, int, Label]:
        """Image, RGB uint8 (H, W, 3), its EXIF orientation, and its label, whose size may differ.

        Raises:
            FCNXSError: one of them cannot be read or is of another kind.
        """
        how = {"exif": self.exif, "max_pixels": self.max_pixels}
        image_file, label_file = self.sources(number)
        image, orientation = load_image(image_file, **how)
        if self.label_of is read_label:
            label = load_label(label_file, allow=self.allow, ignore=self.ignore, **how)
            return image, orientation, label
        values, left_out = leave_out(self.label_of(self.labels[number]), self.ignore)
        return image, orientation, Label(values, left_out=left_out)

    def sources(self, number: int) -> Tuple[PathLike | BinaryIO, Any]:
        """What an image and its label are read from: paths, open files, or what `label_of` takes."""
        return self.images[number], self.labels[number]

    def misfit(self, number: int, image: Size, label: Size, orientation: int) -> str | None:
        """Error if an image and its label, of these sizes (H, W), do not fit; None if they do."""
        if image == label:
            return None
        other = {"apply": "ignore", "ignore": "apply"}[self.exif]
        way_out = f"; they fit with --exif {other}: EXIF turns the image by 90 degrees, the label may be drawn "
        way_out += "on the pixels as they are stored" if other == "ignore" else "on the upright image"
        return (
            f"{self.label_name(number)}: {label[1]}x{label[0]} pixels, but its image {self.name(number)} has "
            f"{image[1]}x{image[0]}{way_out if orientation > 4 and image == label[::-1] else ''}"
        )

    def fingerprint(self) -> str:
        """SHA-256 of the images' names in their order, relative to the root; no file is opened."""
        names = [Path(os.path.relpath(image, self.root)).as_posix() for image in self.images]
        return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()

    def reading(
        self,
        exif: str | None = None,
        allow: Collection[str] | None = None,
        max_pixels: int | None = None,
        ignore: Collection[int] | None = None,
    ) -> Samples:
        """The same data set, read with `exif` "apply" or "ignore", and with faults of the kinds `allow` passed.

        `max_pixels` is the most pixels of an image or a label. Values `ignore` of the labels become 255; of a
        data set by name these are the numbers of its classes. None leaves a setting as it is.
        """
        result = self.subset(range(len(self)))
        result.exif = self.exif if exif is None else exif
        result.allow = self.allow if allow is None else tuple(allow)
        result.max_pixels = self.max_pixels if max_pixels is None else max_pixels
        result.ignore = self.ignore if ignore is None else tuple(dict.fromkeys(ignore))
        return result

    def subset(self, numbers: Sequence[int]) -> Samples:
        """Data set of the images with these numbers, in this order, renumbered from 0."""
        result = object.__new__(type(self))
        result.__dict__.update(self.__dict__)
        result.images = [self.images[number] for number in numbers]
        result.labels = [self.labels[number] for number in numbers]
        return result


class RecordedSamples(Samples):
    """The pairs of a RecordIO file that `fcnxs pack` wrote; their files' names follow the name of this one.

    Raises:
        FCNXSError: as `Records`.
    """

    def __init__(self, file: PathLike) -> None:
        self.records = Records(file)
        super().__init__(
            [f"{file}/{name}" for name in self.records.names], range(len(self.records)), Path(file).parent
        )

    def label_name(self, number: int) -> str:
        """Description of a label, for messages."""
        return f"{self.images[number]}'s label"

    def has_image(self, number: int) -> bool:
        """Every record has an image."""
        return True

    def has_label(self, number: int) -> bool:
        """Every record has a label."""
        return True

    def sources(self, number: int) -> Tuple[BinaryIO, BinaryIO]:
        """Image and label in memory."""
        names = self.name(number), self.label_name(number)
        return tuple(map(_Content, self.records.read(self.labels[number]), names))


class _Content(io.BytesIO):
    """The bytes of a file, which messages call by its name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name

    def __str__(self) -> str:
        return self.name


def open_samples(
    data: PathLike, split: str | None = None, default: str = "train", need: int = 2, allow: Collection[str] = ()
) -> Samples:
    """Data set that is a list, a RecordIO file, a folder in VOC layout, or one with images/ and labels/.

    Links to folders are followed. The case of a split's name may differ from its folder's.

    Args:
        split: split of a folder; None takes `default`, or everything if images/ and labels/ have no splits.
        need: number of files of a pair that must exist: 2, 1 (the image) or 0.
        allow: with "splits", everything is also taken from a folder that has other splits than `default`.

    Raises:
        FCNXSError: `data` is none of these or lacks the split, or a file is missing.
    """
    path = Path(data)
    if _is_folder_pair(path):
        return _folder_pair(path, split, default, need, allow)
    if split is not None and not path.is_dir():
        raise FCNXSError(f"{data}: is a list, which has no splits; leave {split!r} out")
    if path.suffix == SUFFIX and not path.is_dir():
        return RecordedSamples(path)
    root, flist = find_list(path, split or default)
    return Samples(*zip(*read_list(root, flist, need)), root)


def splits_of(data: PathLike) -> List[str]:
    """Sorted names of a folder's splits; empty for a list, or a folder without splits."""
    path = Path(data)
    if _is_folder_pair(path):
        return sorted(name for name in _folders(path / "images") if SPLIT.fullmatch(name))
    return sorted(file.stem for file in (path / "ImageSets" / "Segmentation").glob("*.txt"))


def _is_folder_pair(path: Path) -> bool:
    return (path / "images").is_dir() and not (path / "ImageSets").is_dir()


def _folder_pair(path: Path, split: str | None, default: str, need: int, allow: Collection[str]) -> Samples:
    """Pairs of images/ and labels/, or of images/SPLIT/ and labels/SPLIT/, that share a name without suffix."""
    part = _part(path, split, default, allow)
    folders = path / "images" / part, path / "labels" / (fitting(_folders(path / "labels"), part) or part)
    images, labels = by_stem(folders[0], IMAGE_SUFFIXES), by_stem(folders[1], LOSSLESS)
    lossy = by_stem(folders[1], LABEL_SUFFIXES[len(LOSSLESS) :])
    labels = {**{stem: lossy[stem] for stem in images if stem in lossy}, **labels}
    if not images:
        raise FCNXSError(f"{folders[0]}: no image in this folder ({', '.join(IMAGE_SUFFIXES)})")
    if need != 1 and not folders[1].is_dir():
        raise FCNXSError(f"{folders[1]}: no such folder; it should hold the labels of {folders[0]}")
    stems = sorted({*images, *labels})
    no_image = ("image", labels, images, folders[0], IMAGE_SUFFIXES)
    no_label = ("label", images, labels, folders[1], LOSSLESS)
    for kind, those, others, where, suffixes in (no_image, no_label)[:need]:
        alone = [stem for stem in stems if stem in those and stem not in others]
        if alone:
            raise FCNXSError(
                f"{those[alone[0]]}: no {kind} of this name in {where} "
                f"({', '.join(suffixes)}); {len(alone)} of {len(those)} files have no {kind}"
            )
    if folders[0] == path / "images" and "splits" not in allow:
        _refuse_splits_inside(folders[0], images.values())
    return Samples(
        [images.get(stem, folders[0] / f"{stem}.jpg") for stem in stems],
        [labels.get(stem, folders[1] / f"{stem}.png") for stem in stems],
        path,
    )


def _part(path: Path, split: str | None, default: str, allow: Collection[str]) -> str:
    """Name of a split's folder in images/; "" if all of images/ is meant.

    Raises:
        FCNXSError: there is no such split, or there are others and none was chosen.
    """
    part, found = split or default, splits_of(path)
    there = fitting(_folders(path / "images"), part)
    if there is None and (split is not None or (found and "splits" not in allow)):
        none = f"; there are no splits: leave the split out, or make images/{part}/ and labels/{part}/"
        has = f"; it has {', '.join(found)}: choose with --split" if found else none
        raise FCNXSError(f"{path / 'images' / part}: no such folder{has}{'' if split else ALL}")
    return there or ""


def _folders(path: Path) -> List[str]:
    return [folder.name for folder in path.glob("*") if folder.is_dir()]


def _refuse_splits_inside(folder: Path, files: Iterable[Path]) -> None:
    """Refuse to take all files of a folder as one split, if folders deeper inside have the names of splits."""
    inside = {parent for file in files for parent in file.relative_to(folder).parents}
    found = sorted(parent for parent in inside if SPLIT.fullmatch(parent.name))
    if found:
        names = ", ".join(map(str, found[:4]))
        raise FCNXSError(
            f"{folder / found[0]}: the folders {names} have the names of splits, and none was chosen: move "
            f"them to images/SPLIT/ and labels/SPLIT/, or write a list (.lst) of each split{ALL}"
        )

"""Data sets: numbered images with labels, read from files one by one. `layouts.py` opens those on disk."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any, BinaryIO, Callable, Collection, Dict, Sequence, Tuple

import numpy as np

from ..conventions import COLOR, MAX_PIXELS, Palette, PathLike
from ..errors import FCNXSError
from .labels import Label, leave_out, load_label, read_label
from .records import Records
from .scenes import beside, load_images

Size = Tuple[int, int]


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
        kinds: kinds of the images of a sample, of which the first are `images`; `more` are the files of the
            others, a list for each kind. `of_kinds` sets them.
    """

    exif: str = "apply"
    allow: Tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS
    ignore: Tuple[int, ...] = ()
    kinds: Tuple[str, ...] = COLOR
    more: Tuple[Sequence[Path], ...] = ()

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

    @property
    def heads(self) -> Dict[str, Samples]:
        """The data set of each head by its name; of a data set with one label for each image, itself by ""."""
        return {"": self}

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

        Several images are one array (H, W, C), float32 with depth.

        Raises:
            FCNXSError: one of them cannot be read or is of another kind, or their sizes differ.
        """
        image, orientation, label = self.load(number)
        return image, self.fitting(number, label, image.shape[:2], orientation)

    def load(self, number: int) -> Tuple[np.ndarray, int, Label]:
        """Image (H, W, C) as `read` returns it, its EXIF orientation, and its label, whose size may differ.

        Raises:
            FCNXSError: one of them cannot be read or is of another kind.
        """
        *image_files, label_file = self.sources(number)
        image, orientation = load_images(image_files, self.kinds, self.exif, self.max_pixels)
        return image, orientation, self.read_label(label_file)

    def read_label(self, source: Any) -> Label:  # noqa: ANN401  (what `label_of` takes)
        """Label of one of the `labels`.

        Raises:
            FCNXSError: it cannot be read or is of another kind.
        """
        if self.label_of is read_label:
            how = {"exif": self.exif, "max_pixels": self.max_pixels}
            return load_label(source, allow=self.allow, ignore=self.ignore, **how)
        values, left_out = leave_out(self.label_of(source), self.ignore)
        return Label(values, left_out=left_out)

    def fitting(self, number: int, label: Label, image: Size, orientation: int) -> np.ndarray:
        """Label, uint8 (H, W), of an image of this size (H, W) and EXIF orientation.

        Raises:
            FCNXSError: it has another size.
        """
        differs = self.misfit(number, image, label.values.shape, orientation)
        if differs:
            raise FCNXSError(differs)
        return label.values

    def image(self, number: int) -> np.ndarray:
        """Image (H, W, C) of a number, as `read` returns it.

        Raises:
            FCNXSError: as `read`.
        """
        return load_images(self.sources(number)[:-1], self.kinds, self.exif, self.max_pixels)[0]

    def sources(self, number: int) -> Tuple[Any, ...]:
        """What the images and the label are read from: paths, open files, or what `label_of` takes."""
        return (self.images[number], *(files[number] for files in self.more), self.labels[number])

    def of_kinds(self, kinds: Sequence[str]) -> Samples:
        """The same data set with the images of these kinds (`scenes.py`) of each sample.

        Files that there are not are told of when they are read.

        Raises:
            FCNXSError: the images are in no folder that could have others beside it.
        """
        result = self.subset(range(len(self)))
        if tuple(kinds) != self.kinds:
            first, *more = [beside(self.images, kind, self.root) for kind in kinds]
            result.images, result.more, result.kinds = first, tuple(more), tuple(kinds)
        return result

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
        result.more = tuple([files[number] for number in numbers] for files in self.more)
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
        self.recorded = (*COLOR, *self.records.kinds)

    def of_kinds(self, kinds: Sequence[str]) -> Samples:
        """The same data set with the images of these kinds, which the records have.

        Raises:
            FCNXSError: they have others.
        """
        lacking = [kind for kind in kinds if kind not in self.recorded]
        if lacking:
            raise FCNXSError(
                f"{self.records.file}: has no {lacking[0]} images; `fcnxs pack --modality` writes them too"
            )
        result = self.subset(range(len(self)))
        result.kinds = tuple(kinds)
        return result

    def label_name(self, number: int) -> str:
        """Description of a label, for messages."""
        return f"{self.images[number]}'s label"

    def has_image(self, number: int) -> bool:
        """Every record has an image."""
        return True

    def has_label(self, number: int) -> bool:
        """Every record has a label."""
        return True

    def sources(self, number: int) -> Tuple[BinaryIO, ...]:
        """Images and label in memory."""
        *images, label = self.records.read(self.labels[number])
        by_kind, name = dict(zip(self.recorded, images)), self.name(number)
        named = [f"{name} ({kind})" if kind != "color" else name for kind in self.kinds]
        files = [_Content(by_kind[kind], each) for kind, each in zip(self.kinds, named)]
        return (*files, _Content(label, self.label_name(number)))


class _Content(io.BytesIO):
    """The bytes of a file, which messages call by its name."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name

    def __str__(self) -> str:
        return self.name

"""What the reader of a format gives: the classes, and for each image a function that draws its label."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, Iterable, List, NamedTuple, Tuple

import numpy as np

from ..conventions import IGNORE_LABEL, MAX_PIXELS
from ..errors import FCNXSError, cut

UNFIT = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")  # characters that no name has
BACKGROUND = "background"  # name of the class of pixels that no shape covers
Size = Tuple[int, int]  # height, width
Colour = Tuple[int, int, int]  # R, G, B, 0 to 255


class Class(NamedTuple):
    """A class of the source: its name, its colour if the source has one, and the source's own number."""

    name: str
    colour: Colour | None
    number: int


class Sample(NamedTuple):
    """An image with its annotation.

    Attributes:
        image: its file.
        name: its path in the source, for messages, groups and the name of the result.
        draw: gives the label, uint8 (H, W), of positions in `Found.classes`, or 255 to ignore a pixel. Its
            argument is the image's (H, W), upright. The result has the annotation's own size, if that says one.
        split: "train", "val", "test", or None if the source has no splits.
    """

    image: Path
    name: str
    draw: Callable[[Size], np.ndarray]
    split: str | None = None


class Found(NamedTuple):
    """What a source has.

    Attributes:
        classes: in the order of their numbers; the labels have positions in this list.
        samples: the images with their annotations.
        said_by: what gave the classes: a file, an option.
        void: numbers without a class, whose pixels the labels ignore already.
    """

    classes: List[Class]
    samples: List[Sample]
    said_by: str
    void: Tuple[int, ...] = (IGNORE_LABEL,)


class Options(NamedTuple):
    """How a source is read.

    Attributes:
        images: folder that the images are in; None: the source.
        colors: file with the colours of the classes; None: the one in the source, if there is one.
        nearest: largest distance (Euclidean, of R, G, B) at which a pixel takes the nearest colour; None: 0.
        binary: masks have 0 for the ground, and 1 or 255 for the figure.
        threshold: the figure's values are this one and those above; None: masks have no grey levels.
        names: file with the names of the classes of masks of class numbers.
        ignored: values and names of --ignore, which need no class.
        exif: "ignore" if the annotations were drawn on the pixels as they are stored.
        max_pixels: most pixels of an image or a mask.
        scratch: folder for images that their annotations embed; None: these are not taken.
    """

    images: Path | None = None
    colors: Path | None = None
    nearest: float | None = None
    binary: bool = False
    threshold: int | None = None
    names: Path | None = None
    ignored: Tuple[str, ...] = ()
    exif: str = "apply"
    max_pixels: int = MAX_PIXELS
    scratch: Path | None = None


class LeftOut(Exception):
    """Raised by `Sample.draw`: the image is left out; `kind` is one of `account.KINDS`."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def with_background(classes: Iterable[Class]) -> List[Class]:
    """The classes of shapes, numbered anew: the background, which is what no shape covers, is class 0."""
    classes = list(classes)
    ground = [each for each in classes if each.name.strip().lower() == BACKGROUND]
    ordered = [
        *(ground[:1] or [Class(BACKGROUND, (0, 0, 0), 0)]),
        *(each for each in classes if each not in ground),
    ]
    return [each._replace(number=number) for number, each in enumerate(ordered)]


def checked_classes(classes: List[Class], where: object) -> List[Class]:
    """The classes, if a label of 8 bits can have so many, and each has its own name.

    Raises:
        FCNXSError: there is none, there are more than 255, or two have one name.
    """
    if not classes:
        raise FCNXSError(f"{where}: names no class")
    if len(classes) > IGNORE_LABEL:
        raise FCNXSError(f"{where}: has {len(classes)} classes, and a label can have {IGNORE_LABEL}")
    classes = [each._replace(name=" ".join(each.name.split())) for each in classes]
    names = [each.name for each in classes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FCNXSError(f"{where}: names the class {cut(twice, 80)!r} more than once")
    for name in names:
        refuse_name(name, where)
    return classes


def refuse_name(name: str, where: object) -> None:
    """Refuse the name of a class that classes.txt could not have: empty, or with characters of another line.

    Raises:
        FCNXSError: it is one.
    """
    if name != name.strip() or not name or UNFIT.search(name):
        raise FCNXSError(f"{where}: {cut(name, 80)!r} cannot be the name of a class")

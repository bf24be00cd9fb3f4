"""Colour labels: maps from colours to classes, and masks read by them."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

import numpy as np

from ..conventions import IGNORE_LABEL
from ..errors import FCNXSError, cut
from ..system.files import read_text
from .account import counted
from .found import Class, checked_classes

NAMES = ("name", "class", "label", "class_name", "class name", "label_name", "category")
CHANNELS = (("r", "red"), ("g", "green"), ("b", "blue"))
NUMBER = r"(\d{1,9})"
LABELMAP = re.compile(
    rf"([^:]+):\s*{NUMBER}\s*,\s*{NUMBER}\s*,\s*{NUMBER}\s*(?::.*)?"
)  # name:R,G,B:parts:actions
BEFORE = re.compile(rf"{NUMBER}[\s,;]+{NUMBER}[\s,;]+{NUMBER}[\s,;]+(\D.*)")  # R G B name
BEHIND = re.compile(rf"(\D.*?)[\s,;]+{NUMBER}[\s,;]+{NUMBER}[\s,;]+{NUMBER}")  # name R G B
LARGEST = 1 << 20  # bytes of a map
LONGEST = 1000  # characters of a line
WEIGHTS = np.array((1 << 16, 1 << 8, 1))  # of R, G, B in a colour's key


def read_map(file: Path) -> List[Class]:
    """Classes and colours of a file: a CSV with a heading, CamVid's label_colors.txt, CVAT's labelmap.txt.

    Raises:
        FCNXSError: it has none of these forms, a number above 255, or a name or a colour twice.
    """
    lines = [line.strip() for line in read_text(file, "the colours of classes", LARGEST).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    rows = [] if any(len(line) > LONGEST for line in lines) else _table(lines) or [*map(_row, lines)]
    if not rows or None in rows:
        wrong = f" (line {cut(lines[rows.index(None) - len(rows)], 80)!r})" if rows else ""
        raise FCNXSError(
            f"{file}: not the colours of classes{wrong}; expected a CSV file with the heading name,r,g,b, or "
            "lines such as '128 64 128 road' or 'road:128,64,128::'"
        )
    classes = []
    for number, (name, *colour) in enumerate(rows):
        if max(colour) > 255:
            raise FCNXSError(f"{file}: the colour {tuple(colour)} of {cut(name, 80)!r} has a number above 255")
        same = next((each.name for each in classes if each.colour == tuple(colour)), None)
        if same is not None:
            raise FCNXSError(
                f"{file}: {cut(same, 80)!r} and {cut(name, 80)!r} have one colour, {tuple(colour)}"
            )
        classes.append(Class(name, tuple(colour), number))
    return checked_classes(classes, file)


def is_map(file: Path) -> bool:
    """Whether a file gives the colours of at least two classes."""
    try:
        return file.suffix.lower() in (".txt", ".csv") and len(read_map(file)) > 1
    except FCNXSError:
        return False


def _table(lines: Sequence[str]) -> List[List] | None:
    """Name, R, G, B of each line of a CSV with a heading; None if there is no such heading."""
    mark = next((mark for mark in ",;\t" if lines and mark in lines[0]), ",")
    rows = [
        [field.strip() for field in row] for row in csv.reader(lines, delimiter=mark, skipinitialspace=True)
    ]
    heading = [field.lower() for field in rows[0]] if rows else []
    columns = [
        next((heading.index(name) for name in names if name in heading), None) for names in (NAMES, *CHANNELS)
    ]
    if None in columns:
        return None
    picked = [[row[column] if column < len(row) else "" for column in columns] for row in rows[1:]]
    return [
        [row[0], *map(int, row[1:])] if all(re.fullmatch(NUMBER, each, re.ASCII) for each in row[1:]) else None
        for row in picked
    ]


def _row(line: str) -> List | None:
    """Name, R, G, B of a line without a heading; None if it is another one."""
    for form, name, first in ((LABELMAP, 1, 2), (BEFORE, 4, 1), (BEHIND, 1, 2)):
        match = form.fullmatch(line)
        if match:
            return [match[name].strip(), *(int(match[first + i]) for i in range(3))]
    return None


class Matched(NamedTuple):
    """A colour mask as classes.

    Attributes:
        label: uint8 (H, W), positions of classes; 255 for pixels whose colour is none of theirs.
        near, far: numbers of pixels that took the nearest colour, and that had none in reach.
        farthest: largest distance of the former.
        strange: the most frequent colour that is none of the map's, how often it occurs, and where (x, y).
    """

    label: np.ndarray
    near: int = 0
    far: int = 0
    farthest: float = 0.0
    strange: tuple | None = None


class ColourMap:
    """Finds the class of each pixel by its colour.

    Args:
        nearest: largest distance (Euclidean, in R, G, B) at which a pixel takes the nearest colour.
    """

    def __init__(self, classes: Sequence[Class], nearest: float | None = None) -> None:
        self.classes, self.nearest = list(classes), nearest
        self._colours = np.array([each.colour for each in classes])
        keys = self._colours @ WEIGHTS
        self._order = np.argsort(keys)
        self._keys = keys[self._order]

    def match(self, pixels: np.ndarray) -> Matched:
        """Classes of the pixels, RGB uint8 (H, W, 3); of two colours equally near the first is taken."""
        keys = pixels.astype(np.int64) @ WEIGHTS
        place = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        known = self._keys[place] == keys
        label = np.where(known, self._order[place], IGNORE_LABEL).astype(np.uint8)
        if known.all():
            return Matched(label)
        strange, where, counts = np.unique(keys[~known], return_inverse=True, return_counts=True)
        common = strange[counts.argmax()]
        y, x = np.argwhere(keys == common)[0].tolist()
        told = (self.colour_of(common), int(counts.max()), (x, y))
        if self.nearest is None:
            return Matched(label, far=int(counts.sum()), strange=told)
        near, distance = self.nearest_of(strange)
        in_reach = distance <= self.nearest
        label[~known] = np.where(in_reach, near, IGNORE_LABEL).astype(np.uint8)[where.reshape(-1)]
        farthest = float(distance[in_reach].max(initial=0))
        return Matched(label, int(counts[in_reach].sum()), int(counts[~in_reach].sum()), farthest, told)

    def nearest_of(self, keys: np.ndarray) -> tuple:
        """Position of the nearest class of each colour, given as keys (n,), and its distance, float64 (n,)."""
        near, least = np.zeros(len(keys), np.int64), np.full(len(keys), np.inf)
        colours = np.stack([keys >> 16, keys >> 8 & 255, keys & 255], axis=1)
        for position, colour in enumerate(self._colours):
            squares = np.square(colours - colour).sum(axis=1)
            near[squares < least] = position
            least = np.minimum(least, squares)
        return near, np.sqrt(least)

    @staticmethod
    def colour_of(key: int) -> tuple:
        """Colour (R, G, B) of a key."""
        return int(key) >> 16, int(key) >> 8 & 255, int(key) & 255


def strange_colours(found: Dict[Path, Matched], colours: ColourMap) -> str:
    """Message on masks with colours that a map lacks, with counts, an example, and the way out."""
    file, first = next(iter(found.items()))
    colour, _, (x, y) = first.strange
    (near,), (distance,) = colours.nearest_of(np.array([np.array(colour) @ WEIGHTS]))
    name = colours.classes[near].name
    far = sum(each.far for each in found.values())
    pixels, masks = counted(far, "pixel"), counted(len(found), "mask")
    return (
        f"{file}: the pixel at x {x}, y {y} has the colour {colour}, which is none of a class; "
        f"{pixels} of {masks} {'is' if far == 1 else 'are'} so. The nearest is "
        f"that of {cut(name, 80)!r}, {colours.classes[near].colour}, at a distance of {distance:.1f}: if edges "
        "are smoothed, --nearest D takes the nearest colour up to a distance of D and ignores other pixels; "
        "if a class is missing, add it to the colours (--colors)"
    )

"""What is kept of a data set that was read: of each pair, of all together, and what was found to be wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Tuple

import numpy as np

from ..conventions import IGNORE_LABEL

Size = Tuple[int, int]


class Finding(NamedTuple):
    """One thing that is wrong with a data set.

    Attributes:
        kind: one of `KINDS`, which can be allowed; "" for others.
        text: the file, what was seen, with numbers, and the way out.
        refuses: whether the data set is refused; if not, this is a warning.
    """

    kind: str
    text: str
    refuses: bool


class Seen(NamedTuple):
    """What is kept of a pair that was read.

    Attributes:
        number: its number in the data set.
        values: values of the label, uint8 (n,).
        colours: their colours in the label's palette, int64 (n,); None without a palette.
        label: SHA-256 of the label.
        turn, label_turn: EXIF orientation of image and label.
        fits: whether the sizes fit as they are read.
        fits_otherwise: whether they would also, or instead, fit with the other setting of EXIF.
        faults: kinds and descriptions of faults of the label that were allowed.
    """

    number: int
    values: np.ndarray
    colours: np.ndarray | None
    label: bytes
    turn: int
    label_turn: int
    fits: bool
    fits_otherwise: bool
    faults: Tuple[Tuple[str, str], ...]


@dataclass
class Inspection:
    """What `check` of `check.py` finds. Images are given by their numbers in the data set.

    Attributes:
        files, labels: names of the images, and of their labels.
        places: paths of the images, links resolved, without suffix.
        sizes: number of images by (height, width).
        bad: (number, reason) of the pairs that cannot be trained on; the reason names the file.
        pixels: labelled pixels of each class, int64 (num_classes,).
        of_good: of the pairs that are not bad, each class's pixels, the number of images that have it, and all
            pixels of these images, int64 (3, num_classes).
        ignored: pixels labelled 255, or a value of `left_out`.
        left_out: pixels of each value that is read as 255 (`Samples.ignore`).
        empty: images whose label is 255 everywhere.
        findings: what is wrong with the data set as a whole, refusals first.
        fingerprint: SHA-256 of all decoded images and labels in their order.
        hashes: SHA-256 of the shape and pixels of each image; b"" for an unreadable one.
        seen: what is kept of each pair that was read.
    """

    files: List[str]
    labels: List[str] = field(default_factory=list)
    places: List[str] = field(default_factory=list)
    sizes: Counter[Size] = field(default_factory=Counter)
    bad: List[Tuple[int, str]] = field(default_factory=list)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    of_good: np.ndarray = field(default_factory=lambda: np.zeros((3, 0), np.int64))
    ignored: int = 0
    left_out: Dict[int, int] = field(default_factory=dict)
    empty: List[int] = field(default_factory=list)
    findings: List[Finding] = field(default_factory=list)
    fingerprint: str = ""
    hashes: List[bytes] = field(default_factory=list)
    seen: List[Seen] = field(default_factory=list)

    @property
    def faults(self) -> List[str]:
        """Texts of the findings that refuse the data set."""
        return [each.text for each in self.findings if each.refuses]

    @property
    def warnings(self) -> List[str]:
        """Texts of the findings that do not."""
        return [each.text for each in self.findings if not each.refuses]

    @property
    def fails(self) -> bool:
        """Whether training would fail, or the data set is refused."""
        return bool(self.bad or self.faults)

    @property
    def void(self) -> str:
        """The values that are ignored, as text: "255", or "255 or 11"."""
        return " or ".join(map(str, [IGNORE_LABEL, *self.left_out]))

    @property
    def ignored_share(self) -> float:
        """Share of the pixels that is ignored; NaN if there are no pixels."""
        total = self.ignored + int(self.pixels.sum())
        return self.ignored / total if total else float("nan")

    @property
    def absent(self) -> List[int]:
        """Classes without a pixel, but for those that are left out."""
        return [int(i) for i in np.flatnonzero(self.pixels == 0) if i not in self.left_out]

    @property
    def good(self) -> List[int]:
        """Numbers of the images that are not bad, for `Samples.subset`."""
        bad = {number for number, _ in self.bad}
        return [number for number in range(len(self.files)) if number not in bad]

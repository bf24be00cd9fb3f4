"""The account of an import: what was changed or left out, by kind, with the names."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Dict, List

KINDS = {  # of images or annotations: what each kind means, in [words for one|words for several]
    "no annotation": "image[|s] without annotation, left out",
    "no image": "annotation[|s] without image, left out",
    "two annotations": "image[|s] with more than one annotation, left out",
    "unreadable": "image[ or annotation|s or annotations] that cannot be read, left out",
    "size": "annotation[|s] of another size than [its|their] image, left out",
    "other format": "image[|s] in formats that training does not read, left out (--tiles saves PNGs)",
    "no split": "image[|s] that none of the source's splits has, left out",
    "unused": "image[|s] whose pixels are all ignored, left out",
    "unused tiles": "tile[|s] whose pixels are all ignored, left out",
    "unknown class": "shape[|s] of a class that the source does not name; [its|their] pixels are ignored (255)",
    "unknown value": "mask[|s] with values that the source does not name; these pixels are ignored (255)",
    "outside": "shape[|s] that [is|are] wholly outside of [its|their] image, left out",
    "cut": "shape[|s] that reach[es|] out of [its|their] image, cut at its edge",
    "broken": "shape[|s] whose points cannot be read, left out",
    "no outline": "object[|s] without an outline (a box at most), left out",
    "small": "shape[|s] that cover[s|] no pixel's centre, left out",
    "no area": "[shape|points, lines, tags and other shapes] without an area, left out",
    "grey": "mask[|s] that [is|are] grey but saved as colour images, read as grey",
    "nearest": "mask[|s] with pixels that took the nearest colour",
    "far": "mask[|s] with pixels that are too far from every colour; these are ignored (255)",
    "turned": "annotation[|s] that [was|were] turned as EXIF turns [its|their] image",
    "elsewhere": "annotation[|s] of images out of the source, read with the one of this name beside [it|them]",
    "embedded": "image[|s] that [its|their] annotation file alone has, taken from there",
    "renamed": "image[|s] that [has|have] another name now, as two had the same or it cannot be kept",
    "resized": "image[|s] that [was|were] resized, and saved as PNG",
    "tiled": "image[|s] that [was|were] cut into tiles, saved as PNG",
}
SHOWN = 3  # names that a line of the account has


def counted(number: int, noun: str) -> str:
    """A number and its noun: 1 mask, 1,200 masks."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _meaning(kind: str, number: int) -> str:
    return re.sub(r"\[(.*?)\|(.*?)\]", r"\1" if number == 1 else r"\2", KINDS[kind])


class Account:
    """Names of images (or of shapes, by their image) by kind; several threads may add to it."""

    def __init__(self) -> None:
        self.names: Dict[str, List[str]] = defaultdict(list)
        self.notes: List[str] = []

    def add(self, kind: str, name: object, times: int = 1) -> None:
        """Count an image, or `times` shapes of it, as one of `KINDS`."""
        if kind not in KINDS:
            raise KeyError(kind)
        self.names[kind] += [str(name)] * times

    def note(self, text: str) -> None:
        """Add a line that is about the whole import."""
        self.notes.append(text)

    def lines(self) -> List[str]:
        """A line for each kind: how many there are, and the first names; then the notes."""
        result = []
        for kind in KINDS:
            names = self.names.get(kind)
            if names:
                different = sorted({*names})
                more = f", and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
                result.append(
                    f"{len(names)} {_meaning(kind, len(names))}: {', '.join(different[:SHOWN])}{more}"
                )
        return result + self.notes

    def __str__(self) -> str:
        """The lines as one."""
        return "; ".join(self.lines())

    def content(self) -> Dict[str, object]:
        """The account for JSON: counts and all names by kind, and the notes."""
        kinds = {
            kind: {"meaning": _meaning(kind, len(names)), "count": len(names), "names": sorted({*names})}
            for kind, names in ((kind, self.names.get(kind)) for kind in KINDS)
            if names
        }
        return {"kinds": kinds, "notes": self.notes}

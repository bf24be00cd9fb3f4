"""The account of an import: what was changed or left out, by kind, with the names."""

from __future__ import annotations

from collections import defaultdict
from typing import Dict, List

KINDS = {  # of images or annotations: what each kind means
    "no annotation": "images without annotation, left out",
    "no image": "annotations without image, left out",
    "two annotations": "images with more than one annotation, left out",
    "unreadable": "images or annotations that cannot be read, left out",
    "size": "annotations of another size than their image, left out",
    "other format": "images in formats that training does not read, left out (--tiles saves PNGs)",
    "no split": "images that none of the source's splits has, left out",
    "unused": "images whose pixels are all ignored, left out",
    "unused tiles": "tiles whose pixels are all ignored, left out",
    "unknown class": "shapes of a class that the source does not name; their pixels are ignored (255)",
    "unknown value": "masks with values that the source does not name; these pixels are ignored (255)",
    "outside": "shapes that are wholly outside of their image, left out",
    "cut": "shapes that reach out of their image, cut at its edge",
    "broken": "shapes whose points cannot be read, left out",
    "no outline": "objects without an outline (a box at most), left out",
    "small": "shapes that cover no pixel's centre, left out",
    "no area": "points, lines, tags and other shapes without an area, left out",
    "grey": "masks that are grey but saved as colour images, read as grey",
    "nearest": "masks with pixels that took the nearest colour",
    "far": "masks with pixels that are too far from every colour; these are ignored (255)",
    "turned": "annotations that were turned as EXIF turns their image",
    "elsewhere": "annotations that name an image out of the source; that of this name beside them was taken",
    "embedded": "images that their annotation file alone has, taken from there",
    "renamed": "images that have another name now, as two had the same or theirs cannot be kept",
    "resized": "images that were resized, and saved as PNG",
    "tiled": "images that were cut into tiles, saved as PNG",
}
SHOWN = 3  # names that a line of the account has


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
        for kind, meaning in KINDS.items():
            names = self.names.get(kind)
            if names:
                different = sorted({*names})
                more = f", and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
                result.append(f"{len(names)} {meaning}: {', '.join(different[:SHOWN])}{more}")
        return result + self.notes

    def __str__(self) -> str:
        """The lines as one."""
        return "; ".join(self.lines())

    def content(self) -> Dict[str, object]:
        """The account for JSON: counts and all names by kind, and the notes."""
        kinds = {
            kind: {"meaning": meaning, "count": len(self.names[kind]), "names": sorted({*self.names[kind]})}
            for kind, meaning in KINDS.items()
            if self.names.get(kind)
        }
        return {"kinds": kinds, "notes": self.notes}

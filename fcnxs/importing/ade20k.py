"""ADE20K's SceneParsing as its makers ship it (ADEChallengeData2016): images/ and annotations/.

Source: http://sceneparsing.csail.mit.edu, objectInfo150.txt. Values 1 to 150 are classes, and 0 is none, which
is ignored. A class has the first of its names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict

from ..data.datasets import names_and_colours
from .account import Account
from .found import Class, Found, Options
from .values import Key, by_values, joined

LOOKS_FOR = "images/training/, annotations/training/ADE_*"
TAKES = ()


def recognised(source: Path) -> bool:
    """Whether a folder has images and annotations by ADE20K's names."""
    return all(
        any((source / folder / part).glob("ADE_*"))
        for folder, part in (("images", "training"), ("annotations", "training"))
    )


def read(source: Path, options: Options, account: Account) -> Found:
    """Pairs of images and annotations.

    Raises:
        FCNXSError: no image has an annotation.
    """
    names, colours = names_and_colours("ade20k", "adepallete", skip=1)
    classes = [
        Class(name.split(",")[0], tuple(colour), number)
        for number, (name, colour) in enumerate(zip(names, colours), 1)
    ]
    images, masks = _files(source / "images", "jpg"), _files(source / "annotations", "png")
    return by_values(joined(source, images, masks, account), classes, "ADE20K", options, account, (0,))


def _files(folder: Path, suffix: str) -> Dict[Key, Path]:
    return {(file.parent.name, file.stem): file for file in sorted(folder.glob(f"*/*.{suffix}"))}

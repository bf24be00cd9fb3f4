"""Roboflow's "Semantic Segmentation Masks": NAME_mask.png beside NAME.jpg, and _classes.csv.

Each of train/, valid/ and test/ has its own _classes.csv, whose heading is "Pixel Value, Class"; the masks have
these values. Source: exports on Roboflow Universe (their folders end in `png-mask-semantic`).
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Dict, List

from ..errors import FCNXSError, cut
from ..system.files import read_text
from .account import Account
from .found import Class, Found, Options
from .pairing import pairs
from .values import by_values

LOOKS_FOR = "_classes.csv with 'Pixel Value, Class'"
TAKES = ()
MAP, HEADING = "_classes.csv", ["pixel value", "class"]  # that of images with one class each names the classes
LARGEST = 1 << 20  # bytes of a map


def recognised(source: Path) -> bool:
    """Whether a folder or one in it has _classes.csv of masks."""
    return any(_is_map(file) for file in _maps(source))


def _maps(source: Path) -> List[Path]:
    return sorted([*source.glob(MAP), *source.glob(f"*/{MAP}")])


def _is_map(file: Path) -> bool:
    try:
        return _rows(file)[:1] == [HEADING]
    except FCNXSError:
        return False


def _rows(file: Path) -> List[List[str]]:
    lines = read_text(file, "the values of classes", LARGEST).splitlines()
    try:
        rows = [[field.strip() for field in row] for row in csv.reader(lines)]
    except csv.Error as error:
        raise FCNXSError(f"{file}: not a CSV file, or damaged: {error}") from None
    return [[field.lower() for field in row] for row in rows[:1]] + [row for row in rows[1:] if any(row)]


def read(source: Path, options: Options, account: Account) -> Found:
    """Pairs of images and masks, whose values _classes.csv names.

    Raises:
        FCNXSError: there is no such file, one is damaged, two of them differ, or no image has a mask.
    """
    files = _maps(source)
    if not files:
        raise FCNXSError(f"{source}: no {MAP} here or in a folder here")
    classes: Dict[int, str] = {}
    for file in files:
        for value, name in _classes(file).items():
            if classes.setdefault(value, name) != name:
                raise FCNXSError(
                    f"{file}: names the value {value} {cut(name, 80)!r}, and {files[0]} "
                    f"{cut(classes[value], 80)!r}; import these folders on their own"
                )
    numbered = [Class(name, None, value) for value, name in sorted(classes.items())]
    return by_values(pairs(source, options.images, account), numbered, files[0], options, account)


def _classes(file: Path) -> Dict[int, str]:
    """Name of each value."""
    heading, *rows = _rows(file) or [[]]
    if heading != HEADING:
        raise FCNXSError(
            f"{file}: begins with {cut(', '.join(heading), 80)!r}, not with 'Pixel Value, Class'; export the "
            "data set as 'Semantic Segmentation Masks'"
        )
    for row in rows:
        if len(row) != 2 or not re.fullmatch("[0-9]{1,3}", row[0]) or int(row[0]) > 254:
            raise FCNXSError(f"{file}: {cut(','.join(row), 80)!r} is not a value from 0 to 254 and its class")
    values = [int(value) for value, _ in rows]
    twice = next((value for value in values if values.count(value) > 1), None)
    if twice is not None:
        raise FCNXSError(f"{file}: names the value {twice} twice")
    return {int(value): name for value, name in rows}

"""Masks whose values are known: a file in the source, or the rules of a public data set, say what they mean."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np

from ..conventions import IGNORE_LABEL
from ..data.labels import load_label
from ..errors import FCNXSError
from .account import Account
from .files import SPLITS
from .found import Class, Found, Options, Sample, Size, checked_classes
from .pairing import Pair

Key = Tuple[str, str]  # folder of the split, name


def by_values(
    both: Sequence[Pair],
    classes: Sequence[Class],
    said_by: object,
    options: Options,
    account: Account,
    void: Sequence[int] = (),
) -> Found:
    """Pairs whose masks have the numbers of these classes.

    Pixels of `void`, of 255, and of values that mean nothing are ignored; the masks that have the latter are
    counted.

    Raises:
        FCNXSError: there is no pair, or the classes cannot be those of a label.
    """
    if not both:
        raise FCNXSError(f"{said_by}: no image here has a mask. {account}")
    classes = checked_classes([*classes], said_by)
    table, known = np.full(256, IGNORE_LABEL, np.uint8), np.zeros(256, bool)
    known[[*void, IGNORE_LABEL]] = True
    for position, each in enumerate(classes):
        table[each.number], known[each.number] = position, True
    draw = partial(_drawn, table, known, options, account)
    samples = [Sample(pair.image, pair.name, partial(draw, pair), pair.split) for pair in both]
    return Found(classes, samples, str(said_by), (*void, IGNORE_LABEL))


def _drawn(
    table: np.ndarray, known: np.ndarray, options: Options, account: Account, pair: Pair, _: Size
) -> np.ndarray:
    values = load_label(pair.mask, None, options.exif, (), options.max_pixels).values
    account.add("unknown value", pair.name, not known[values].all())
    return table[values]


def joined(source: Path, images: Dict[Key, Path], masks: Dict[Key, Path], account: Account) -> List[Pair]:
    """Pairs of the images and masks that have the same key; others are counted."""
    result = []
    for key in sorted({*images, *masks}):
        name = (images.get(key) or masks[key]).relative_to(source).as_posix()
        if key in images and key in masks:
            result.append(Pair(images[key], masks[key], name, SPLITS.get(key[0])))
        else:
            account.add("no annotation" if key in images else "no image", name)
    return result

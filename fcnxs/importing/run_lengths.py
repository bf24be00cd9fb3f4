"""COCO's run lengths: along columns, the first run outside of the object, perhaps compressed to a text.

Source: pycocotools' common/maskApi.c, rleToString and rleDecode. It reads and writes beyond its arrays where
the runs do not make up the mask, so that they are read here.
"""

from __future__ import annotations

from typing import List, Sequence, Tuple

import numpy as np

from .found import Size


def compressed(text: str) -> List[int]:
    """Run lengths of a text: 5 bits a letter, the least first, each from the third on less the one two before.

    >>> compressed("04")
    [0, 4]

    Raises:
        ValueError: it is none, or a number has more than 60 bits.
    """
    counts: List[int] = []
    value = bits = 0
    for letter in text.encode("ascii"):
        letter -= 48
        if not 0 <= letter < 64 or bits > 55:
            raise ValueError("not compressed run lengths")
        value |= (letter & 31) << bits
        bits += 5
        if not letter & 32:  # the number ends here; 16 is its sign
            value -= (1 << bits) * (letter >> 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = bits = 0
    if bits:
        raise ValueError("the run lengths end within a number")
    return counts


def in_columns(counts: Sequence[int], size: Size) -> Tuple:
    """Bounds and pixels, as `drawing.Shape` has them, of the run lengths along the columns of a mask (H, W).

    Raises:
        ValueError: they do not make up the mask.
        TypeError, OverflowError: they are no whole numbers.
    """
    height, width = size
    runs = np.array(counts, np.int64)
    if runs.ndim != 1 or not runs.size or runs.min() < 0 or runs.max() > height * width:
        raise ValueError("not run lengths")
    ends = np.cumsum(runs)
    if ends[-1] != height * width:
        raise ValueError("the run lengths do not make up the mask")
    stops = ends[1::2]
    starts = ends[::2][: len(stops)]
    starts, stops = starts[starts < stops], stops[starts < stops]
    if not len(starts):
        return (0, 0, 1, 1), lambda _, window: np.zeros(window, bool)
    left, right = int(starts[0]) // height, (int(stops[-1]) - 1) // height + 1

    def inside(_: Tuple[int, int], window: Size) -> np.ndarray:
        changes = np.zeros((right - left) * height + 1, np.int8)
        changes[starts - left * height] += 1
        changes[stops - left * height] -= 1
        return changes[:-1].cumsum(dtype=np.int8).astype(bool).reshape(window[::-1]).T

    return (left, 0, right, height), inside

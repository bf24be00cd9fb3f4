"""Class probabilities averaged over scales of an image, and over its mirror image at each scale.

Images and probabilities are resized bilinearly, as OpenCV's `cv2.resize` does: their edges stay where they are,
so that pixel x of an image of W pixels lies at (x + 1/2) w/W - 1/2 of one of w. (GluonCV keeps the centres of
the corner pixels where they are, which moves everything between.)
"""

from __future__ import annotations

from contextlib import contextmanager
from math import floor
from typing import Callable, Iterable, Iterator, Sequence, Tuple

import numpy as np

from ..errors import FCNXSError

LARGEST = 10.0  # scale: a hundred times the pixels

Probabilities = Callable[[np.ndarray, object], np.ndarray]


def check_scales(scales: Iterable[float | str], where: str | None = None) -> Tuple[float, ...]:
    """Scales as numbers, in their order; `where` names them in an error.

    >>> check_scales(["1", "0.5"])
    (0.5, 1.0)

    Raises:
        FCNXSError: there is none, or one is not a number, is given twice, or is not in (0, 10].
    """
    try:
        numbers = tuple(map(float, scales))
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(0 < scale <= LARGEST for scale in numbers) or len({*numbers}) < len(numbers):
        where = where or f"scales {scales}"
        raise FCNXSError(f"{where}: expected different numbers above 0, up to {LARGEST:g}, such as 0.5,1,1.5")
    return tuple(sorted(numbers))


def scaled(size: Sequence[int], scale: float) -> Tuple[int, int]:
    """Rows and columns of an image at a scale: rounded, halves up, and at least 1.

    >>> scaled((375, 500), 0.5)
    (188, 250)
    """
    return tuple(max(1, floor(side * scale + 0.5)) for side in size)


def average(
    data: np.ndarray, scales: Sequence[float], flip: bool, probabilities: Probabilities, where: object
) -> np.ndarray:
    """Probabilities, float32 (C, H, W), averaged over scales and, with `flip`, mirror images at each of them.

    Args:
        data: the net's input, float32 (1, 3, H, W).
        probabilities: computes float32 (C, h, w) of an input (1, 3, h, w) and the image's name, for errors.
        where: name of the image.
    """
    size, total = data.shape[2:], None
    for scale in sorted(scales, reverse=True):  # executors of the smaller work in the memory of the largest
        with naming(scale, where) as name:
            small = resized(data[0], scaled(size, scale))[np.newaxis]
            for step in (1, -1) if flip else (1,):
                found = probabilities(small[..., ::step], name)
                total = np.zeros((len(found), *size), np.float32) if total is None else total
                for summed, part in zip(total, found):  # a class at a time: less memory
                    summed += resized(part[np.newaxis, :, ::step], size)[0]
    total /= len(scales) * (2 if flip else 1)
    return total


def resized(planes: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Planes, float32 (K, H, W), resized bilinearly; returned unchanged if they have the size already."""
    if planes.shape[1:] == tuple(size):
        return planes
    planes = (np.ascontiguousarray(plane) for plane in planes)
    import cv2

    return np.stack([cv2.resize(plane, (size[1], size[0]), interpolation=cv2.INTER_LINEAR) for plane in planes])


@contextmanager
def naming(scale: float, where: object) -> Iterator[object]:
    """Context that gives the name of an image at a scale, for messages.

    Raises:
        FCNXSError: an error of the block, with the advice to leave the scale out unless it is 1.
    """
    if scale == 1:
        yield where
        return
    try:
        yield f"{where} at scale {scale:g}"
    except FCNXSError as error:
        raise FCNXSError(f"{error}; leave this scale out") from None


def softmax(scores: np.ndarray) -> np.ndarray:
    """Softmax over the first axis of scores, float32 (C, H, W), in place."""
    scores -= scores.max(axis=0)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=0)
    return scores

"""Draw the shapes of an image into its label."""

from __future__ import annotations

from math import ceil
from typing import Callable, NamedTuple, Sequence, Tuple

import numpy as np

from ..errors import FCNXSError
from .account import Account
from .found import Size

MOST_COVERED = 1000  # times that the shapes of an image may cover all of it


class Shape(NamedTuple):
    """A shape of an image.

    Attributes:
        value: its position in the classes; 255 for an unknown one.
        bounds: left, top, right, bottom.
        inside: its pixels, bool (H, W), in the window of this size whose corner is at the point (x, y).
    """

    value: int
    bounds: Sequence[float]
    inside: Callable[[Tuple[int, int], Size], np.ndarray]


def draw(found: Sequence[Shape], size: Size, name: str, account: Account, image: Size) -> np.ndarray:
    """Label, uint8 (H, W), of the shapes, each over those before it; 0 where there is none.

    Args:
        size: the label's (H, W), as the annotation says it.
        image: the image's (H, W), which `Sample.draw` gets.

    Raises:
        FCNXSError: the shapes would take hours.
    """
    height, width = size
    label, covered = np.zeros(size, np.uint8), 0
    for shape in found:
        left, top, right, bottom = shape.bounds
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            account.add("outside", name)
            continue
        if left < -1 or top < -1 or right > width + 1 or bottom > height + 1:
            account.add("cut", name)
        x, y = max(0, int(left)), max(0, int(top))
        window = label[y : min(height, ceil(bottom)), x : min(width, ceil(right))]
        covered += window.size
        if covered > MOST_COVERED * label.size:
            raise FCNXSError(f"{name}: its shapes cover the image more than {MOST_COVERED} times")
        inside = shape.inside((x, y), window.shape) if window.size else np.zeros(window.shape, bool)
        account.add("small", name, not inside.any())
        window[inside] = shape.value
    return label

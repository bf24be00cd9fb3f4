"""Shapes drawn into a label: a pixel belongs to a shape if its centre lies within.

The pixel in column x and row y has its centre at (x + 1/2, y + 1/2); the image's corners are (0, 0) and (W, H).
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from .found import Size


def polygon(points: np.ndarray, size: Size) -> np.ndarray:
    """Pixels inside a polygon by the even-odd rule, bool (H, W).

    Args:
        points: corners (x, y), float (n, 2).
        size: the label's (H, W).

    >>> polygon(np.array([(1, 0), (3, 0), (3, 2), (1, 2)]), (2, 4)).astype(int)
    array([[0, 1, 1, 0],
           [0, 1, 1, 0]])
    """
    height, width = size
    crossings = np.zeros((height, width + 1), np.int32)  # edges that lie left of a pixel's centre begin there
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0)):
        low, high = (np.ceil(np.clip((y0, y1), -1, height + 1) - 0.5).astype(int)).tolist()
        rows = np.arange(max(min(low, high), 0), min(max(low, high), height))
        if len(rows):
            x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            np.add.at(crossings, (rows, np.ceil(np.clip(x, -1, width) - 0.5).clip(0).astype(int)), 1)
    return crossings[:, :width].cumsum(axis=1) % 2 == 1


def box(left: float, top: float, right: float, bottom: float, degrees: float = 0) -> np.ndarray:
    """Corners, float64 (4, 2), of a box that is turned clockwise about its centre."""
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
    centre = np.array([(left + right) / 2, (top + bottom) / 2])
    return centre + (corners - centre) @ _turn(degrees).T


def ellipse(centre: Sequence[float], radii: Sequence[float], size: Size, degrees: float = 0) -> np.ndarray:
    """Pixels inside an ellipse that is turned clockwise about its centre (x, y), bool (H, W).

    Args:
        radii: half axes along x and y, before the turn.
    """
    height, width = size
    x, y = np.arange(width) + 0.5 - centre[0], np.arange(height)[:, np.newaxis] + 0.5 - centre[1]
    (a, b), (c, d) = _turn(-degrees)
    return ((a * x + b * y) / radii[0]) ** 2 + ((c * x + d * y) / radii[1]) ** 2 <= 1


def run_lengths(counts: np.ndarray, size: Size) -> np.ndarray:
    """Mask, bool (H, W), of run lengths along its rows, the first of which is outside."""
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(size)


def _turn(degrees: float) -> np.ndarray:
    """Matrix that turns (x, y) clockwise, as seen where y points down."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

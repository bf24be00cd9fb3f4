"""Random changes of an image and its label, both alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence, Tuple

import numpy as np
from PIL import Image, ImageEnhance

from ..conventions import IGNORE_LABEL
from ..errors import FCNXSError

Pair = Tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Augmentation:
    """Scale, flip, colour jitter and crop, in this order; by default none of them.

    Args:
        crop_size: side of the square that is cut out at a random place. What an image lacks is added at
            its right and bottom: the mean there (the net's input is 0), 255 in the label. None: no crop.
        scale: smallest and largest factor of the size; uniform between them.
        flip: exchange left and right of half of the images.
        jitter: brightness, contrast and saturation are multiplied by factors from 1 - jitter to 1 + jitter.

    Raises:
        FCNXSError: a value makes no sense.
    """

    crop_size: int | None = None
    scale: Tuple[float, float] = (1.0, 1.0)
    flip: bool = False
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.crop_size is not None and self.crop_size < 1:
            raise FCNXSError(f"crop_size {self.crop_size}: want 1 or more pixels")
        low, high = self.scale
        if not 0 < low <= high < float("inf"):
            raise FCNXSError(f"scale {low:g},{high:g}: want two factors above 0, the smaller one first")
        if not 0 <= self.jitter <= 1:
            raise FCNXSError(f"jitter {self.jitter:g}: want a number from 0 to 1")

    def __call__(
        self, rng: np.random.Generator, image: np.ndarray, label: np.ndarray, mean: Sequence[float]
    ) -> Pair:
        """Changed copies of an image and its label.

        Args:
            rng: all that is random is drawn from it.
            image: RGB uint8 (H, W, 3). label: uint8 (H, W). mean: (R, G, B).

        Returns:
            RGB (h, w, 3), uint8, or float32 where the mean was added to it; uint8 (h, w).
        """
        low, high = self.scale
        if (low, high) != (1, 1):
            image, label = resize(image, label, rng.uniform(low, high))
        if self.flip and rng.random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        if self.jitter:
            image = _jitter(image, rng.uniform(1 - self.jitter, 1 + self.jitter, 3))
        if self.crop_size is not None:
            image, label = _pad(image, label, self.crop_size, mean)
            image, label = cut(rng, image, label, self.crop_size)
        return image, label


def cut(rng: np.random.Generator, image: np.ndarray, label: np.ndarray, side: int) -> Pair:
    """Square of `side` pixels at a random place of an image (H, W, 3) and of its label (H, W)."""
    top, left = (rng.integers(size - side + 1) for size in label.shape)
    return image[top : top + side, left : left + side], label[top : top + side, left : left + side]


def resize(image: np.ndarray, label: np.ndarray, factor: float) -> Pair:
    """Image, uint8 (H, W, 3), bilinear (smoothed where it shrinks), and label, uint8 (H, W), nearest.

    Both take pixels by their centres: the pixel x of the result is at (x + 1/2) / factor of the source.
    """
    height, width = (max(1, round(size * factor)) for size in label.shape)
    image = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    label = Image.fromarray(label).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(image), np.asarray(label)


def _jitter(image: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(image))
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for kind, factor in zip(kinds, factors):
        picture = kind(picture).enhance(factor)
    return np.asarray(picture)


def _pad(image: np.ndarray, label: np.ndarray, side: int, mean: Sequence[float]) -> Pair:
    """Image and label of at least `side` rows and columns."""
    height, width = label.shape
    if min(height, width) >= side:
        return image, label
    shape = max(height, side), max(width, side)
    padded = np.empty((*shape, 3), np.float32)  # the mean is no whole number
    padded[:] = np.asarray(mean, np.float32)
    padded[:height, :width] = image
    padded_label = np.full(shape, IGNORE_LABEL, np.uint8)
    padded_label[:height, :width] = label
    return padded, padded_label

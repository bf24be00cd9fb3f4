"""Random augmentation, applied to an image and its label alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence, Tuple

import numpy as np
from PIL import Image, ImageEnhance

from ..conventions import IGNORE_LABEL
from ..errors import FCNXSError

Pair = Tuple[np.ndarray, np.ndarray]
Size = Tuple[int, int]  # height and width


@dataclass(frozen=True)
class Augmentation:
    """Random scaling, flip, colour jitter and crop, in this order; by default none of them.

    Args:
        crop_size: side in pixels of a square cut out at a random place; None for no crop. Smaller images are
            first padded at the right and bottom, with the mean (so the net's input is 0 there), their labels
            with 255.
        scale: smallest and largest factor to resize by; the factor is drawn uniformly between them.
        flip: swap left and right of an image with probability 1/2.
        jitter: brightness, contrast and saturation are multiplied by factors drawn from 1 - jitter to
            1 + jitter.

    Raises:
        FCNXSError: a value is out of range.
    """

    crop_size: int | None = None
    scale: Tuple[float, float] = (1.0, 1.0)
    flip: bool = False
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.crop_size is not None and self.crop_size < 1:
            raise FCNXSError(f"crop_size {self.crop_size}: expected 1 pixel or more")
        low, high = self.scale
        if not 0 < low <= high < float("inf"):
            raise FCNXSError(f"scale {low:g},{high:g}: expected two factors above 0, the smaller one first")
        if not 0 <= self.jitter <= 1:
            raise FCNXSError(f"jitter {self.jitter:g}: expected a number from 0 to 1")

    def __call__(
        self, rng: np.random.Generator, image: np.ndarray, label: np.ndarray, mean: Sequence[float]
    ) -> Pair:
        """Augmented copies of an image and its label.

        Args:
            rng: source of all random numbers.
            image: RGB uint8 (H, W, 3); with further images uint8 or float32 (H, W, C), of which jitter changes
                the first three channels.
            label: classes, uint8 (H, W), or (K, H, W) of several labellings; here and below.
            mean: mean of the channels, (R, G, B), to pad the image with.

        Returns:
            the image (h, w, C), of its type, or float32 if padded with the mean; the label, uint8 (h, w) or
            (K, h, w).
        """
        low, high = self.scale
        if (low, high) != (1, 1):
            image, label = resize(image, label, rng.uniform(low, high))
        if self.flip and rng.random() < 0.5:
            image, label = image[:, ::-1], label[..., ::-1]
        if self.jitter:
            factors = rng.uniform(1 - self.jitter, 1 + self.jitter, 3)
            image = np.dstack([_jitter(image[..., :3], factors), image[..., 3:]])
        if self.crop_size is not None:
            image, label = _pad(image, label, self.crop_size, mean)
            image, label = cut(rng, image, label, self.crop_size)
        return image, label


def cut(rng: np.random.Generator, image: np.ndarray, label: np.ndarray, side: int) -> Pair:
    """Crop a random square of `side` pixels from an image (H, W, C), and the same from its label (H, W)."""
    top, left = (rng.integers(size - side + 1) for size in label.shape[-2:])
    return image[top : top + side, left : left + side], label[..., top : top + side, left : left + side]


def resize(image: np.ndarray, label: np.ndarray, factor: float) -> Pair:
    """Resize an image, uint8 or float32 (H, W, C), and its label, uint8 (H, W), by a factor.

    The image is interpolated bilinearly, with antialiasing when it shrinks; the label by nearest neighbour.
    Both sample at pixel centres: pixel x of the result lies at (x + 1/2) / factor in the source.
    """
    size = tuple(max(1, round(size * factor)) for size in label.shape[-2:])
    return fit(image, label, size, size)


def fit(image: np.ndarray, label: np.ndarray, size: Size, label_size: Size) -> Pair:
    """As `resize`, to these sizes (height, width) of the image and of the label."""
    step = 3 if image.dtype == np.uint8 else 1  # channels that Pillow resizes at a time
    parts = (image[..., first : first + step] for first in range(0, image.shape[2], step))
    pictures = (Image.fromarray(np.squeeze(part, axis=2) if step == 1 else part) for part in parts)
    image = [np.asarray(each.resize(size[::-1], Image.Resampling.BILINEAR)) for each in pictures]
    planes = map(Image.fromarray, label.reshape(-1, *label.shape[-2:]))
    resized = [np.asarray(plane.resize(label_size[::-1], Image.Resampling.NEAREST)) for plane in planes]
    return np.dstack(image), np.reshape(resized, (*label.shape[:-2], *label_size))


def _jitter(image: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(image.round().astype(np.uint8)))
    kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for kind, factor in zip(kinds, factors):
        picture = kind(picture).enhance(factor)
    return np.asarray(picture)


def _pad(image: np.ndarray, label: np.ndarray, side: int, mean: Sequence[float]) -> Pair:
    """Pad an image with the mean and its label with 255 to at least `side` rows and columns."""
    height, width = label.shape[-2:]
    if min(height, width) >= side:
        return image, label
    shape = max(height, side), max(width, side)
    padded = np.full((*shape, image.shape[2]), mean, np.float32)  # the mean is no whole number
    padded[:height, :width] = image
    padded_label = np.full((*label.shape[:-2], *shape), IGNORE_LABEL, np.uint8)
    padded_label[..., :height, :width] = label
    return padded, padded_label

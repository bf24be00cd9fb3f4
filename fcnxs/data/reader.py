"""Reading and augmenting one image of a data set, as the threads of a `Loader` do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

import numpy as np

from ..conventions import COLOR
from ..errors import FCNXSError
from .augment import Augmentation, Size, cut, fit
from .images import preprocess
from .labels import check_label
from .samples import Samples

_AUGMENTATION = 1  # separates these random numbers from others of the same image


@dataclass(frozen=True)
class Reader:
    """Read and augment an image; it holds no reference to the loader, which can be freed while threads run."""

    samples: Samples
    mean: Tuple[float, ...]
    augmentation: Augmentation | None
    cut_off_size: int | None
    num_classes: Dict[str, int]  # by head; a head without a number is not checked
    seed: int
    resize: Tuple[Size, Size] | None = None  # of the image and of the label, last of all

    def __post_init__(self) -> None:
        kind = getattr(self.samples, "kinds", COLOR)[0]
        if self.augmentation is not None and self.augmentation.jitter and kind != "color":
            raise FCNXSError(f"jitter {self.augmentation.jitter:g}: changes colours, and the images are {kind}")

    def __call__(self, item: Tuple[int, int]) -> Tuple[np.ndarray, np.ndarray]:
        """Image (1, C, H, W) and the labels of its heads (1, K, H, W), both float32, of (epoch, number)."""
        epoch, number = item
        image, label = self.samples.read(number)
        label = label.reshape(-1, *label.shape[-2:])
        for (head, samples), plane in zip(self.samples.heads.items(), label):
            if head in self.num_classes:
                check_label(plane, self.num_classes[head], samples.label_name(number))
        # (seed, epoch) alone would be the numbers of the order: NumPy fills up with zeros
        rng = np.random.default_rng((self.seed, epoch, number, _AUGMENTATION))
        if self.cut_off_size is not None and max(label.shape[1:]) > self.cut_off_size:
            image, label = cut(rng, image, label, min(self.cut_off_size, *label.shape[1:]))
        if self.augmentation is not None:
            image, label = self.augmentation(rng, image, label, self.mean)
        if self.resize is not None:
            image, label = fit(image, label, *self.resize)
        return preprocess(image, self.mean), label[np.newaxis].astype(np.float32)

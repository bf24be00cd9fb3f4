"""Data sets with several labels for each image, one for each head of a net, as SIFT Flow has them."""

from __future__ import annotations

from typing import Any, Dict, Sequence, Tuple

import numpy as np

from ..errors import FCNXSError
from .samples import Samples


class HeadedSamples(Samples):
    """One data set for each head, of the same images; each image is read once.

    Args:
        heads: the data sets by the names of their heads, in the order of the net's.

    Raises:
        FCNXSError: their images differ.
    """

    heads: Dict[str, Samples] = {}  # noqa: RUF012  (set for each)

    def __init__(self, heads: Dict[str, Samples]) -> None:
        (name, first), *others = heads.items()
        for other, samples in others:
            lacking = sorted({*first.images} ^ {*samples.images})
            if lacking or first.images != samples.images:
                file = lacking[0] if lacking else first.root
                raise FCNXSError(f"{file}: the heads {name} and {other} have labels of other images")
        super().__init__(first.images, first.labels, first.root)
        self.heads, self.exif, self.max_pixels, self.allow = heads, first.exif, first.max_pixels, first.allow
        self.kinds, self.more = first.kinds, first.more

    def has_label(self, number: int) -> bool:
        """Whether the image of this number has a label for each head."""
        return all(samples.has_label(number) for samples in self.heads.values())

    def read(self, number: int) -> Tuple[np.ndarray, np.ndarray]:
        """Image, RGB uint8 (H, W, 3), and a label for each head, uint8 (K, H, W).

        Raises:
            FCNXSError: as `Samples.read`.
        """
        first, *others = self.heads.values()
        image, orientation, label = first.load(number)
        labels = [first.fitting(number, label, image.shape[:2], orientation)]
        for samples in others:
            label = samples.read_label(samples.sources(number)[-1])
            labels.append(samples.fitting(number, label, image.shape[:2], orientation))
        return image, np.stack(labels)

    def reading(self, *args: Any, **how: Any) -> HeadedSamples:  # noqa: ANN401  (those of `Samples`)
        """As `Samples.reading`, for each head."""
        return HeadedSamples({head: samples.reading(*args, **how) for head, samples in self.heads.items()})

    def of_kinds(self, kinds: Sequence[str]) -> HeadedSamples:
        """As `Samples.of_kinds`, for each head."""
        return HeadedSamples({head: samples.of_kinds(kinds) for head, samples in self.heads.items()})

    def subset(self, numbers: Sequence[int]) -> HeadedSamples:
        """As `Samples.subset`, for each head."""
        return HeadedSamples({head: samples.subset(numbers) for head, samples in self.heads.items()})

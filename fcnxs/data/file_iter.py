"""The original example's iterator: the images of a list, one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Iterable

from ..conventions import VGG_MEAN, PathLike
from .loader import Loader
from .samples import Samples, read_list


class FileIter(Loader):
    """Labelled images of a list, one at a time, whole, each of its own size.

    Each step gives `{data_name: (1, 3, H, W) float32, label_name: (1, H, W) float32}`; the image is RGB
    minus `rgb_mean`. Every image of the list comes once between two calls of `reset`.

    Args:
        root_dir: folder that the paths of the list are relative to.
        flist_name: list file in `root_dir`, as `read_list` takes it.
        rgb_mean: subtracted from every pixel (R, G, B).
        cut_off_size, data_name, label_name, shuffle, seed, num_classes: see `Loader`.

    Source: the arguments before `shuffle` are those of apache/mxnet 1.4.1 example/fcn-xs/data.py.

    Raises:
        FCNXSError: as `read_list`; or an image cannot be read, or its label has a wrong size, kind or value (at
            once for the first image, while iterating for the others).
    """

    def __init__(
        self,
        root_dir: PathLike,
        flist_name: PathLike,
        rgb_mean: Iterable[float] = VGG_MEAN,
        cut_off_size: int | None = None,
        data_name: str = "data",
        label_name: str = "softmax_label",
        *,
        shuffle: bool = False,
        seed: int = 0,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(
            Samples(*zip(*read_list(root_dir, flist_name)), root_dir),
            rgb_mean,
            cut_off_size=cut_off_size,
            shuffle=shuffle,
            seed=seed,
            num_classes=num_classes,
            data_name=data_name,
            label_name=label_name,
        )
        self._last()

    @property
    def current(self) -> Path:
        """Image file that was read last."""
        return Path(super().current)

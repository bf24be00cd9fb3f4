"""A batch of labelled images: NumPy arrays by name, which MXNet's modules read as a `DataBatch` too."""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np

from ..compat import mxnet as mx
from ..conventions import PathLike
from ..errors import FCNXSError


class Batch(Dict[str, np.ndarray]):
    """Arrays by name: images, float32 (N, 3, H, W), and labels, float32 (N, H, W), of each head.

    Beside this it has all that MXNet's own iterators give (`mx.io.DataBatch`).

    Args:
        images, labels: arrays by name.

    Attributes:
        numbers: numbers of the images in the data set; `index`: the same as an array.
        files: the images' files; of data that has no files, their names.
        seed: 31 bits for the dropout of this step, from the loader's seed, the epoch and the first image's
            number.
        data, label: lists of NDArrays on `mx.cpu()`, made when they are first read.
        provide_data, provide_label: lists of `DataDesc`.
        data_names, label_names: names of the images, and of the labels.
        pad: 0, since a last batch with fewer images is not filled up.
        bucket_key: height and width of the images.
    """

    pad = 0

    def __init__(
        self,
        images: Dict[str, np.ndarray],
        labels: Dict[str, np.ndarray],
        numbers: Sequence[int],
        files: Sequence[PathLike],
        seed: int,
    ) -> None:
        super().__init__({**images, **labels})
        self.numbers, self.files, self.seed = tuple(numbers), tuple(map(Path, files)), seed
        self.data_names, self.label_names = [*images], [*labels]

    @property
    def stacked(self) -> np.ndarray:
        """Channels of all images, float32 (N, C, H, W)."""
        return stack_of(self, self.data_names)

    @cached_property
    def data(self) -> List[mx.nd.NDArray]:
        """Images, float32 (N, 3, H, W), in a list."""
        return [mx.nd.array(self[name], mx.cpu()) for name in self.data_names]

    @cached_property
    def label(self) -> List[mx.nd.NDArray]:
        """Labels, float32 (N, H, W), in a list."""
        return [mx.nd.array(self[name], mx.cpu()) for name in self.label_names]

    @property
    def index(self) -> np.ndarray:
        """Numbers of the images in the data set, int64 (N,)."""
        return np.array(self.numbers, np.int64)

    @property
    def bucket_key(self) -> Tuple[int, int]:
        """Height and width of the images."""
        return self[self.data_names[0]].shape[2:]

    @property
    def provide_data(self) -> List[mx.io.DataDesc]:
        """Name and shape of the images."""
        return [mx.io.DataDesc(name, self[name].shape) for name in self.data_names]

    @property
    def provide_label(self) -> List[mx.io.DataDesc]:
        """Name and shape of the labels."""
        return [mx.io.DataDesc(name, self[name].shape, layout="NHW") for name in self.label_names]


def stack_of(batch: Dict[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Channels of the images of these names, (N, C, H, W), in their order."""
    return np.concatenate([batch[name] for name in names], axis=1) if names[1:] else batch[names[0]]


def by_names(images: np.ndarray, names: Sequence[str], channels: Sequence[int]) -> Dict[str, np.ndarray]:
    """Images (N, C, H, W) by one name, or each of several, of so many `channels`, by its own.

    Raises:
        FCNXSError: there are several names, and not as many images.
    """
    if len(names) not in (1, len(channels)):
        raise FCNXSError(f"data_name {', '.join(names)}: there are {len(channels)} images in a sample")
    return dict(zip(names, np.split(images, [*accumulate(channels)][:-1] if names[1:] else [], axis=1)))

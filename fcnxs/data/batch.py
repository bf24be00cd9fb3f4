"""A batch of labelled images: NumPy arrays by name, which MXNet's modules read as a `DataBatch` too."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np

from ..compat import mxnet as mx
from ..conventions import PathLike


class Batch(Dict[str, np.ndarray]):
    """Arrays by name: images, float32 (N, 3, H, W), and labels, float32 (N, H, W).

    Beside this it has all that MXNet's own iterators give (`mx.io.DataBatch`).

    Args:
        arrays: the images, then the labels.

    Attributes:
        numbers: numbers of the images in the data set; `index`: the same as an array.
        files: the images' files; of data that has no files, their names.
        seed: 31 bits for the dropout of this step, from the loader's seed, the epoch and the first image's
            number.
        data, label: lists of one NDArray on `mx.cpu()`, made when they are first read.
        provide_data, provide_label: lists of one `DataDesc`.
        pad: 0, since a last batch with fewer images is not filled up.
        bucket_key: height and width of the images.
    """

    pad = 0

    def __init__(
        self, arrays: Dict[str, np.ndarray], numbers: Sequence[int], files: Sequence[PathLike], seed: int
    ) -> None:
        super().__init__(arrays)
        self.numbers, self.files, self.seed = tuple(numbers), tuple(map(Path, files)), seed
        self.data_name, self.label_name = arrays

    @cached_property
    def data(self) -> List[mx.nd.NDArray]:
        """Images, float32 (N, 3, H, W), in a list."""
        return [mx.nd.array(self[self.data_name], mx.cpu())]

    @cached_property
    def label(self) -> List[mx.nd.NDArray]:
        """Labels, float32 (N, H, W), in a list."""
        return [mx.nd.array(self[self.label_name], mx.cpu())]

    @property
    def index(self) -> np.ndarray:
        """Numbers of the images in the data set, int64 (N,)."""
        return np.array(self.numbers, np.int64)

    @property
    def bucket_key(self) -> Tuple[int, int]:
        """Height and width of the images."""
        return self[self.data_name].shape[2:]

    @property
    def provide_data(self) -> List[mx.io.DataDesc]:
        """Name and shape of the images."""
        return [mx.io.DataDesc(self.data_name, self[self.data_name].shape)]

    @property
    def provide_label(self) -> List[mx.io.DataDesc]:
        """Name and shape of the labels."""
        return [mx.io.DataDesc(self.label_name, self[self.label_name].shape, layout="NHW")]

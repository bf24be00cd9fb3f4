"""From an image to its class map."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator, Tuple

import numpy as np

from .checkpoint import Checkpoint
from .compat import mxnet as mx
from .data import FileIter, preprocess
from .errors import FCNXSError
from .executors import check_size
from .export import scores_symbol
from .facts import available_memory
from .init import check_params
from .net import Net
from .passes import Passes
from .peak import peak_bytes
from .score import confusion_matrix
from .tiling import Read, Tiling, reader, windows

SHARE = 0.8  # of the available memory that is taken where nobody sets a limit


class Segmenter:
    """A checkpoint ready to segment images of any size, with the weights that it has now.

    The weights are copied: what is changed in the checkpoint's arrays later changes no answer. Several things
    are made of them and kept, by MXNet too, so that updates could otherwise be seen in part.

    Args:
        trimmed: compute only what depends on the image: the same to float32's rounding, in less time.
        memory_limit: bytes to work in beyond the weights and the image. An image that needs more is computed in
            tiles, with the same result. None: 80% of the memory that is available.

    Raises:
        FCNXSError: the checkpoint is not an FCN, or a parameter is missing.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        ctx: mx.Context | None = None,
        trimmed: bool = True,
        memory_limit: float | None = None,
    ) -> None:
        symbol, params_file = scores_symbol(checkpoint.symbol), checkpoint.params_file
        check_params(symbol, checkpoint.arg_params, checkpoint.aux_params, str(params_file))
        if "score_weight" not in checkpoint.arg_params:
            raise FCNXSError(f"{params_file}: no score_weight among the parameters; is it an FCN?")
        self.ctx = mx.cpu() if ctx is None else ctx
        self.mean = checkpoint.meta.mean
        self.numclass = checkpoint.arg_params["score_weight"].shape[0]
        names = checkpoint.meta.classes
        if names is not None and len(names) != self.numclass:
            raise FCNXSError(f"{params_file}: {self.numclass} classes, but its meta file names {len(names)}")
        wanted = {*symbol.list_arguments()}
        params = {name: each.copyto(self.ctx) for name, each in checkpoint.arg_params.items() if name in wanted}
        auxs = {name: array.copyto(self.ctx) for name, array in checkpoint.aux_params.items()}
        mx.nd.waitall()  # a copy is made when MXNet comes to it
        self.memory_limit = memory_limit
        self._passes = Passes(Net(symbol, params, auxs), self.ctx, trimmed)
        self._tiling: Tiling | None = None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Class map, uint8 (H, W), of an image, RGB uint8 (H, W, 3).

        Raises:
            FCNXSError: the image is too small for the net, or too large for the limit of memory.
        """
        return _whole(self.bands(image))

    def bands(self, image: np.ndarray, where: object = "an image") -> Iterator[Tuple[int, np.ndarray]]:
        """First row, and class map, uint8 (h, W), of one band of an image after the other, from the top.

        An image that is not computed in tiles is one band. `where` names it in an error.

        Args:
            image: RGB uint8 (H, W, 3), of which a memory-mapped file will do.
        """
        size = image.shape[:2]
        if self.fits(size, where):
            yield 0, self.class_map(preprocess(image, self.mean), where)
        else:
            yield from self._tiled(size, reader(image, self.mean), where)

    def class_map(self, data: np.ndarray, where: object = "an image") -> np.ndarray:
        """Class map, uint8 (H, W), of what `preprocess` made of an image (1, 3, H, W); `where` names it."""
        size = data.shape[2:]
        if not self.fits(size, where):
            return _whole(self._tiled(size, windows(data), where))
        scores = self._passes.scores(mx.nd.array(data, self.ctx), where)
        return mx.nd.argmax(scores, axis=1)[0].asnumpy().astype(np.uint8)

    def fits(self, size: Tuple[int, int], where: object = "an image") -> bool:
        """Whether an image of so many rows and columns is computed as a whole, not in tiles.

        Raises:
            FCNXSError: it is too small for the net.
        """
        if self._passes.has((1, 3, *size)):
            return True
        symbol = self._passes.net.symbol
        check_size(symbol, "data", (1, 3, *size), where)
        needed = peak_bytes(symbol, {"data": (1, 3, *size)})
        return needed <= self._limit()

    def _limit(self) -> float:
        if self.memory_limit is not None:
            return self.memory_limit
        if self.ctx.device_type == "gpu":
            return SHARE * mx.context.gpu_memory_info(self.ctx.device_id)[0]
        return SHARE * available_memory()

    def _tiled(self, size: Tuple[int, int], read: Read, where: object) -> Iterator[Tuple[int, np.ndarray]]:
        self._passes.release()
        if self._tiling is None or self._tiling.size != tuple(size):
            try:
                self._tiling = Tiling(self._passes.net, tuple(size), self._limit(), self.ctx)
            except FCNXSError as error:
                raise FCNXSError(f"{where}: {error}") from None
        yield from self._tiling.class_maps(read)


def _whole(bands: Iterator[Tuple[int, np.ndarray]]) -> np.ndarray:
    maps = [band for _, band in bands]
    return maps[0] if len(maps) == 1 else np.concatenate(maps)


def evaluate(
    segmenter: Segmenter, data: FileIter, on_prediction: Callable[[Path, np.ndarray], None] | None = None
) -> np.ndarray:
    """Confusion matrix (C, C) of a net over labelled images; rows are true classes.

    Args:
        on_prediction: told the file of each image and its class map, uint8 (H, W).
    """
    matrix = np.zeros((segmenter.numclass, segmenter.numclass), np.int64)
    data.reset()
    for batch in data:
        prediction = segmenter.class_map(batch[data.data_name], data.current)
        matrix += confusion_matrix(batch[data.label_name][0], prediction, segmenter.numclass)
        if on_prediction is not None:
            on_prediction(data.current, prediction)
    return matrix

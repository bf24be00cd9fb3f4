"""From an image to its class map."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

import numpy as np

from .checkpoint import Checkpoint
from .compat import mxnet as mx
from .data import FileIter, preprocess
from .errors import FCNXSError
from .executors import Executors
from .export import scores_symbol
from .init import check_params
from .score import confusion_matrix


class Segmenter:
    """A checkpoint ready to segment images of any size.

    Raises:
        FCNXSError: the checkpoint is not an FCN, or a parameter is missing.
    """

    def __init__(self, checkpoint: Checkpoint, ctx: mx.Context | None = None) -> None:
        symbol, params_file = scores_symbol(checkpoint.symbol), checkpoint.params_file
        check_params(symbol, checkpoint.arg_params, checkpoint.aux_params, str(params_file))
        if "score_weight" not in checkpoint.arg_params:
            raise FCNXSError(f"{params_file}: no score_weight among the parameters; is it an FCN?")
        self.ctx = mx.cpu() if ctx is None else ctx
        self.mean = checkpoint.meta.mean
        self.numclass = checkpoint.arg_params["score_weight"].shape[0]
        params = {name: array.as_in_context(self.ctx) for name, array in checkpoint.arg_params.items()}
        auxs = {name: array.as_in_context(self.ctx) for name, array in checkpoint.aux_params.items()}
        names = checkpoint.meta.classes
        if names is not None and len(names) != self.numclass:
            raise FCNXSError(f"{params_file}: {self.numclass} classes, but its meta file names {len(names)}")
        self._executors = Executors(symbol, self.ctx, params, auxs)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Class map, uint8 (H, W), of an image, RGB uint8 (H, W, 3).

        Raises:
            FCNXSError: the image is too small for the net.
        """
        return self.class_map(preprocess(image, self.mean))

    def class_map(self, data: np.ndarray, where: object = "an image") -> np.ndarray:
        """Class map, uint8 (H, W), of what `preprocess` made of an image (1, 3, H, W); `where` names it."""
        executor = self._executors.get("data", data.shape, where)
        scores = executor.forward(is_train=False, data=mx.nd.array(data, self.ctx))[0]
        return mx.nd.argmax(scores, axis=1)[0].asnumpy().astype(np.uint8)


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

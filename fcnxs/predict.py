"""From an image to its class map."""

from __future__ import annotations

import numpy as np

from .checkpoint import Checkpoint
from .compat import mxnet as mx
from .data import FileIter, preprocess
from .errors import FCNXSError
from .executors import Executors
from .export import scores_symbol
from .score import confusion_matrix


class Segmenter:
    """A checkpoint ready to segment images of any size.

    Raises:
        FCNXSError: the checkpoint is not an FCN, or a parameter is missing.
    """

    def __init__(self, checkpoint: Checkpoint, ctx: mx.Context | None = None) -> None:
        symbol = scores_symbol(checkpoint.symbol)
        missing = set(symbol.list_arguments()) - {"data"} - set(checkpoint.arg_params)
        if missing or "score_weight" not in checkpoint.arg_params:
            lacks = ", ".join(sorted(missing)) or "score_weight"
            raise FCNXSError(f"{checkpoint.params_file}: parameters {lacks} of the net are missing")
        self.ctx = mx.cpu() if ctx is None else ctx
        self.mean = checkpoint.meta.mean
        self.numclass = checkpoint.arg_params["score_weight"].shape[0]
        params = {name: array.as_in_context(self.ctx) for name, array in checkpoint.arg_params.items()}
        auxs = {name: array.as_in_context(self.ctx) for name, array in checkpoint.aux_params.items()}
        self._executors = Executors(symbol, self.ctx, params, auxs)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Class map, uint8 (H, W), of an image, RGB uint8 (H, W, 3).

        Raises:
            FCNXSError: the image is too small for the net.
        """
        return self.class_map(preprocess(image, self.mean))

    def class_map(self, data: np.ndarray) -> np.ndarray:
        """Class map, uint8 (H, W), of an image that `preprocess` has made (1, 3, H, W)."""
        executor = self._executors.get("data", data.shape)
        scores = executor.forward(is_train=False, data=mx.nd.array(data, self.ctx))[0]
        return mx.nd.argmax(scores, axis=1)[0].asnumpy().astype(np.uint8)


def evaluate(segmenter: Segmenter, data: FileIter) -> np.ndarray:
    """Confusion matrix (C, C) of a net over labelled images; rows are true classes."""
    matrix = np.zeros((segmenter.numclass, segmenter.numclass), np.int64)
    data.reset()
    for batch in data:
        prediction = segmenter.class_map(batch[data.data_name])
        matrix += confusion_matrix(batch[data.label_name][0], prediction, segmenter.numclass)
    return matrix

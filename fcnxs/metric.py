"""Loss and scores of a net, counted batch by batch, as an MXNet metric."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from .compat import mxnet as mx
from .conventions import IGNORE_LABEL
from .score import NAMES, confusion_matrix, scores

# A batch's loss is rounded to a multiple of this, in nats, so that float64 adds losses exactly (up to 2^33), in
# any order: a run of several processes that resumes inside an epoch has the same loss as one that did not stop.
LOSS_UNIT = 2.0**-20


class SegmentationMetric(mx.metric.EvalMetric):
    """Mean loss per pixel and the four scores; pixels labelled 255 are left out.

    Args:
        class_weights: with weights of the classes, there is also the `weighted_loss`: the sum of each pixel's
            loss times the weight of its label, divided by the number of pixels.

    `update` takes whole labels (N, H, W) or (N, H*W) and probabilities (N, C, H, W).

    >>> metric = SegmentationMetric(numclass=2)
    >>> probabilities = mx.nd.array([[[[0.5, 0.25, 0.5]], [[0.5, 0.75, 0.5]]]])  # (1, 2, 1, 3)
    >>> loss = metric.update([mx.nd.array([[[0, 1, 255]]])], [probabilities])  # -(log 0.5 + log 0.75)/2
    >>> print(f"{loss:.4f}", [f"{name} {value:.4f}" for name, value in zip(*metric.get())][:2])
    0.4904 ['loss 0.4904', 'pixel_accuracy 1.0000']
    """

    def __init__(self, numclass: int, class_weights: Sequence[float] | None = None) -> None:
        self.numclass = numclass
        self.class_weights = None if class_weights is None else np.array(class_weights, np.float64)
        super().__init__("segmentation")

    def reset(self) -> None:
        """Set all counts to zero."""
        self.matrix = np.zeros((self.numclass, self.numclass), np.int64)
        self.loss_sum = self.weighted_sum = 0.0

    def update(self, labels: List[mx.nd.NDArray], preds: List[mx.nd.NDArray]) -> float:
        """Count one batch, and return its mean loss per pixel, in nats; NaN if all pixels are ignored.

        Args:
            labels: one array (N, H, W) or (N, H*W), classes or 255.
            preds: one array (N, C, H, W), probabilities.
        """
        return self.count(labels[0].asnumpy(), labels[0].as_in_context(preds[0].context), preds[0])

    def count(self, truth: np.ndarray, label: mx.nd.NDArray, probabilities: mx.nd.NDArray) -> float:
        """As `update`, of a label that the host and the device have.

        The device computes the loss and the classes: only these leave it, 8 bytes and one byte a pixel.

        Args:
            truth: (N, H, W) or (N, H*W), classes or 255.
            label: the same on the device of `probabilities`.
            probabilities: (N, C, H, W).
        """
        probabilities = probabilities.reshape((0, 0, -1))  # (N, C, H*W)
        label = label.reshape((len(label), -1))  # (N, H*W)
        of_truth = mx.nd.pick(probabilities, label, axis=1)
        counted = mx.nd.where(label == IGNORE_LABEL, mx.nd.ones_like(of_truth), of_truth).astype("float64")
        losses = -mx.nd.log(mx.nd.maximum(counted, 1e-37))  # 0 where the label is 255
        loss, weighted = losses.sum(), None
        if self.class_weights is not None:
            table = mx.nd.array(self.class_weights, label.context, "float64")
            weighted = (losses * mx.nd.take(table, label, mode="clip")).sum()
        prediction = mx.nd.argmax(probabilities, axis=1).astype("uint8" if self.numclass <= 256 else "int32")
        batch = confusion_matrix(truth.reshape(label.shape), prediction.asnumpy(), self.numclass)
        loss, pixels = float(loss.asscalar()), int(batch.sum())
        self.loss_sum += _in_units(loss)
        if weighted is not None:
            self.weighted_sum += _in_units(float(weighted.asscalar()))
        self.matrix += batch
        return loss / pixels if pixels else float("nan")

    def get(self) -> Tuple[List[str], List[float]]:
        """Names and values: the mean loss per pixel, with weights the weighted one, and the four scores."""
        result, pixels = scores(self.matrix), self.matrix.sum()
        sums = {"loss": self.loss_sum}
        if self.class_weights is not None:
            sums["weighted_loss"] = self.weighted_sum
        losses = [total / pixels if pixels else float("nan") for total in sums.values()]
        return [*sums, *NAMES], [*losses, *(getattr(result, name) for name in NAMES)]

    def state(self) -> Dict[str, Any]:
        """The counts, exactly, in types that JSON can hold."""
        weighted = {} if self.class_weights is None else {"weighted_sum": self.weighted_sum}
        return {"loss_sum": self.loss_sum, "matrix": self.matrix.tolist(), **weighted}

    def restore(self, state: Dict[str, Any]) -> None:
        """Set the counts to those that `state` returned."""
        self.loss_sum, self.weighted_sum = float(state["loss_sum"]), float(state.get("weighted_sum", 0))
        self.matrix = np.array(state["matrix"]).astype(np.int64).reshape(self.numclass, self.numclass)


def _in_units(loss: float) -> float:
    return float(np.rint(loss / LOSS_UNIT) * LOSS_UNIT)


def count_batch(
    metric: mx.metric.EvalMetric | None,
    truth: np.ndarray,
    label: mx.nd.NDArray,
    probabilities: mx.nd.NDArray,
) -> float | None:
    """Update a metric with a batch, and return the value of its `update`.

    A metric of MXNet's gets only the pixels that are not ignored, on the device, and no batch without any.

    Args:
        truth: (N, H, W) or (N, H*W), classes or 255.
        label: the same values on the device of `probabilities`.
        probabilities: (N, C, H, W).
    """
    if metric is None:
        return None
    if isinstance(metric, SegmentationMetric):
        return metric.count(truth, label, probabilities)
    counted = np.flatnonzero(np.reshape(truth, -1) != IGNORE_LABEL)
    if not counted.size:
        return None
    pixels = mx.nd.transpose(probabilities, (0, 2, 3, 1)).reshape((-1, probabilities.shape[1]))  # (N*H*W, C)
    chosen = mx.nd.array(counted, probabilities.context, np.int32)
    return metric.update([mx.nd.take(label.reshape(-1), chosen)], [mx.nd.take(pixels, chosen)])

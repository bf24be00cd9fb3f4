"""Loss and scores of a net, counted batch by batch, as an MXNet metric."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from .compat import mxnet as mx
from .conventions import IGNORE_LABEL
from .errors import FCNXSError
from .score import NAMES, confusion_matrix, scores

# A batch's loss is rounded to a multiple of this, in nats, so that float64 adds losses exactly (up to 2^33), in
# any order: a run of several processes that resumes inside an epoch has the same loss as one that did not stop.
LOSS_UNIT = 2.0**-20


class SegmentationMetric(mx.metric.EvalMetric):
    """Mean loss per pixel and the four scores; pixels labelled 255 are left out.

    Args:
        class_weights: with weights of the classes, there is also the `weighted_loss`: the sum of each pixel's
            loss times the weight of its label, divided by the number of pixels.
        squared: the loss is half the squared distance of a pixel's masks from the true ones, 1 for its class
            and 0 for the others, as of nets that regress masks; else the softmax loss, in nats.

    `update` takes whole labels (N, H, W) or (N, H*W) and probabilities (N, C, H, W).

    >>> metric = SegmentationMetric(numclass=2)
    >>> probabilities = mx.nd.array([[[[0.5, 0.25, 0.5]], [[0.5, 0.75, 0.5]]]])  # (1, 2, 1, 3)
    >>> loss = metric.update([mx.nd.array([[[0, 1, 255]]])], [probabilities])  # -(log 0.5 + log 0.75)/2
    >>> print(f"{loss:.4f}", [f"{name} {value:.4f}" for name, value in zip(*metric.get())][:2])
    0.4904 ['loss 0.4904', 'pixel_accuracy 1.0000']
    """

    def __init__(
        self, numclass: int, class_weights: Sequence[float] | None = None, squared: bool = False
    ) -> None:
        self.numclass, self.squared = numclass, squared
        self.class_weights = None if class_weights is None else np.array(class_weights, np.float64)
        super().__init__("segmentation")

    def reset(self) -> None:
        """Set all counts to zero."""
        self.matrix = np.zeros((self.numclass, self.numclass), np.int64)
        self.loss_sum = self.weighted_sum = 0.0

    def update(self, labels: List[mx.nd.NDArray], preds: List[mx.nd.NDArray]) -> float:
        """Count one batch, and return its mean loss per pixel; NaN if all pixels are ignored.

        Args:
            labels: one array (N, H, W) or (N, H*W), classes or 255.
            preds: one array (N, C, H, W), probabilities, or masks.
        """
        return self.count(labels[0].asnumpy(), labels[0].as_in_context(preds[0].context), preds[0])

    def count(self, truth: np.ndarray, label: mx.nd.NDArray, probabilities: mx.nd.NDArray) -> float:
        """As `update`, of a label that the host and the device have.

        The device computes the loss and the classes: only these leave it, 8 bytes and one byte a pixel.

        Args:
            truth: (N, H, W) or (N, H*W), classes or 255.
            label: the same on the device of `probabilities`, in any shape.
            probabilities: (N, C, H, W), or (N*H*W, C).
        """
        if probabilities.ndim == 4:
            probabilities = probabilities.reshape((0, 0, -1))  # (N, C, H*W)
        label = label.reshape((-1, *probabilities.shape[2:]))  # (N, H*W), or (N*H*W,)
        of_truth = mx.nd.pick(probabilities, label, axis=1)
        if self.squared:
            masks = probabilities.astype("float64")
            losses = ((masks**2).sum(axis=1) - 2 * of_truth.astype("float64") + 1) / 2
        else:
            losses = -mx.nd.log(mx.nd.maximum(of_truth.astype("float64"), 1e-37))
        losses = mx.nd.where(label == IGNORE_LABEL, mx.nd.zeros_like(losses), losses)
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


class HeadsMetric(mx.metric.EvalMetric):
    """Loss and scores of a net of several heads, or of one: a `SegmentationMetric` for each.

    Its own loss is the sum of the heads' losses, which training minimises, and its scores are their means.

    Args:
        heads: number of classes of each head by name; {"": 21} of a net of one.
        class_weights, squared: as for `SegmentationMetric`.
    """

    def __init__(
        self, heads: Dict[str, int], class_weights: Sequence[float] | None = None, squared: bool = False
    ) -> None:
        how = class_weights, squared
        self.heads = {head: SegmentationMetric(count, *how) for head, count in heads.items()}
        super().__init__("segmentation of heads")

    def reset(self) -> None:
        """Set all counts to zero."""
        for metric in self.heads.values():
            metric.reset()

    @property
    def loss_sum(self) -> float:
        """Sum of all pixels' losses, of all heads, in nats."""
        return sum(metric.loss_sum for metric in self.heads.values())

    def update(self, labels: List[mx.nd.NDArray], preds: List[mx.nd.NDArray]) -> float:
        """Count one batch: of each head a label (N, H, W) or (N, H*W) and probabilities (N, C, H, W)."""
        return self.count([label.asnumpy() for label in labels], labels, preds)

    def count(
        self, truths: List[np.ndarray], labels: List[mx.nd.NDArray], probabilities: List[mx.nd.NDArray]
    ) -> float:
        """As `update`, of labels that the host and the device have; returns the sum of the heads' losses.

        Args:
            truths, labels: of each head, (N, H, W) or (N, H*W), classes or 255; `labels` in any shape.
            probabilities: of each head, (N, C, H, W), or (N*H*W, C).
        """
        heads = self.heads.values()
        losses = [metric.count(*each) for metric, *each in zip(heads, truths, labels, probabilities)]
        there = [loss for loss in losses if not np.isnan(loss)]
        return sum(there) if there else float("nan")

    def get(self) -> Tuple[List[str], List[float]]:
        """Names and values: those of `SegmentationMetric`, losses summed and scores averaged over the heads."""
        names = next(iter(self.heads.values())).get()[0]
        values = zip(*(metric.get()[1] for metric in self.heads.values()))
        return names, [
            sum(each) if name.endswith("loss") else sum(each) / len(each) for name, each in zip(names, values)
        ]

    def state(self) -> Dict[str, Any]:
        """The counts of the one head, or of each by name, exactly, in types that JSON can hold."""
        states = {head: metric.state() for head, metric in self.heads.items()}
        return states.get("", {"heads": states})

    def restore(self, state: Dict[str, Any]) -> None:
        """Set the counts to those that `state` returned."""
        for head, metric in self.heads.items():
            metric.restore(state["heads"][head] if head else state)


def _in_units(loss: float) -> float:
    return float(np.rint(loss / LOSS_UNIT) * LOSS_UNIT)


def count_batch(
    metric: mx.metric.EvalMetric | None,
    truths: List[np.ndarray],
    labels: List[mx.nd.NDArray],
    probabilities: List[mx.nd.NDArray],
) -> float | None:
    """Update a metric with a batch, and return the value of its `update`.

    A metric of MXNet's gets only the pixels that are not ignored, on the device, and no batch without any.

    Args:
        truths: of each head (N, H, W) or (N, H*W), classes or 255.
        labels: the same values on the device of `probabilities`, in any shape.
        probabilities: of each head (N, C, H, W), or (N*H*W, C).

    Raises:
        FCNXSError: a `SegmentationMetric` is of one head, and there are several.
    """
    if metric is None:
        return None
    if isinstance(metric, HeadsMetric):
        return metric.count(truths, labels, probabilities)
    if isinstance(metric, SegmentationMetric):
        if truths[1:]:
            raise FCNXSError(f"SegmentationMetric: is of one head, the net has {len(truths)}: give HeadsMetric")
        return metric.count(truths[0], labels[0], probabilities[0])
    pairs = []
    for truth, label, output in zip(truths, labels, probabilities):
        counted = np.flatnonzero(np.reshape(truth, -1) != IGNORE_LABEL)
        if counted.size:
            pixels = output
            if pixels.ndim == 4:
                pixels = mx.nd.transpose(pixels, (0, 2, 3, 1)).reshape((-1, pixels.shape[1]))
            chosen = mx.nd.array(counted, output.context, np.int32)
            pairs.append((mx.nd.take(label.reshape(-1), chosen), mx.nd.take(pixels, chosen)))
    return metric.update(*map(list, zip(*pairs))) if pairs else None

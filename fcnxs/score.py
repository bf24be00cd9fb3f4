"""The four scores of semantic segmentation (FCN paper, section 5), from one confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict

import numpy as np

from .conventions import IGNORE_LABEL

NAMES = ("pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu")


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, numclass: int) -> np.ndarray:
    """Count pixels by true and predicted class.

    >>> confusion_matrix(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 1]), numclass=2)
    array([[1, 1],
           [0, 1]])

    Args:
        truth, prediction: integers of one shape; `truth` holds classes or 255.

    Returns:
        (numclass, numclass) int64, rows are true classes; ignored pixels are left out.
    """
    counted = truth != IGNORE_LABEL
    pairs = numclass * truth[counted].astype(np.int64) + prediction[counted].astype(np.int64)
    return np.bincount(pairs, minlength=numclass**2).reshape(numclass, numclass)


@dataclass(frozen=True)
class Scores:
    """Scores in [0, 1]; NaN if there was no pixel to score.

    Mean accuracy is over the classes that occur in the truth, mean IU over those that occur in the
    truth or in the prediction.
    """

    pixel_accuracy: float
    mean_accuracy: float
    mean_iu: float
    frequency_weighted_iu: float
    class_accuracy: np.ndarray  # (numclass,), NaN for classes absent from the truth
    class_iu: np.ndarray  # (numclass,), NaN for classes absent from truth and prediction
    class_pixels: np.ndarray  # (numclass,), pixels of the truth

    def as_json(self) -> Dict[str, float | None]:
        """The four scores by name, None for NaN."""
        return {name: or_none(getattr(self, name)) for name in NAMES}


def scores(matrix: np.ndarray) -> Scores:
    """Scores of a confusion matrix (numclass, numclass) whose rows are true classes.

    >>> result = scores(np.array([[1, 1], [0, 1]]))
    >>> round(result.pixel_accuracy, 4), result.mean_accuracy, result.class_iu
    (0.6667, 0.75, array([0.5, 0.5]))
    """
    hits = np.diag(matrix).astype(np.float64)
    truth = matrix.sum(axis=1).astype(np.float64)
    union = truth + matrix.sum(axis=0) - hits
    with np.errstate(invalid="ignore"):  # 0/0 is NaN: an absent class
        class_accuracy, class_iu = hits / truth, hits / union
        pixel_accuracy = hits.sum() / truth.sum()
        weighted = (truth[truth > 0] * class_iu[truth > 0]).sum() / truth.sum()
    return Scores(
        float(pixel_accuracy),
        _mean(class_accuracy),
        _mean(class_iu),
        float(weighted),
        class_accuracy,
        class_iu,
        matrix.sum(axis=1),
    )


def or_none(value: float) -> float | None:
    """The number; None in the place of NaN, which JSON cannot hold."""
    return None if np.isnan(value) else float(value)


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")

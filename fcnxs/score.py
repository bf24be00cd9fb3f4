"""The four scores of semantic segmentation (FCN paper, section 5), from one confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Sequence

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
    class_precision: np.ndarray  # (numclass,), NaN for classes that are never predicted
    class_f1: np.ndarray  # (numclass,), Dice's coefficient; NaN for classes absent from truth and prediction

    @property
    def class_recall(self) -> np.ndarray:
        """Another name of `class_accuracy`, (numclass,)."""
        return self.class_accuracy

    def of_classes(self, names: Sequence[str]) -> List[Dict[str, str | int | float | None]]:
        """A dict for each class, of these names: its pixels and scores, None for NaN."""
        columns = ("accuracy", "iu", "precision", "recall", "f1")
        return [
            {
                "class": name,
                "pixels": int(self.class_pixels[i]),
                **{key: or_none(getattr(self, f"class_{key}")[i]) for key in columns},
            }
            for i, name in enumerate(names)
        ]

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
    predicted = matrix.sum(axis=0).astype(np.float64)
    union = truth + predicted - hits
    with np.errstate(invalid="ignore"):  # 0/0 is NaN: an absent class
        class_accuracy, class_iu = hits / truth, hits / union
        class_precision, class_f1 = hits / predicted, 2 * hits / (truth + predicted)
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
        class_precision,
        class_f1,
    )


def or_none(value: float) -> float | None:
    """The number; None in the place of NaN, which JSON cannot hold."""
    return None if np.isnan(value) else float(value)


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")

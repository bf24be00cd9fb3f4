"""How two maps of scores agree: largest difference, pixels of the same class, ties between classes.

A tie is a pixel whose classes differ only because two scores are nearly equal there:

>>> expected = np.float32([[[[3.0, 1.0]], [[1.0, 1.00001]]]])  # two classes, two pixels
>>> given = np.float32([[[[3.0, 1.00001]], [[1.0, 1.0]]]])
>>> found = agreement_of(expected, given)
>>> found.agreement, found.ties, found.equal
(0.5, 0.5, True)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-5  # largest difference of two equal scores, relative to the largest score
AGREEMENT = 0.9999  # least part of the pixels that have the same class in two equal maps


@dataclass(frozen=True)
class Agreement:
    """Agreement of scores with those that are expected.

    Args:
        difference: largest difference of two scores, or probabilities; None between class maps.
        largest: largest absolute value of an expected score.
        agreement: part of the pixels whose class is the same.
        ties: part of the pixels whose classes differ, but whose expected scores of both classes are within
            twice the tolerance.
    """

    difference: float | None
    largest: float
    agreement: float
    ties: float

    @property
    def same_classes(self) -> bool:
        """Whether the class maps are equal to `AGREEMENT`, where ties agree."""
        return self.agreement + self.ties >= AGREEMENT

    @property
    def equal(self) -> bool:
        """Whether the scores are equal to `TOLERANCE`, and the class maps to `AGREEMENT`."""
        return self.difference <= TOLERANCE * self.largest and self.same_classes


def agreement_of(expected: np.ndarray, given: np.ndarray, probabilities: bool = False) -> Agreement:
    """Compare an output with expected scores (N, C, H, W).

    Args:
        given: scores or probabilities (N, C, H, W), or a class map (N, H, W).
        probabilities: `given` is the softmax of scores.
    """
    largest, difference = float(np.abs(expected).max()), None
    if given.ndim == 3:
        classes = given.astype(np.int64)
    else:
        classes, reference = given.argmax(1), expected.astype(np.float64)
        if probabilities:
            reference = np.exp(reference - reference.max(1, keepdims=True))
            reference /= reference.sum(1, keepdims=True)
        difference = float(np.abs(given - reference).max())
    same = classes == expected.argmax(1)
    of_given = np.take_along_axis(expected, classes[:, np.newaxis], 1)[:, 0]
    tied = ~same & (expected.max(1) - of_given <= 2 * TOLERANCE * largest)
    return Agreement(difference, largest, float(same.mean()), float(tied.mean()))

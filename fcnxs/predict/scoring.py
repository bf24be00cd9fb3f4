"""The confusion matrix of a net on labelled images, whose scores `fcnxs.score.scores` computes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Callable

import numpy as np

from ..conventions import IGNORE_LABEL
from ..data.loader import Loader
from ..errors import FCNXSWarning
from ..score import confusion_matrix
from .segmenter import Segmenter


def evaluate(
    segmenter: Segmenter, data: Loader, on_prediction: Callable[[Path, np.ndarray], None] | None = None
) -> np.ndarray:
    """Confusion matrix (C, C) of a net on labelled images; rows are true classes, columns predicted ones.

    Warns if the labels have nothing but class 0 and 255: every net that says class 0 would score 1.0.

    Args:
        data: gives batches of one or more images.
        on_prediction: called with the file of each image and its class map, uint8 (H, W).
    """
    matrix, ignored = np.zeros((segmenter.numclass, segmenter.numclass), np.int64), 0
    data.reset()
    for batch in data:
        images, labels = batch.stacked, batch[data.label_name]
        for image, label, file in zip(images, labels, batch.files):
            prediction = segmenter.class_map(image[np.newaxis], file)
            matrix += confusion_matrix(label, prediction, segmenter.numclass)
            ignored += int((label == IGNORE_LABEL).sum())
            if on_prediction is not None:
                on_prediction(file, prediction)
    if ignored and matrix[0].any() and not matrix[1:].any():
        warnings.warn(
            f"the labels have only the values 0 and 255, and {ignored} pixels of 255 are ignored; if 255 marks "
            "objects, the scores mean nothing: write 1 instead",
            FCNXSWarning,
            stacklevel=2,
        )
    return matrix

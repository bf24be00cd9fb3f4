"""What is told while nets train: progress, log files and TensorBoard are listeners."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Sequence

import numpy as np

from ..score import Scores
from ..stages import Stage


class Listener:
    """Told what happens; here, each method does nothing."""

    def begin(self, stages: Sequence[Stage], images: int, evaluated: int) -> None:
        """The run begins, or goes on: so many images to train on and to evaluate on (0: none)."""

    def goes_on(self, stage: str, epoch: int, batches: int) -> None:
        """Tell where a run goes on: after so many batches of an epoch, from 1, of a stage."""

    def step(self, stage: Stage, epoch: int, done: int, images: int, loss: float) -> None:
        """Tell a step.

        Args:
            epoch: from 1.
            done: images of this epoch so far, this step's with them.
            images: those of this step, of all devices and machines.
            loss: mean over this process's pixels that count, before the update; NaN if none counts.
        """

    def evaluated(self, stage: Stage, epoch: int, done: int) -> None:
        """So many images are evaluated."""

    def prediction(
        self, stage: Stage, epoch: int, number: int, data: np.ndarray, truth: np.ndarray, class_map: np.ndarray
    ) -> None:
        """Tell one of the first few predictions of an evaluation.

        Args:
            number: of the image, from 0, in the order of evaluation.
            data: the net's input, float32 (3, H, W), RGB minus the mean.
            truth, class_map: uint8 (H, W); 255 in the truth does not count.
        """

    def epoch(self, record: Dict[str, Any], result: Scores | None) -> None:
        """Tell what an epoch came to: a line of metrics.jsonl, and the scores with those of the classes."""

    def saved(self, file: Path) -> None:
        """A checkpoint is written."""

    def warning(self, text: str) -> None:
        """Something that does not stop the run is likely to be wrong."""

    def close(self) -> None:
        """The run has ended, well or not."""

"""Who listens to a run: the base class of what shows and writes down its events."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Sequence

import numpy as np

from ..score import Scores
from ..stages import Stage


class Listener:
    """Base class of listeners: `finetune` calls a method for each event; here, they do nothing."""

    def begin(self, stages: Sequence[Stage], images: int, evaluated: int) -> None:
        """The run begins or resumes, with so many images to train and to evaluate on (0: none)."""

    def goes_on(self, stage: str, epoch: int, batches: int) -> None:
        """The run resumes after so many batches of a stage's epoch, counted from 1."""

    def weights(self, stage: Stage, account: str) -> None:
        """A stage begins: which parameters are copied from where, which begin anew, and which are left out."""

    def step(self, stage: Stage, epoch: int, done: int, images: int, loss: float) -> None:
        """A step is done.

        Args:
            epoch: epoch of the stage, from 1.
            done: images of this epoch so far, including this step's.
            images: images of this step, on all devices and machines.
            loss: mean over this process's pixels that are not ignored, before the update; NaN if all are.
        """

    def evaluated(self, stage: Stage, epoch: int, done: int) -> None:
        """So many images of the evaluation are done."""

    def prediction(
        self,
        stage: Stage,
        epoch: int,
        number: int,
        data: np.ndarray,
        truth: np.ndarray,
        class_map: np.ndarray,
        head: str = "",
    ) -> None:
        """One of the first few images of an evaluation is predicted.

        Args:
            number: number of the image, from 0, in the order of evaluation.
            data: the net's input, float32 (3, H, W), RGB minus the mean.
            truth, class_map: classes, uint8 (H, W), or of the masks' size; 255 in the truth is ignored.
            head: name of the head, of a net with several, for each of which this is called.
        """

    def epoch(self, record: Dict[str, Any], result: Scores | Dict[str, Scores] | None) -> None:
        """An epoch is done: its line of metrics.jsonl, and its scores with those of each class.

        The scores of several heads are by name.
        """

    def ended_early(self, stage: Stage, epoch: int, best: int) -> None:
        """A stage has ended after this epoch, since its mean IU has not risen since the epoch `best`."""

    def saved(self, file: Path) -> None:
        """A checkpoint or a state is written."""

    def warning(self, text: str) -> None:
        """Something is likely to be wrong, but the run continues."""

    def close(self) -> None:
        """The run has ended, with or without an error."""

"""Progress of training: bars on a terminal, elsewhere a line now and then, and a line for each epoch."""

from __future__ import annotations

import math
import sys
import time
from datetime import timedelta
from typing import Any, Callable, Dict, Sequence

from tqdm import tqdm
from tqdm.std import EMA

from ...finetune import Listener
from ...score import Scores
from ...stages import Stage
from .printing import say

# Without a bar, a line is printed for each tenth of an epoch, but no sooner than EARLIEST seconds and no later
# than LATEST seconds after the line before.
EARLIEST, LATEST = 30, 600
BAR = "{desc} |{bar}| {n_fmt}/{total_fmt}{postfix}"


class Running:
    """Moving mean, in which the last fifty calls or so count most; smoothed as tqdm smooths its rate."""

    def __init__(self) -> None:
        self._total, self._count = EMA(1 / 50), EMA(1 / 50)

    def add(self, total: float, count: float) -> None:
        """Count in `count` things whose sum is `total`."""
        self._total(total), self._count(count)

    @property
    def mean(self) -> float:
        """Mean of one thing; NaN if there was none."""
        return self._total() / self._count() if self._count() else math.nan


class Progress(Listener):
    """Show what a run does, how fast, and how long it will take.

    On a terminal, each epoch and each evaluation has a bar on stderr. Elsewhere, lines on stdout take its
    place. Both show the time left of the epoch, and of the run with all epochs and evaluations to come. Before
    the first evaluation, evaluating an image is assumed to take a third of the time of training on it.

    Args:
        quiet: show neither bars nor lines. Warnings are printed on stderr in any case.
        clock: returns seconds.
    """

    def __init__(self, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.quiet, self._clock = quiet, clock
        self._on_terminal = sys.stderr.isatty()
        self._training, self._evaluation, self._loss = Running(), Running(), Running()
        self._bar: tqdm | None = None
        self._title, self._stage = "", ""
        self.begin((), 0, 0)

    def begin(self, stages: Sequence[Stage], images: int, evaluated: int) -> None:
        """Remember the stages and the numbers of images."""
        self._stages, self._images, self._to_evaluate = stages, images, evaluated
        self._last = self._told_at = self._clock()

    def goes_on(self, stage: str, epoch: int, batches: int) -> None:
        """Print where the run resumes."""
        if not self.quiet:
            begun = batches or epoch == 1
            where = f"epoch {epoch}, after {batches} batches" if begun else f"after epoch {epoch - 1}"
            say(f"goes on with {stage}, {where}")

    def step(self, stage: Stage, epoch: int, done: int, images: int, loss: float) -> None:
        """Show the images done, the speed, the moving mean of the loss, and the time left."""
        if stage.name != self._stage:
            self._stage, self._loss = stage.name, Running()
        self._training.add(self._passed(), images)
        if not math.isnan(loss):
            self._loss.add(loss * images, images)
        title, loss = f"{stage.name} epoch {epoch}/{stage.epochs}", f", loss {self._loss.mean:.4f}"
        later = self._evaluating(self._to_evaluate) + self._later(stage, epoch)
        self._show(title, done - images, done, self._images, self._training.mean, loss, later)

    def evaluated(self, stage: Stage, epoch: int, done: int) -> None:
        """Show how many images are evaluated, and the time left."""
        title = f"{stage.name} epoch {epoch}/{stage.epochs}, evaluation"
        before = self._shown if title == self._title else 0
        self._evaluation.add(self._passed(), done - before)
        later = self._later(stage, epoch)
        self._show(title, before, done, self._to_evaluate, self._evaluation.mean, "", later)

    def epoch(self, record: Dict[str, Any], result: Scores | Dict[str, Scores] | None) -> None:
        """Print the losses and scores of an epoch."""
        self.close()
        self._passed()
        line = f"{record['stage']} epoch {record['epoch']}: train loss {record['train_loss']:.4f}"
        if record["pixel_accuracy"] is not None:
            line += (
                f", val loss {record['val_loss']:.4f}, pixel acc. {record['pixel_accuracy']:.4f}, "
                f"mean acc. {record['mean_accuracy']:.4f}, mean IU {record['mean_iu']:.4f}, "
                f"f.w. IU {record['frequency_weighted_iu']:.4f}"
            )
        for head, scores in (record.get("heads") or {}).items():
            if scores["mean_iu"] is not None:
                line += f"; {head}: val loss {scores['val_loss']:.4f}, mean IU {scores['mean_iu']:.4f}"
        if not self.quiet:
            say(f"{line} ({record['seconds']} s)")

    def ended_early(self, stage: Stage, epoch: int, best: int) -> None:
        """Print why a stage has ended."""
        if not self.quiet:
            why = f"its mean IU has not risen since epoch {best} (--patience)"
            say(f"{stage.name} ends after epoch {epoch} of {stage.epochs}: {why}")

    def warning(self, text: str) -> None:
        """Print a warning on stderr, above the bar."""
        with tqdm.external_write_mode(file=sys.stderr):
            say(f"fcnxs: warning: {text}", sys.stderr)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._title = None, ""

    def _passed(self) -> float:
        """Seconds since the last call."""
        before, self._last = self._last, self._clock()
        return self._last - before

    def _evaluating(self, images: int) -> float:
        """Seconds that the evaluation of so many images will take."""
        pace = self._evaluation.mean
        return images * (self._training.mean / 3 if math.isnan(pace) else pace) if images else 0.0

    def _later(self, stage: Stage, epoch: int) -> float:
        """Seconds that the epochs after this one will take."""
        names = [each.name for each in self._stages]
        later = self._stages[names.index(stage.name) + 1 :] if stage.name in names else ()
        epochs = stage.epochs - epoch + sum(each.epochs for each in later)
        if not epochs:
            return 0.0
        pace = self._training.mean
        if math.isnan(pace):  # the run was resumed in an evaluation
            pace = 3 * self._evaluation.mean
        return epochs * (self._images * pace + self._evaluating(self._to_evaluate))

    def _show(
        self, title: str, before: int, done: int, total: int, pace: float, loss: str, later: float
    ) -> None:
        """Move the bar of this title, or print a line if it is time for one.

        Args:
            title: stage and epoch.
            before: images that were done when the epoch began or was resumed.
            done: images done now.
            total: images of the epoch.
            pace: seconds of an image.
            loss: text to print behind the speed.
            later: seconds that the run will take after this epoch.
        """
        if title != self._title:
            self.close()
            self._title, self._told = title, before
        self._shown = done
        if self.quiet:
            return
        left = (total - done) * pace
        text = (
            f"{1 / max(pace, 1e-9):.2f} images/s{loss}, left: {_time(left)}, of the run {_time(left + later)}"
        )
        if self._on_terminal:
            if self._bar is None:
                self._bar = tqdm(
                    total=total, initial=before, desc=title, leave=False, bar_format=BAR, dynamic_ncols=True
                )
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        waited = self._last - self._told_at
        if waited >= EARLIEST and (done - self._told >= total / 10 or waited >= LATEST):
            self._told, self._told_at = done, self._last
            say(f"{title}: {done}/{total} images, {text}")


def _time(seconds: float) -> str:
    """Days, hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))

"""What the stages of a run of finetuning share: data, folder, listeners, and the other processes of a job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from ..checkpoint.meta import Meta
from ..compat import mxnet as mx
from ..data.loader import Loader
from ..metric import SegmentationMetric
from ..solver.collective import Exchange
from .listener import Listener


class StoppedError(Exception):
    """The run was asked to stop, and has saved its state to `file`."""

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self.file = file


@dataclass
class Job:
    """What the stages of a run share.

    Args:
        train, val: data; `val` None: nothing is evaluated.
        output: folder of the run.
        accumulate: batches of each device in a step.
        checkpoint_every: steps between states; they are saved at every epoch in any case.
        keep: number of a stage's epochs whose parameters are kept; None: all.
        should_stop: asked before every step and evaluated batch.
        exchange: sums over devices and processes; the process of rank 0 evaluates and writes.
        last_good: parameters that are known to be good, for messages.
        last_state: that was saved, or gone on from.
    """

    train: Loader
    val: Loader | None
    output: Path
    meta: Meta
    accumulate: int = 1
    checkpoint_every: int | None = None
    keep: int | None = None
    listeners: Sequence[Listener] = ()
    should_stop: Callable[[], bool] = lambda: False
    exchange: Exchange | None = None
    last_good: str = ""
    last_state: Path | None = None

    @property
    def rank(self) -> int:
        """Number of this process."""
        return self.exchange.rank if self.exchange else 0

    @property
    def workers(self) -> int:
        """Number of processes."""
        return self.exchange.workers if self.exchange else 1

    def agree(self, stop: bool) -> bool:
        """Whether to stop: all processes ask at the same points, and stop together."""
        return self.exchange.any(stop) if self.exchange else stop

    def sum(self, metric: SegmentationMetric) -> SegmentationMetric:
        """What all processes have counted; all ask at the same points."""
        if self.workers == 1:
            return metric
        counted = mx.nd.array([metric.loss_sum, *metric.matrix.flat])
        self.exchange.sum(["counted"], [[counted]])
        loss_sum, *matrix = counted.asnumpy().astype(np.float64)
        result = SegmentationMetric(metric.numclass)
        result.restore({"loss_sum": loss_sum, "matrix": np.rint(matrix)})
        return result

    def tell(self, what: str, *args: Any) -> None:  # noqa: ANN401  (as the listeners' methods)
        """Call a method of every listener."""
        for listener in self.listeners:
            getattr(listener, what)(*args)

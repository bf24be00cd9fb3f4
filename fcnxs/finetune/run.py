"""A run of finetuning: its data, folder and settings, how far it has come, and who listens to its events."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence

import numpy as np

from .. import checkpoint
from ..compat import mxnet as mx
from ..data.loader import Loader
from ..epoch_choice import best_of, best_prefix
from ..errors import FCNXSError, quoted
from ..metric import LOSS_UNIT, HeadsMetric
from ..score import NAMES
from ..solver.collective import Exchange
from ..solver.solver import Solver
from ..stages import Stage
from .listener import Listener
from .run_folder import params_file, write_scores
from .state import State, leave_out_bilinear, save_state


class StoppedError(Exception):
    """The run was asked to stop, and has saved its state to `file`."""

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self.file = file


@dataclass(frozen=True)
class Data:
    """Images and labels.

    Args:
        train: loader of the training data; its seed also seeds order, augmentation and dropout of the run.
        val: loader of the data to evaluate on after each epoch; None for no evaluation.
    """

    train: Loader
    val: Loader | None = None


@dataclass(frozen=True)
class Output:
    """Where a run writes, and how much.

    Args:
        folder: folder of the run.
        meta: metadata of the checkpoints; its classes are those of the data.
        checkpoint_every: steps between states; None: a state at each epoch only.
        keep: number of a stage's epochs whose parameters are kept; None: all.
        resume: continue from the state in `folder`; without one, begin.
        plan: JSON that run.json keeps for the caller; the keys of `run_folder.FORM` are the command's.
    """

    folder: Path
    meta: checkpoint.Meta
    checkpoint_every: int | None = None
    keep: int | None = None
    resume: bool = False
    plan: Dict[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", Path(self.folder))  # which may be given as text


@dataclass(frozen=True)
class Settings:
    """How a run trains, apart from its stages.

    Args:
        devices: device, or devices, each of which takes its own images; None is the CPU.
        kvstore, recompute, trim: see `Solver`.
        pooling_convention: rounding of the nets' pooled sizes, 'valid' or 'full'; None takes the parent's.
        accumulate: batches of each device in a step; None: the stage's.
        class_weights: weight of each class in the loss, as `Solver` takes it; run.json keeps it.
        patience: a stage ends when its mean IU has not risen for so many epochs, and the next starts from its
            best epoch; None: it trains all epochs, and the next starts from the last. run.json keeps it.
    """

    devices: mx.Context | Sequence[mx.Context] | None = None
    kvstore: str | mx.kv.KVStore | Exchange | None = None
    pooling_convention: str | None = None
    recompute: bool = False
    trim: bool = True
    accumulate: int | None = None
    class_weights: Sequence[float] | None = None
    patience: int | None = None


@dataclass
class Run:
    """One process's view of a run.

    Args:
        stages: all stages, in order.
        exchange: sums over devices and processes; the process of rank 0 evaluates and writes.
        should_stop: asked before every step and evaluated batch.
        state: current position, parameters and scores of the run, updated while it trains.
        stage, solver: the stage in training, and its solver.
        metric: loss and scores that this process counted in this epoch.
        last_good: the last parameters known to be finite, for messages.
        last_state: the state that was saved last, or that the run resumed from.

    Attributes:
        classes: names of the classes of each head, of one head by "".
        rank: number of this process, from 0.
        workers: number of processes.
    """

    stages: Sequence[Stage]
    data: Data
    output: Output
    settings: Settings
    exchange: Exchange | None
    listeners: Sequence[Listener]
    should_stop: Callable[[], bool]
    state: State | None = None
    stage: Stage | None = None
    solver: Solver | None = None
    metric: HeadsMetric | None = None
    last_good: str = ""
    last_state: Path | None = None
    one_class: bool = False

    def __post_init__(self) -> None:
        self.classes = self.output.meta.of_heads
        self.rank, self.workers = (self.exchange.rank, self.exchange.workers) if self.exchange else (0, 1)
        for loader in (self.data.train, self.data.val):
            if loader is not None and self.workers == 1:  # others would wait for this process's part of a step
                loader.should_stop = self.should_stop

    @property
    def best(self) -> Dict[str, Any] | None:
        """Record of the stage's best epoch so far, the first of equal ones; None if none has a mean IU."""
        return best_of(self.state.records[len(self.state.records) - (self.state.epoch - 1) :])

    @property
    def impatient(self) -> bool:
        """Whether the stage's mean IU has not risen for `patience` epochs; only the process of rank 0 knows."""
        done, best = self.state.epoch - 1, self.best
        return bool(self.settings.patience) and done - (best["epoch"] if best else 0) >= self.settings.patience

    def agree(self, stop: bool) -> bool:
        """Whether any process wants to stop. All processes must call this at the same points."""
        return self.exchange.any(stop) if self.exchange else stop

    def counted(self) -> HeadsMetric:
        """Sum of all processes' metrics. All processes must call this at the same points."""
        if self.workers == 1:
            return self.metric
        result = self.new_metric()
        for head, metric in self.metric.heads.items():
            losses = [metric.loss_sum / LOSS_UNIT, metric.weighted_sum / LOSS_UNIT]
            counts = np.array([*losses, *metric.matrix.flat], np.float64)
            loss, weighted, *matrix = self.exchange.totals(counts)
            sums = {"loss_sum": loss * LOSS_UNIT, "weighted_sum": weighted * LOSS_UNIT}
            result.heads[head].restore({**sums, "matrix": matrix})
        return result

    @property
    def numbers(self) -> Dict[str, int]:
        """Number of classes of each head, of one head by ""."""
        return {head: len(names) for head, names in self.classes.items()}

    def new_metric(self) -> HeadsMetric:
        """A metric of the run's heads, classes and their weights, which has counted nothing."""
        return HeadsMetric(self.numbers, self.settings.class_weights, self.stage.resize is not None)

    def tell(self, what: str, *args: Any) -> None:  # noqa: ANN401  (as the listeners' methods)
        """Call the method `what` of every listener, with these arguments."""
        for listener in self.listeners:
            getattr(listener, what)(*args)

    def save(self, counted: HeadsMetric | None = None) -> Path:
        """Save the state (on rank 0), and return its file.

        Args:
            counted: metric of the epoch so far, over all processes; None between epochs.
        """
        folder, state = self.output.folder, self.state
        if self.rank != 0 or self.last_state == state.file(folder):
            return self.last_state or folder
        self._check_finite()
        state.metric = counted.state() if counted else {}
        state.arg_params, state.aux_params = self.solver.arg_params, self.solver.aux_params
        leave_out_bilinear(state, self.stage.fixed)
        state.arrays, state.optimizer = self.solver.replicas[0].optimizer_state()
        with self._last_state_offered():
            self.last_state = save_state(folder, state)
        self.tell("saved", self.last_state)
        return self.last_state

    def save_epoch(self, record: Dict[str, Any], seconds: float) -> None:
        """Write the files of an epoch. Its state comes last: until then, a resumed run does the epoch again.

        Args:
            record: line of metrics.jsonl.
            seconds: time that the epoch took.
        """
        stage, state, folder = self.stage, self.state, self.output.folder
        net = (self.solver.symbol, self.solver.arg_params, self.solver.aux_params, self.output.meta)
        epoch, mean_iu = record["epoch"], record["mean_iu"]
        self._check_finite()
        with self._last_state_offered():
            params = checkpoint.save(folder / stage.name, epoch, *net)
            if mean_iu is not None and (state.best is None or mean_iu > state.best):
                checkpoint.save(best_prefix(folder, stage.name), 0, *net)
                state.best = mean_iu
        state.records.append(record)
        state.stage_seconds += seconds
        state.epoch, state.position, state.seconds = epoch + 1, 0, 0.0
        if epoch == stage.epochs or self.impatient:
            row = (self.best or record) if self.settings.patience else record
            scores = {name: row[name] for name in (*NAMES, "heads") if name in row}
            seconds = round(state.stage_seconds, 1)
            state.rows.append({"name": stage.name, "epoch": row["epoch"], **scores, "seconds": seconds})
        self.save()
        if self.output.keep is not None:
            for old in range(1, epoch - self.output.keep + 1):
                params_file(folder, stage.name, old).unlink(missing_ok=True)
        write_scores(folder, state.records, state.rows)
        self.tell("saved", params)

    def diverged(self, what: str) -> FCNXSError:
        """Error for a loss or parameters that are not finite; `what` says which, and where."""
        return FCNXSError(
            f"{self.stage.name}, {what}; the last good checkpoint is {self.last_good}; start from it, or "
            f"anew, with a smaller --lr than {self.stage.learning_rate:g}"
        )

    def _check_finite(self) -> None:
        if not all_finite(list(self.solver.arg_params.values())):
            where = f"epoch {self.state.epoch}, after batch {self.state.position}"
            raise self.diverged(f"{where}: the parameters are no longer finite")

    @contextmanager
    def _last_state_offered(self) -> Iterator[None]:
        """Add the last good state to the error if a file cannot be written."""
        try:
            yield
        except FCNXSError as error:
            way_out = (
                f"; the last good state is {self.last_state}: when there is room to write, "
                f"--resume {quoted(self.output.folder)} continues"
            )
            raise FCNXSError(f"{error}{way_out if self.last_state else ''}") from None


def all_finite(arrays: List[mx.nd.NDArray]) -> bool:
    """Whether no value of the arrays, of any shapes, is infinite or NaN."""
    return bool(mx.nd.multi_all_finite(*arrays, num_arrays=len(arrays)).asscalar()) if arrays else True

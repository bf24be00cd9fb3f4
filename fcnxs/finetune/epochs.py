"""One stage of finetuning: epochs of steps, each followed by an evaluation and its files."""

from __future__ import annotations

import math
import time
from typing import Any, Dict, List, Tuple

import numpy as np

from ..compat import mxnet as mx
from ..conventions import IGNORE_LABEL
from ..data.loader import Batch
from ..errors import FCNXSError, quoted
from ..heads import with_head
from ..metric import HeadsMetric
from ..score import NAMES, Scores, or_none, scores
from ..system.threads import StalledError
from .run import Run, StoppedError, all_finite
from .run_folder import params_file

LABEL = "softmax_label"  # of a net with one head
PICTURES = 4  # predictions of each evaluation that listeners get


def train_stage(run: Run) -> None:
    """Train the run's stage, from where its state stands to the last epoch, or to the end of `patience`.

    Raises:
        StoppedError: `run.should_stop` asked for it.
        FCNXSError: the loss or the parameters are not finite, every label is 255, or as `Loader`.
    """
    patience = run.settings.patience
    while run.state.epoch <= run.stage.epochs:
        if patience and run.agree(run.rank == 0 and run.impatient):
            break
        epoch, began = run.state.epoch, time.time() - run.state.seconds
        run.metric = run.new_metric()
        if run.state.metric and run.rank == 0:  # a state has the counts of all processes
            run.metric.restore(run.state.metric)
        run.state.metric = {}
        if run.state.position < run.data.train.batches:
            _train_epoch(run, began)
            run.metric = run.counted()
        if run.rank == 0:
            _end_epoch(run, began)
        run.last_good = str(params_file(run.output.folder, run.stage.name, epoch))
        run.state.epoch, run.state.position = epoch + 1, 0
        if run.workers > 1 and run.agree(False):
            raise StoppedError(run.output.folder)


def _train_epoch(run: Run, began: float) -> None:
    """Train on the rest of an epoch; in each step, every process takes `own` batches while there are any."""
    train, state = run.data.train, run.state
    own = len(run.solver.replicas) * (run.settings.accumulate or run.stage.accumulate)
    # Each epoch of the run has another order and other augmentations.
    number = sum(stage.epochs for stage in run.stages[: run.stages.index(run.stage)]) + state.epoch
    train.seek(number, own_positions(state.position, train.batches, own, run.workers, run.rank))
    while state.position < train.batches:
        if run.agree(run.should_stop()):
            raise StoppedError(run.save(run.counted()))
        ahead = min(own * run.workers, train.batches - state.position)  # batches of this step, everywhere
        done = min((state.position + ahead) * train.batch_size, len(train))
        images = done - state.position * train.batch_size
        batches = _read(run, min(max(ahead - run.rank * own, 0), own))
        loss = run.solver.step(batches, train, run.metric, images=images)
        _check_finite(run, batches, own)
        state.position += ahead
        state.steps += 1
        state.seconds = time.time() - began
        run.tell("step", run.stage, state.epoch, done, images, loss)
        every = run.output.checkpoint_every
        if every and state.steps % every == 0 and state.position < train.batches:
            run.save(run.counted())  # the end of an epoch saves anyway


def own_positions(start: int, batches: int, own: int, workers: int, rank: int) -> List[int]:
    """Numbers of an epoch's batches that a process trains on, from `start` on.

    Args:
        batches: number of batches of the epoch, over all processes.
        own: batches of each process in a step; processes take turns.
    """
    return [position for position in range(start, batches) if (position - start) // own % workers == rank]


def _read(run: Run, count: int) -> List[Batch]:
    """Next batches; if an image has become unreadable since the run began, the state is saved first."""
    try:
        return [run.data.train.next() for _ in range(count)]
    except StalledError:
        raise StoppedError(run.save(run.metric)) from None
    except FCNXSError as error:
        saved = "" if run.workers > 1 else f"the state is saved in {run.save(run.metric)}; "
        where = f"{run.stage.name}, epoch {run.state.epoch}"
        way_out = f"{saved}correct the file, then --resume {quoted(run.output.folder)} continues"
        raise FCNXSError(f"{where}: {error}; {way_out}") from None


def _check_finite(run: Run, batches: List[Batch], own: int) -> None:
    """Raise an error that names the images if a step made the loss or the biases infinite or NaN.

    A relu turns NaN to zero, so that the loss may stay finite. The biases are few and quick to check; all
    parameters are checked before they are saved.
    """
    biases = [array for name, array in run.solver.arg_params.items() if name.endswith("_bias")]
    what = None if math.isfinite(run.metric.loss_sum) else "the loss is"
    if what or not all_finite(biases):
        files = ", ".join(str(file) for batch in batches for file in batch.files)
        where = f"epoch {run.state.epoch}, step {run.state.position // (own * run.workers) + 1} ({files})"
        raise run.diverged(f"{where}: {what or 'the parameters are'} not finite")


def _end_epoch(run: Run, began: float) -> None:
    """Evaluate, and write and tell the record of an epoch."""
    stage, epoch = run.stage, run.state.epoch
    for head, metric in run.metric.heads.items():
        if not metric.matrix.any():
            where = f"{stage.name}, epoch {epoch}"
            of = f" of the head {head}" if head else ""
            raise FCNXSError(f"{where}: every pixel of the training labels{of} is {IGNORE_LABEL}")
    record = {"stage": stage.name, "epoch": epoch, "learning_rate": run.solver.learning_rate}
    values, result = _evaluate(run)
    seconds = time.time() - began
    record.update(values, seconds=round(seconds, 1))
    run.save_epoch(record, seconds)
    run.tell("epoch", record, result)
    if run.impatient and epoch < stage.epochs:
        run.tell("ended_early", stage, epoch, run.best["epoch"] if run.best else 0)


def _evaluate(run: Run) -> Tuple[Dict[str, Any], Scores | Dict[str, Scores] | None]:
    """Losses and scores for a record, and the scores with those of each class; None without data."""
    val = run.data.val
    if val is None:
        return _values(run, None), None
    run.save(run.metric)  # an evaluation may take long
    metric, done = run.new_metric(), 0

    def on_batch(batch: Batch, *probabilities: mx.nd.NDArray) -> None:
        nonlocal done
        if run.should_stop():
            run.agree(True)  # the other processes wait for this evaluation
            raise StoppedError(run.save(run.metric))
        for i in range(len(probabilities[0])):
            for head, each in zip(metric.heads, probabilities if done < PICTURES else ()):
                truth = batch[with_head(LABEL, head) if head else val.label_name][i].astype(np.uint8)
                class_map = mx.nd.argmax(each[i], axis=0).astype("uint8").asnumpy()
                picture = batch.stacked[i], truth, class_map, *([head] if head else [])
                run.tell("prediction", run.stage, run.state.epoch, done, *picture)
            done += 1
        run.tell("evaluated", run.stage, run.state.epoch, done)

    try:
        run.solver.evaluate(val, metric, on_batch)
    except StalledError:
        raise StoppedError(run.save(run.metric)) from None
    if not math.isfinite(metric.loss_sum):
        raise run.diverged(f"epoch {run.state.epoch}: the loss on the validation images is not finite")
    for head, each in metric.heads.items():
        _warn_of_one_class(run, head, each.matrix, done)
    found = {head: scores(each.matrix) for head, each in metric.heads.items()}
    return _values(run, metric), found.get("", found)


def _values(run: Run, val: HeadsMetric | None) -> Dict[str, Any]:
    """Losses and scores for a record; if there are several heads, those of each too."""
    values: Dict[str, Any] = _named(run.metric, val)
    if run.stage.headed:
        heads = run.metric.heads.items()
        values["heads"] = {head: _named(metric, val and val.heads[head]) for head, metric in heads}
    return values


def _named(train: mx.metric.EvalMetric, val: mx.metric.EvalMetric | None) -> Dict[str, float | None]:
    """`train_loss`, `val_loss` and the scores; with class weights also the weighted losses."""
    values = {f"train_{name}": or_none(x) for name, x in train.get_name_value() if name.endswith("loss")}
    if val is None:
        return {**values, "val_loss": None, **dict.fromkeys(NAMES)}
    for name, value in val.get_name_value():
        values[f"val_{name}" if name.endswith("loss") else name] = or_none(value)
    return values


def _warn_of_one_class(run: Run, head: str, matrix: np.ndarray, images: int) -> None:
    """Warn if a head predicts a single class everywhere, although its labels have more."""
    if (matrix.sum(axis=0) > 0).sum() == 1 and (matrix.sum(axis=1) > 0).sum() > 1:
        name = run.classes[head][int(matrix.sum(axis=0).argmax())]
        causes = (
            ". Likely causes: too few steps yet, a learning rate too small to move or so large that the net "
            "has died, weights that do not belong to the input's mean or scale, or labels that are nearly all "
            "of this class (`fcnxs check-data` counts them)"
        )
        run.tell(
            "warning",
            f"{run.stage.name}, epoch {run.state.epoch}: every pixel of the {images} validation images is "
            f"predicted as {name!r}{f' by the head {head}' if head else ''}{'' if run.one_class else causes}",
        )
        run.one_class = True

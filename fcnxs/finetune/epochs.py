"""One stage of finetuning: epochs of steps, their evaluation, and states to go on from after a kill."""

from __future__ import annotations

import json
import math
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np

from .. import checkpoint
from ..compat import mxnet as mx
from ..conventions import IGNORE_LABEL
from ..data.loader import Batch
from ..errors import FCNXSError
from ..metric import SegmentationMetric
from ..score import NAMES, Scores, or_none, scores
from ..solver.solver import Solver
from ..stages import Stage
from ..system.files import write_json, written_whole
from .context import Job, StoppedError
from .state import State, save_state, state_file

SUMMARY, METRICS = "summary.json", "metrics.jsonl"
PICTURES = 4  # predictions of each evaluation that listeners are told


def train_stage(job: Job, stage: Stage, solver: Solver, state: State, epochs_before: int) -> None:
    """Train from where `state` stands to the end of the stage.

    Args:
        state: of this stage; it is kept up to date.
        epochs_before: of the stages before: the orders and augmentations of all epochs differ.

    Raises:
        StoppedError: `job.should_stop` said so.
        FCNXSError: the loss or the parameters are not finite, every label is 255, or as `Loader`.
    """
    while state.epoch <= stage.epochs:
        began = time.time() - state.seconds
        metric = SegmentationMetric(len(job.meta.classes))
        if state.metric and job.rank == 0:  # what all processes have counted
            metric.restore(state.metric)
        state.metric = {}
        if state.position < job.train.batches:
            _train_epoch(job, stage, solver, state, metric, epochs_before + state.epoch, began)
            metric = job.sum(metric)
        record: Dict[str, Any] = {
            "stage": stage.name,
            "epoch": state.epoch,
            "learning_rate": stage.learning_rate,
        }
        record["train_loss"] = or_none(dict(metric.get_name_value())["loss"])
        if job.rank == 0:
            if not metric.matrix.any():
                where = f"{stage.name}, epoch {state.epoch}"
                raise FCNXSError(f"{where}: every pixel of the training labels is {IGNORE_LABEL}")
            values, result = _evaluate(job, stage, solver, state, metric)
            seconds = time.time() - began
            record.update(values, seconds=round(seconds, 1))
            _end_epoch(job, stage, solver, state, record, seconds)
            job.tell("epoch", record, result)
        job.last_good = f"{job.output / stage.name}-{record['epoch']:04d}.params"
        state.epoch, state.position = record["epoch"] + 1, 0
        if job.workers > 1 and job.agree(False):
            raise StoppedError(job.output)


def _train_epoch(
    job: Job, stage: Stage, solver: Solver, state: State, metric: SegmentationMetric, number: int, began: float
) -> None:
    """Train what is left of an epoch. Of each step's batches every process takes as many as it has devices."""
    train, start, own = job.train, state.position, len(solver.replicas) * job.accumulate
    # Relu makes zero of what is not a number: the loss may stay finite, where parameters are not. All of
    # them are looked at before they are saved.
    biases = [array for name, array in solver.arg_params.items() if name.endswith("_bias")]
    train.seek(number, own_positions(start, train.batches, own, job.workers, job.rank))
    while state.position < train.batches:
        if job.agree(job.should_stop()):
            raise StoppedError(_save(job, stage, solver, state, job.sum(metric)))
        ahead = min(own * job.workers, train.batches - state.position)  # batches of this step, everywhere
        done = min((state.position + ahead) * train.batch_size, len(train))
        images = done - state.position * train.batch_size
        try:
            batches = [train.next() for _ in range(min(max(ahead - job.rank * own, 0), own))]
        except FCNXSError as error:
            raise _unreadable(job, stage, solver, state, metric, error) from None
        loss = solver.step(batches, train, metric, images=images)
        what = None if math.isfinite(metric.loss_sum) else "the loss is"
        if what or not _finite(biases):
            files = ", ".join(name for batch in batches for name in batch.files)
            where = f"epoch {state.epoch}, step {state.position // (own * job.workers) + 1} ({files})"
            raise _diverged(job, stage, f"{where}: {what or 'the parameters are'} not finite")
        state.position += ahead
        state.steps += 1
        state.seconds = time.time() - began
        job.tell("step", stage, state.epoch, done, images, loss)
        due = job.checkpoint_every and state.steps % job.checkpoint_every == 0
        if due and state.position < train.batches:  # at the end of the epoch it is saved in any case
            _save(job, stage, solver, state, job.sum(metric))


def own_positions(start: int, batches: int, own: int, workers: int, rank: int) -> List[int]:
    """Batches of an epoch that a process trains on, from `start` on: `own` of each step, in turns."""
    return [position for position in range(start, batches) if (position - start) // own % workers == rank]


def _evaluate(
    job: Job, stage: Stage, solver: Solver, state: State, trained: SegmentationMetric
) -> Tuple[Dict[str, Any], Scores | None]:
    """Validation loss and scores by name, None without validation data; and the scores with the classes'."""
    if job.val is None:
        return {"val_loss": None, **dict.fromkeys(NAMES)}, None
    _save(job, stage, solver, state, trained)  # an evaluation may take long
    metric, done = SegmentationMetric(len(job.meta.classes)), 0

    def on_batch(batch: Batch, probabilities: mx.nd.NDArray) -> None:
        nonlocal done
        if job.should_stop():
            job.agree(True)  # where the others wait for this evaluation
            raise StoppedError(_save(job, stage, solver, state, trained))
        for i in range(len(probabilities)):
            if done < PICTURES:
                class_map = mx.nd.argmax(probabilities[i], axis=0).asnumpy().astype(np.uint8)
                data, truth = batch[job.val.data_name][i], batch[job.val.label_name][i].astype(np.uint8)
                job.tell("prediction", stage, state.epoch, done, data, truth, class_map)
            done += 1
        job.tell("evaluated", stage, state.epoch, done)

    solver.evaluate(job.val, metric, on_batch)
    if not math.isfinite(metric.loss_sum):
        what = "the loss on the validation images is not finite"
        raise _diverged(job, stage, f"epoch {state.epoch}: {what}")
    if _one_class_alone(metric.matrix):
        name = job.meta.classes[int(metric.matrix.sum(axis=0).argmax())]
        job.tell(
            "warning",
            f"{stage.name}, epoch {state.epoch}: every pixel of the {done} validation images is predicted as "
            f"{name!r}. Likely causes: too few steps yet, a learning rate too small to move or so large that "
            "the net has died, weights that do not belong to the input's mean or scale, or labels that are "
            "nearly all of this class (`fcnxs check-data` counts them)",
        )
    values = {name: or_none(value) for name, value in metric.get_name_value()}
    return {"val_loss": values.pop("loss"), **values}, scores(metric.matrix)


def _one_class_alone(matrix: np.ndarray) -> bool:
    """Whether one class is all that is predicted, but not all that there is."""
    return (matrix.sum(axis=0) > 0).sum() == 1 and (matrix.sum(axis=1) > 0).sum() > 1


def _end_epoch(
    job: Job, stage: Stage, solver: Solver, state: State, record: Dict[str, Any], seconds: float
) -> None:
    """Write what an epoch has made. Its state comes last: until then the epoch can be done again."""
    net = (solver.symbol, solver.arg_params, solver.aux_params, job.meta)
    _check_finite(job, stage, solver, state)
    prefix, epoch, mean_iu = job.output / stage.name, record["epoch"], record["mean_iu"]
    with _last_state_offered(job):
        params = checkpoint.save(prefix, epoch, *net)
        if mean_iu is not None and (state.best is None or mean_iu > state.best):
            checkpoint.save(f"{prefix}-best", 0, *net)
            state.best = mean_iu
    state.records.append(record)
    state.stage_seconds += seconds
    state.epoch, state.position, state.seconds = epoch + 1, 0, 0.0
    if epoch == stage.epochs:
        row = {"name": stage.name, "epoch": epoch, **{name: record[name] for name in NAMES}}
        state.rows.append({**row, "seconds": round(state.stage_seconds, 1)})
    _save(job, stage, solver, state, None)
    if job.keep is not None:
        for old in range(1, epoch - job.keep + 1):
            Path(f"{prefix}-{old:04d}.params").unlink(missing_ok=True)
    write_scores(job.output, state)
    job.tell("saved", params)


def write_scores(output: Path, state: State) -> None:
    """Write metrics.jsonl, and summary.json where there is a stage that has ended."""
    with written_whole(output / METRICS) as (part,):
        part.write_text("".join(json.dumps(record) + "\n" for record in state.records))
    if state.rows:
        with written_whole(output / SUMMARY) as (part,):
            write_json(part, {"stages": state.rows})


def _save(job: Job, stage: Stage, solver: Solver, state: State, metric: SegmentationMetric | None) -> Path:
    """Save the state, with what `metric` has counted of the epoch so far; its file, on rank 0."""
    if job.rank != 0 or job.last_state == state_file(job.output, state):
        return job.last_state or job.output
    _check_finite(job, stage, solver, state)
    state.metric = metric.state() if metric else {}
    state.arg_params, state.aux_params = solver.arg_params, solver.aux_params
    state.arrays, state.optimizer = solver.replicas[0].optimizer_state()
    with _last_state_offered(job):
        job.last_state = save_state(job.output, state)
    job.tell("saved", job.last_state)
    return job.last_state


@contextmanager
def _last_state_offered(job: Job) -> Iterator[None]:
    """Say what there is to go on from, when something cannot be written."""
    try:
        yield
    except FCNXSError as error:
        way_out = (
            f"; the last good state is {job.last_state}: with room for more, --resume {job.output} goes on"
        )
        raise FCNXSError(f"{error}{way_out if job.last_state else ''}") from None


def _check_finite(job: Job, stage: Stage, solver: Solver, state: State) -> None:
    if not _finite(list(solver.arg_params.values())):
        what = f"epoch {state.epoch}, after batch {state.position}: the parameters are not finite any more"
        raise _diverged(job, stage, what)


def _finite(arrays: List[mx.nd.NDArray]) -> bool:
    return bool(mx.nd.multi_all_finite(*arrays, num_arrays=len(arrays)).asscalar()) if arrays else True


def _unreadable(
    job: Job, stage: Stage, solver: Solver, state: State, metric: SegmentationMetric, error: FCNXSError
) -> FCNXSError:
    """What to say of an image that could be read when the run began; the state is saved before."""
    saved = "" if job.workers > 1 else f"the state is saved in {_save(job, stage, solver, state, metric)}; "
    where = f"{stage.name}, epoch {state.epoch}"
    return FCNXSError(f"{where}: {error}; {saved}put it right, and --resume {job.output} goes on")


def _diverged(job: Job, stage: Stage, what: str) -> FCNXSError:
    return FCNXSError(
        f"{stage.name}, {what}; the last good checkpoint is {job.last_good}; from there, or from the start, "
        f"try a smaller --lr than {stage.learning_rate:g}"
    )

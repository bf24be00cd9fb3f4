"""Staged finetuning (FCN paper, section 4.2): each net starts from the one before."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence

from . import checkpoint
from .checkpoint import Checkpoint, Meta
from .compat import mxnet as mx
from .data import IGNORE_LABEL, FileIter
from .errors import FCNXSError
from .init import check_params, init_from_fcnxs, init_from_vgg16, net_of
from .metric import SegmentationMetric
from .score import NAMES, or_none
from .solver import Solver
from .stages import Stage, lineage
from .symbols.symbol_fcnxs import FCNXS

SUMMARY, METRICS = "summary.json", "metrics.jsonl"

# Told (stage, epoch from 1, step from 1, mean loss per pixel of that step).
OnStep = Callable[[Stage, int, int, float], None]
# Told what one line of metrics.jsonl says.
OnEpoch = Callable[[Dict[str, Any]], None]


def finetune(
    parent: Checkpoint,
    stages: Sequence[Stage],
    train: FileIter,
    val: FileIter | None,
    output: Path,
    meta: Meta,
    ctx: mx.Context | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
    on_epoch: OnEpoch | None = None,
    pooling_convention: str | None = None,
) -> List[Dict[str, Any]]:
    """Train the stages in a row, the first from `parent`, each other from the one before.

    Writes `output`/STAGE-symbol.json, STAGE-meta.json and STAGE-NNNN.params for every epoch from 1;
    a line for each epoch to metrics.jsonl; and summary.json after each stage.

    Args:
        parent: VGG-16 or an FCN, which one is told by its parameters. It is emptied, to save memory.
        meta: goes with the checkpoints; its classes are those of `train` and `val`.
        pooling_convention: of the nets, 'valid' or 'full'; None takes the parent's.

    Returns:
        the rows of summary.json: name, epoch, the four scores of the last epoch on `val` (None
        without it), seconds.

    Raises:
        FCNXSError: `output` already has one of these stages, `parent` does not fit, the loss is not
            finite, or as `FileIter`.
    """
    _refuse_to_overwrite(output, stages)
    net = net_of(parent.arg_params, str(parent.params_file), parent.symbol)
    check_params(parent.symbol, parent.arg_params, parent.aux_params, str(parent.params_file))
    for before, name in zip([net.name, *(stage.name for stage in stages)], [stage.name for stage in stages]):
        if before not in lineage(name):
            raise FCNXSError(
                f"{name} cannot start from {before}, which has other layers; change --stages or --prefix"
            )
    numclass = len(meta.classes)
    output.mkdir(parents=True, exist_ok=True)
    ctx = ctx or mx.cpu()
    mx.random.seed(seed, ctx)
    arg_params, aux_params = parent.arg_params, parent.aux_params
    parent.arg_params, parent.aux_params = {}, {}
    rows = _earlier_rows(output, stages)
    for stage in stages:
        pooling = pooling_convention or net.pooling_convention
        symbol = FCNXS[stage.name](numclass, width=net.width, fc=net.fc, pooling_convention=pooling)
        init = init_from_vgg16 if net.name == "vgg16" else init_from_fcnxs
        arg_params, aux_params = init(ctx, symbol, arg_params, aux_params)
        solver = make_solver(stage, symbol, arg_params, aux_params, ctx)
        began = time.time()
        for record in _epochs(stage, solver, train, val, numclass, on_step):
            prefix = output / stage.name
            checkpoint.save(prefix, record["epoch"], symbol, solver.arg_params, solver.aux_params, meta)
            with open(output / METRICS, "a") as lines:
                lines.write(json.dumps(record) + "\n")
            if on_epoch is not None:
                on_epoch(record)
        rows.append({"name": stage.name, "epoch": stage.epochs})
        rows[-1].update({name: record[name] for name in NAMES}, seconds=round(time.time() - began, 1))
        with checkpoint.written_whole(output / SUMMARY) as (part,):
            checkpoint.write_json(part, {"stages": rows})
        arg_params, aux_params = solver.arg_params, solver.aux_params
        net = replace(net, name=stage.name)
        del solver  # its executors and momentum, before the next stage binds its own
    return rows


def make_solver(
    stage: Stage, symbol: mx.sym.Symbol, arg_params: Dict, aux_params: Dict, ctx: mx.Context
) -> Solver:
    """Solver with the settings of a stage."""
    settings = {} if stage.momentum is None else {"momentum": stage.momentum}
    return Solver(
        symbol,
        ctx,
        num_epoch=stage.epochs,
        arg_params=arg_params,
        aux_params=aux_params,
        optimizer=stage.optimizer,
        fixed=stage.fixed,
        unnormalised=stage.unnormalised,
        learning_rate=stage.learning_rate,
        wd=stage.wd,
        **stage.multipliers(arg_params),
        **settings,
    )


def _epochs(
    stage: Stage, solver: Solver, train: FileIter, val: FileIter | None, numclass: int, on_step: OnStep | None
) -> Iterator[Dict[str, Any]]:
    """Train epoch by epoch; what each comes to, as a line of metrics.jsonl says it."""
    metric = SegmentationMetric(numclass)
    for epoch in range(1, stage.epochs + 1):
        began = time.time()
        train.reset()
        metric.reset()
        for step, batch in enumerate(train, 1):
            loss = solver.step(batch, train, metric)
            if not math.isfinite(metric.loss_sum):
                raise _diverged(stage, f"epoch {epoch}, step {step} ({train.current}): the loss is not finite")
            if on_step is not None:
                on_step(stage, epoch, step, loss)
        record = {"stage": stage.name, "epoch": epoch, "learning_rate": stage.learning_rate}
        if not metric.matrix.any():
            raise FCNXSError(
                f"{stage.name}, epoch {epoch}: every pixel of the training labels is {IGNORE_LABEL}"
            )
        record["train_loss"] = dict(metric.get_name_value())["loss"]
        params = list(solver.arg_params.values())
        if not mx.nd.multi_all_finite(*params, num_arrays=len(params)).asscalar():
            raise _diverged(stage, f"epoch {epoch}: the parameters are not finite any more")
        values = dict.fromkeys(("loss", *NAMES))
        if val is not None:
            solver.evaluate(val, metric)
            if not math.isfinite(metric.loss_sum):
                raise _diverged(stage, f"epoch {epoch}: the loss on the validation images is not finite")
            values = {name: or_none(value) for name, value in metric.get_name_value()}
        record["val_loss"] = values.pop("loss")
        yield {**record, **values, "seconds": round(time.time() - began, 1)}


def _diverged(stage: Stage, what: str) -> FCNXSError:
    return FCNXSError(f"{stage.name}, {what}; try a smaller --lr than {stage.learning_rate:g}")


def _refuse_to_overwrite(output: Path, stages: Sequence[Stage]) -> None:
    for stage in stages:
        existing = sorted(output.glob(f"{stage.name}-[0-9][0-9][0-9][0-9].params"))
        if existing:
            raise FCNXSError(f"{existing[0]} is there already; choose another --output, or remove the old run")


def _earlier_rows(output: Path, stages: Sequence[Stage]) -> List[Dict[str, Any]]:
    """Rows of stages that an earlier run has left in the same folder."""
    file = output / SUMMARY
    if not file.is_file():
        return []
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["stages"]
        for row in rows:
            float(row["seconds"]), int(row["epoch"]), [row[name] for name in NAMES]
        return [row for row in rows if row["name"] not in [stage.name for stage in stages]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FCNXSError(f"{file}: not a summary of finetuning ({error}); choose another --output") from None

"""Staged finetuning (FCN paper, section 4.2): each net starts from the one before."""

from __future__ import annotations

import json
import uuid
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

from ..checkpoint.checkpoint import Checkpoint
from ..checkpoint.meta import Meta
from ..compat import mxnet as mx
from ..data.loader import Loader
from ..errors import FCNXSError
from ..init import init_from_fcnxs, init_from_vgg16
from ..net import Params, Variant, check_params, net_of
from ..score import NAMES
from ..solver.collective import Exchange, exchange_for
from ..solver.solver import Solver
from ..stages import Stage, lineage
from ..symbols.symbol_fcnxs import FCNXS
from .context import Job, StoppedError
from .epochs import METRICS, SUMMARY, train_stage, write_scores
from .listener import Listener
from .state import PLAN, State, load_state, locked, read_plan, state_file, write_plan

__all__ = ["StoppedError", "finetune", "make_solver"]


def finetune(
    parent: Callable[[], Checkpoint],
    stages: Sequence[Stage],
    train: Loader,
    val: Loader | None,
    output: Path,
    meta: Meta,
    devices: mx.Context | Sequence[mx.Context] | None = None,
    *,
    pooling_convention: str | None = None,
    kvstore: str | mx.kv.KVStore | Exchange = "local",
    mirror: bool = False,
    trim: bool = True,
    accumulate: int = 1,
    checkpoint_every: int | None = None,
    keep: int | None = None,
    resume: bool = False,
    plan: Dict[str, Any] | None = None,
    listeners: Sequence[Listener] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> List[Dict[str, Any]]:
    """Train the stages in a row, the first from `parent`, each other from the one before.

    Writes in `output`: STAGE-symbol.json, STAGE-meta.json and STAGE-NNNN.params for every epoch from 1; the
    best by mean IU as STAGE-best, epoch 0; the state to go on from as STAGE-last.*; a line for each epoch in
    metrics.jsonl; and summary.json after each stage.

    Args:
        parent: gives VGG-16 or an FCN, which one is told by its parameters. It is asked only where no state is
            there to go on from, and what it gives is emptied, to save memory.
        train, val: data; their seed is the run's, of order, augmentation and dropout.
        meta: goes with the checkpoints; its classes are those of `train` and `val`.
        devices: each takes its own images; None is the CPU.
        pooling_convention: of the nets, 'valid' or 'full'; None takes the parent's.
        kvstore, mirror, trim: see `Solver`.
        accumulate, checkpoint_every, keep, should_stop: see `Job`.
        resume: go on from the state in `output`. On the CPU the end is bit for bit that of a run that was not
            interrupted. A run that has ended gives its rows at once. Nothing there: begin.
        plan: what run.json keeps for `resume`, for the caller; JSON.

    Returns:
        the rows of summary.json: name, epoch, the four scores of the last epoch on `val` (None
        without it), seconds.

    Raises:
        StoppedError: `should_stop` said so; the state is saved.
        FCNXSError: `output` already has one of these stages or a run that has not ended, or is in use; a file
            there is damaged; `parent` does not fit; the loss is not finite; or as `Loader`.
    """
    devices = [devices or mx.cpu()] if devices is None or isinstance(devices, mx.Context) else list(devices)
    exchange = exchange_for(kvstore, len(devices))
    how = (accumulate, checkpoint_every, keep, listeners, should_stop)
    job = Job(train, val, output, meta, *how, exchange)
    before = read_plan(output) if resume else None
    if before and before.get("finished"):
        return _earlier_rows(output)
    source, state = None, None
    if before is None:
        refuse_to_overwrite(output, stages)
        source = _checked(parent(), stages)
    with locked(output) if job.rank == 0 else nullcontext():
        if before is None:
            before = {"run": uuid.uuid4().hex, "options": {}, "finished": False, **(plan or {})}
        else:
            state = load_state(output, before["run"], _names(stages))
            source = _checked(parent(), stages) if state is None else None
        if exchange and exchange.workers > 1 and not exchange.same(_what(job, stages, state)):
            raise FCNXSError(
                f"the {exchange.workers} processes of this job differ in options, data, weights or state: all "
                f"must have the same, and see the same {output}"
            )
        if job.rank == 0:
            write_plan(output, before)
        if state is None:
            state, arg_params, aux_params, net = _from_parent(job, before["run"], stages, *source)
        else:
            arg_params, aux_params, net = _from_state(job, state, stages)
        job.tell("begin", stages, len(train), len(val) if val else 0)
        if state.stage:
            job.tell("goes_on", state.stage, state.epoch, state.position)
        for i, stage in enumerate(stages):
            if state.stage in _names(stages[i + 1 :]):
                continue  # done before
            if state.stage != stage.name:
                symbol, arg_params, aux_params = _first_values(
                    stage, net, len(meta.classes), pooling_convention, devices[0], arg_params, aux_params
                )
                rest = {"records": state.records, "rows": state.rows}
                state = State(state.run, stage.name, symbol=symbol.tojson(), **rest)
            how = {"kvstore": exchange or "local", "mirror": mirror, "trim": trim}
            solver = make_solver(stage, state.load_symbol(), arg_params, aux_params, devices, **how)
            for replica in solver.replicas if state.optimizer else ():
                replica.restore_optimizer(state.arrays, state.optimizer)
            state.forget_arrays()
            train_stage(job, stage, solver, state, sum(done.epochs for done in stages[:i]))
            arg_params, aux_params, net = solver.arg_params, solver.aux_params, replace(net, name=stage.name)
            state.forget_arrays()
            del solver  # its executors and momentum, before the next stage binds its own
        if job.rank == 0:
            write_plan(output, {**before, "finished": True})
    return state.rows


def _what(job: Job, stages: Sequence[Stage], state: State | None) -> str:
    """What the processes of a job must agree on."""
    train, meta = job.train, {**asdict(job.meta), "versions": None}
    where = None if state is None else [state.run, state.stage, state.epoch, state.position, state.steps]
    settings = [train.seed, train.batch_size, len(train), train.samples.fingerprint(), job.accumulate]
    return json.dumps([[asdict(stage) for stage in stages], settings, meta, job.checkpoint_every, where])


def _from_parent(
    job: Job, run: str, stages: Sequence[Stage], parent: Checkpoint, net: Variant
) -> Tuple[State, Params, Params, Variant]:
    """Begin: a state before all stages, and the parent's parameters."""
    rows = [row for row in _earlier_rows(job.output) if row["name"] not in _names(stages)]
    state = State(run, "", records=_earlier_records(job.output), rows=rows)
    job.last_good = str(parent.params_file)
    arg_params, aux_params = parent.arg_params, parent.aux_params
    parent.arg_params, parent.aux_params = {}, {}
    return state, arg_params, aux_params, net


def _from_state(job: Job, state: State, stages: Sequence[Stage]) -> Tuple[Params, Params, Variant]:
    """Go on: the parameters of a state, and what they are; what a kill has left unwritten is written."""
    files = [file for name in _names(stages) for file in _epochs_of(job.output, name)]
    job.last_good = str(files[-1]) if files else "the one that the run began with"
    job.last_state = state_file(job.output, state)
    if job.rank == 0:
        write_scores(job.output, state)
    arg_params, aux_params = state.arg_params, state.aux_params
    return arg_params, aux_params, net_of(arg_params, state.stage, state.load_symbol())


def _first_values(
    stage: Stage,
    net: Variant,
    numclass: int,
    pooling_convention: str | None,
    ctx: mx.Context,
    arg_params: Params,
    aux_params: Params,
) -> Tuple[mx.sym.Symbol, Params, Params]:
    """Net of a stage, and its parameters from those of the net before."""
    pooling = pooling_convention or net.pooling_convention
    symbol = FCNXS[stage.name](numclass, width=net.width, fc=net.fc, pooling_convention=pooling)
    init = init_from_vgg16 if net.name == "vgg16" else init_from_fcnxs
    return (symbol, *init(ctx, symbol, arg_params, aux_params))


def make_solver(
    stage: Stage,
    symbol: mx.sym.Symbol,
    arg_params: Params,
    aux_params: Params,
    devices: mx.Context | Sequence[mx.Context],
    **how: str | bool | mx.kv.KVStore | Exchange,
) -> Solver:
    """Solver with the settings of a stage; `how` are further arguments of `Solver`."""
    settings = {} if stage.momentum is None else {"momentum": stage.momentum}
    return Solver(
        symbol,
        devices,
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
        **how,
    )


def _names(stages: Sequence[Stage]) -> List[str]:
    return [stage.name for stage in stages]


def _checked(parent: Checkpoint, stages: Sequence[Stage]) -> Tuple[Checkpoint, Variant]:
    """Parent that the stages can start from, one after the other, and what it is."""
    net = net_of(parent.arg_params, str(parent.params_file), parent.symbol)
    check_params(parent.symbol, parent.arg_params, parent.aux_params, str(parent.params_file))
    for before, name in zip([net.name, *_names(stages)], _names(stages)):
        if before not in lineage(name):
            raise FCNXSError(
                f"{name} cannot start from {before}, which has other layers; change --stages or --prefix"
            )
    return parent, net


def refuse_to_overwrite(output: Path, stages: Sequence[Stage]) -> None:
    """Refuse a folder that has one of these stages, or a run that can be gone on with.

    Raises:
        FCNXSError: it has.
    """
    plan = read_plan(output)
    if plan is not None and not plan.get("finished") and list(output.glob("*-last.*.json")):
        raise FCNXSError(
            f"{output / PLAN}: a run here has not ended; --resume {output} goes on with it; for a new one "
            "choose another --output"
        )
    there = [file for name in _names(stages) for file in _epochs_of(output, name)]
    if there:
        raise FCNXSError(f"{there[0]} is there already; choose another --output, or remove the old run")


def _epochs_of(output: Path, name: str) -> List[Path]:
    """Parameters of a stage's epochs, in their order."""
    return sorted(output.glob(f"{name}-[0-9][0-9][0-9][0-9].params"))


def _earlier_records(output: Path) -> List[Dict[str, Any]]:
    """Lines that earlier runs have left in metrics.jsonl."""
    file = output / METRICS
    if not file.is_file():
        return []
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise FCNXSError(f"{file}: not the scores of finetuning ({error}); choose another --output") from None


def _earlier_rows(output: Path) -> List[Dict[str, Any]]:
    """Rows of stages that an earlier run has left in the same folder."""
    file = output / SUMMARY
    if not file.is_file():
        return []
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))["stages"]
        for row in rows:
            str(row["name"]), float(row["seconds"]), int(row["epoch"]), [row[name] for name in NAMES]
        return rows
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FCNXSError(f"{file}: not a summary of finetuning ({error}); choose another --output") from None

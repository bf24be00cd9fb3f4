"""Staged finetuning (FCN paper, section 4.2): each net starts from the one before.

The command `fcnxs finetune` ends in a call such as

    rows = finetune(
        "vgg16fc",
        list(RECIPES["mxnet"].values()),  # FCN-32s, FCN-16s, FCN-8s
        Data(train, val),
        Output(Path("run"), meta),
        epoch=0,
    )
"""

from __future__ import annotations

import json
import uuid
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

from ..checkpoint.checkpoint import Checkpoint, load
from ..checkpoint.source import Source, checkpoint_of
from ..class_weights import check_weights
from ..compat import mxnet as mx
from ..epoch_choice import best_prefix
from ..errors import FCNXSError, last_line
from ..init import begun_anew, init_from_fcnxs, init_from_vgg16, refuse_other_layers, trunk_of
from ..lr_schedule import schedule_of
from ..net import Params, Variant, check_params, devices_of, is_input, net_of
from ..solver.collective import exchange_for
from ..stages import CLASSIFIERS, Stage, lineage
from ..symbols import legacy
from . import run_folder
from .epochs import train_stage
from .nets import check_sizes, make_solver, steps_of, symbol_of
from .run import Data, Listener, Output, Run, Settings
from .state import State, load_state, restore_bilinear


class Weights(NamedTuple):
    """Parameters that the next stage starts or continues from, and the net that they belong to.

    `left_out` says which of the parent's are left out, and why.
    """

    net: Variant
    arg_params: Params
    aux_params: Params
    left_out: str = ""


def finetune(
    parent: Source,
    stages: Sequence[Stage],
    data: Data,
    output: Output,
    settings: Settings | None = None,
    listeners: Sequence[Listener] = (),
    should_stop: Callable[[], bool] = lambda: False,
    *,
    epoch: int | str | None = None,
    devices: mx.Context | Sequence[mx.Context] | None = None,
) -> List[Dict[str, Any]]:
    """Train the stages in a row, the first from `parent`, each other from the one before.

    Writes checkpoints of every epoch and of the best, states, metrics.jsonl and summary.json (`run_folder.py`).

    Args:
        parent: VGG-16 or an FCN; the parameters' shapes say which. It is the prefix of a checkpoint's files, a
            Checkpoint, or a function that returns one, such as the method `checkpoint` of a Gluon net; for late
            fusion a dict of an FCN-32s of each image, {"color": "run/fcn32s", "hha": "hha/fcn32s"}. Of an
            FCN for another number of classes only VGG-16 is taken, and the scores begin anew. The parent is
            read only if there is no state to resume from; what a function returns is emptied, to save memory.
        settings: None: `Settings()`.
        listeners: told what happens.
        should_stop: asked before every step and evaluated batch.
        epoch: epoch of the parent, if it is a prefix: a number, "best" or "last"; None: as for `Segmenter`.
        devices: device, or devices, each of which takes its own images; None: those of `settings`.

    Returns:
        the rows of summary.json: name, epoch, the four scores of the last epoch on `data.val` (with `patience`
        of the best; None without it), seconds. With `output.resume` a run that has ended returns its rows at
        once. On the CPU a resumed run ends bit for bit as one that was not interrupted.

    Raises:
        StoppedError: `should_stop` asked for it; the state is saved.
        FCNXSError: the folder already has one of these stages or a run that has not ended, or is in use; a file
            there is damaged; `parent` does not fit; the loss is not finite; or as `Loader`.
    """
    settings = settings or Settings()
    settings = settings if devices is None else replace(settings, devices=devices)
    load_parent = partial(checkpoint_of, parent, epoch)
    if settings.class_weights is not None:
        checked = check_weights(settings.class_weights, len(output.meta.classes))
        settings = replace(settings, class_weights=checked)
    if settings.patience is not None and (settings.patience < 1 or data.val is None):
        why = "there is no validation data" if data.val is None else "expected 1 epoch or more"
        raise FCNXSError(f"patience {settings.patience}: {why}")
    exchange = exchange_for(settings.kvstore, devices_of(settings.devices))
    run = Run(stages, data, output, settings, exchange, listeners, should_stop)
    check_sizes(stages, data)
    for stage in stages:
        schedule_of(stage, steps_of(run, stage))  # refuses one that does not fit before hours of training
    plan = run_folder.read_plan(output.folder) if output.resume else None
    if plan and plan.get("finished"):
        return run_folder.read_rows(output.folder)
    kept = {name: getattr(settings, name) for name in ("class_weights", "patience")}
    for name in kept if plan else ():
        if plan[name] != kept[name]:
            file = output.folder / run_folder.PLAN
            raise FCNXSError(f"{file}: the run began with {name} {plan[name]}, not {kept[name]}; give the same")
    if plan is None:
        run_folder.refuse_to_overwrite(output.folder, stages)
        weights = _from_parent(run, load_parent())
    with run_folder.locked(output.folder) if run.rank == 0 else nullcontext():
        if plan is None:
            if run.rank == 0:
                run_folder.refuse_to_overwrite(output.folder, stages)  # another run may have ended meanwhile
            plan = {"run": uuid.uuid4().hex, "options": {}, "finished": False, **(output.plan or {})}
            plan.update(kept)
        else:
            run.state = load_state(output.folder, plan["run"], _names(stages), partial(_check_state, run))
            weights = _from_parent(run, load_parent()) if run.state is None else _from_state(run)
        _check_agreement(run)
        if run.rank == 0:
            run_folder.write_plan(output.folder, plan)
        _begin(run, plan["run"])
        for i, stage in enumerate(stages):
            if run.state.stage in _names(stages[i + 1 :]):
                continue  # it was done before
            if run.state.stage != stage.name:
                weights = _first_weights(run, stage, weights)
            weights = _train(run, stage, weights)
        if run.rank == 0:
            run_folder.write_plan(output.folder, {**plan, "finished": True})
    return run.state.rows


def _from_parent(run: Run, parent: Checkpoint) -> Weights:
    """Weights to begin with; the checkpoint is emptied.

    Raises:
        FCNXSError: the stages cannot start from it, one after the other.
    """
    where, args, left_out = str(parent.params_file), parent.arg_params, ""
    net = net_of(args, where, parent.symbol)
    check_params(parent.symbol, args, parent.aux_params, where)
    numclass, names = len(run.output.meta.classes), _names(run.stages)
    if net.numclass in (None, numclass):
        refuse_other_layers(parent.symbol, net, where)
    else:
        count, (net, args) = net.numclass, trunk_of(parent.symbol, args, where)
        others = ", ".join(name for name in parent.arg_params if name not in args)
        left_out = f"; left out, since they are of {count} classes, not {numclass}: {others}"
    for before, name in zip([net.name, *names], names):
        if before not in lineage(name):
            parents = ", ".join(lineage(name)[:0:-1]) or "an FCN-32s of each image, by --init"
            raise FCNXSError(
                f"{name} cannot start from {before}, whose layers differ; change --stages or --prefix ({name} "
                f"starts from {parents}; `fcnxs convert --trunk` takes the first out of an FCN)"
            )
    run.last_good = where
    weights = Weights(net, args, parent.aux_params, left_out)
    parent.arg_params, parent.aux_params = {}, {}
    return weights


def _check_state(run: Run, state: State) -> None:
    """Raise FCNXSError unless this run may have written the state, whose JSON and arrays are sound."""
    stage = next(stage for stage in run.stages if stage.name == state.stage)
    batches, numclass = run.data.train.batches, len(run.output.meta.classes)
    if state.epoch > stage.epochs + 1 or state.position > batches:
        raise FCNXSError(
            f"epoch {state.epoch}, position {state.position}: {stage.name} has {stage.epochs} epochs of "
            f"{batches} batches"
        )
    if state.metric and [len(row) for row in state.metric["matrix"]] != [numclass] * numclass:
        raise FCNXSError(f"metric.matrix: expected {numclass} lists of {numclass} numbers")
    restore_bilinear(state, numclass)
    try:
        symbol = legacy.load(state.symbol)
        net = net_of(state.arg_params, "arrays", symbol)
        check_params(symbol, state.arg_params, state.aux_params, "arrays")
    except (FCNXSError, mx.MXNetError) as error:
        raise FCNXSError(f"symbol: {last_line(error)}") from None
    if (net.name, net.numclass) != (stage.name, numclass):
        raise FCNXSError(f"symbol: is {net.name} for {net.numclass} classes, not {stage.name} for {numclass}")


def _from_state(run: Run) -> Weights:
    """Weights of the state to resume from. The scores that a killed run had no time to write are written."""
    state, folder = run.state, run.output.folder
    files = run_folder.params_files(folder, run.stages)
    run.last_good = str(files[-1]) if files else "the one that the run began with"
    run.last_state = state.file(folder)
    if run.rank == 0:
        run_folder.write_scores(folder, state.records, state.rows)
    net = net_of(state.arg_params, state.stage, legacy.load(state.symbol))
    return Weights(net, state.arg_params, state.aux_params)


def _check_agreement(run: Run) -> None:
    """Raise an error if the processes of a job have different options, data or states."""
    if run.workers == 1:
        return
    train, state, meta = run.data.train, run.state, {**asdict(run.output.meta), "versions": None}
    where = None if state is None else [state.run, state.stage, state.epoch, state.position, state.steps]
    data = [train.seed, train.batch_size, len(train), train.samples.fingerprint()]
    data += [run.settings.accumulate, run.settings.class_weights, run.settings.patience]
    stages = [asdict(stage) for stage in run.stages]
    if not run.exchange.same(json.dumps([stages, data, meta, run.output.checkpoint_every, where])):
        raise FCNXSError(
            f"the {run.workers} processes of this job differ in options, data, weights or state; "
            f"start all with the same, on machines that share {run.output.folder}"
        )


def _begin(run: Run, identity: str) -> None:
    """Make the state of a run that has none, and tell the listeners where the run begins."""
    folder, train, val = run.output.folder, run.data.train, run.data.val
    if run.state is None:
        rows = [row for row in run_folder.read_rows(folder) if row["name"] not in _names(run.stages)]
        run.state = State(identity, "", records=run_folder.read_records(folder), rows=rows)
    run.tell("begin", run.stages, len(train), len(val) if val else 0)
    if run.state.stage:
        run.tell("goes_on", run.state.stage, run.state.epoch, run.state.position)


def _first_weights(run: Run, stage: Stage, weights: Weights) -> Weights:
    """Begin a stage: its state and net, and the net's parameters from those of the net before."""
    net, state = weights.net, run.state
    pooling = run.settings.pooling_convention or net.pooling_convention
    numclass, device = len(run.output.meta.classes), devices_of(run.settings.devices)[0]
    symbol = symbol_of(stage, numclass, net, pooling)
    init = init_from_vgg16 if net.name in CLASSIFIERS or net.sizes else init_from_fcnxs
    run.state = State(state.run, stage.name, symbol=symbol.tojson(), records=state.records, rows=state.rows)
    new = [name for name in begun_anew(weights.arg_params) if name in symbol.list_arguments()]
    copied = sum(not is_input(name) for name in symbol.list_arguments()) - len(new)
    account = f"{copied} parameters copied from {run.last_good}; begun anew: {', '.join(new)}"
    run.tell("weights", stage, account + weights.left_out)
    return Weights(net, *init(device, symbol, weights.arg_params, weights.aux_params))


def _train(run: Run, stage: Stage, weights: Weights) -> Weights:
    """Train one stage from the run's state, and return its last weights; with `patience` its best ones."""
    state, settings = run.state, run.settings
    how = {name: getattr(settings, name) for name in ("recompute", "trim", "class_weights")}
    how.update(kvstore=run.exchange, steps=steps_of(run, stage, state))
    params = weights.arg_params, weights.aux_params
    solver = make_solver(stage, legacy.load(state.symbol), *params, settings.devices, **how)
    try:
        for replica in solver.replicas if state.optimizer else ():
            replica.restore_optimizer(state.arrays, state.optimizer)
    except FCNXSError as error:
        raise FCNXSError(f"{run.last_state}: {error}; remove it to continue from the state before") from None
    state.forget_arrays()
    run.stage, run.solver = stage, solver
    train_stage(run)
    state.forget_arrays()
    run.solver = None  # frees its executors and momentum before the next stage binds its own
    if settings.patience and stage is not run.stages[-1] and run.agree(run.rank == 0 and run.best is not None):
        best = load(best_prefix(run.output.folder, stage.name), 0)
        run.last_good = str(best.params_file)
        return Weights(replace(weights.net, name=stage.name), best.arg_params, best.aux_params)
    return Weights(replace(weights.net, name=stage.name), solver.arg_params, solver.aux_params)


def _names(stages: Sequence[Stage]) -> List[str]:
    return [stage.name for stage in stages]

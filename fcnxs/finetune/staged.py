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
from typing import Any, Callable, Dict, List, Sequence

from ..checkpoint.checkpoint import load
from ..checkpoint.source import Source, checkpoint_of
from ..class_weights import check_weights
from ..compat import mxnet as mx
from ..epoch_choice import best_prefix
from ..errors import FCNXSError
from ..lr_schedule import schedule_of
from ..net import devices_of
from ..solver.collective import exchange_for
from ..stages import Stage
from ..symbols import legacy
from . import run_folder
from .epochs import train_stage
from .listener import Listener
from .nets import check_sizes, make_solver, steps_of
from .run import Data, Output, Run, Settings
from .state import State, load_state
from .weights import Weights, check_state, first_weights, from_parent, from_state, names_of


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
        if output.meta.heads:
            raise FCNXSError("class weights: a net of several heads is trained without")
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
        if stage.headed != bool(output.meta.heads):
            takes, has = ("several heads", "one") if stage.headed else ("one head", "several")
            raise FCNXSError(f"{stage.name}: is a net of {takes}, and the classes are those of {has}")
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
        weights = from_parent(run, load_parent())
    with run_folder.locked(output.folder) if run.rank == 0 else nullcontext():
        if plan is None:
            if run.rank == 0:
                run_folder.refuse_to_overwrite(output.folder, stages)  # another run may have ended meanwhile
            plan = {"run": uuid.uuid4().hex, "options": {}, "finished": False, **(output.plan or {})}
            plan.update(kept)
        else:
            run.state = load_state(output.folder, plan["run"], names_of(stages), partial(check_state, run))
            weights = from_parent(run, load_parent()) if run.state is None else from_state(run)
        _check_agreement(run)
        if run.rank == 0:
            run_folder.write_plan(output.folder, plan)
        _begin(run, plan["run"])
        for i, stage in enumerate(stages):
            if run.state.stage in names_of(stages[i + 1 :]):
                continue  # it was done before
            if run.state.stage != stage.name:
                weights = first_weights(run, stage, weights)
            weights = _train(run, stage, weights)
        if run.rank == 0:
            run_folder.write_plan(output.folder, {**plan, "finished": True})
    return run.state.rows


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
        rows = [row for row in run_folder.read_rows(folder) if row["name"] not in names_of(run.stages)]
        run.state = State(identity, "", records=run_folder.read_records(folder), rows=rows)
    run.tell("begin", run.stages, len(train), len(val) if val else 0)
    if run.state.stage:
        run.tell("goes_on", run.state.stage, run.state.epoch, run.state.position)


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

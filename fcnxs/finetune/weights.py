"""Weights that a stage begins with: those of the parent, of a state, or of the stage before."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence

from ..checkpoint.checkpoint import Checkpoint
from ..compat import mxnet as mx
from ..errors import FCNXSError, last_line
from ..heads import plain_name
from ..init import begun_anew, init_from_fcnxs, init_from_vgg16, refuse_other_layers, trunk_of, variant_of
from ..net import Params, Variant, check_params, devices_of, is_input
from ..stages import CLASSIFIERS, Stage, lineage
from ..symbols import legacy
from . import run_folder
from .nets import symbol_of
from .run import Run
from .state import State, restore_bilinear


class Weights(NamedTuple):
    """Parameters that the next stage starts or continues from, and the net that they belong to.

    `left_out` says which of the parent's are left out, and why.
    """

    net: Variant
    arg_params: Params
    aux_params: Params
    left_out: str = ""


def from_parent(run: Run, parent: Checkpoint) -> Weights:
    """Weights to begin with; the checkpoint is emptied.

    Raises:
        FCNXSError: the stages cannot start from it, one after the other.
    """
    where, args, left_out = str(parent.params_file), parent.arg_params, ""
    net = variant_of(args, where, parent.symbol)
    check_params(parent.symbol, args, parent.aux_params, where)
    names = names_of(run.stages)
    if net.classes in (None, run.numbers):
        refuse_other_layers(parent.symbol, net, where)
    else:
        of, (net, args) = net.classes, trunk_of(parent.symbol, args, where)
        others = ", ".join(name for name in parent.arg_params if name not in args)
        left_out = (
            f"; left out, since they are of {_counted(of)} classes, not {_counted(run.numbers)}: {others}"
        )
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


def check_state(run: Run, state: State) -> None:
    """Raise FCNXSError unless this run may have written the state, whose JSON and arrays are sound."""
    stage = next(stage for stage in run.stages if stage.name == state.stage)
    batches = run.data.train.batches
    if state.epoch > stage.epochs + 1 or state.position > batches:
        raise FCNXSError(
            f"epoch {state.epoch}, position {state.position}: {stage.name} has {stage.epochs} epochs of "
            f"{batches} batches"
        )
    counts = state.metric.get("heads") or {"": state.metric}
    for head, numclass in run.numbers.items() if state.metric else ():
        matrix = (counts.get(head) or {}).get("matrix") or ()
        if [len(row) for row in matrix] != [numclass] * numclass:
            where = f"metric.heads.{head}.matrix" if head else "metric.matrix"
            raise FCNXSError(f"{where}: expected {numclass} lists of {numclass} numbers")
    restore_bilinear(state, run.numbers)
    try:
        symbol = legacy.load(state.symbol)
        net = variant_of(state.arg_params, "arrays", symbol)
        check_params(symbol, state.arg_params, state.aux_params, "arrays")
    except (FCNXSError, mx.MXNetError) as error:
        raise FCNXSError(f"symbol: {last_line(error)}") from None
    if (net.name, net.classes) != (stage.name, run.numbers):
        of = _counted(net.classes or {"": 0})
        raise FCNXSError(
            f"symbol: is {net.name} for {of} classes, not {stage.name} for {_counted(run.numbers)}"
        )


def from_state(run: Run) -> Weights:
    """Weights of the state to resume from. The scores that a killed run had no time to write are written."""
    state, folder = run.state, run.output.folder
    files = run_folder.params_files(folder, run.stages)
    run.last_good = str(files[-1]) if files else "the one that the run began with"
    run.last_state = state.file(folder)
    if run.rank == 0:
        run_folder.write_scores(folder, state.records, state.rows)
    net = variant_of(state.arg_params, state.stage, legacy.load(state.symbol))
    return Weights(net, state.arg_params, state.aux_params)


def first_weights(run: Run, stage: Stage, weights: Weights) -> Weights:
    """Begin a stage: its state and net, and the net's parameters from those of the net before."""
    net, state = weights.net, run.state
    pooling = run.settings.pooling_convention or net.pooling_convention
    device, heads = devices_of(run.settings.devices)[0], run.output.meta.heads or ()
    symbol = symbol_of(stage, run.numbers, net, pooling)
    init = init_from_vgg16 if net.name in CLASSIFIERS or net.sizes else init_from_fcnxs
    run.state = State(state.run, stage.name, symbol=symbol.tojson(), records=state.records, rows=state.rows)
    plain = {plain_name(name, heads): name for name in weights.arg_params}
    fresh = begun_anew({name: weights.arg_params[own] for name, own in plain.items()})
    params = [name for name in symbol.list_arguments() if not is_input(name)]
    new = [name for each in fresh for name in params if plain_name(name, heads) == each]
    copied = len(params) - len(new)
    account = f"{copied} parameters copied from {run.last_good}; begun anew: {', '.join(new)}"
    run.tell("weights", stage, account + weights.left_out)
    return Weights(net, *init(device, symbol, weights.arg_params, weights.aux_params))


def _counted(classes: Dict[str, int]) -> str:
    """Number of classes of each head: "21", "33 (sem) and 3 (geo)"."""
    return " and ".join(f"{count} ({head})" if head else str(count) for head, count in classes.items())


def names_of(stages: Sequence[Stage]) -> List[str]:
    """Names of stages, in order."""
    return [stage.name for stage in stages]

"""The net of a stage, and the solver that trains it."""

from __future__ import annotations

from math import prod
from typing import Dict, Sequence

from ..compat import mxnet as mx
from ..errors import FCNXSError
from ..feasible import LARGEST
from ..heads import heads_of, plain_name
from ..lr_schedule import schedule_of
from ..net import Params, Variant, devices_of
from ..regression import Sizes
from ..solver.collective import Exchange
from ..solver.solver import Solver
from ..stages import Stage
from ..symbols import NETS
from ..system.memory import available_memory
from .run import Data, Run
from .state import State


def check_sizes(stages: Sequence[Stage], data: Data) -> None:
    """Raise an error unless the data is resized as each stage's net takes it."""
    for stage in stages:
        for loader in filter(None, (data.train, data.val)):
            if getattr(loader, "resize", None) != stage.resize:
                raise FCNXSError(
                    f"{stage.name}: its data is resized to {loader.resize}, and its net takes "
                    f"{stage.resize or 'images of any size'}; give the loader resize={stage.resize}"
                )


def symbol_of(stage: Stage, classes: Dict[str, int], parent: Variant, pooling_convention: str) -> mx.sym.Symbol:
    """Net of a stage, as wide as its parent.

    Args:
        classes: number of classes of each head, of one head by "".

    Raises:
        FCNXSError: the parent regresses masks of another size, or their weights have no room in memory.
    """
    heads = {"heads": classes} if stage.headed else {"numclass": classes[""]}
    how = {**heads, "width": parent.width, "pooling_convention": pooling_convention}
    if stage.image_size is None:
        return NETS[stage.name](fc=parent.fc, **how)
    own = Sizes(tuple(stage.image_size), stage.mask_size)
    if parent.sizes not in (None, own):
        raise FCNXSError(f"{stage.name}: takes {own}, but the net to start from {parent.sizes}")
    symbol = NETS[stage.name](mask_size=own.mask, image_size=own.image, **how)
    shapes, _, _ = symbol.infer_shape(data=(1, 3, *own.image))
    weights, there = max(map(prod, shapes)), available_memory()
    if weights > LARGEST or 8 * weights > there:  # with as many gradients
        raise FCNXSError(
            f"{stage.name}: for {own} the layer mask has {weights:,} weights: they and their gradients "
            f"take {8 * weights / 1e9:.1f} GB, {there / 1e9:.1f} GB are available, and MXNet has at most "
            f"{LARGEST:,} in one array; make images and masks smaller (--image-size, --mask-size)"
        )
    return symbol


def steps_of(run: Run, stage: Stage, state: State | None = None) -> int:
    """Steps of a stage: those that its state has made, and as many as the rest takes on today's devices."""
    own = len(devices_of(run.settings.devices)) * (run.settings.accumulate or stage.accumulate) * run.workers
    epoch, position, done = (state.epoch, state.position, state.steps) if state else (1, 0, 0)
    batches = run.data.train.batches
    return done + -(-(batches - position) // own) + (stage.epochs - epoch) * -(-batches // own)


def make_solver(
    stage: Stage,
    symbol: mx.sym.Symbol,
    arg_params: Params,
    aux_params: Params,
    devices: mx.Context | Sequence[mx.Context] | None,
    steps: int | None = None,
    **how: str | bool | mx.kv.KVStore | Exchange | Sequence[float] | None,
) -> Solver:
    """Solver with the settings of a stage.

    Args:
        steps: number of all steps of the stage, which its schedule needs, if it has one.
        **how: further arguments of `Solver`.
    """
    names = ("optimizer", "learning_rate", "momentum", "wd", "fixed", "unnormalised", "labelled")
    settings = {name: getattr(stage, name) for name in names if getattr(stage, name) is not None}
    settings.update(stage.multipliers(arg_params), arg_params=arg_params, aux_params=aux_params)
    heads = heads_of(symbol)
    settings["fixed"] = [name for name in arg_params if plain_name(name, heads) in stage.fixed]
    schedule = schedule_of(stage, steps)
    settings.update({"lr_scheduler": schedule} if schedule else {})
    return Solver(symbol, devices, num_epoch=stage.epochs, **settings, **how)

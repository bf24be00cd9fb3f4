"""Options of `fcnxs finetune` for the stages of a run: which nets are trained, and how."""

from __future__ import annotations

import argparse
import inspect
from dataclasses import replace
from typing import Dict, List

from ...errors import FCNXSError
from ...stages import RECIPES, Stage

STAGES = "fcn32s,fcn16s,fcn8s"
OPTIMIZERS = (
    *("adadelta", "adagrad", "adam", "adamax", "ftml", "ftrl", "lamb", "nadam", "nag", "rmsprop", "sgd"),
    *("sgld", "signum"),
)


def add_stages(parser: argparse.ArgumentParser) -> None:
    """Add --stages, --recipe, --epochs and the options that override a recipe."""
    add = parser.add_argument
    add("--stages", default=STAGES, help="nets to train, in this order (default: %(default)s)")
    add("--recipe", default="mxnet", choices=RECIPES, help="settings of the stages (default: %(default)s)")
    add("--epochs", metavar="N[,N,N]", help="passes over the images: of every stage, or of each")
    add("--optimizer", metavar="NAME", help="MXNet's name of an optimizer, instead of the recipe's")
    add(
        "--lr",
        metavar="A[,B,C]",
        help="learning rates; A alone is the first stage's, the others keep the recipe's ratio to it",
    )
    add("--momentum", type=float, metavar="M", help="instead of the recipe's")
    add("--wd", type=float, metavar="W", help="weight decay, instead of the recipe's")
    add(
        "--pooling-convention",
        choices=("valid", "full"),
        help="rounding of the pooled sizes: down as the original, or up as Caffe, by which no border is "
        "without scores (default: the parent's)",
    )


def plan(args: argparse.Namespace) -> List[Stage]:
    """Stages of a run: those of the recipe, changed by the options.

    Raises:
        FCNXSError: an option has a wrong number of values, or a value out of range.
    """
    recipe, names = RECIPES[args.recipe], args.stages.split(",")
    unknown = [name for name in names if name not in recipe]
    if unknown or len(set(names)) < len(names):
        raise FCNXSError(f"--stages {args.stages}: expected some of {','.join(recipe)}, each once")
    stages = [recipe[name] for name in names]
    changes: Dict[str, list] = {}
    if args.lr:
        rates = _numbers("--lr", args.lr, float, len(stages))
        if len(rates) == 1:
            rates = [rates[0] * stage.learning_rate / stages[0].learning_rate for stage in stages]
        changes["learning_rate"] = rates
    if args.epochs:
        counts = _numbers("--epochs", args.epochs, int, len(stages))
        changes["epochs"] = counts * len(stages) if len(counts) == 1 else counts
    for key in ("momentum", "wd", "optimizer"):
        value = getattr(args, key)
        if isinstance(value, float) and not 0 <= value < 1:
            raise FCNXSError(f"--{key} {value}: expected a number from 0 to below 1")
        if value is not None:
            changes[key] = [value] * len(stages)
    changed = ({key: values[i] for key, values in changes.items()} for i in range(len(stages)))
    return [_with_momentum_if_any(replace(stage, **each), args) for stage, each in zip(stages, changed)]


def describe(stage: Stage) -> str:
    """One line on how a stage is trained."""
    momentum = "" if stage.momentum is None else f", momentum {stage.momentum:g}"
    epochs = "1 epoch" if stage.epochs == 1 else f"{stage.epochs} epochs"
    return (
        f"{stage.name}: {epochs}, {stage.optimizer} at {stage.learning_rate:g}{momentum}, "
        f"weight decay {stage.wd:g}, fixed: {', '.join(stage.fixed)}"
    )


def _with_momentum_if_any(stage: Stage, args: argparse.Namespace) -> Stage:
    """Stage without momentum, if its optimizer has none.

    Raises:
        FCNXSError: the optimizer is unknown to MXNet, or has no momentum that --momentum could set.
    """
    from ...compat import mxnet as mx

    if stage.optimizer not in OPTIMIZERS:
        raise FCNXSError(f"--optimizer {stage.optimizer}: expected one of {', '.join(OPTIMIZERS)}")
    optimizer = mx.optimizer.Optimizer.opt_registry[stage.optimizer]
    has_momentum = "momentum" in inspect.signature(optimizer.__init__).parameters
    if args.momentum is not None and not has_momentum:
        raise FCNXSError(f"--momentum {args.momentum}: the optimizer {stage.optimizer} has none")
    return stage if has_momentum else replace(stage, momentum=None)


def _numbers(option: str, text: str, kind: type, count: int) -> list:
    """Positive numbers between commas: one, or `count`."""
    try:
        values = [kind(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, count) or not all(0 < value < float("inf") for value in values):
        raise FCNXSError(
            f"{option} {text}: expected {'1' if count == 1 else f'1 or {count}'} numbers above 0, with commas"
        )
    return values

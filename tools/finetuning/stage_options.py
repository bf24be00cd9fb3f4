"""Options of `fcnxs finetune` on its stages: which nets, in which order, and how each is trained."""

from __future__ import annotations

import argparse
import inspect
from dataclasses import replace
from typing import Dict, List

from ...errors import FCNXSError
from ...regression import Sizes
from ...stages import ALL_STAGES, RECIPES, SCHEDULES, Stage
from ..shared import options
from ..shared.sizes import height_and_width

STAGES = "fcn32s,fcn16s,fcn8s"
AUTO = "auto"  # of --class-weights
OPTIMIZERS = (
    *("adadelta", "adagrad", "adam", "adamax", "ftml", "ftrl", "lamb", "nadam", "nag", "rmsprop", "sgd"),
    *("sgld", "signum"),
)
SMALLEST_SIDE = 16  # pixels of an image of which conv5_3 has a cell


def add_stages(parser: argparse.ArgumentParser) -> None:
    """Add --stages, --recipe, --epochs and the options that override a recipe."""
    add = parser.add_argument
    add("--stages", default=STAGES, help="nets to train, in this order (default: %(default)s)")
    add(
        "--recipe",
        default="mxnet",
        choices=RECIPES,
        help="table of optimizers, learning rates and epochs of the stages (default: %(default)s)",
    )
    add(
        "--epochs",
        metavar="N[,N,N]",
        help="number of epochs of all stages, or of each one (default: the recipe's)",
    )
    add("--optimizer", metavar="NAME", help="MXNet's name of an optimizer, instead of the recipe's")
    add(
        "--lr",
        metavar="A[,B,C]",
        help="learning rate of each stage; A alone is the first's, the others keep the recipe's ratio to it",
    )
    add(
        "--lr-schedule",
        choices=SCHEDULES,
        default="constant",
        help="how the rate falls over each stage: poly by a power of 0.9 and cosine by half a cosine, to "
        "nearly 0; step to a tenth after half of the steps and to a hundredth after three quarters (default: "
        "%(default)s)",
    )
    add(
        "--warmup",
        type=int,
        default=0,
        metavar="N",
        help="raise the rate from 0 in the first N steps of each stage (default: %(default)s)",
    )
    add(
        "--patience",
        type=int,
        metavar="N",
        help="end a stage when its mean IU has not risen for N epochs, and start the next from its best epoch "
        "(default: train all epochs, and start from the last)",
    )
    add("--momentum", type=float, metavar="M", help="momentum, instead of the recipe's")
    add("--wd", type=float, metavar="W", help="weight decay, instead of the recipe's")
    add(
        "--pooling-convention",
        choices=("valid", "full"),
        help="round the sizes of pooled layers down (valid), as the original example does, or up (full), as "
        "Caffe does, which leaves no border without scores (default: the parent's)",
    )
    add(
        "--image-size",
        metavar="WxH",
        help="mask_regression: width x height that all images are resized to (default: 224x224)",
    )
    add(
        "--mask-size",
        type=int,
        metavar="N",
        help="mask_regression: height and width of the masks, to which the labels are resized (default: 64)",
    )
    add(
        "--class-weights",
        metavar="auto|FILE",
        help="weights of the classes in the loss: by median frequency over the training labels, or from a file "
        "with a line NAME NUMBER for each class, or with JSON (default: all count alike)",
    )


def plan(args: argparse.Namespace) -> List[Stage]:
    """Stages of a run: those of the recipe, changed by the options.

    Raises:
        FCNXSError: an option has a wrong number of values, or a value out of range.
    """
    recipe, names = ALL_STAGES[args.recipe], args.stages.split(",")
    unknown = [name for name in names if name not in recipe]
    if unknown or len(set(names)) < len(names):
        others = [key for key, stages in ALL_STAGES.items() if {*names} <= {*stages} and unknown]
        has = f"; --recipe {' or '.join(others)} has them" if others else ""
        raise FCNXSError(f"--stages {args.stages}: expected some of {','.join(recipe)}, each once{has}")
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
    stages = [replace(stage, schedule=args.lr_schedule, warmup=args.warmup) for stage in stages]
    for stage in stages:
        if stage.image_size is not None and len(stages) > 1:
            raise FCNXSError(f"--stages {args.stages}: {stage.name} is trained alone, on images of one size")
        if stage.image_size is not None and args.class_weights is not None:
            raise FCNXSError(f"--class-weights: {stage.name} has a squared loss, without weights; leave it out")
    stages = [_of_sizes(stage, args) for stage in stages]
    changed = ({key: values[i] for key, values in changes.items()} for i in range(len(stages)))
    return [_with_momentum_if_any(replace(stage, **each), args) for stage, each in zip(stages, changed)]


def describe(stage: Stage, accumulate: int | None = None) -> str:
    """One line on how a stage is trained; `accumulate` of the options replaces the stage's own."""
    momentum = "" if stage.momentum is None else f", momentum {stage.momentum:g}"
    epochs = "1 epoch" if stage.epochs == 1 else f"{stage.epochs} epochs"
    batches = accumulate or stage.accumulate
    steps = f", {batches} batches of each device in a step" if batches > 1 else ""
    schedule = "" if stage.schedule == "constant" else f", schedule {stage.schedule}"
    schedule += f", warm-up over {stage.warmup} steps" if stage.warmup else ""
    if stage.image_size is not None:
        steps += f"; {Sizes(stage.image_size, stage.mask_size)}"
    return (
        f"{stage.name}: {epochs}, {stage.optimizer} at {stage.learning_rate:g}{schedule}{momentum}, "
        f"weight decay {stage.wd:g}, fixed: {', '.join(stage.fixed) or 'none'}{steps}"
    )


def _of_sizes(stage: Stage, args: argparse.Namespace) -> Stage:
    """Stage with the sizes of the options.

    Raises:
        FCNXSError: an option has no size, or the stage takes images of any size.
    """
    for option, value in (("--image-size", args.image_size), ("--mask-size", args.mask_size)):
        if value is not None and stage.image_size is None:
            raise FCNXSError(f"{option} {value}: {stage.name} takes images of any size; leave it out")
    if args.image_size is not None:
        stage = replace(stage, image_size=height_and_width(args.image_size, SMALLEST_SIDE))
    if args.mask_size is not None:
        options.refuse_below(1, args, "mask_size")
        stage = replace(stage, mask_size=args.mask_size)
    return stage


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

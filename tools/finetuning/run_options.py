"""Options of `fcnxs finetune`: its stages, and those that a resumed run began with, from run.json."""

from __future__ import annotations

import argparse
import inspect
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Tuple

from ...data.datasets import NAMED
from ...errors import FCNXSError
from ...stages import ALL_STAGES, RECIPES, SCHEDULES, Stage
from ...system.json_files import Null, Number, checked, told_of
from ..shared import data_options
from ..shared.devices import MOST, of_cpus, of_gpus

STAGES = "fcn32s,fcn16s,fcn8s"
AUTO = "auto"  # of --class-weights
OPTIMIZERS = (
    *("adadelta", "adagrad", "adam", "adamax", "ftml", "ftrl", "lamb", "nadam", "nag", "rmsprop", "sgd"),
    *("sgld", "signum"),
)
PATHS = ("data", "val", "root", "classes", "prefix", "output", "class_weights")
NAMES = {"class_weights": (AUTO,)}  # values of PATHS that are no paths; of the others, NAMED
REQUIRED = ("data", "prefix", "epoch", "output")
OF_COMMAND = ("skipped", "options", "meta", "data", "stages")  # keys of run.json that this command writes
# Options that earlier versions wrote to run.json by other names.
RENAMED = {
    **{"mirror": "recompute", "random_mirror": "random_flip", "keep": "keep_epochs"},
    **{"gpus": "device", "cpus": "device"},
}
# Those of them whose values have changed, too: the form that these had, and what they are now.
CHANGED = {"gpus": (str, of_gpus), "cpus": (Number(int, 1, MOST), of_cpus)}
# Options that may differ when a run resumes: where and how it runs, but not its result.
FREE = (
    *("device", "kv_store", "workers", "recompute", "quiet", "tensorboard", "resume"),
    *("checkpoint_every", "keep_epochs", "max_pixels"),
)


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
    return (
        f"{stage.name}: {epochs}, {stage.optimizer} at {stage.learning_rate:g}{schedule}{momentum}, "
        f"weight decay {stage.wd:g}, fixed: {', '.join(stage.fixed)}{steps}"
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


def restored(args: argparse.Namespace) -> Tuple[argparse.Namespace, Dict[str, Any] | None]:
    """Options of the run that --resume names, with those given now; and its run.json, or None.

    Raises:
        FCNXSError: an option differs from the run's, or a required one is missing.
    """
    given, before = _given(args), None
    data_options.folder_here(given, args.quiet)
    defaults = {name: args.parser.get_default(name) for name in vars(args)}
    if args.resume is not None:
        from ...finetune.run_folder import PLAN, read_plan

        if _path(args.output or args.resume) != _path(args.resume):
            raise FCNXSError(
                f"--output {args.output}: --resume {args.resume} is another folder; give one of them"
            )
        given["output"] = args.resume
        before = read_plan(Path(args.resume))
    if before is not None:
        options = _options_of(before, Path(args.resume, PLAN), args.parser)
        began = {**defaults, **options}
        for name, value in storable(argparse.Namespace(given=given)).items():
            if name not in (*FREE, "output") and value != began.get(name):
                has = f"with {began[name]}" if began.get(name) and not isinstance(value, bool) else "without it"
                raise FCNXSError(
                    f"{_written(args.parser, name, value)}: the run in {args.resume} began {has}; leave the "
                    "option out to go on with it, or begin another run with --output"
                )
        free = {name: value for name, value in given.items() if name in (*FREE, "output")}
        # A job of several processes may go on as one process, and the other way round.
        store, job = options.get("kv_store"), os.environ.get("DMLC_ROLE") == "worker"
        store = store if ("dist" in (store or "")) == job else "dist_sync" if job else None
        given = {**options, "kv_store": store, **free}
    missing = [_option(name) for name in REQUIRED if given.get(name) is None]
    if missing:
        what = f"no run to go on with in {args.resume}, and " if args.resume is not None else ""
        raise FCNXSError(f"{what}missing: {', '.join(missing)}; see fcnxs finetune --help")
    return argparse.Namespace(**{**defaults, **given, "given": given}), before


def _options_of(before: Dict[str, Any], file: Path, parser: argparse.ArgumentParser) -> Dict[str, Any]:
    """Options in a run.json, by their names today.

    Raises:
        FCNXSError: it is not one of this command, or has an option or a value that a command line cannot have.
    """
    lacks = [key for key in OF_COMMAND if before[key] is None]
    if lacks:
        raise FCNXSError(
            f"{file}: has no {lacks[0]}: this run was begun from Python, not by this command; go on with it "
            "there"
        )
    forms: Dict[str, Any] = {}
    for action in parser._actions:
        kinds = {None: str, int: Number(int), float: Number(float)}  # of a type of its own: a list
        form = bool if action.nargs == 0 else kinds.get(action.type, [str])
        form = [form] if isinstance(action, argparse._AppendAction) else form
        if action.help != argparse.SUPPRESS:  # a former name
            forms[action.dest] = Null({*action.choices} if action.choices else form)
    with told_of(file, "the record of a run of this version", "begin another run with --output"):
        options = _renamed(before["options"])
        unknown = [name for name in options if name not in forms]
        if unknown:
            raise ValueError(f"options: there is no option {unknown[0]!r:.80}")
        return {name: checked(value, forms[name], f"options.{name}") for name, value in options.items()}


def _renamed(options: Dict[str, Any]) -> Dict[str, Any]:
    """Options of a run.json, by their names and with their values of today.

    Raises:
        ValueError: a value is none that the option could have.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in {*CHANGED} & {*given}:
        form, today = CHANGED[name]
        given[name] = today(checked(given[name], form, f"options.{name}"))
    return {RENAMED.get(name, name): value for name, value in given.items()}


def _given(args: argparse.Namespace) -> Dict[str, Any]:
    """Options that the command line has."""
    left_out = object()
    probe = argparse.Namespace(**dict.fromkeys(vars(args), left_out))
    for action in args.parser._actions:
        if isinstance(action, argparse._AppendAction):  # which extends what is there
            setattr(probe, action.dest, None)
    args.parser.parse_args(args.arguments, probe)
    return {name: value for name, value in vars(probe).items() if value is not left_out and value is not None}


def storable(args: argparse.Namespace) -> Dict[str, Any]:
    """Options that were given, in types that JSON can hold; paths are absolute, valid from any folder."""
    return {
        name: _path(value) if name in PATHS and value not in NAMES.get(name, NAMED) else value
        for name, value in args.given.items()
        if name != "resume" and value is not None
    }


def _path(value: str) -> str:
    return str(Path(value).absolute())


def _written(parser: argparse.ArgumentParser, name: str, value: Any) -> str:  # noqa: ANN401
    """The option as it is written on a command line: `--seed 3`, `--no-trim`."""
    actions = (action for action in parser._actions if action.help != argparse.SUPPRESS)
    names = next(action.option_strings for action in actions if action.dest == name)
    if isinstance(value, bool):
        return names[0 if value else -1]
    return f"{names[0]} {','.join(map(str, value)) if isinstance(value, list) else value}"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"

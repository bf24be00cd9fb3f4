"""Train FCN-32s, FCN-16s and FCN-8s in a row, each from the one before, the first from VGG-16 or an FCN.

Writes checkpoints of every epoch (RUN/fcn32s-symbol.json, RUN/fcn32s-0001.params, ...), a line for each
epoch to RUN/metrics.jsonl, and the scores of each stage to RUN/summary.json.

Example:
    fcnxs finetune --data VOC2012 --val-split val --prefix vgg16fc --epoch 0 --output run --recipe mxnet
"""

from __future__ import annotations

import argparse
import inspect
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List

from ..errors import FCNXSError
from ..stages import RECIPES, Stage
from . import options

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint, Meta

STAGES = "fcn32s,fcn16s,fcn8s"
OPTIMIZERS = (
    *("adadelta", "adagrad", "adam", "adamax", "ftml", "ftrl", "lamb", "nadam", "nag", "rmsprop", "sgd"),
    *("sgld", "signum"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs finetune`."""
    add = parser.add_argument
    add("--data", required=True, metavar="DIR|LST", help="folder in VOC layout, or list of images and labels")
    add("--split", help="of a folder, to train on (default: train)")
    add("--val", metavar="LST", help="list to evaluate on after each epoch")
    add("--val-split", metavar="SPLIT", help="split of --data to evaluate on after each epoch, e.g. val")
    add("--classes", metavar="FILE", help="names of classes, a line each (default: the parent's, or VOC's 21)")
    add("--num-classes", type=int, metavar="N", help="number of classes, where they have no names")
    add("--prefix", required=True, help="of the checkpoint to start from: VGG-16 or an FCN")
    add("--epoch", type=int, required=True, help="of that checkpoint; 0 after `fcnxs convert`")
    add("--output", required=True, type=Path, metavar="RUN", help="folder for what is made")
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
    add("--cut-off-size", type=int, metavar="N", help="train on random cuts of images larger than this")
    add("--seed", type=int, default=0, metavar="N", help="of the order of images and of dropout (default: 0)")
    options.add_gpus(parser)


def run(args: argparse.Namespace) -> int:
    """Check the options, train, print a line for each epoch and the table of stages."""
    stages = plan(args)
    if args.num_classes is not None and args.classes:
        raise FCNXSError("--classes and --num-classes: give one of them")
    if args.val and args.val_split:
        raise FCNXSError("--val and --val-split: give one of them")
    if args.seed < 0:
        raise FCNXSError(f"--seed {args.seed}: want 0 or more")
    if args.cut_off_size is not None and args.cut_off_size < 1:
        raise FCNXSError(f"--cut-off-size {args.cut_off_size}: want 1 or more")
    if args.output.exists() and not args.output.is_dir():
        raise FCNXSError(f"--output {args.output}: is a file; want a folder")
    train_list = options.list_of(args.data, args.split, "train", "--split")
    val_list = None
    if args.val or args.val_split:
        val_list = options.list_of(args.val or args.data, args.val_split, "val", "--val-split")

    from .. import checkpoint
    from ..data import FileIter
    from ..finetune import finetune
    from .progress import Progress
    from .text import summary_table

    ctx = options.device(args.gpus)
    parent = checkpoint.load(args.prefix, args.epoch)
    meta = make_meta(args, parent)
    settings = {"rgb_mean": meta.mean, "num_classes": len(meta.classes)}
    train = FileIter(*train_list, cut_off_size=args.cut_off_size, shuffle=True, seed=args.seed, **settings)
    val = FileIter(*val_list, **settings) if val_list else None
    options.tell_mean(args.prefix, parent)
    evaluated = len(val) if val else "none"
    print(f"{len(train)} images to train on, {evaluated} to evaluate on")
    named = args.classes or args.num_classes is not None
    origin = "" if named else ", by default (--classes or --num-classes give others)"
    print(f"{len(meta.classes)} classes{origin}: {', '.join(meta.classes)}")
    for stage in stages:
        print(describe(stage))
    with Progress(len(train)) as progress:
        told = (progress.step, progress.epoch)
        rows = finetune(
            parent, stages, train, val, args.output, meta, ctx, args.seed, *told, args.pooling_convention
        )
    print(summary_table(rows))
    print(
        f"wrote {args.output}/summary.json, metrics.jsonl and checkpoints, the last with --prefix "
        f"{args.output / stages[-1].name} --epoch {stages[-1].epochs}"
    )
    return 0


def plan(args: argparse.Namespace) -> List[Stage]:
    """Stages of a run: those of the recipe, with what the options change.

    Raises:
        FCNXSError: an option has a wrong number of values, or one that makes no sense.
    """
    recipe, names = RECIPES[args.recipe], args.stages.split(",")
    unknown = [name for name in names if name not in recipe]
    if unknown or len(set(names)) < len(names):
        raise FCNXSError(f"--stages {args.stages}: want some of {','.join(recipe)}, each once")
    stages = [recipe[name] for name in names]
    changes: List[Dict[str, Any]] = [{} for _ in stages]
    if args.lr:
        rates = _numbers("--lr", args.lr, float, len(stages))
        if len(rates) == 1:
            rates = [rates[0] * stage.learning_rate / stages[0].learning_rate for stage in stages]
        changes = [{**change, "learning_rate": rate} for change, rate in zip(changes, rates)]
    if args.epochs:
        counts = _numbers("--epochs", args.epochs, int, len(stages))
        counts = counts * len(stages) if len(counts) == 1 else counts
        changes = [{**change, "epochs": count} for change, count in zip(changes, counts)]
    for option, key in (("--momentum", "momentum"), ("--wd", "wd"), ("--optimizer", "optimizer")):
        value = getattr(args, key)
        if isinstance(value, float) and not 0 <= value < 1:
            raise FCNXSError(f"{option} {value}: want a number from 0 to below 1")
        if value is not None:
            changes = [{**change, key: value} for change in changes]
    stages = [replace(stage, **change) for stage, change in zip(stages, changes)]
    return [_with_momentum_if_any(stage, args) for stage in stages]


def make_meta(args: argparse.Namespace, parent: Checkpoint) -> Meta:
    """Meta of the checkpoints to come: the parent's mean, and classes by option, by the parent, or VOC's."""
    from ..checkpoint import source_of
    from ..init import net_of
    from ..vis import voc_palette

    net = net_of(parent.arg_params, str(parent.params_file))
    if args.classes:
        classes = options.read_classes(args.classes)
    elif args.num_classes is not None:
        if not 2 <= args.num_classes <= 255:
            raise FCNXSError(f"--num-classes {args.num_classes}: want 2 to 255")
        classes = [f"class {number}" for number in range(args.num_classes)]
    elif parent.meta.classes:
        classes = parent.meta.classes
    else:
        classes = options.default_classes(net.numclass)
    if net.numclass not in (None, len(classes)):
        raise FCNXSError(
            f"{parent.params_file} is an {net.name} for {net.numclass} classes, not {len(classes)}; "
            "start from VGG-16 for other classes (of Caffe's FCNs, `fcnxs convert --trunk` has it)"
        )
    same = classes == parent.meta.classes
    palette = parent.meta.palette if same else voc_palette(len(classes))
    return replace(parent.meta, classes=classes, palette=palette, source=source_of(parent.params_file))


def describe(stage: Stage) -> str:
    """One line that says how a stage is trained."""
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
    from ..compat import mxnet as mx

    if stage.optimizer not in OPTIMIZERS:
        raise FCNXSError(f"--optimizer {stage.optimizer}: want one of {', '.join(OPTIMIZERS)}")
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
        raise FCNXSError(f"{option} {text}: want 1 or {count} numbers above 0, between commas")
    return values

"""Train FCN-32s, FCN-16s and FCN-8s in a row, each from the one before, the first from VGG-16 or an FCN.

Writes checkpoints of every epoch (RUN/fcn32s-symbol.json, RUN/fcn32s-0001.params, ...), the best by mean IU
(RUN/fcn32s-best, epoch 0), the state to go on from (RUN/fcn32s-last.*), a line for each epoch to
RUN/metrics.jsonl, the scores of each stage to RUN/summary.json, and RUN/run.log.

A run that was stopped or killed goes on where it was with --resume RUN, which needs no other option. SIGTERM
and Ctrl-C save first; a second one does not wait for the step to end.

Examples:
    fcnxs finetune --data VOC2012 --val-split val --prefix vgg16fc --epoch 0 --output run --recipe mxnet
    fcnxs finetune --resume run
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Sequence

from ..compat import use_the_machine
from ..errors import FCNXSError
from . import data_options, options
from .run_options import restored, storable
from .stage_options import add_stages, describe, plan
from .stopping import Stopping

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint, Meta
    from ..compat import mxnet as mx
    from ..listener import Listener
    from ..loader import Loader
    from ..samples import Samples
    from ..stages import Stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs finetune`."""
    add = parser.add_argument
    add("--data", metavar="DIR|LST|NAME", help=data_options.DATA_HELP)
    data_options.add_root_and_split(parser, "train")
    add("--val", metavar="DIR|LST|NAME", help="data set to evaluate on after each epoch")
    add("--val-split", metavar="SPLIT", help="split of --val, or of --data, to evaluate on, e.g. val")
    add(
        "--classes",
        metavar="FILE",
        help="names of classes (default: the data set's, the parent's, or VOC's)",
    )
    add("--num-classes", type=int, metavar="N", help="number of classes, where they have no names")
    add("--prefix", help="of the checkpoint to start from: VGG-16 or an FCN")
    add("--epoch", type=int, help="of that checkpoint; 0 after `fcnxs convert`")
    add("--output", metavar="RUN", help="folder for what is made")
    add("--resume", metavar="RUN", help="go on with the run in this folder; if there is none, begin it there")
    add_stages(parser)
    data_options.add_augmentation(parser)
    add("--cut-off-size", type=int, metavar="N", help="train on random cuts of images larger than this")
    add("--skip-bad", action="store_true", help="leave out pairs of image and label that cannot be used")
    add("--seed", type=int, default=0, metavar="N", help="of order, augmentation and dropout (default: 0)")
    add("--checkpoint-every", type=int, metavar="N", help="save the state every N steps, not at epochs alone")
    add(
        "--keep",
        type=int,
        metavar="K",
        help="keep a stage's last K epochs, and its best (default: all)",
    )
    add("--accumulate", type=int, default=1, metavar="N", help="batches of each device in a step (default: 1)")
    add("--gpus", metavar="N[,N...]", help="numbers of the GPUs to use, from 0 (default: the CPU)")
    add("--cpus", type=int, metavar="N", help="devices mx.cpu(0) to mx.cpu(N-1), which share the processors")
    add(
        "--kv-store",
        default="local",
        metavar="NAME",
        help="how gradients are summed over devices (local, device, nccl) or machines (dist_sync, "
        "dist_device_sync, with `fcnxs launch`; default: local)",
    )
    add(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="keep less and compute it again: less memory, same result",
    )
    add(
        "--tensorboard",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="write curves and pictures to RUN/tensorboard",
    )
    add(
        "--quiet",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="no progress and no line of each epoch",
    )


def run(args: argparse.Namespace) -> int:
    """Check the options and the data, train, print a line for each epoch and the table of stages."""
    environment = getattr(args, "environment", os.environ)  # as the user has it
    args, before = restored(args)
    stages = plan(args)
    _check(args)
    if "OMP_NUM_THREADS" not in environment:
        os.environ.pop("OMP_NUM_THREADS", None)
        use_the_machine(args.cpus or 1)  # which share the processors
    samples = {"train": data_options.samples_of(args.data, args.split, args.root, "train", need=0)}
    if args.val or args.val_split:
        root = None if args.val and Path(args.val).exists() else args.root
        samples["val"] = data_options.samples_of(
            args.val or args.data,
            args.val_split,
            root,
            "val",
            0,
            "--val-split",
            "--val" if args.val else "--data",
        )

    from .. import checkpoint
    from ..exchange import exchange_for
    from ..finetune import finetune, refuse_to_overwrite
    from ..run_state import locked
    from ..training import StoppedError
    from .data_report import keep_good, same_data, same_stages
    from .text import best_epochs, summary_table

    output, devices = Path(args.output), options.devices(args.gpus, args.cpus)
    options.refuse_unwritable("--output", output)
    exchange = exchange_for(args.kv_store, len(devices))
    rank, workers = (exchange.rank, exchange.workers) if exchange else (0, 1)
    first = rank == 0
    if before is None:
        refuse_to_overwrite(output, stages)
        if first and output.is_dir():
            with locked(output):
                pass  # before the data is gone through, which may take long
        parent = checkpoint.load(args.prefix, args.epoch)
        meta = _make_meta(args, parent, samples["train"])
        if first:
            options.tell_mean(args.prefix, parent)
        data = {name: part.fingerprint() for name, part in samples.items()}
        samples, skipped = keep_good(args, samples, len(meta.classes), quiet=not first or args.quiet)
        kept = {"options": storable(args), "meta": asdict(meta), "data": data, "skipped": skipped}
        kept["stages"] = [asdict(stage) for stage in stages]
    else:
        kept, parent = before, None
        same_stages(args, stages, before)
        meta = checkpoint.Meta(**{**before["meta"], "mean": tuple(before["meta"]["mean"])})
        samples = same_data(args, samples, before)
    loaders = _loaders(args, samples, meta)
    with Stopping() as stopping:
        listeners = _listeners(args, output, devices, meta, kept, stages, workers) if first else []
        try:
            rows = finetune(
                lambda: parent or checkpoint.load(args.prefix, args.epoch),
                stages,
                loaders["train"],
                loaders.get("val"),
                output,
                meta,
                devices,
                pooling_convention=args.pooling_convention,
                kvstore=exchange or args.kv_store,
                mirror=args.mirror,
                accumulate=args.accumulate,
                checkpoint_every=args.checkpoint_every,
                keep=args.keep,
                resume=args.resume is not None,
                plan=kept,
                listeners=listeners,
                should_stop=stopping.asked,
            )
        except StoppedError as stopped:
            alone = " (with `fcnxs launch`, or alone)" if workers > 1 else ""
            way_out = f"`fcnxs finetune --resume {output}` goes on{alone}"
            stopping.end(f"; the state is saved in {stopped.file}; {way_out}" if first else "")
        finally:
            for listener in listeners:
                listener.close()
    if first:
        if before and before.get("finished"):
            print(f"the run in {output} has ended before")
        print(summary_table(rows))
        records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        if best_epochs(records):
            print(f"best by mean IU, with --prefix {output}/STAGE-best --epoch 0: {best_epochs(records)}")
        print(
            f"wrote {output}/summary.json, metrics.jsonl and checkpoints, the last with --prefix "
            f"{output / stages[-1].name} --epoch {stages[-1].epochs}"
        )
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse values that make no sense."""
    if args.num_classes is not None and args.classes:
        raise FCNXSError("--classes and --num-classes: give one of them")
    at_least_1 = ("cut_off_size", "checkpoint_every", "keep", "accumulate")
    for option, least in (("seed", 0), *((option, 1) for option in at_least_1)):
        value = getattr(args, option)
        if value is not None and value < least:
            raise FCNXSError(f"--{option.replace('_', '-')} {value}: want {least} or more")
    if os.environ.get("DMLC_ROLE") == "worker" and "dist" not in args.kv_store:
        raise FCNXSError(
            f"--kv-store {args.kv_store}: of a job of several processes; want --kv-store dist_sync"
        )
    if Path(args.output).exists() and not Path(args.output).is_dir():
        raise FCNXSError(f"--output {args.output}: is a file; want a folder")
    if args.cut_off_size is not None and args.crop_size is not None:
        raise FCNXSError("--cut-off-size and --crop-size: give one of them")
    data_options.augmentation_of(args)


def _loaders(args: argparse.Namespace, samples: Dict[str, Samples], meta: Meta) -> Dict[str, Loader]:
    """Batches to train on and, if there is such data, to evaluate on: whole images, one at a time."""
    from ..loader import Loader

    settings = {"mean": meta.mean, "num_classes": len(meta.classes), "workers": args.workers}
    changes = {
        "batch_size": args.batch_size,
        "augmentation": data_options.augmentation_of(args),
        "cut_off_size": args.cut_off_size,
        "shuffle": True,
        "seed": args.seed,
    }
    return {
        name: Loader(part, **settings, **(changes if name == "train" else {})) for name, part in samples.items()
    }


def _listeners(
    args: argparse.Namespace,
    output: Path,
    devices: Sequence[mx.Context],
    meta: Meta,
    kept: Dict[str, Any],
    stages: Sequence[Stage],
    processes: int,
) -> List[Listener]:
    """Progress on the terminal, run.log, and TensorBoard if it is asked for; says what will be done."""
    from ..run_log import RunLog, facts
    from .progress import Progress

    if not args.quiet:
        named = args.classes or args.num_classes is not None
        origin = "" if named else ", by default (--classes or --num-classes give others)"
        print(f"{len(meta.classes)} classes{origin}: {', '.join(meta.classes)}")
        for stage in stages:
            print(describe(stage), flush=True)
    more = {"options": storable(args), "skipped": kept["skipped"], "processes": processes}
    command = ["fcnxs", *sys.argv[1:]]
    log = RunLog(output / "run.log", facts(command, devices, args.seed, meta, kept["data"], **more))
    listeners: List[Listener] = [Progress(args.quiet), log]
    if args.tensorboard:
        from ..tensorboard import TensorBoard

        listeners.append(TensorBoard(output / "tensorboard", meta.classes, meta.palette, meta.mean))
    return listeners


def _make_meta(args: argparse.Namespace, parent: Checkpoint, samples: Samples) -> Meta:
    """Meta of the checkpoints to come: the parent's mean, and classes by option, data set, parent, or VOC's."""
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
    elif samples.classes:
        classes = samples.classes
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
    palette = samples.palette if classes == samples.classes else parent.meta.palette if same else None
    palette = palette or voc_palette(len(classes))
    return replace(parent.meta, classes=classes, palette=palette, source=source_of(parent.params_file))

"""Train FCN-32s, FCN-16s and FCN-8s in a row, each from the one before, the first from VGG-16 or an FCN.

--stages names other nets: fcn4s and fcn2s after fcn8s, fcn8s_atonce from VGG-16, fcn_alexnet from AlexNet,
mask_regression from VGG-16 (--recipe adam), on images and masks of one size; nyud_fcn32s_color_d from VGG-16,
on RGB and depth; nyud_fcn32s_color_hha, late fusion of RGB and HHA, from two FCN-32s.

Writes checkpoints of every epoch (RUN/fcn32s-symbol.json, RUN/fcn32s-0001.params, ...), the best by mean IU
(RUN/fcn32s-best, epoch 0), the state to go on from (RUN/fcn32s-last.*), a line for each epoch to
RUN/metrics.jsonl, the scores of each stage to RUN/summary.json, and RUN/run.log.

A run that was stopped or killed goes on where it was with --resume RUN, which needs no other option. SIGTERM
and Ctrl-C save first; a second one does not wait for the step to end.

Examples:
    fcnxs finetune --data VOC2012 --prefix vgg16fc --epoch 0 --output run --recipe mxnet
    fcnxs finetune --resume run
"""

from __future__ import annotations

import argparse
import os
import warnings
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Sequence, Tuple

from ..compat import use_the_machine
from ..data.samples import Samples
from ..errors import FCNXSError, FCNXSWarning, quoted
from ..stages import Stage
from .finetuning import images
from .finetuning.data_report import (
    heads_wanted,
    keep_good,
    make_loaders,
    make_meta,
    same_data,
    same_stages,
    samples_of,
    smallest_of,
)
from .finetuning.listeners import listeners_of, print_end
from .finetuning.run_options import restored, storable
from .finetuning.stage_options import AUTO, add_stages, plan
from .shared import data_checks, data_options, devices, options
from .shared.augmentation import add_augmentation, augmentation_of
from .shared.printing import say
from .shared.signals import Stopping

if TYPE_CHECKING:
    from ..checkpoint import Checkpoint, Meta
    from ..finetune import Listener


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs finetune`."""
    add = parser.add_argument
    add("--data", metavar="DIR|LST|NAME", help=data_options.DATA_HELP)
    data_options.add_root_and_split(parser, "train")
    add("--val", metavar="DIR|LST|NAME", help="data set to evaluate on after each epoch")
    add(
        "--val-split",
        metavar="SPLIT",
        help="split of --val, or of --data, to evaluate on (default: val, if --data has it beside train)",
    )
    add("--no-val", action="store_true", help="do not evaluate, although --data has a split val")
    options.add_classes(parser, "the data set's, classes.txt in its folder, the parent's, or VOC's")
    add("--prefix", help="prefix of the checkpoint to start from: VGG-16 or an FCN")
    options.add_operators(parser)
    add("--epoch", type=int, help="epoch of this checkpoint; 0 after `fcnxs convert`")
    images.add_options(parser)
    add("--output", metavar="RUN", help="folder for the checkpoints, the logs and the state of the run")
    add("--resume", metavar="RUN", help="go on with the run in this folder; if there is none, begin it there")
    add_stages(parser)
    add_augmentation(parser)
    add(
        "--cut-off-size",
        type=int,
        metavar="N",
        help="cut images with a side above N to squares of at most NxN, at random",
    )
    data_checks.add_exif(parser, "as the parent's meta file says, or apply")
    data_checks.add_ignore_label(parser, "none")
    data_checks.add_allow(parser)
    data_checks.add_max_pixels(parser)
    add("--skip-bad", action="store_true", help="leave out pairs of image and label that cannot be used")
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the images' order, of augmentation and dropout (default: 0)",
    )
    add(
        "--checkpoint-every",
        type=int,
        metavar="N",
        help="save the state every N steps, and not only after each epoch",
    )
    keep = "keep only a stage's last K epochs, and its best one (default: keep all)"
    options.add_renamed(parser, ["--keep-epochs"], "--keep", type=int, metavar="K", help=keep)
    add(
        "--accumulate",
        type=int,
        metavar="N",
        help="number of batches on each device in a step (default: as the recipe says)",
    )
    devices.add_devices(parser)
    add(
        "--kv-store",
        metavar="NAME",
        help="how gradients are summed over devices (local, device, nccl) or machines (dist_sync, "
        "dist_device_sync, with `fcnxs launch`; default: device for GPUs, local for CPU devices)",
    )

    def switch(option: str, default: bool, text: str) -> None:
        add(option, action=argparse.BooleanOptionalAction, default=default, help=text)

    recompute = "compute the widest layers twice, which takes less memory and more time, for the same result"
    how = {"action": argparse.BooleanOptionalAction, "default": False, "help": recompute}
    options.add_renamed(parser, ["--recompute"], "--mirror", **how)
    switch(
        "--trim",
        True,
        "compute only what depends on the image, in less time; the result is the same but for rounding",
    )
    switch("--tensorboard", False, "write curves and pictures to RUN/tensorboard")
    switch("--quiet", False, "show no progress and print no line after each epoch")


def run(args: argparse.Namespace) -> int:
    """Check the options and the data, train, print a line for each epoch and the table of stages."""
    environment = getattr(args, "environment", os.environ)  # as the user has it
    args, before = restored(args)
    stages = plan(args)
    _check(args)
    takes_val = before is None and data_options.take_val(args)
    if "OMP_NUM_THREADS" not in environment:
        os.environ.pop("OMP_NUM_THREADS", None)
        use_the_machine(devices.processors_shared_by(args.device))
    samples = samples_of(args, heads_wanted(args, stages, before))
    if args.patience is not None and "val" not in samples:
        raise FCNXSError(f"--patience {args.patience}: needs data to evaluate on; give --val or --val-split")

    from .. import checkpoint
    from ..checkpoint.source import checkpoint_of
    from ..finetune import Data, Output, Settings, finetune
    from ..finetune.run_folder import PLAN, refuse_to_overwrite
    from ..solver.collective import exchange_for

    folder, contexts = Path(args.output), devices.devices(args.device)
    options.refuse_unwritable("--output", folder)
    exchange = exchange_for(args.kv_store, contexts)
    first, workers = (exchange.rank == 0, exchange.workers) if exchange else (True, 1)
    if not first:
        warnings.simplefilter("ignore", FCNXSWarning)  # the first process says it
    own = {"pooling_convention": args.pooling_convention, "strict": False}  # the stages' may be another one
    source = images.initial(args.init) if args.init else args.prefix
    load = cache(partial(checkpoint_of, source, args.epoch, operators=args.operators, **own))
    if before is None:
        refuse_to_overwrite(folder, stages)
        quiet = args.quiet or not first
        if takes_val and not quiet:
            say(f"evaluating on the split val of {args.data} after each epoch (--no-val: no evaluation)")
        samples, meta, kept = _begin(args, stages, samples, load(), quiet)
        data_checks.warn(kept["warnings"] if first else ())
    else:
        same_stages(args, stages, before)
        meta = checkpoint.meta_of(before["meta"], folder / PLAN)
        samples = {name: part.of_kinds(meta.images) for name, part in samples.items()}
        samples, kept = same_data(args, samples, before), before
    data = Data(**make_loaders(args, samples, meta, stages))
    output = Output(folder, meta, args.checkpoint_every, args.keep_epochs, args.resume is not None, kept)
    how = (args.pooling_convention, args.recompute, args.trim, args.accumulate, kept.get("class_weights"))
    how += (args.patience,)
    settings = Settings(contexts, exchange or args.kv_store, *how)
    listeners = listeners_of(args, output, stages, contexts, workers) if first else []
    train = partial(finetune, load, stages, data, output, settings, listeners)
    rows = _train(train, listeners, folder, workers)
    if first:
        print_end(folder, stages, rows, bool(before and before.get("finished")))
    return 0


def _train(train: Callable, listeners: List[Listener], folder: Path, workers: int) -> List[Dict[str, Any]]:
    """Train until the end or a signal; the process of rank 0 has listeners, and says how to resume."""
    from ..finetune import StoppedError

    with Stopping() as stopping:
        try:
            return train(should_stop=stopping.asked)
        except StoppedError as stopped:
            alone = " (with `fcnxs launch`, or alone)" if workers > 1 else ""
            way_out = f"`fcnxs finetune --resume {quoted(folder)}` goes on{alone}"
            stopping.end(f"; the state is saved in {stopped.file}; {way_out}" if listeners else "")
        finally:
            for listener in listeners:
                listener.close()


def _begin(
    args: argparse.Namespace,
    stages: Sequence[Stage],
    samples: Dict[str, Samples],
    parent: Checkpoint,
    quiet: bool,
) -> Tuple[Dict[str, Samples], Meta, Dict[str, Any]]:
    """Data that can be trained on, the meta of the checkpoints to come, and what run.json keeps."""
    from ..class_weights import median_frequency, read_weights
    from ..finetune.run_folder import locked

    if not quiet and Path(args.output).is_dir():
        with locked(Path(args.output)):
            pass  # to be refused before the data is gone through, which may take long
    meta, told = make_meta(args, parent, samples["train"], quiet)
    if not quiet:
        options.tell_mean(args.prefix, parent)
    meta, samples = images.with_images(args, stages, meta, samples, quiet)
    data = {name: part.fingerprint() for name, part in samples.items()}
    samples = {name: part.reading(meta.exif) for name, part in samples.items()}
    weights = None
    if args.class_weights not in (None, AUTO):
        weights = read_weights(Path(args.class_weights), meta.classes)
    smallest = smallest_of(args, stages, parent)
    samples, skipped, warnings, found = keep_good(args, samples, meta.of_heads, quiet, stages, smallest)
    warnings += images.depth_warnings(samples, meta)
    if args.class_weights == AUTO:
        weights = median_frequency(found.of_good[0], found.of_good[2])
    kept = {"options": storable(args), "meta": asdict(meta), "data": data, "skipped": skipped}
    kept["class_weights"] = weights
    return samples, meta, {**kept, "warnings": told + warnings, "stages": [asdict(stage) for stage in stages]}


def _check(args: argparse.Namespace) -> None:
    """Refuse values that make no sense."""
    options.refuse_below(0, args, "seed", "warmup")
    options.refuse_below(1, args, "cut_off_size", "checkpoint_every", "keep_epochs", "accumulate", "patience")
    store = args.kv_store or "local"
    if os.environ.get("DMLC_ROLE") == "worker" and "dist" not in store:
        raise FCNXSError(f"--kv-store {store}: cannot sum over the processes of this job; give dist_sync")
    if Path(args.output).exists() and not Path(args.output).is_dir():
        raise FCNXSError(f"--output {args.output}: is a file; give a folder")
    if args.num_classes is not None:
        options.class_names(args)  # which refuses it beside --classes, before anything is loaded
    if args.no_val and (args.val or args.val_split):
        raise FCNXSError("--no-val: goes neither with --val nor with --val-split")
    if args.cut_off_size is not None and args.crop_size is not None:
        raise FCNXSError("--cut-off-size and --crop-size: give one of them")
    augmentation_of(args)

"""Data and classes of a run: checked before it begins, and compared with the first time when it resumes."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

from ...data.check import SMALLEST
from ...data.findings import across
from ...data.samples import Samples
from ...errors import FCNXSError
from ...stages import Stage
from ..shared import data_checks, data_options, options
from ..shared.printing import say

if TYPE_CHECKING:
    from ...checkpoint import Checkpoint, Meta
    from ...data.loader import Loader


def samples_of(args: argparse.Namespace) -> Dict[str, Samples]:
    """Data sets to train on and, if asked for, to evaluate on; their files are not looked at yet."""
    samples = {"train": data_options.samples_of(args.data, args.split, args.root, "train", 0, allow=args.allow)}
    val = data_options.validation_samples(args)
    samples = {**samples, "val": val} if val else samples
    return {name: part.reading(max_pixels=args.max_pixels) for name, part in samples.items()}


def keep_good(
    args: argparse.Namespace, samples: Dict[str, Samples], classes: Sequence[str], quiet: bool
) -> Tuple[Dict[str, Samples], Dict[str, List[list]], List[str]]:
    """Read every image and label, so that none stops the run after hours; --skip-bad leaves bad ones out.

    Returns:
        the data sets to use, the numbers and names of the images that are left out, and warnings.

    Raises:
        FCNXSError: training would fail, or the data is refused.
    """
    augmentation = data_options.augmentation_of(args)
    low = augmentation.scale[0] if augmentation else 1
    smallest = (1, 1) if args.pooling_convention == "full" else SMALLEST
    good, skipped, reports, warnings = {}, {}, {}, []
    for name, part in samples.items():
        train = name == "train"
        settings = {"batch_size": args.batch_size, "crop_size": args.crop_size} if train else {}
        least = tuple(math.ceil(side / low) for side in smallest) if train and not args.crop_size else smallest
        how = {"quiet": quiet or args.quiet, "smallest": least, **settings}
        report = data_checks.inspected(part, classes, f"checking {name}", args.workers, **how)
        reports[name], option = report, f"--{'data' if train else 'val'}"
        warnings += data_checks.accepted(report.findings, option)
        if not args.skip_bad:
            data_checks.refuse_bad(report, "`fcnxs check-data` lists them, --skip-bad leaves them out")
        if not report.good:
            raise FCNXSError(f"{option}: every pair is bad: {report.bad[0][1]}")
        for _, text in report.bad if not quiet else ():
            say(f"left out: {text}")
        good[name] = part.subset(report.good)
        skipped[name] = [[number, part.name(number)] for number, _ in report.bad]
    warnings += data_checks.accepted(across(reports, args.allow or ()), "--val")
    if not quiet:
        evaluated = len(good["val"]) if "val" in good else "none"
        say(f"{len(good['train'])} images to train on, {evaluated} to evaluate on")
    return good, skipped, warnings


def same_data(
    args: argparse.Namespace, samples: Dict[str, Samples], before: Dict[str, Any]
) -> Dict[str, Samples]:
    """Data sets of a resumed run, without the pairs that it left out when it began.

    Raises:
        FCNXSError: they have other images than when the run began.
    """
    for name, part in samples.items():
        if part.fingerprint() != before["data"].get(name):
            option = args.val or args.data if name == "val" else args.data
            raise FCNXSError(
                f"{option}: the images of {name} are not those that the run in {args.resume} began with: put "
                "them back, or begin another run with --output"
            )
    left_out = {name: {number for number, _ in pairs} for name, pairs in before["skipped"].items()}
    return {
        name: part.subset([i for i in range(len(part)) if i not in left_out.get(name, ())])
        for name, part in samples.items()
    }


def same_stages(args: argparse.Namespace, stages: Sequence[Stage], before: Dict[str, Any]) -> None:
    """Refuse to resume with settings that differ, as they do if another version of fcnxs changed the recipe.

    Raises:
        FCNXSError: the settings differ from those that the run began with.
    """
    now = json.loads(json.dumps([asdict(stage) for stage in stages]))
    if now != before["stages"]:
        raise FCNXSError(
            f"{args.resume}: the recipe {args.recipe} of this version has other settings than the run began "
            "with: go on with that version (run.log has its number), or begin another run with --output"
        )


def make_meta(args: argparse.Namespace, parent: Checkpoint, samples: Samples, quiet: bool = False) -> Meta:
    """Metadata of the checkpoints: the parent's mean; classes of the options, data set, parent, or VOC."""
    from ...checkpoint import source_of
    from ...net import net_of
    from ...vis import voc_palette

    net = net_of(parent.arg_params, str(parent.params_file), parent.symbol)
    classes = data_options.classes_of(options.class_names(args), samples, net.numclass, quiet)
    classes = classes or parent.meta.classes or options.default_classes(net.numclass)
    if net.numclass not in (None, len(classes)):
        raise FCNXSError(
            f"{parent.params_file} is an {net.name} for {net.numclass} classes, not {len(classes)}; "
            "start from VGG-16 for other classes (of Caffe's FCNs, `fcnxs convert --trunk` has it)"
        )
    same = classes == parent.meta.classes
    palette = samples.palette if classes == samples.classes else parent.meta.palette if same else None
    palette = palette or voc_palette(len(classes))
    exif = args.exif or parent.meta.exif
    return replace(
        parent.meta, classes=classes, palette=palette, exif=exif, source=source_of(parent.params_file)
    )


def make_loaders(args: argparse.Namespace, samples: Dict[str, Samples], meta: Meta) -> Dict[str, Loader]:
    """Loaders to train on and, if there is such data, to evaluate on: whole images, one at a time."""
    from ...data.loader import Loader

    settings = {"mean": meta.mean, "num_classes": len(meta.classes), "workers": args.workers}
    changes = {
        "batch_size": args.batch_size,
        "augmentation": data_options.augmentation_of(args),
        "cut_off_size": args.cut_off_size,
        "shuffle": True,
        "seed": args.seed,
    }
    return {
        name: Loader(
            part.reading(meta.exif),
            **settings,
            **(changes if name == "train" else {}),
        )
        for name, part in samples.items()
    }

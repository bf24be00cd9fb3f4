"""Data and classes of a run: checked before it begins, and compared with the first time when it resumes."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

from ...data.check import SMALLEST
from ...data.class_names import imported_palette
from ...data.findings import across
from ...data.inspection import Inspection
from ...data.samples import Samples
from ...errors import FCNXSError, quoted
from ...stages import CLASSIFIERS, Stage, lineage
from ..shared import data_checks, data_options, options
from ..shared.augmentation import augmentation_of
from ..shared.printing import say

if TYPE_CHECKING:
    from ...checkpoint import Checkpoint, Meta
    from ...conventions import Palette
    from ...data.loader import Loader


# Settings of a stage that run.json of earlier versions does not have.
_ADDED = {"schedule": "constant", "warmup": 0, "biases": "_bias", "labelled": False, "accumulate": 1}
_ADDED.update(image_size=None, mask_size=None)


def heads_wanted(args: argparse.Namespace, stages: Sequence[Stage], before: Dict[str, Any] | None) -> List[str]:
    """Names of the heads of the nets to train: those that the data has labels for; none of nets with one.

    Args:
        before: run.json of the run that is resumed.

    Raises:
        FCNXSError: the data has not labels of several heads, or an option goes with nets of one alone.
    """
    headed = [stage.name for stage in stages if stage.headed]
    if not headed:
        return []
    if len(headed) < len(stages):
        raise FCNXSError(f"--stages {args.stages}: are nets of one head and of several; give one kind")
    of_one = ("classes", "num_classes", "class_weights", "ignore_label")
    data_options.refuse_one_head(args, f"{headed[0]} has several", *of_one)
    heads = [*before["meta"]["heads"]] if before else data_options.heads_of_data(args.data)
    if len(heads) < 2:
        has = f"those of {heads[0]} alone" if heads else "labels of one kind"
        way_out = "give a folder with images/, labels-A/ and labels-B/, for heads of any names, or siftflow"
        raise FCNXSError(f"--data {args.data}: {headed[0]} has several heads, and there are {has}; {way_out}")
    return heads


def samples_of(args: argparse.Namespace, heads: Sequence[str]) -> Dict[str, Samples]:
    """Data sets to train on and, if asked for, to evaluate on; their files are not looked at yet."""
    where = (args.data, args.split, args.root, "train", 0)
    samples = {"train": data_options.headed_samples(heads, *where, allow=args.allow)}
    val = data_options.validation_samples(args, heads)
    samples = {**samples, "val": val} if val else samples
    how = {"max_pixels": args.max_pixels, "ignore": args.ignore_label}
    return {name: part.reading(**how) for name, part in samples.items()}


def smallest_of(args: argparse.Namespace, stages: Sequence[Stage], parent: Checkpoint) -> Tuple[int, int]:
    """(height, width) of the smallest image that all stages take, as they round the sizes of pooled layers."""
    from ...init import variant_of
    from ...symbols import NETS, smallest_input

    own = variant_of(parent.arg_params, str(parent.params_file), parent.symbol).pooling_convention
    how = {"pooling_convention": args.pooling_convention or own}
    sizes = [smallest_input(NETS[stage.name](**how)) for stage in stages if stage.image_size is None]
    heights, widths = zip(*sizes, (1, 1))
    return max(heights), max(widths)


def keep_good(
    args: argparse.Namespace,
    samples: Dict[str, Samples],
    classes: Dict[str, Sequence[str]],
    quiet: bool,
    stages: Sequence[Stage],
    smallest: Tuple[int, int] = SMALLEST,
) -> Tuple[Dict[str, Samples], Dict[str, List[list]], List[str], Inspection]:
    """Read every image and label, so that none stops the run after hours; --skip-bad leaves bad ones out.

    Args:
        classes: names of the classes of each head.
        smallest: (height, width) of the smallest image that all stages take.

    Returns:
        the data sets to use, the numbers and names of the images that are left out, warnings, and what was
        found in the training data with the labels of the first head.

    Raises:
        FCNXSError: training would fail, or the data is refused.
    """
    augmentation = augmentation_of(args)
    low = augmentation.scale[0] if augmentation else 1
    good, skipped, reports, warnings = {}, {}, {}, []
    for name, part in samples.items():
        train = name == "train"
        alike = 1 if stages[0].resize else args.batch_size  # images of a batch that have one size already
        settings = {"batch_size": alike, "crop_size": args.crop_size} if train else {}
        least = tuple(math.ceil(side / low) for side in smallest) if train and not args.crop_size else smallest
        how = {"quiet": quiet or args.quiet, "smallest": least, **settings}
        option, bad = f"--{'data' if train else 'val'}", {}
        for head, own in part.heads.items():
            title = f"checking {name}{f', {head}' if head else ''}"
            report = data_checks.inspected(own, classes[head], title, args.workers, **how)
            reports.setdefault(name, report)
            said = data_checks.accepted(report.findings, option)
            warnings += [f"labels of the head {head}: {text}" if head else text for text in said]
            if not args.skip_bad:
                data_checks.refuse_bad(report, "`fcnxs check-data` lists them, --skip-bad leaves them out")
            bad = {**dict(report.bad), **bad}
        if len(bad) == len(part):
            raise FCNXSError(f"{option}: every pair is bad: {bad[0]}")
        for number in sorted(bad) if not quiet else ():
            say(f"left out: {bad[number]}")
        good[name] = part.subset([number for number in range(len(part)) if number not in bad])
        skipped[name] = [[number, part.name(number)] for number in sorted(bad)]
    warnings += data_checks.accepted(across(reports, args.allow or ()), "--val")
    if not quiet:
        evaluated = len(good["val"]) if "val" in good else "none"
        say(f"{len(good['train'])} images to train on, {evaluated} to evaluate on")
    return good, skipped, warnings, reports["train"]


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
    began = [{**_ADDED, **stage} for stage in before["stages"]]
    if now != began:
        raise FCNXSError(
            f"{args.resume}: the recipe {args.recipe} of this version has other settings than the run began "
            "with: go on with that version (run.log has its number), or begin another run with --output"
        )


def make_meta(
    args: argparse.Namespace, parent: Checkpoint, samples: Samples, quiet: bool = False
) -> Tuple[Meta, List[str]]:
    """Metadata of the checkpoints, with the parent's mean, and warnings.

    Classes are those of the options, the data set, the parent, or VOC. Of a parent for another number of them,
    VGG-16 alone is taken; a line says so.
    """
    from ...checkpoint import source_of
    from ...init import variant_of

    net = variant_of(parent.arg_params, str(parent.params_file), parent.symbol)
    found, warnings = {}, []
    for head, own in samples.heads.items():
        found[head], told = _classes_of_head(args, parent, own, head, (net.classes or {}).get(head), quiet)
        warnings += told
    counts = {head: len(names) for head, names in found.items()}
    if net.classes not in (None, counts) and net.sizes is None and not quiet:
        of, these = (" and ".join(map(str, each.values())) for each in (net.classes, counts))
        say(
            f"{parent.params_file}: an {net.name} for {of} classes, and these are {these}: "
            f"its {CLASSIFIERS.get(lineage(net.name)[-1], 'trunk')} is kept; scores and upsampling begin anew"
        )
    source = parent.meta.source if args.init else source_of(parent.params_file)
    meta = {"exif": args.exif or parent.meta.exif, "source": source}
    if "" not in found:
        return replace(parent.meta, classes=None, palette=None, heads=found, **meta), warnings
    palette, unread = _palette(args, parent, samples, found[""])
    return replace(parent.meta, classes=found[""], palette=palette, heads=None, **meta), warnings + unread


def _classes_of_head(
    args: argparse.Namespace, parent: Checkpoint, samples: Samples, head: str, count: int | None, quiet: bool
) -> Tuple[List[str], List[str]]:
    """Names of a head's classes, and warnings; `count` is the number of classes that the parent's has."""
    named = options.class_names(args)
    classes = data_options.classes_of(named, samples, count, quiet, any_number=True, head=head)
    of_parent = parent.meta.of_heads.get(head) or ([] if head else options.default_classes(count))
    classes = classes or of_parent
    if not classes:
        raise data_options.no_classes(samples, head)
    unnamed = [f"class {number}" for number in range(len(classes))]
    if count == len(classes) and of_parent and classes != of_parent and unnamed not in (classes, of_parent):
        return classes, [_other_names(str(parent.params_file), classes, of_parent)]
    return classes, []


def _palette(
    args: argparse.Namespace, parent: Checkpoint, samples: Samples, classes: List[str]
) -> Tuple[Palette, List[str]]:
    """Colours of the classes: the data set's, those of an import, the parent's or VOC's; and warnings."""
    from ...vis import default_palette

    imported, unread = _imported_palette(args, samples, classes)
    palette = samples.palette if classes == samples.classes else imported
    of_parent = parent.meta.palette if classes == parent.meta.classes else None
    return palette or of_parent or default_palette(classes), unread


def _imported_palette(
    args: argparse.Namespace, samples: Samples, classes: Sequence[str]
) -> Tuple[Palette | None, List[str]]:
    """Colours that `fcnxs import-data` kept beside the file of --classes or in the data's folder; warnings."""
    folders = [*([Path(args.classes).parent] if args.classes else []), samples.root]
    try:
        return next(filter(None, (imported_palette(folder, classes) for folder in folders)), None), []
    except FCNXSError as error:
        return None, [f"{error}; the colours of the classes are not taken from this file"]


def _other_names(file: str, classes: Sequence[str], of_parent: Sequence[str]) -> str:
    """Warning of a parent that has as many classes, by other names."""
    differ = [i for i, (own, its) in enumerate(zip(classes, of_parent)) if own != its]
    first = differ[0]
    return (
        f"{file}: has other names for {len(differ)} of its {len(classes)} classes: class {first} is "
        f"{of_parent[first]!r} there, and {classes[first]!r} here: its scores are kept, and {classes[first]!r} "
        f"begins with those of {of_parent[first]!r}. If these are other classes, start from its VGG-16 alone, "
        f"which `fcnxs convert --trunk {quoted(file)} PREFIX` takes out of it"
    )


def make_loaders(
    args: argparse.Namespace, samples: Dict[str, Samples], meta: Meta, stages: Sequence[Stage]
) -> Dict[str, Loader]:
    """Loaders to train on and, if there is such data, to evaluate on: whole images, one at a time."""
    from ...data.loader import Loader

    counts = {head: len(names) for head, names in meta.of_heads.items()}
    settings = {"mean": meta.input_mean, "num_classes": counts, "workers": args.workers}
    settings["resize"] = stages[0].resize  # a stage that resizes is alone
    changes = {
        "batch_size": args.batch_size,
        "augmentation": augmentation_of(args),
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

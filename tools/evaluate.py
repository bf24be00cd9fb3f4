"""Score a checkpoint on labelled images: pixel accuracy, mean accuracy, mean IU, frequency weighted IU.

The table has for each class precision, recall (its accuracy), F1 (Dice's coefficient) and IU, all from one
confusion matrix over all pixels, which --confusion writes. A class without pixels to count has no score.

With --dump, the class map of every image is written in the form that the VOC server takes: a palette PNG with
the name of the image. A split without any labels, such as VOC's test, is then predicted but not scored.

With --scales and --flip, class probabilities are averaged over resized and mirrored versions of the image, and
each pixel gets the class with the largest average. Images, and the probabilities back to the image's size, are
resized bilinearly; at every scale the net takes the whole image, neither cut nor padded.

Of a net with several heads each is scored on its labels (labels-HEAD/ beside images/, or --data siftflow), and
its name ends those of the files written: scores-geo.json. --task scores one head.

Examples:
    fcnxs evaluate --prefix run/fcn8s --data VOC2012 --split val --json scores.json --confusion confusion.png
    fcnxs evaluate --prefix run/fcn8s --data VOC2012 --split test --dump results/comp6_test_cls
    fcnxs evaluate --prefix run/fcn8s --epoch last --data citys --root cityscapes
    fcnxs evaluate --prefix run/fcn8s --epoch 19 --data VOC2012 --scales 0.5,0.75,1,1.25,1.5 --flip
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext, suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Callable, List, Sequence

import numpy as np

from ..data.images import preprocess, size_of
from ..data.samples import Samples
from ..errors import FCNXSError
from ..predict.multiscale import check_scales
from ..report.confusion import is_confusion, write_csv, write_picture
from ..score import scores
from ..system.files import real, write_json, written_whole
from ..system.own import json_with, masks, refuse_strangers
from ..vis import palette_bytes, save_mask
from .shared import data_checks, data_options, devices, options
from .shared.printing import say, show
from .shared.text import TITLES, scores_table, without_scores

if TYPE_CHECKING:
    from ..checkpoint.checkpoint import Checkpoint
    from ..predict.segmenter import Segmenter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs evaluate`."""
    options.add_checkpoint(parser)
    parser.add_argument("--data", required=True, metavar="DIR|LST|NAME", help=data_options.DATA_HELP)
    data_options.add_root_and_split(parser, "val")
    data_checks.add_exif(parser, "as the checkpoint's meta file says")
    data_checks.add_ignore_label(parser, "as the run of the checkpoint, by its run.json")
    data_checks.add_allow(parser)
    data_checks.add_max_pixels(parser)
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="file with the names of the classes, one a line (default: those of --data NAME, classes.txt in "
        "the folder of the data, or the checkpoint's)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the scores to FILE, as JSON")
    parser.add_argument(
        "--confusion",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="also write the confusion matrix, whose rows are true classes: its pixels to FILE.csv, a picture "
        "of the shares of each true class to FILE.png",
    )
    parser.add_argument("--dump", type=Path, metavar="DIR", help="write class maps to DIR, as palette PNGs")
    options.add_overwrite(parser)
    parser.add_argument(
        "--scales",
        metavar="S,...",
        default="1",
        help="resize images by these factors (above 0, up to 10) and average the probabilities (default: 1)",
    )
    parser.add_argument("--flip", action="store_true", help="also average over the mirror image, at each scale")
    parser.add_argument(
        "--no-trim",
        action="store_true",
        help="compute the whole padded canvas, which is slower and gives the same result",
    )
    devices.add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate the checkpoint, each head of a net with several on its labels."""
    data_options.folder_here(vars(args))
    heads = [args.task] if args.task else _heads_with_labels(args)
    for head in heads or [None]:
        if heads[1:]:
            show(f"head {head}:")
        _evaluate(_for_head(args, head) if heads[1:] else argparse.Namespace(**{**vars(args), "task": head}))
    return 0


def _heads_with_labels(args: argparse.Namespace) -> List[str]:
    """Heads of the net that the data has labels for; none of a net with one."""
    labelled = data_options.heads_of_data(args.data)
    if not labelled:
        return []
    options.choose_epoch(args)
    from .. import checkpoint
    from ..heads import heads_of

    symbol = checkpoint.read_symbol(Path(f"{args.prefix}-symbol.json"), args.pooling_convention, False).symbol
    return [head for head in heads_of(symbol) if head in labelled]


def _for_head(args: argparse.Namespace, head: str) -> argparse.Namespace:
    """Options for one head of several: what is written has its name."""

    def named(file: Path) -> Path:
        return file.with_name(f"{file.stem}-{head}{file.suffix}")

    own = {"task": head, "json": args.json and named(args.json), "dump": args.dump and args.dump / head}
    return argparse.Namespace(**{**vars(args), **own, "confusion": [named(file) for file in args.confusion]})


def _evaluate(args: argparse.Namespace) -> None:
    """Evaluate one head; print a table of the classes and the four scores."""
    if args.json:
        refuse_strangers([args.json], args.overwrite, json_with("prefix", "epoch", "images", "per_class"))
    _refuse_confusion(args)
    scales = check_scales(args.scales.split(","), f"--scales {args.scales}")
    head = args.task if args.task in data_options.heads_of_data(args.data) else ""
    where = (args.data, args.split, args.root, "val")
    samples = data_options.samples_of(*where, need=1 if args.dump else 2, allow=args.allow, head=head)
    labelled = any(map(samples.has_label, range(len(samples))))
    for option, files in (("--json", [args.json] * bool(args.json)), ("--confusion", args.confusion)):
        if files and not labelled:
            raise FCNXSError(
                f"{option} {files[0]}: none of the images has a label; leave it out, there are no scores"
            )
    written = _masks(args, samples) if args.dump else []
    if args.dump and labelled:  # raises an error that names a missing label
        data_options.samples_of(*where, allow=args.allow, head=head)

    data_options.tell_split(args.data, args.split)
    options.choose_epoch(args)

    from .. import checkpoint
    from ..checkpoint.source import one_head
    from ..predict.segmenter import Segmenter

    ctx = devices.device(args.device)
    how = {"mapped": True, "pooling_convention": args.pooling_convention, "operators": args.operators}
    source = checkpoint.load(args.prefix, args.epoch, **how)
    source = one_head(source, args.task)
    how = {"trim": not args.no_trim, "scales": scales, "flip": args.flip}
    how.update({"exif": args.exif, "max_pixels": args.max_pixels})
    segmenter = Segmenter(source, ctx=ctx, **how)
    ignore = data_options.ignored(args.ignore_label, Path(args.prefix).parent)
    samples = samples.reading(segmenter.exif, max_pixels=args.max_pixels, ignore=ignore)
    samples = samples.of_kinds(segmenter.images)
    _refuse_sizes(samples, segmenter)
    classes = _classes(args, samples, source, segmenter.numclass, head)
    palette = source.meta.palette or samples.palette or segmenter.palette
    refuse_strangers(written, args.overwrite, masks(palette_bytes(palette)))
    if labelled:
        data_checks.checked(samples, classes)
    options.tell_mean(args.prefix, source)
    with written_whole(*written) if written else nullcontext([]) as parts:
        part_of = dict(zip(samples.images, parts))

        def dump(image: Path, class_map: np.ndarray) -> None:
            save_mask(part_of[image], class_map, palette)

        result = _go_through(samples, segmenter, dump if args.dump else None, labelled)
    if written:
        say(f"wrote {len(written)} class maps to {args.dump}")
    if labelled:
        _report(args, result, classes, len(samples), segmenter.scales)
    else:
        say(f"none of the {len(samples)} images has a label, so nothing was scored")


def _refuse_confusion(args: argparse.Namespace) -> None:
    """Refuse files of --confusion that are neither CSV nor PNG, are named twice, or are not ours."""
    for file in args.confusion:
        if file.suffix.lower() not in (".csv", ".png"):
            raise FCNXSError(f"--confusion {file}: give a name that ends in .csv or .png")
    written = [*args.confusion, *[args.json] * bool(args.json)]
    if len({*map(real, written)}) < len(written):
        raise FCNXSError(f"--confusion {' '.join(map(str, args.confusion))}: name each file once")
    refuse_strangers(args.confusion, args.overwrite, is_confusion)


def _refuse_sizes(samples: Samples, segmenter: Segmenter) -> None:
    """Refuse, before the work begins, images that are too small for the net at a scale, or too large."""
    sizes = {}
    for file in samples.images:
        with suppress(FCNXSError):  # an unreadable image is reported when it is predicted
            sizes.setdefault(size_of(file, samples.max_pixels)[::-1], file)
    for size in {min(sizes, key=min), max(sizes, key=prod)} if sizes else ():
        segmenter.check(size, sizes[size])


def _masks(args: argparse.Namespace, samples: Samples) -> List[Path]:
    """Files that --dump writes, one for each image. Refuses to overwrite files of the data set."""
    written = [args.dump / f"{image.stem}.png" for image in samples.images]
    labels = [Path(samples.label_name(number)) for number in range(len(samples))]
    others = [*labels, *[args.json] * bool(args.json), *args.confusion]
    options.refuse_clashes("--dump", args.dump, list(zip(written, samples.images)), others)
    return written


def _classes(
    args: argparse.Namespace, samples: Samples, source: Checkpoint, numclass: int, head: str
) -> List[str]:
    """Class names from --classes, else from the data set, else from the checkpoint, else numbers."""
    given = options.read_classes(args.classes) if args.classes else None
    classes, origin = (
        data_options.classes_of(given, samples, numclass, head=head),
        args.classes or f"--data {args.data}",
    )
    if not classes:
        classes, origin = source.meta.classes, f"{args.prefix}-meta.json"
    classes = classes or options.default_classes(numclass)
    if len(classes) != numclass:
        raise FCNXSError(f"{origin}: names {len(classes)} classes, but the net has {numclass}")
    return classes


def _go_through(
    samples: Samples, segmenter: Segmenter, dump: Callable[[Path, np.ndarray], None] | None, labelled: bool
) -> np.ndarray | None:
    """Predict all images, and pass each class map to `dump`. Returns the confusion matrix of labelled ones."""
    from ..data.loader import Loader
    from ..predict.scoring import evaluate

    if labelled:
        data = Loader(samples, segmenter.mean, num_classes=segmenter.numclass)
        try:
            return evaluate(segmenter, data, dump)
        finally:
            data.close()
    for number, image in enumerate(samples.images):
        dump(image, segmenter.class_map(preprocess(samples.image(number), segmenter.mean), image))
    return None


def _report(
    args: argparse.Namespace, matrix: np.ndarray, classes: List[str], images: int, scales: Sequence[float]
) -> None:
    """Print the scores of a confusion matrix; write them to --json, and it to --confusion."""
    result = scores(matrix)
    show(scores_table(result, classes))
    lacking = without_scores(result, classes)
    if lacking:
        say(lacking)
    for name, title in TITLES.items():
        say(f"{title:<24}{getattr(result, name):.4f}")
    content = {"prefix": args.prefix, "epoch": args.epoch, "images": images}
    content.update({"scales": scales, "flip": args.flip, **result.as_json()})
    content["per_class"] = result.of_classes(classes)
    targets = [*args.confusion, *[args.json] * bool(args.json)]
    with written_whole(*targets) if targets else nullcontext([]) as parts:
        for file, part in zip(targets, parts):
            if file == args.json:
                write_json(part, content)
            else:
                {".csv": write_csv, ".png": write_picture}[file.suffix.lower()](part, matrix, classes)
    for file in targets:
        say(f"wrote {file}")

r"""Write your own images and labels, or the export of a labelling tool, as a folder that finetune takes.

TARGET gets images/ and labels/ (of each split, if there are splits), classes.txt, and import.json, which says
what was taken, changed and left out. SOURCE is only read; images are linked or copied, and not encoded again
unless they are resized or cut.

Examples:
    fcnxs import-data cvat-export photos --val-fraction 0.2
    fcnxs import-data camvid streets --ignore Void --merge "Car,SUVPickupTruck,Truck_Bus=vehicle"
    fcnxs import-data scans cells --binary --val-fraction 0.2 --group "^patient\d+"
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Callable

from tqdm import tqdm

from ..errors import FCNXSError, quoted
from ..importing.formats import FORMATS
from ..importing.found import BACKGROUND, Options
from ..importing.job import Choices, Result, import_data
from ..importing.write import Form
from .shared import data_checks, options
from .shared.printing import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs import-data`."""
    add = parser.add_argument
    add("source", metavar="SOURCE", type=Path, help="folder with the data, or a file of annotations")
    add("target", metavar="TARGET", type=Path, help="folder to write; it does not exist, or is empty")
    add("--format", choices=FORMATS, help="format of SOURCE (default: recognised by its content)")
    add("--images", type=Path, metavar="DIR", help="folder with the images (default: SOURCE)")
    colors = (
        "file with a colour for each class: CSV with the heading name,r,g,b, or lines such as '128 0 0 car'"
    )
    add("--colors", type=Path, metavar="FILE", help=f"{colors} (default: the one in SOURCE)")
    nearest = (
        "take the class of the nearest colour up to this distance in RGB, and ignore pixels that are farther"
    )
    add("--nearest", type=float, metavar="DISTANCE", help=f"{nearest} (default: every colour must be known)")
    add("--binary", action="store_true", help="masks have two values: 0 is the background, 1 or 255 the figure")
    add(
        "--threshold",
        type=int,
        metavar="N",
        help="masks are grey: values of N or more are the figure, others the background",
    )
    add(
        "--names",
        type=Path,
        metavar="FILE",
        help="file with the names of the class numbers, one a line (default: classes.txt in SOURCE)",
    )
    ignore = "ignore the pixels of this class, by its name or its number in SOURCE (may be given several times)"
    add("--ignore", action="append", default=[], metavar="VALUE|NAME", help=ignore)
    merge = "make one class of several, or give one another name (may be given several times)"
    add("--merge", action="append", default=[], metavar="NAME,...=NEW", help=merge)
    options.add_renamed(
        parser,
        ["--keep-classes"],
        "--classes",
        metavar="NAME,...",
        help="keep these classes, in this order, behind the background (default: all)",
    )
    rest = "with --keep-classes: the other classes become background, or are ignored"
    add("--rest", choices=(BACKGROUND, "ignore"), default=BACKGROUND, help=f"{rest} (default: {BACKGROUND})")
    add("--val-fraction", type=float, metavar="F", help="share of the images to set aside as the split val")
    add("--seed", type=int, default=0, metavar="N", help="seed of the choice of --val-fraction (default: 0)")
    group = "with --val-fraction: images in whose paths this expression matches the same text stay together"
    add("--group", metavar="REGEX", help=group)
    add(
        "--resize-longest", type=int, metavar="N", help="shrink images whose longer side has more than N pixels"
    )
    add("--tiles", type=int, metavar="N", help="cut larger images into tiles of NxN pixels")
    add(
        "--overlap",
        type=int,
        default=0,
        metavar="N",
        help="number of pixels that neighbouring tiles share (default: 0)",
    )
    data_checks.add_exif(parser, "apply")
    data_checks.add_max_pixels(parser)


def run(args: argparse.Namespace) -> int:
    """Import, and print the account."""
    _check(args)
    given = Options(
        images=args.images,
        colors=args.colors,
        nearest=args.nearest,
        binary=args.binary,
        threshold=args.threshold,
        names=args.names,
        ignored=tuple(args.ignore),
        exif=args.exif or "apply",
        max_pixels=args.max_pixels,
    )
    keep = tuple(name.strip() for name in args.keep_classes.split(",")) if args.keep_classes else ()
    choices = Choices(
        tuple(args.ignore), tuple(args.merge), keep, args.rest, args.val_fraction, args.seed, args.group
    )
    form = Form(args.resize_longest, args.tiles, args.overlap)
    with ExitStack() as stack:

        def bar(total: int) -> Callable[[], None]:
            hidden = not sys.stderr.isatty()
            return stack.enter_context(tqdm(total=total, unit="image", leave=False, disable=hidden)).update

        result = import_data(args.source, args.target, args.format, given, choices, form, bar)
    _tell(args.target, result)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse options that are out of range or do not go together."""
    options.refuse_below(1, args, "resize_longest", "tiles")
    options.refuse_below(0, args, "overlap", "nearest")
    if args.overlap and not (args.tiles and args.overlap < args.tiles):
        raise FCNXSError(f"--overlap {args.overlap}: goes with --tiles, and is smaller")
    if args.threshold is not None and not 1 <= args.threshold <= 255:
        raise FCNXSError(f"--threshold {args.threshold}: expected a number from 1 to 255")
    means = [
        f"--{name}" for name in ("colors", "binary", "threshold") if getattr(args, name) not in (None, False)
    ]
    if len(means) > 1:
        raise FCNXSError(f"{' and '.join(means)} say different things of the masks; give one")
    if args.images is not None and not args.images.is_dir():
        raise FCNXSError(f"--images {args.images}: no such folder")


def _tell(target: Path, result: Result) -> None:
    """Print what was written, changed and left out."""
    say(f"read as {result.format}; the classes come from {result.said_by}")
    for line in result.account.lines():
        say(line)
    splits = ", ".join(f"{split} {number}" for split, number in sorted(result.images.items()) if split)
    total = sum(result.images.values())
    say(f"wrote {total} image{'s' * (total != 1)} with labels to {target}{splits and f' ({splits})'}")
    say(f"{len(result.classes)} classes: {', '.join(result.classes)}")
    if "val" not in result.images and total > 1:
        say("there is no split val to evaluate on; --val-fraction 0.2 sets a fifth of the images aside as one")
    say(f"check them: fcnxs check-data {quoted(target)}")

"""Options of the commands that read data sets: which one, and how images are changed."""

from __future__ import annotations

import argparse
from pathlib import Path

from ...data.augment import Augmentation
from ...data.datasets import NAMED, named
from ...data.samples import Samples, open_samples
from ...errors import FCNXSError
from .options import refuse_below

DATA_HELP = (
    "folder in VOC layout; folder with images/ and labels/, or images/SPLIT/ and labels/SPLIT/; list (.lst); "
    f"or a data set by name: {', '.join(NAMED)} (a folder of such a name is ./voc)"
)


def add_data(parser: argparse.ArgumentParser, default: str) -> None:
    """--data, --root and --split; `default` is the split where none is given."""
    parser.add_argument("--data", required=True, metavar="DIR|LST|NAME", help=DATA_HELP)
    add_root_and_split(parser, default)


def add_root_and_split(parser: argparse.ArgumentParser, default: str) -> None:
    """--root and --split; `default` is the split where none is given."""
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="where a data set by name is (default: below ~/.mxnet/datasets, as GluonCV)",
    )
    parser.add_argument("--split", help=f"of a folder or a data set by name (default: {default})")


def add_augmentation(parser: argparse.ArgumentParser) -> None:
    """--batch-size, --crop-size, --random-scale, --random-flip, --color-jitter, --workers."""
    add = parser.add_argument
    add("--batch-size", type=int, default=1, metavar="N", help="images of a step, of one size (default: 1)")
    add("--crop-size", type=int, metavar="N", help="train on NxN pixels from a random place (default: all)")
    add(
        "--random-scale",
        metavar="LO,HI",
        help="resize each image by a random factor from LO to HI, before the crop (default: 1,1)",
    )
    add("--random-flip", action="store_true", help="exchange left and right of half of the images")
    add("--random-mirror", dest="random_flip", action="store_true", help=argparse.SUPPRESS)  # its former name
    add(
        "--color-jitter",
        type=float,
        default=0.0,
        metavar="X",
        help="change brightness, contrast and saturation by factors from 1-X to 1+X (default: 0)",
    )
    add("--workers", type=int, metavar="N", help="threads that read images (default: one a processor, up to 8)")


def samples_of(
    data: str,
    split: str | None,
    root: str | None,
    default: str,
    need: int = 2,
    option: str = "--split",
    data_option: str = "--data",
) -> Samples:
    """Data set that the options name.

    Args:
        split: what `option` says; None: `default`. `data_option` names `data`.
        need: files of a pair that have to be there: 2, 1 (the image) or 0.

    Raises:
        FCNXSError: there is no such data set or split, or a file is missing.
    """
    if data in NAMED:
        try:
            return named(data, root, split or default, need)
        except FCNXSError as error:
            here = f"; the folder here is ./{data}" if Path(data).exists() else ""
            raise FCNXSError(f"{data_option} {data}: {error}{here}") from None
    if root is not None:
        raise FCNXSError(f"--root {root}: {data} is no data set by name ({', '.join(NAMED)})")
    path = Path(data)
    if split is not None and not path.is_dir():
        raise FCNXSError(f"{option} {split}: {data} is no folder or name of a data set; a list has no splits")
    if not path.exists() and path.suffix != ".lst":
        raise FCNXSError(
            f"{data_option} {data}: no such folder or list, and no data set by name ({', '.join(NAMED)})"
        )
    return open_samples(data, split, default, need)


def validation_samples(args: argparse.Namespace) -> Samples | None:
    """Data that --data, --root, --val and --val-split name to evaluate on, if they do; files may be missing."""
    if not args.val and not args.val_split:
        return None
    root = None if args.val and Path(args.val).exists() else args.root
    data, option = (args.val, "--val") if args.val else (args.data, "--data")
    return samples_of(data, args.val_split, root, "val", 0, "--val-split", option)


def augmentation_of(args: argparse.Namespace) -> Augmentation | None:
    """Augmentation by --crop-size, --random-scale, --random-flip and --color-jitter; None if none is given.

    Raises:
        FCNXSError: one of them, --batch-size or --workers makes no sense.
    """
    refuse_below(1, args, "batch_size", "crop_size", "workers")
    if not 0 <= args.color_jitter <= 1:
        raise FCNXSError(f"--color-jitter {args.color_jitter:g}: want a number from 0 to 1")
    try:
        low, high = map(float, ("1,1" if args.random_scale is None else args.random_scale).split(","))
        augmentation = Augmentation(args.crop_size, (low, high), args.random_flip, args.color_jitter)
    except (ValueError, FCNXSError):  # the scale's: crop size and jitter are valid here
        raise FCNXSError(
            f"--random-scale {args.random_scale}: want LO,HI: two factors above 0, LO not above HI"
        ) from None
    return None if augmentation == Augmentation() else augmentation

"""Options on the augmentation and the batches of training data."""

from __future__ import annotations

import argparse

from ...data.augment import Augmentation
from ...errors import FCNXSError
from .options import add_renamed, refuse_below


def add_augmentation(parser: argparse.ArgumentParser) -> None:
    """Add --batch-size, --crop-size, --random-scale, --random-flip, --color-jitter and --workers."""
    add = parser.add_argument
    add(
        "--batch-size",
        type=int,
        default=1,
        metavar="N",
        help="number of images in a training step, which have all one size (default: 1)",
    )
    add("--crop-size", type=int, metavar="N", help="train on random crops of NxN pixels (default: none)")
    add(
        "--random-scale",
        metavar="LO,HI",
        help="resize each image by a random factor from LO to HI, before the crop (default: 1,1)",
    )
    flip = "flip half of the images left to right, chosen at random"
    add_renamed(parser, ["--random-flip"], "--random-mirror", action="store_true", help=flip)
    add(
        "--color-jitter",
        type=float,
        default=0.0,
        metavar="X",
        help="change brightness, contrast and saturation by factors from 1-X to 1+X (default: 0)",
    )
    add(
        "--workers",
        type=int,
        metavar="N",
        help="number of threads that read images (default: one a processor, up to 8)",
    )


def augmentation_of(args: argparse.Namespace) -> Augmentation | None:
    """Augmentation by --crop-size, --random-scale, --random-flip and --color-jitter; None if none is given.

    Raises:
        FCNXSError: one of these options, --batch-size or --workers is out of range.
    """
    refuse_below(1, args, "batch_size", "crop_size", "workers")
    if not 0 <= args.color_jitter <= 1:
        raise FCNXSError(f"--color-jitter {args.color_jitter:g}: expected a number from 0 to 1")
    try:
        low, high = map(float, ("1,1" if args.random_scale is None else args.random_scale).split(","))
        augmentation = Augmentation(args.crop_size, (low, high), args.random_flip, args.color_jitter)
    except (ValueError, FCNXSError):  # the scale's: crop size and jitter are valid here
        raise FCNXSError(
            f"--random-scale {args.random_scale}: expected LO,HI, two factors above 0, LO not above HI"
        ) from None
    return None if augmentation == Augmentation() else augmentation

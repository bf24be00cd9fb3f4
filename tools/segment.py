"""Segment images: a palette mask DIR/NAME.png and an overlay DIR/NAME_overlay.png for each.

Example:
    fcnxs segment --prefix run/fcn8s --epoch 19 cat.jpg street.jpg --output masks
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from ..errors import FCNXSError
from . import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs segment`."""
    options.add_checkpoint(parser)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="JPEG, PNG, ...")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for the pictures")
    options.add_gpus(parser)


def run(args: argparse.Namespace) -> int:
    """Segment every image; one that fails is named, and the others are done. Then the exit code is 1."""
    written = [args.output / f"{file.stem}{end}.png" for file in args.images for end in ("", "_overlay")]
    options.refuse_clashes("--output", args.output, written, args.images)

    from PIL import Image

    from .. import checkpoint
    from ..data import preprocess, read_image
    from ..predict import Segmenter
    from ..vis import overlay, save_mask, voc_palette

    ctx = options.device(args.gpus)
    source = checkpoint.load(args.prefix, args.epoch)
    segmenter = Segmenter(source, ctx)
    options.tell_mean(args.prefix, source)
    palette = source.meta.palette or voc_palette(segmenter.numclass)
    failed = 0
    for file in args.images:
        try:
            image = read_image(file)
            mask = segmenter.class_map(preprocess(image, segmenter.mean), file)
        except FCNXSError as error:
            print(f"fcnxs: {error}", file=sys.stderr)
            failed += 1
            continue
        targets = args.output / f"{file.stem}.png", args.output / f"{file.stem}_overlay.png"
        with checkpoint.written_whole(*targets) as (mask_part, overlay_part):
            save_mask(mask_part, mask, palette)
            Image.fromarray(overlay(image, mask, palette)).save(overlay_part, format="PNG")
        print(f"{targets[0]}: {', '.join(_shares(mask, source.meta.classes))}")
    if failed:
        print(f"fcnxs: {failed} of {len(args.images)} images failed", file=sys.stderr)
    return 1 if failed else 0


def _shares(mask: object, classes: list | None) -> list:
    """The four largest classes of a mask with their shares of its pixels, and the share of the rest."""
    counts = Counter(mask.ravel().tolist()).most_common()
    shares = [
        f"{classes[number] if classes else f'class {number}'} {n / mask.size:.0%}" for number, n in counts[:4]
    ]
    rest = sum(n for _, n in counts[4:])
    return shares + [f"{len(counts) - 4} more {rest / mask.size:.0%}"] * bool(rest)

"""Convert weights of Caffe, Gluon, torchvision or timm to a checkpoint.

What SOURCE holds is told by its content:
  Caffe       VGG-16 (V1 and new format); FCN-32s, 16s, 8s, 8s-atonce and AlexNet, of any number of classes
  Gluon       VGG-16 of Gluon's and GluonCV's model zoo (.params)
  PyTorch     VGG-16 of torchvision (.pth, which needs PyTorch; .safetensors) and timm (.safetensors)

Writes PREFIX-symbol.json, PREFIX-0000.params and PREFIX-meta.json, for RGB images minus the meta file's
mean. VGG-16 becomes the trunk that finetuning starts from; an FCN is ready for evaluate, segment and
export.

Examples:
    fcnxs convert VGG_ILSVRC_16_layers.caffemodel vgg16fc
    fcnxs convert fcn8s-heavy-pascal.caffemodel fcn8s --verify photo.jpg
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..verify import Comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs convert`."""
    parser.add_argument("source", metavar="SOURCE", help="file of weights")
    parser.add_argument("prefix", metavar="PREFIX", help="of the files to write")
    parser.add_argument(
        "--verify",
        metavar="IMAGE",
        help="run SOURCE on this image in OpenCV, Gluon or PyTorch, and compare; not equal is exit code 1, "
        "and nothing is written",
    )
    parser.add_argument(
        "--trunk", action="store_true", help="of an FCN take VGG-16 alone, to finetune for other classes"
    )
    parser.add_argument(
        "--pooling-convention",
        choices=("valid", "full"),
        help="rounding of the pooled sizes, down or up (default: full, Caffe's, for FCNs; valid, the original "
        "example's, for VGG-16)",
    )


def run(args: argparse.Namespace) -> int:
    """Convert, then print what became of every array of the file."""
    from .. import checkpoint
    from ..convert import TITLES, read
    from ..data import read_image
    from ..verify import verify
    from ..vis import voc_palette
    from .options import default_classes
    from .text import table

    image = read_image(args.verify) if args.verify else None
    converted = read(args.source, args.trunk, args.pooling_convention)
    meta = checkpoint.Meta(mean=converted.mean, source=checkpoint.source_of(args.source))
    if converted.numclass:
        colours = voc_palette(converted.numclass)
        meta = replace(meta, classes=default_classes(converted.numclass), palette=colours)
    comparison = None

    def check(prefix: Path) -> None:
        nonlocal comparison
        if image is not None:
            comparison = verify(args.source, converted, checkpoint.load(prefix, 0), image)
            if not comparison.equal:
                raise _NotEqual

    rows = [(fate.blob, fate.parameter or "-", fate.what) for fate in converted.fates]
    print(table(("array of the file", "parameter of the net", "what became of it"), rows))
    dropped = sum(fate.parameter is None for fate in converted.fates)
    classes = f", {converted.numclass} classes" if converted.numclass else ""
    print(f"{TITLES[converted.net]} of width {converted.width:g} and fc {converted.fc}{classes}")
    print(f"{len(converted.arg_params)} parameters, {len(rows)} arrays, {dropped} dropped")
    print(f"mean RGB {converted.mean}")
    try:
        file = checkpoint.save(args.prefix, 0, converted.symbol, converted.arg_params, {}, meta, check=check)
    except _NotEqual:
        print(_text(comparison))
        print(
            f"fcnxs: {args.source}: the converted net gives other scores; nothing was written", file=sys.stderr
        )
        return 1
    if comparison is not None:
        print(_text(comparison))
    print(f"wrote {args.prefix}-symbol.json, {file}, {args.prefix}-meta.json")
    return 0


class _NotEqual(Exception):
    """The converted net and its source do not give the same."""


def _text(comparison: Comparison) -> str:
    shape = "x".join(map(str, comparison.shape[1:]))
    return (
        f"{comparison.runtime} runs the source, MXNet the result, scores {shape}: largest difference "
        f"{comparison.difference:.2e} (the largest score is {comparison.largest:.4g}); class maps agree on "
        f"{100 * comparison.agreement:.4f}% of the pixels"
    )

"""Convert Caffe's VGG-16 to a checkpoint that finetuning starts from.

Writes PREFIX-symbol.json, PREFIX-0000.params and PREFIX-meta.json: the fully convolutional VGG-16, for
RGB images, of the width that the file has.

Example:
    fcnxs convert VGG_ILSVRC_16_layers.caffemodel vgg16fc
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs convert`."""
    parser.add_argument("source", metavar="SOURCE.caffemodel", help="weights, V1 or new format")
    parser.add_argument("prefix", metavar="PREFIX", help="of the files to write")


def run(args: argparse.Namespace) -> int:
    """Convert, then print what became of every blob."""
    from .. import checkpoint
    from ..caffe import read_vgg16
    from ..init import net_of
    from .text import table

    vgg16 = read_vgg16(args.source)
    meta = checkpoint.Meta(mean=vgg16.mean, source=checkpoint.source_of(args.source))
    file = checkpoint.save(args.prefix, 0, vgg16.symbol, vgg16.arg_params, {}, meta)
    rows = [(fate.blob, fate.parameter or "-", fate.what) for fate in vgg16.fates]
    print(table(("blob of the file", "parameter of the net", "what became of it"), rows))
    dropped = sum(fate.parameter is None for fate in vgg16.fates)
    net = net_of(vgg16.arg_params, args.source)
    print(f"VGG-16 of width {net.width:g} and fc {net.fc}")
    print(f"{len(vgg16.arg_params)} parameters, {len(rows)} blobs, {dropped} dropped; mean RGB {vgg16.mean}")
    print(f"wrote {args.prefix}-symbol.json, {file}, {args.prefix}-meta.json")
    return 0

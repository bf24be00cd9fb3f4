"""Write a checkpoint for deployment: PREFIX-symbol.json, PREFIX-0000.params, PREFIX-meta.json.

The net takes `data` (N, 3, H, W), RGB minus the mean that the meta file says, and gives `softmax_output`
(N, C, H, W), probabilities. Plain MXNet loads it, without this package. It is read again and compared
with the checkpoint before this command says that it is done.

Example:
    fcnxs export --prefix run/fcn8s --epoch 19 --output deploy/fcn8s
"""

from __future__ import annotations

import argparse
import sys

from . import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs export`."""
    options.add_checkpoint(parser)
    parser.add_argument("--output", required=True, metavar="PREFIX", help="of the files to write")


def run(args: argparse.Namespace) -> int:
    """Export and compare; a difference is exit code 1."""
    from .. import checkpoint
    from ..export import ExportMismatch, export

    source = checkpoint.load(args.prefix, args.epoch)
    options.tell_mean(args.prefix, source)
    try:
        difference = export(source, args.output)
    except ExportMismatch as error:
        print(f"fcnxs: {error}", file=sys.stderr)
        return 1
    print(f"wrote {args.output}-symbol.json, {args.output}-0000.params, {args.output}-meta.json")
    print(f"read again and compared with the checkpoint: largest difference of a probability {difference:.1e}")
    return 0

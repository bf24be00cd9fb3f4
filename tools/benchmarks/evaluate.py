"""`fcnxs benchmark evaluate` and `pooling`: forward passes of FCN-8s over images in files."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Callable

from ...checkpoint.checkpoint import Checkpoint
from ...compat import mxnet as mx
from ...data.loader import FileIter
from ...metric import SegmentationMetric
from ...net import Net
from ...predict.segmenter import Segmenter
from ...predict.segmenter import evaluate as evaluate_with
from ...solver.executors import Executors
from ...solver.solver import Solver
from ..shared import options
from .material import CLASSES, image_shape, random_checkpoint, write_images
from .worker import compare, serve

IMAGES, CHUNK = 100, 10  # evaluated in all, and in a turn


def evaluate(args: argparse.Namespace) -> int:
    """Compare evaluation, as `finetune` and as `evaluate` do it, with bare forward passes over the images."""
    images = args.images or IMAGES
    args.images = min(CHUNK, images)
    turns = -(-images // args.images)
    return compare(args, ("bare", "finetune", "evaluate"), turns, untimed=1, images=args.images)


def pooling(args: argparse.Namespace) -> int:
    """Compare bare forward passes with pooling that rounds down (`valid`) and up (`full`)."""
    args.images = 1
    return compare(args, ("valid", "full"), args.steps)


def part(args: argparse.Namespace) -> int:
    """Run one process of the comparison, which evaluates --images images each time that it is asked."""
    checkpoint = random_checkpoint(args, pooling_convention="full" if args.part == "full" else "valid")
    make = {"finetune": _finetune, "evaluate": _evaluate}.get(args.part, _bare)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), image_shape(args)[2:], args.images)
        data = FileIter(folder, "list.lst", num_classes=CLASSES)
        return serve(make(checkpoint, data, options.device(args.gpus)))


def _bare(checkpoint: Checkpoint, data: FileIter, ctx: mx.Context) -> Callable[[], None]:
    """Forward passes alone: the images are on the device from the beginning."""
    batches = [mx.nd.array(batch["data"], ctx) for batch in data]
    params = {name: array.as_in_context(ctx) for name, array in checkpoint.arg_params.items()}
    executor = Executors(Net(checkpoint.symbol, params, {}), ctx).get("data", batches[0].shape)

    def run() -> None:
        for batch in batches:
            executor.forward(is_train=False, data=batch)
            mx.nd.waitall()

    return run


def _finetune(checkpoint: Checkpoint, data: FileIter, ctx: mx.Context) -> Callable[[], object]:
    solver = Solver(checkpoint.symbol, ctx, arg_params=checkpoint.arg_params)
    return lambda: solver.evaluate(data, SegmentationMetric(CLASSES))


def _evaluate(checkpoint: Checkpoint, data: FileIter, ctx: mx.Context) -> Callable[[], object]:
    segmenter = Segmenter(checkpoint, ctx=ctx)
    return lambda: evaluate_with(segmenter, data)

"""`fcnxs benchmark evaluate` and `pooling`: forward passes of FCN-8s, by several means, in turns."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, List

import numpy as np

from ..shared import options
from .worker import CLASSES, Worker, image_shape, in_turns, net_and_weights, serve

if TYPE_CHECKING:
    from ...checkpoint.checkpoint import Checkpoint
    from ...compat import mxnet as mx
    from ...data.file_iter import FileIter

IMAGES, CHUNK = 100, 10  # evaluated in all, and at a time


def evaluate(args: argparse.Namespace) -> int:
    """Print seconds per image of evaluation, as both commands do it, and of bare passes over the images."""
    images = args.images or IMAGES
    chunk = min(CHUNK, images)
    kinds = {"bare": "bare passes", "solver": "finetune's evaluation", "segmenter": "evaluate's"}
    args.images = chunk
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(args, name)) for name in kinds]
        answers = in_turns(workers, -(-images // chunk), untimed=1)
    medians = {name: statistics.median(answer.seconds for answer in each) for name, each in answers.items()}
    for name, title in kinds.items():
        print(
            f"{title:<22}{medians[name] / chunk:.4f} s per image, ratio {medians[name] / medians['bare']:.3f}; "
            f"peak {answers[name][-1].peak:.2f} GB"
        )
    count = chunk * len(answers["bare"])
    print(f"FCN-8s, {args.size}, width {args.width:g}: medians of {count} images, {chunk} at a time")
    return 0


def pooling(args: argparse.Namespace) -> int:
    """Scores of FCN-8s with either rounding, in turns, in one process."""
    from ...compat import mxnet as mx
    from ...solver.executors import Executors
    from ...symbols import get_fcn8s_symbol
    from ...symbols.graph.edits import scores_symbol

    ctx, data = options.device(args.gpus), np.zeros(image_shape(args), np.float32)
    _, weights = net_and_weights(args)
    params, executors = {name: mx.nd.array(array, ctx) for name, array in weights.items()}, {}
    for convention in ("valid", "full"):
        net = get_fcn8s_symbol(CLASSES, width=args.width, fc=args.fc, pooling_convention=convention)
        executors[convention] = Executors(scores_symbol(net), ctx, params, {}).get("data", data.shape)
    seconds: Dict[str, List[float]] = {"valid": [], "full": []}
    for _ in range(args.steps + 2):
        for convention, executor in executors.items():
            began = time.perf_counter()
            executor.forward(is_train=False, data=mx.nd.array(data, ctx))
            mx.nd.waitall()
            seconds[convention].append(time.perf_counter() - began)
    for convention, times in seconds.items():
        print(f"{convention:<8}{' '.join(f'{value:.2f}' for value in times[2:])} s")
    valid, full = (statistics.median(times[2:]) for times in seconds.values())
    print(f"FCN-8s, {args.size}: valid {valid:.2f} s, full {full:.2f} s, ratio {full / valid:.3f}")
    return 0


def part(args: argparse.Namespace) -> int:
    """Be one of the processes: --images images each time."""
    from ...checkpoint.checkpoint import Checkpoint
    from ...checkpoint.meta import Meta
    from ...compat import mxnet as mx
    from ...data.file_iter import FileIter

    symbol, weights = net_and_weights(args)
    params = {name: mx.nd.array(weights.pop(name)) for name in list(weights)}
    checkpoint = Checkpoint(symbol, params, {}, Meta(), Path("random weights"))
    makers = {"bare": _bare, "solver": _solver, "segmenter": _segmenter}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), image_shape(args)[2:], args.images)
        data = FileIter(folder, "list.lst", num_classes=CLASSES)
        return serve(makers[args.part](checkpoint, data, options.device(args.gpus)))


def write_images(folder: Path, size: tuple, count: int) -> None:
    """JPEGs (H, W) as large as photos are, and labels of large areas; list.lst names them."""
    import cv2
    from PIL import Image

    rng, lines = np.random.default_rng(0), []
    for number in range(count):
        blocks = rng.integers(0, 256, (size[0] // 6, size[1] // 6, 3)).astype(np.uint8)
        image = cv2.resize(blocks, size[::-1], interpolation=cv2.INTER_CUBIC)
        classes = rng.integers(0, CLASSES, (4, 5)).astype(np.uint8)
        label = cv2.resize(classes, size[::-1], interpolation=cv2.INTER_NEAREST)
        Image.fromarray(image).save(folder / f"{number}.jpg", quality=90)
        Image.fromarray(label).save(folder / f"{number}.png")
        lines.append(f"{number}\t{number}.jpg\t{number}.png\n")
    (folder / "list.lst").write_text("".join(lines))


def _bare(checkpoint: Checkpoint, data: FileIter, ctx: mx.Context) -> Callable[[], None]:
    """Forward passes, and nothing else: the images are on the device already."""
    from ...compat import mxnet as mx
    from ...solver.executors import Executors

    batches = [mx.nd.array(batch["data"], ctx) for batch in data]
    params = {name: array.as_in_context(ctx) for name, array in checkpoint.arg_params.items()}
    executor = Executors(checkpoint.symbol, ctx, params, {}).get("data", batches[0].shape)

    def run() -> None:
        for batch in batches:
            executor.forward(is_train=False, data=batch)
            mx.nd.waitall()

    return run


def _solver(checkpoint: Checkpoint, data: FileIter, ctx: mx.Context) -> Callable[[], None]:
    from ...metric import SegmentationMetric
    from ...solver.solver import Solver

    solver, metric = (
        Solver(checkpoint.symbol, ctx, arg_params=checkpoint.arg_params),
        SegmentationMetric(CLASSES),
    )
    return lambda: solver.evaluate(data, metric)


def _segmenter(checkpoint: Checkpoint, data: FileIter, ctx: mx.Context) -> Callable[[], object]:
    from ...predict.segmenter import Segmenter
    from ...predict.segmenter import evaluate as evaluate_with

    segmenter = Segmenter(checkpoint, ctx=ctx)
    return lambda: evaluate_with(segmenter, data)

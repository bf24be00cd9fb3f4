"""`fcnxs benchmark evaluate`, `pooling`, `tiling` and `segment`: forward passes of FCN-8s, and around them."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

import numpy as np
from PIL import Image

from ...checkpoint import Checkpoint, load, save
from ...compat import mxnet as mx
from ...data.images import preprocess, read_image
from ...data.loader import FileIter
from ...metric import SegmentationMetric
from ...net import Net
from ...predict.image_files import segmented
from ...predict.scoring import evaluate as evaluate_with
from ...predict.segmenter import Segmenter
from ...solver.executors import Executors
from ...solver.solver import Solver
from ...system.children import ending_with_us
from ...vis import voc_palette
from ..shared import devices
from ..shared.text import table
from .material import CLASSES, image_shape, photo, random_checkpoint, write_images
from .worker import compare, forget_peak, memory, serve

EVALUATED, TURN = 100, 10  # images of `evaluate` in all, and in a turn
SEGMENTED, CHUNK = 60, 20  # images of `segment` in all, and in a turn
LEAST = 0.95  # rate of `segment`, relative to the bare net's
LIMIT = 2e9  # bytes of `tiling` beyond the weights and the image
SIDES = (1024, 2048, 4096, 8192)


def evaluate(args: argparse.Namespace) -> int:
    """Compare evaluation, as `finetune` and as `evaluate` do it, with bare forward passes over the images."""
    images = args.num_images or EVALUATED
    args.num_images = min(TURN, images)
    turns = -(-images // args.num_images)
    return compare(args, ("bare", "finetune", "evaluate"), turns, untimed=1, images=args.num_images)


def pooling(args: argparse.Namespace) -> int:
    """Compare bare forward passes with pooling that rounds down (`valid`) and up (`full`)."""
    args.num_images = 1
    return compare(args, ("valid", "full"))


def part(args: argparse.Namespace) -> int:
    """Run one process of the comparison, which evaluates --images images each time that it is asked."""
    checkpoint = random_checkpoint(args, pooling_convention="full" if args.part == "full" else "valid")
    make = {"finetune": _finetune, "evaluate": _evaluate}.get(args.part, _bare)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), image_shape(args)[2:], args.num_images)
        data = FileIter(folder, "list.lst", num_classes=CLASSES)
        how = {} if make is _bare else {"trim": not args.no_trim}
        return serve(make(checkpoint, data, devices.device(args.device), **how))


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


def _finetune(checkpoint: Checkpoint, data: FileIter, ctx: mx.Context, trim: bool) -> Callable[[], object]:
    solver = Solver(checkpoint.symbol, ctx, arg_params=checkpoint.arg_params, trim=trim)
    return lambda: solver.evaluate(data, SegmentationMetric(CLASSES))


def _evaluate(checkpoint: Checkpoint, data: FileIter, ctx: mx.Context, trim: bool) -> Callable[[], object]:
    segmenter = Segmenter(checkpoint, ctx=ctx, trim=trim)
    return lambda: evaluate_with(segmenter, data)


def tiling(args: argparse.Namespace) -> int:
    """Print time and memory of squares of several sides, a row each; 1 if one takes more than the limit."""
    segmenter = Segmenter(random_checkpoint(args), ctx=devices.device(args.device), memory_limit=LIMIT)
    rng = np.random.default_rng(0)
    segmenter(photo(rng, 64, 64))  # MXNet brings the weights into its own order
    rows, most = [], 0.0
    for side in args.sides or SIDES:
        image = photo(rng, side, side)
        forget_peak()
        before, began, processor = memory()[0], time.perf_counter(), time.process_time()
        for _ in segmenter.bands(image):
            pass
        seconds, processor = time.perf_counter() - began, time.process_time() - processor
        used = memory()[1] - before  # GB
        per_million = seconds / side**2 * 1e6
        rows.append(
            (f"{side}x{side}", f"{seconds:.1f}", f"{per_million:.2f}", f"{processor:.1f}", f"{used:.2f}")
        )
        most = max(most, used)
        print(f"{side}x{side}: {seconds:.1f} s", flush=True)
    print(table(("size", "s", "s per Mpixel", "processor s", "GB beyond weights and image"), rows, range(1, 5)))
    print(f"FCN-8s, width {args.width:g}, limit {LIMIT / 1e9:g} GB; in one tile where the limit allows")
    return 0 if most * 1e9 <= LIMIT else 1


def segment(args: argparse.Namespace) -> int:
    """Print both rates, by chunks in turns, their ratio, and the start-up; 1 if `segment` is too slow."""
    count, seconds = args.num_images or SEGMENTED, []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        masks, net = root / "masks", random_checkpoint(args)
        save(root / "net", 0, net.symbol, net.arg_params, {}, net.meta)
        del net
        write_images(root, image_shape(args)[2:], count)
        files = [(root / f"{i}.jpg", (masks / f"{i}.png", masks / f"{i}_overlay.png")) for i in range(count)]
        segmenter = Segmenter(load(root / "net", 0, mapped=True), ctx=devices.device(args.device))
        inputs = [preprocess(read_image(file), segmenter.mean) for file, _ in files[:CHUNK]]
        for first in range(0, count, CHUNK):
            chunk = files[first : first + CHUNK]
            began = time.perf_counter()
            for data in inputs[: len(chunk)]:
                segmenter.class_map(data)
            middle = time.perf_counter()
            for result in segmented(segmenter, chunk, voc_palette(CLASSES)):
                result.result()
            seconds.append((middle - began, time.perf_counter() - middle))
        bare, command = (sum(each[1:] or each) for each in zip(*seconds))  # the first turns warm up
        timed = count - CHUNK if count > CHUNK else count
        print(
            f"images a second: net alone {timed / bare:.3f}, segment {timed / command:.3f}, "
            f"which is {bare / command:.1%} of the first"
        )
        _start_up(root, args)
    print(f"FCN-8s, {args.image_size}, width {args.width:g}, {timed} images; expected: {LEAST:.0%} or more")
    return int(bare / command < LEAST)


def _start_up(root: Path, args: argparse.Namespace) -> None:
    """Print seconds from the start of `fcnxs segment` to the line about its first image, a small one."""
    Image.fromarray(photo(np.random.default_rng(0), 64, 64)).save(root / "small.png")
    command = [sys.executable, "-m", "fcnxs", "segment", f"--prefix={root / 'net'}", "--epoch=0"]
    command += [str(root / "small.png"), f"--output={root / 'small'}"]
    command += [f"--device={args.device}"] if args.device else []
    seconds = []
    for _ in range(args.steps):
        began = time.perf_counter()
        with subprocess.Popen(ending_with_us(command), stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            seconds.append(time.perf_counter() - began)
    print(f"from start to the first result, 64x64: {' '.join(f'{each:.2f}' for each in seconds)} s")

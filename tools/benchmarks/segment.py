"""`fcnxs benchmark segment`: rate of `segment` on a folder against the bare net's, and its start-up."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List

import numpy as np

from ..shared import options
from .worker import CLASSES, image_shape, net_and_weights

IMAGES, CHUNK, LEAST = 60, 20, 0.95
SMALL = "64x64"


def segment(args: argparse.Namespace) -> int:
    """Print both rates, by chunks in turns, their ratio, and the start-up; 1 if `segment` is too slow."""
    from ...checkpoint.checkpoint import load, save
    from ...checkpoint.meta import Meta
    from ...compat import mxnet as mx
    from ...data.images import preprocess, read_image
    from ...predict.image_files import segmented
    from ...predict.segmenter import Segmenter
    from ...vis import voc_palette
    from .evaluate import write_images

    symbol, weights = net_and_weights(args)
    size = image_shape(args)[2:]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        params = {name: mx.nd.array(weights.pop(name)) for name in list(weights)}
        save(root / "net", 0, symbol, params, {}, Meta())
        del params
        count = args.images or IMAGES
        write_images(root, size, count)
        masks = root / "masks"
        files = [(root / f"{i}.jpg", (masks / f"{i}.png", masks / f"{i}_overlay.png")) for i in range(count)]
        segmenter = Segmenter(load(root / "net", 0, mapped=True), ctx=options.device(args.gpus))
        inputs = [preprocess(read_image(file), segmenter.mean) for file, _ in files[:CHUNK]]
        seconds: List[List[float]] = [[], []]
        for first in range(0, count, CHUNK):
            chunk = files[first : first + CHUNK]
            data = inputs[: len(chunk)]
            seconds[0].append(_timed(lambda data=data: [segmenter.class_map(each) for each in data]))
            results = segmented(segmenter, chunk, voc_palette(CLASSES))
            seconds[1].append(_timed(lambda results=results: [result.result() for result in results]))
        net, command = (sum(each[1:] or each) for each in seconds)  # the first turns warm up
        timed = count - CHUNK if count > CHUNK else count
        print(
            f"net alone {timed / net:.3f} images a second, segment {timed / command:.3f}: {net / command:.1%}"
        )
        _start_up(root, args)
    print(f"FCN-8s, {args.size}, width {args.width:g}, {timed} images; want {LEAST:.0%}")
    return 0 if net / command >= LEAST else 1


def _start_up(root: Path, args: argparse.Namespace) -> None:
    """Print seconds of `fcnxs segment` for one small image, from the start of the process to its line."""
    from PIL import Image

    small = root / f"{SMALL}.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(small)
    command = [
        sys.executable,
        "-m",
        "fcnxs",
        "segment",
        "--prefix",
        str(root / "net"),
        "--epoch",
        "0",
        str(small),
    ]
    command += ["--output", str(root / "small"), *(["--gpus", args.gpus] if args.gpus else [])]
    seconds = []
    for _ in range(args.steps):
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            seconds.append(time.perf_counter() - began)
    print(f"from start to the first result, {SMALL}: {' '.join(f'{each:.2f}' for each in seconds)} s")


def _timed(do: object) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


part = segment

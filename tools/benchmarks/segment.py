"""`fcnxs benchmark segment`: rate of `segment` on a folder against the bare net's, and its start-up."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ..shared import options
from .material import CLASSES, image_shape, photo, random_checkpoint, write_images

IMAGES, CHUNK, LEAST = 60, 20, 0.95


def segment(args: argparse.Namespace) -> int:
    """Print both rates, by chunks in turns, their ratio, and the start-up; 1 if `segment` is too slow."""
    from ...checkpoint.checkpoint import load, save
    from ...data.images import preprocess, read_image
    from ...predict.image_files import segmented
    from ...predict.segmenter import Segmenter
    from ...vis import voc_palette

    count, seconds = args.images or IMAGES, []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        masks, net = root / "masks", random_checkpoint(args)
        save(root / "net", 0, net.symbol, net.arg_params, {}, net.meta)
        del net
        write_images(root, image_shape(args)[2:], count)
        files = [(root / f"{i}.jpg", (masks / f"{i}.png", masks / f"{i}_overlay.png")) for i in range(count)]
        segmenter = Segmenter(load(root / "net", 0, mapped=True), ctx=options.device(args.gpus))
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
    print(f"FCN-8s, {args.size}, width {args.width:g}, {timed} images; expected: {LEAST:.0%} or more")
    return int(bare / command < LEAST)


def _start_up(root: Path, args: argparse.Namespace) -> None:
    """Print seconds from the start of `fcnxs segment` to the line about its first image, a small one."""
    from PIL import Image

    Image.fromarray(photo(np.random.default_rng(0), 64, 64)).save(root / "small.png")
    command = [sys.executable, "-m", "fcnxs", "segment", f"--prefix={root / 'net'}", "--epoch=0"]
    command += [str(root / "small.png"), f"--output={root / 'small'}"]
    command += [f"--gpus={args.gpus}"] if args.gpus else []
    seconds = []
    for _ in range(args.steps):
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            seconds.append(time.perf_counter() - began)
    print(f"from start to the first result, 64x64: {' '.join(f'{each:.2f}' for each in seconds)} s")

"""`fcnxs benchmark tiling`: time and memory of class maps of large images, within a limit of memory."""

from __future__ import annotations

import argparse
import time
from typing import Tuple

import numpy as np

from ...predict.segmenter import Segmenter
from ..shared import options
from ..shared.text import table
from .material import photo, random_checkpoint
from .worker import forget_peak, memory

LIMIT = 2e9  # bytes beyond the weights and the image
SIDES = (1024, 2048, 4096, 8192)


def tiling(args: argparse.Namespace) -> int:
    """Print time and memory of squares of several sides, a row each; 1 if one takes more than the limit."""
    segmenter = Segmenter(random_checkpoint(args), ctx=options.device(args.gpus), memory_limit=LIMIT)
    rng = np.random.default_rng(0)
    segmenter(photo(rng, 64, 64))  # MXNet brings the weights into its own order
    rows, most = [], 0.0
    for side in args.sides or SIDES:
        seconds, processor, used = _measured(segmenter, photo(rng, side, side))
        per_million = seconds / side**2 * 1e6
        rows.append(
            (f"{side}x{side}", f"{seconds:.1f}", f"{per_million:.2f}", f"{processor:.1f}", f"{used:.2f}")
        )
        most = max(most, used)
        print(f"{side}x{side}: {seconds:.1f} s", flush=True)
    print(table(("size", "s", "s per Mpixel", "processor s", "GB beyond weights and image"), rows, range(1, 5)))
    print(f"FCN-8s, width {args.width:g}, limit {LIMIT / 1e9:g} GB; in one tile where the limit allows")
    return 0 if most * 1e9 <= LIMIT else 1


def _measured(segmenter: Segmenter, image: np.ndarray) -> Tuple[float, float, float]:
    """Seconds, seconds of processors, and the peak of memory beyond that before, in GB."""
    forget_peak()
    before, began, used = memory()[0], time.perf_counter(), time.process_time()
    for _ in segmenter.bands(image):
        pass
    return time.perf_counter() - began, time.process_time() - used, memory()[1] - before

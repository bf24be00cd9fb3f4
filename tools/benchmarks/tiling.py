"""`fcnxs benchmark tiling`: time and memory of class maps of large images, within a limit."""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Tuple

import numpy as np

from ..shared import options
from ..shared.text import table
from .worker import memory, net_and_weights

LIMIT = 2e9  # bytes beyond the weights and the image
SIDES = (1024, 2048, 4096, 8192)


def tiling(args: argparse.Namespace) -> int:
    """Print time and memory of squares of several sides, a row for each; 1 if above the limit."""
    from ...checkpoint.checkpoint import Checkpoint
    from ...checkpoint.meta import Meta
    from ...compat import mxnet as mx
    from ...predict.segmenter import Segmenter

    symbol, weights = net_and_weights(args)
    params = {name: mx.nd.array(weights.pop(name)) for name in list(weights)}
    checkpoint = Checkpoint(symbol, params, {}, Meta(), Path("random weights"))
    segmenter = Segmenter(checkpoint, ctx=options.device(args.gpus), memory_limit=LIMIT)
    del checkpoint, params
    segmenter(_picture(64))  # MXNet orders the weights as it wants them
    rows, most = [], 0.0
    for side in args.sides or SIDES:
        seconds, processor, used = _measured(segmenter, _picture(side))
        per_million = seconds / side**2 * 1e6
        rows.append(
            (f"{side}x{side}", f"{seconds:.1f}", f"{per_million:.2f}", f"{processor:.1f}", f"{used:.2f}")
        )
        most = max(most, used)
        print(f"{side}x{side}: {seconds:.1f} s", flush=True)
    print(table(("size", "s", "s per Mpixel", "processor s", "GB beyond weights and image"), rows, range(1, 5)))
    print(f"FCN-8s, width {args.width:g}, limit {LIMIT / 1e9:g} GB; as one tile where that is enough")
    return 0 if most * 1e9 <= LIMIT else 1


def _measured(segmenter: object, image: np.ndarray) -> Tuple[float, float, float]:
    """Seconds, processors' seconds, and GB at most beyond what was there before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began, used = memory()[0], time.perf_counter(), _processor()
    for _ in segmenter.bands(image):
        pass
    return time.perf_counter() - began, _processor() - used, memory()[1] - before


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _picture(side: int) -> np.ndarray:
    """A smooth random image (side, side, 3)."""
    import cv2

    small = np.random.default_rng(side).integers(0, 256, (side // 16, side // 16, 3)).astype(np.uint8)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)


part = tiling

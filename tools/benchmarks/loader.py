"""`fcnxs benchmark loader`: how long training waits for its images, which threads read ahead."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from ...data.augment import Augmentation
from ..shared import options
from ..shared.text import table
from .evaluate import write_images
from .worker import CLASSES, SETTINGS, image_shape, net_and_weights

LIMIT = 0.02  # of the time of a step
KINDS = {"whole": None, "augmented": Augmentation(None, (0.8, 1.2), True, 0.4)}


def loader(args: argparse.Namespace) -> int:
    """Train on pictures of --size, and print what each step waits for its image; 1 if that is too long."""
    from ...compat import mxnet as mx
    from ...data.loader import Loader
    from ...data.samples import open_samples
    from ...metric import SegmentationMetric
    from ...solver.solver import Solver

    ctx = options.device(args.gpus)
    symbol, weights = net_and_weights(args)
    params = {name: mx.nd.array(weights.pop(name), ctx) for name in list(weights)}
    solver, metric, rows = Solver(symbol, ctx, arg_params=params, **SETTINGS), SegmentationMetric(CLASSES), []
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), image_shape(args)[2:], 8)
        samples = open_samples(Path(folder) / "list.lst")
        numbers = np.arange(args.steps + 2) % len(samples)  # the first waits once an epoch, the second binds
        for kind, augmentation in KINDS.items():
            batches = Loader(samples.subset(numbers), augmentation=augmentation, num_classes=CLASSES)
            waited, seconds = [], []
            for _ in numbers:
                began = time.perf_counter()
                batch = next(batches)
                waited.append(time.perf_counter() - began)
                solver.step(batch, batches, metric)
                mx.nd.waitall()
                seconds.append(time.perf_counter() - began)
            share = sum(waited[2:]) / sum(seconds[2:])
            rows.append(
                (kind, f"{np.median(seconds[2:]):.2f}", f"{1000 * max(waited[2:]):.1f}", f"{100 * share:.2f}%")
            )
            batches.close()
    print(table(("images", "seconds a step", "longest wait, ms", "waited"), rows, right=(1, 2, 3)))
    return 0 if max(float(row[3][:-1]) for row in rows) <= 100 * LIMIT else 1

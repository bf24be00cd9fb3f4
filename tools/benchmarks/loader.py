"""`fcnxs benchmark loader`: the time that training steps wait for their images, which threads read ahead."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from ...data.augment import Augmentation
from ..shared.text import table
from .material import CLASSES, image_shape, random_solver, write_images

LIMIT = 0.02  # of the time of a step
KINDS = {"whole": None, "augmented": Augmentation(None, (0.8, 1.2), True, 0.4)}


def loader(args: argparse.Namespace) -> int:
    """Train on images of --size, and print the time that steps wait for them; 1 if it is above the limit."""
    from ...compat import mxnet as mx
    from ...data.loader import Loader
    from ...data.samples import open_samples
    from ...metric import SegmentationMetric

    solver, metric, rows, shares = random_solver(args), SegmentationMetric(CLASSES), [], []
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), image_shape(args)[2:], 8)
        samples = open_samples(Path(folder) / "list.lst")
        # Two steps come before the timed ones: the first of an epoch waits for its image, the second binds.
        numbers = np.arange(args.steps + 2) % len(samples)
        for kind, augmentation in KINDS.items():
            batches = Loader(samples.subset(numbers), augmentation=augmentation, num_classes=CLASSES)
            times = []
            for _ in numbers:
                began = time.perf_counter()
                batch = next(batches)
                waited = time.perf_counter() - began
                solver.step(batch, batches, metric)
                mx.nd.waitall()
                times.append((waited, time.perf_counter() - began))
            batches.close()
            waits, seconds = zip(*times[2:])
            shares.append(sum(waits) / sum(seconds))
            longest = f"{1000 * max(waits):.1f}"
            rows.append((kind, f"{np.median(seconds):.2f}", longest, f"{100 * shares[-1]:.2f}%"))
    print(table(("images", "seconds a step", "longest wait, ms", "waited"), rows, right=(1, 2, 3)))
    return int(max(shares) > LIMIT)

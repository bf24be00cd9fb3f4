"""Measure how fast images are read, and how long a step waits for its batch.

Reads generated JPEGs of 500x375, or the images of --data, as training does: decoded and prepared by threads.
Then steps of about a second that use all processors take a batch each; what they wait for it is added up.

Example:
    python -m fcnxs.tools.loading
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import List, Tuple

import numpy as np

from ..compat import use_the_machine

use_the_machine()

from PIL import Image  # noqa: E402

from ..ahead import default_workers  # noqa: E402
from ..augment import Augmentation  # noqa: E402
from ..compat import mxnet as mx  # noqa: E402
from ..loader import Loader  # noqa: E402
from ..samples import Samples, open_samples  # noqa: E402
from ..shapes import picture  # noqa: E402
from ..vis import save_mask, voc_palette  # noqa: E402
from .text import table  # noqa: E402

KINDS = {"whole": None, "augmented": Augmentation(321, (0.5, 1.5), True, 0.4)}


def main(argv: List[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="DIR|LST", help="images to read (default: generated ones)")
    parser.add_argument(
        "--images", type=int, default=200, metavar="N", help="to read for a time (default: 200)"
    )
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="steps that wait (default: 20)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        samples = open_samples(args.data) if args.data else generated(Path(folder))
        threads = sorted({1, 2, default_workers()})
        rows = [
            (kind, n, f"{milliseconds(samples, kind, n, args.images):.1f}") for kind in KINDS for n in threads
        ]
        print(table(("images", "threads", "ms an image"), rows, right=(2,)))
        print()
        rows = []
        for kind in KINDS:
            step, longest, share = waits(samples, kind, args.steps)
            rows.append((kind, f"{step:.2f}", f"{1000 * longest:.1f}", f"{100 * share:.2f}%"))
        print(table(("images", "seconds a step", "longest wait, ms", "waited"), rows, right=(1, 2, 3)))
    return 0


def generated(folder: Path, count: int = 16) -> Samples:
    """Pictures of 500x375, as JPEGs, and their labels."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    for number in range(count):
        image, label = picture(rng, 375, 500, shapes=3)
        Image.fromarray(image).save(folder / "images" / f"{number}.jpg", quality=92)
        save_mask(folder / "labels" / f"{number}.png", label, voc_palette())
    return open_samples(folder)


def milliseconds(samples: Samples, kind: str, threads: int, images: int) -> float:
    """Time for an image, where nothing but reading is done."""
    numbers = np.arange(images) % len(samples)
    loader = Loader(samples.subset(numbers), augmentation=KINDS[kind], workers=threads)
    began = time.perf_counter()
    for _ in loader:
        pass
    return 1000 * (time.perf_counter() - began) / images


def waits(samples: Samples, kind: str, steps: int) -> Tuple[float, float, float]:
    """Seconds of a step, the longest wait for a batch, and the part of the time that was waited.

    The first batch is left out: its wait comes once an epoch.
    """
    loader = Loader(samples.subset(np.arange(steps + 1) % len(samples)), augmentation=KINDS[kind])
    next(loader)
    busy(1)
    seconds, waited = [], []
    for _ in range(steps):
        began = time.perf_counter()
        next(loader)
        waited.append(time.perf_counter() - began)
        busy(1)
        seconds.append(time.perf_counter() - began)
    return sum(seconds) / steps, max(waited), sum(waited) / sum(seconds)


def busy(seconds: float) -> None:
    """Multiply matrices on all processors."""
    matrix, until = mx.nd.random.normal(shape=(1000, 1000)), time.perf_counter() + seconds
    while time.perf_counter() < until:
        mx.nd.dot(matrix, matrix).wait_to_read()


if __name__ == "__main__":
    raise SystemExit(main())

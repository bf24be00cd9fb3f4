"""`fcnxs benchmark sizes`: memory of training on images of many sizes, against that of the largest alone."""

from __future__ import annotations

import argparse
import random
from typing import List, Tuple

from .material import CLASSES, Inputs, image_shape, random_image, random_solver
from .worker import Worker, serve

SIZES, LIMIT = 50, 1.15
SLACK = 0.02  # GB that an epoch may add: graphs and oneDNN's kernels take other memory for other sizes
REPEATED = 5  # steps of the largest size alone


def sizes(args: argparse.Namespace) -> int:
    """Print memory after each epoch and its ratios; 1 if they are above the limit, or grow."""
    args.images = args.images or SIZES
    with Worker(args, "largest") as worker:
        alone = worker.ask()
    print(f"{args.size} alone: resident {alone.resident:.3f} GB, peak {alone.peak:.3f} GB", flush=True)
    answers = []
    with Worker(args, "epochs") as worker:
        for epoch in range(1, args.epochs + 1):
            answers.append(answer := worker.ask())
            print(
                f"epoch {epoch:>2} of {args.images} sizes: {answer.seconds:.0f} s; resident "
                f"{answer.resident:.3f} GB, {answer.resident / alone.resident:.3f} times the largest; peak "
                f"{answer.peak:.3f} GB, {answer.peak / alone.peak:.3f} times",
                flush=True,
            )
    ratio, grown = answers[-1].peak / alone.peak, answers[-1].peak - answers[0].peak
    print(
        f"FCN-8s, width {args.width:g}: "
        f"peak memory {ratio:.3f} times that of the largest size alone (at most {LIMIT}); "
        f"epochs 2 to {args.epochs} added {1000 * grown:.0f} MB"
    )
    return 0 if ratio <= LIMIT and grown <= SLACK else 1


def part(args: argparse.Namespace) -> int:
    """Be one of the processes: each turn is an epoch, or some steps of the largest size."""
    from ...compat import mxnet as mx
    from ...metric import SegmentationMetric

    solver, metric, order = random_solver(args), SegmentationMetric(CLASSES), random.Random(0)
    largest = image_shape(args)[2:]
    sizes = [largest] * REPEATED if args.part == "largest" else different_sizes(largest, args.images)

    def steps() -> None:
        order.shuffle(sizes)
        metric.reset()
        for size in sizes:
            solver.step(random_image((1, 3, *size)), Inputs(), metric)
        mx.nd.waitall()

    return serve(steps)


def different_sizes(largest: Tuple[int, int], count: int) -> List[Tuple[int, int]]:
    """`count` different sizes (H, W): `largest`, and random ones that fit into it, upright or not.

    Sides are at least 60% of those of `largest`, and 26. Every other size is turned, since data sets have both.
    """
    rng, found = random.Random(0), [largest]
    while len(found) < count:
        size = tuple(rng.randint(max(26, round(0.6 * side)), side) for side in largest)
        size = size[::-1] if len(found) % 2 else size
        if size not in found:
            found.append(size)
    return found

"""`fcnxs benchmark sizes`: memory of training on images of many sizes, against that of the largest alone."""

from __future__ import annotations

import argparse
import random
from typing import Callable, List, Tuple

from ..shared import options
from .worker import CLASSES, SETTINGS, Inputs, Worker, image_shape, net_and_weights, random_image, serve

SIZES, LIMIT = 50, 1.15
SLACK = (
    0.02  # GB, whatever the net: graphs and oneDNN's kernels of one size take other room than those of another
)
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
                f"{answer.resident:.3f} GB, ratio {answer.resident / alone.resident:.3f}; peak "
                f"{answer.peak:.3f} GB, ratio {answer.peak / alone.peak:.3f}",
                flush=True,
            )
    ratio, grown = answers[-1].peak / alone.peak, answers[-1].peak - answers[0].peak
    print(
        f"FCN-8s, width {args.width:g}: peak {ratio:.3f} times that of the largest alone (at most {LIMIT}); "
        f"epochs 2 to {args.epochs} added {1000 * grown:.0f} MB"
    )
    return 0 if ratio <= LIMIT and grown <= SLACK else 1


def part(args: argparse.Namespace) -> int:
    """Be one of the processes: an epoch, or some steps of the largest size, each time."""
    from ...compat import mxnet as mx
    from ...metric import SegmentationMetric
    from ...solver.solver import Solver

    ctx = options.device(args.gpus)
    symbol, weights = net_and_weights(args)
    params = {name: mx.nd.array(weights.pop(name), ctx) for name in list(weights)}
    solver, metric = Solver(symbol, ctx, arg_params=params, **SETTINGS), SegmentationMetric(CLASSES)
    order = random.Random(0)

    def steps(shapes: List[tuple]) -> Callable[[], None]:
        def run() -> None:
            order.shuffle(shapes)
            metric.reset()
            for shape in shapes:
                solver.step(random_image(shape), Inputs(), metric)
            mx.nd.waitall()

        return run

    largest = image_shape(args)
    if args.part == "largest":
        return serve(steps([largest] * REPEATED))
    return serve(steps([(1, 3, *size) for size in different_sizes(largest[2:], args.images)]))


def different_sizes(largest: Tuple[int, int], count: int) -> List[Tuple[int, int]]:
    """So many different (H, W), `largest` and random ones that it covers, every other one upright.

    Their sides are from 60% of those of `largest` on, and 26 or more. An upright one has its sides swapped,
    as data sets have them.
    """
    rng, found = random.Random(0), [largest]
    while len(found) < count:
        size = tuple(rng.randint(max(26, round(0.6 * side)), side) for side in largest)
        size = size[::-1] if len(found) % 2 else size
        if size not in found:
            found.append(size)
    return found

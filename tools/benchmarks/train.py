"""`fcnxs benchmark train`, `recompute`, `trim`, `sizes` and `loader`: time and memory of training FCN-8s.

MXNet is imported late, since the process of PyTorch's step must not load it.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict, List, Tuple

import numpy as np

from ...data.augment import Augmentation
from ...errors import FCNXSError
from ..shared import devices
from ..shared.text import table
from . import material
from .worker import Worker, compare, serve

if TYPE_CHECKING:
    from ...compat import mxnet as mx

MOST_MEMORY = 1.15  # of training on many sizes, relative to that on the largest alone
SLACK = 0.02  # GB that an epoch may add: graphs and oneDNN's kernels take other memory for other sizes
SIZES, REPEATED = 50, 5  # different sizes by default, and steps of the largest size alone
MOST_WAITING = 0.02  # of the time of a step
KINDS = {"whole": None, "augmented": Augmentation(None, (0.8, 1.2), True, 0.4)}


def train(args: argparse.Namespace) -> int:
    """Compare the solver's step, and PyTorch's where it is installed, with MXNet's bare one."""
    parts = ["bare", "solver"]
    on_gpu = devices.kind_and_numbers(args.device)[0] == "gpu"
    if importlib.util.find_spec("torch") and not on_gpu:
        with Worker(args, "check") as check:
            check.ask()
        parts.append("torch")
    else:
        print("without PyTorch, which is not installed" if not on_gpu else "without PyTorch on a GPU")
    return compare(args, parts)


# A step that keeps its activations is compared with one that recomputes them; a step on the whole canvas, with
# one on the part that depends on the image.
recompute = partial(compare, parts=("keeps", "recomputes"))
trim = partial(compare, parts=("whole", "trimmed"))


def sizes(args: argparse.Namespace) -> int:
    """Print memory after each epoch and its ratios; 1 if they are above the limit, or grow."""
    args.num_images = args.num_images or SIZES
    with Worker(args, "largest") as worker:
        alone = worker.ask()
    print(f"{args.image_size} alone: resident {alone.resident:.3f} GB, peak {alone.peak:.3f} GB", flush=True)
    answers = []
    with Worker(args, "epochs") as worker:
        for epoch in range(1, args.epochs + 1):
            answers.append(answer := worker.ask())
            print(
                f"epoch {epoch:>2} of {args.num_images} sizes: {answer.seconds:.0f} s; resident "
                f"{answer.resident:.3f} GB, {answer.resident / alone.resident:.3f} times the largest; peak "
                f"{answer.peak:.3f} GB, {answer.peak / alone.peak:.3f} times",
                flush=True,
            )
    ratio, grown = answers[-1].peak / alone.peak, answers[-1].peak - answers[0].peak
    print(
        f"FCN-8s, width {args.width:g}: "
        f"peak memory {ratio:.3f} times that of the largest size alone (at most {MOST_MEMORY}); "
        f"epochs 2 to {args.epochs} added {1000 * grown:.0f} MB"
    )
    return 0 if ratio <= MOST_MEMORY and grown <= SLACK else 1


def loader(args: argparse.Namespace) -> int:
    """Train on images of --image-size, and print how long steps wait for them; 1 if it is above the limit."""
    from ...data.layouts import open_samples
    from ...data.loader import Loader

    step, rows, shares = stepper(args), [], []
    with tempfile.TemporaryDirectory() as folder:
        material.write_images(Path(folder), material.image_shape(args)[2:], 8)
        samples = open_samples(Path(folder) / "list.lst")
        # Two steps come before the timed ones: the first of an epoch waits for its image, the second binds.
        numbers = np.arange(args.steps + 2) % len(samples)
        for kind, augmentation in KINDS.items():
            batches = Loader(samples.subset(numbers), augmentation=augmentation, num_classes=material.CLASSES)
            times = []
            for _ in numbers:
                began = time.perf_counter()
                batch = next(batches)
                waited = time.perf_counter() - began
                step(batch, batches)
                times.append((waited, time.perf_counter() - began))
            batches.close()
            waits, seconds = zip(*times[2:])
            shares.append(sum(waits) / sum(seconds))
            longest = f"{1000 * max(waits):.1f}"
            rows.append((kind, f"{np.median(seconds):.2f}", longest, f"{100 * shares[-1]:.2f}%"))
    print(table(("images", "seconds a step", "longest wait, ms", "waited"), rows, right=(1, 2, 3)))
    return int(max(shares) > MOST_WAITING)


def part(args: argparse.Namespace) -> int:
    """Be one of the processes."""
    makers: Dict[str, Callable[[argparse.Namespace], Callable[[], object]]] = {
        **{"bare": _bare, "torch": _torch, "check": _check, "largest": _epoch, "epochs": _epoch},
        **dict.fromkeys(("solver", "keeps"), _solver),
        "trimmed": partial(_solver, trim=True),
        "whole": partial(_solver, trim=False),
        "recomputes": partial(_solver, recompute=True),
    }
    return serve(makers[args.part](args))


def stepper(
    args: argparse.Namespace,
    change: Callable = lambda symbol: symbol,
    settings: dict = material.SETTINGS,
    **how: bool,
) -> Callable[..., float]:
    """Function that takes a batch, lets a solver of the random net do a step, and returns the loss.

    Its attribute `params` holds the solver's parameters.

    Args:
        change: takes the net's symbol and returns the one to train.
        settings: the optimizer's.
        how: further arguments of the solver.
    """
    from ...compat import mxnet as mx
    from ...metric import SegmentationMetric
    from ...solver.solver import Solver

    ctx, metric = devices.device(args.device), SegmentationMetric(material.CLASSES)
    symbol, params = material.net_and_params(args, ctx)
    how = {"trim": not args.no_trim, **how}
    solver = Solver(change(symbol), ctx, arg_params=params, **how, **settings)

    def step(batch: Dict[str, np.ndarray], source: object = material.Inputs()) -> float:
        loss = solver.step(batch, source, metric)
        mx.nd.waitall()
        return loss

    step.params = solver.arg_params
    return step


def _solver(args: argparse.Namespace, **how: bool) -> Callable[[], float]:
    """The solver's step, with further arguments `how` of the solver."""
    return partial(stepper(args, **how), material.random_image(material.image_shape(args)))


def _epoch(args: argparse.Namespace) -> Callable[[], None]:
    """An epoch of different sizes, or some steps of the largest size."""
    step, order, largest = stepper(args), random.Random(0), material.image_shape(args)[2:]
    sizes = [largest] * REPEATED if args.part == "largest" else different_sizes(largest, args.num_images)

    def steps() -> None:
        order.shuffle(sizes)
        for size in sizes:
            step(material.random_image((1, 3, *size)))

    return steps


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


def without_dropout(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same net with dropouts that drop nothing."""
    from ...symbols.graph.nodes import Entry, Graph, Node
    from ...symbols.graph.rewrite import Writer

    graph, writer = Graph.of(symbol), Writer()
    if [node["attrs"]["p"] for node in graph.nodes if node["op"] == "Dropout"] != ["0.5", "0.5"]:
        raise FCNXSError("benchmark train: expected two dropouts with p = 0.5 in the net")

    def idle(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        return writer.copy(node, inputs, p=0) if node["op"] == "Dropout" else None

    return writer.symbol(writer.write(graph, idle))


def _bare(args: argparse.Namespace) -> Callable[[], None]:
    """MXNet's own forward, backward and update of each parameter alone."""
    from ...compat import mxnet as mx

    ctx = devices.device(args.device)
    symbol, params = material.net_and_params(args, ctx)
    grads = {name: mx.nd.zeros(array.shape, ctx) for name, array in params.items() if name != "bigscore_weight"}
    batch = material.random_image(material.image_shape(args))
    label = batch["softmax_label"].reshape(1, -1)
    inputs = {"data": mx.nd.array(batch["data"], ctx), "softmax_label": mx.nd.array(label, ctx)}
    grad_req = {name: "write" if name in grads else "null" for name in symbol.list_arguments()}
    executor = symbol.bind(ctx, {**params, **inputs}, grads, grad_req)
    updater = mx.optimizer.get_updater(mx.optimizer.create("sgd", **material.SETTINGS))

    def step() -> None:
        executor.forward(is_train=True)
        executor.backward()
        for name, grad in grads.items():
            updater(name, grad, params[name])
        mx.nd.waitall()

    return step


def _torch(args: argparse.Namespace) -> Callable[[], float]:
    """PyTorch's step, in a process without MXNet, so that memory is PyTorch's alone."""
    from .torch_fcn8s import make_step

    net = argparse.Namespace(image_size=args.image_size, width=args.width, fc=args.fc)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        shapes = pool.submit(_shapes, net).result()
    return make_step(
        material.random_weights(shapes), material.random_image(material.image_shape(args)), material.SETTINGS
    )


def _shapes(args: argparse.Namespace) -> Dict[str, tuple]:
    """Shapes of the net's weights by name, by MXNet."""
    return {name: array.shape for name, array in material.net_and_weights(args)[1].items()}


def _check(args: argparse.Namespace) -> Callable[[], None]:
    """Compare two of PyTorch's steps with the solver's: a narrow net, a small image, no dropout.

    Raises:
        FCNXSError: a loss or the change of a parameter differs.
    """
    from .torch_fcn8s import make_step

    small = argparse.Namespace(image_size="50x43", width=1 / 16, fc=16, device=None, no_trim=args.no_trim)
    settings = {**material.SETTINGS, "learning_rate": 0.1}
    _, before = material.net_and_weights(small)
    weights = {name: array.copy() for name, array in before.items()}
    step, batch = stepper(small, without_dropout, settings), material.random_image(material.image_shape(small))
    # Scores are about as large as pixels: those of 50 would make probabilities below 1e-37, our loss's floor.
    batch["data"] /= 50
    theirs = make_step(weights, batch, settings, dropout=0)

    def check() -> None:
        for _ in range(2):
            losses = step(batch), theirs()
            if not np.isclose(*losses, rtol=1e-5):
                raise FCNXSError(f"benchmark train: the loss is {losses[0]}, but PyTorch's {losses[1]}")
        for name, array in before.items():
            change = step.params[name].asnumpy() - array
            difference = np.linalg.norm(weights[name] - array - change)
            if difference > 1e-3 * np.linalg.norm(change):
                raise FCNXSError(f"benchmark train: PyTorch's step changes parameter {name} differently")

    return check

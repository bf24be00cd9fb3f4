"""`fcnxs benchmark train`, `recompute` and `trim`: time and memory of a step of training FCN-8s."""

from __future__ import annotations

import argparse
import importlib.util
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Callable, Dict, List

import numpy as np

from ...errors import FCNXSError
from ..shared import options
from .material import (
    CLASSES,
    SETTINGS,
    Inputs,
    image_shape,
    net_and_params,
    net_and_weights,
    random_image,
    random_solver,
    random_weights,
)
from .worker import Worker, compare, serve

if TYPE_CHECKING:
    from ...compat import mxnet as mx


def train(args: argparse.Namespace) -> int:
    """Compare the solver's step, and PyTorch's where it is installed, with MXNet's bare one."""
    parts = ["bare", "solver"]
    if importlib.util.find_spec("torch") and not args.gpus:
        with Worker(args, "check") as check:
            check.ask()
        parts.append("torch")
    else:
        print("without PyTorch, which is not installed" if not args.gpus else "without PyTorch on a GPU")
    return compare(args, parts, args.steps)


def recompute(args: argparse.Namespace) -> int:
    """Compare a step that keeps its activations with one that recomputes them."""
    return compare(args, ("keeps", "recomputes"), args.steps)


def trim(args: argparse.Namespace) -> int:
    """Compare a step on the whole canvas with one on the part that depends on the image."""
    return compare(args, ("whole", "trimmed"), args.steps)


def part(args: argparse.Namespace) -> int:
    """Be one of the processes."""
    makers: Dict[str, Callable[[argparse.Namespace], Callable[[], object]]] = {
        **{"bare": _bare, "torch": _torch, "check": _check},
        **dict.fromkeys(("solver", "keeps", "trimmed"), _solver),
        "whole": partial(_solver, trim=False),
        "recomputes": partial(_solver, recompute=True),
    }
    return serve(makers[args.part](args))


def _solver(args: argparse.Namespace, **how: object) -> Callable[[], float]:
    """Step of the solver, with further arguments `how` of `random_solver`; it returns the loss."""
    from ...compat import mxnet as mx
    from ...metric import SegmentationMetric

    solver = random_solver(args, **how)
    metric, batch = SegmentationMetric(CLASSES), random_image(image_shape(args))

    def step() -> float:
        loss = solver.step(batch, Inputs(), metric)
        mx.nd.waitall()
        return loss

    step.params = solver.arg_params
    return step


def _without_dropout(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
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

    ctx = options.device(args.gpus)
    symbol, params = net_and_params(args, ctx)
    grads = {name: mx.nd.zeros(array.shape, ctx) for name, array in params.items() if name != "bigscore_weight"}
    batch = random_image(image_shape(args))
    label = batch["softmax_label"].reshape(1, -1)
    inputs = {"data": mx.nd.array(batch["data"], ctx), "softmax_label": mx.nd.array(label, ctx)}
    grad_req = {name: "write" if name in grads else "null" for name in symbol.list_arguments()}
    executor = symbol.bind(ctx, {**params, **inputs}, grads, grad_req)
    updater = mx.optimizer.get_updater(mx.optimizer.create("sgd", **SETTINGS))

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

    net = argparse.Namespace(size=args.size, width=args.width, fc=args.fc)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        shapes = pool.submit(_shapes, net).result()
    return make_step(random_weights(shapes), random_image(image_shape(args)), SETTINGS)


def _shapes(args: argparse.Namespace) -> Dict[str, tuple]:
    """Shapes of the net's weights by name, by MXNet."""
    return {name: array.shape for name, array in net_and_weights(args)[1].items()}


def _check(args: argparse.Namespace) -> Callable[[], None]:
    """Compare two of PyTorch's steps with the solver's: a narrow net, a small image, no dropout.

    Raises:
        FCNXSError: a loss or the change of a parameter differs.
    """
    from .torch_fcn8s import make_step

    small = argparse.Namespace(size="50x43", width=1 / 16, fc=16, gpus=None)
    settings = {**SETTINGS, "learning_rate": 1e-2}
    _, before = net_and_weights(small)
    weights = {name: array.copy() for name, array in before.items()}
    ours = _solver(small, settings=settings, change=_without_dropout)
    theirs = make_step(weights, random_image(image_shape(small)), settings, dropout=0)

    def check() -> None:
        for _ in range(2):
            losses = ours(), theirs()
            if not np.isclose(*losses, rtol=1e-5):
                raise FCNXSError(f"benchmark train: the loss is {losses[0]}, but PyTorch's {losses[1]}")
        for name, array in before.items():
            change = ours.params[name].asnumpy() - array
            difference = np.linalg.norm(weights[name] - array - change)
            if difference > 1e-3 * np.linalg.norm(change):
                raise FCNXSError(f"benchmark train: PyTorch's step changes parameter {name} differently")

    return check

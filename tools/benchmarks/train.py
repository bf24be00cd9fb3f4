"""`fcnxs benchmark train`, `mirror` and `trim`: one step of training FCN-8s, by several means, in turns."""

from __future__ import annotations

import argparse
import importlib.util
import statistics
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Callable, Dict, List, Tuple

import numpy as np

from ...errors import FCNXSError
from ..shared import options
from .worker import (
    CLASSES,
    SETTINGS,
    Answer,
    Inputs,
    Worker,
    image_shape,
    in_turns,
    net_and_weights,
    random_image,
    random_weights,
    serve,
)

if TYPE_CHECKING:
    from ...compat import mxnet as mx


def train(args: argparse.Namespace) -> int:
    """Print seconds and peaks of each kind of step, and the ratios to MXNet's bare one."""
    parts = ["bare", "solver"]
    if importlib.util.find_spec("torch") and not args.gpus:
        with Worker(args, "check") as check:
            check.ask()
        parts.append("torch")
    else:
        print("without PyTorch, which is not installed" if not args.gpus else "without PyTorch on a GPU")
    with ExitStack() as stack:
        answers = in_turns([stack.enter_context(Worker(args, part)) for part in parts], args.steps)
    return _report(args, answers)


def mirror(args: argparse.Namespace) -> int:
    """Print seconds and peaks of a step that keeps what it computes, and of one that recomputes."""
    return _compare(args, ("keeps", "mirrors"))


def trim(args: argparse.Namespace) -> int:
    """Print seconds and peaks of a step on the whole canvas, and of one on what depends on the image."""
    return _compare(args, ("whole", "trimmed"))


def _compare(args: argparse.Namespace, parts: Tuple[str, str]) -> int:
    with ExitStack() as stack:
        answers = in_turns([stack.enter_context(Worker(args, part)) for part in parts], args.steps)
    return _report(args, answers)


def part(args: argparse.Namespace) -> int:
    """Be one of the processes."""
    makers: Dict[str, Callable[[argparse.Namespace], Callable[[], object]]] = {
        **{"bare": _bare, "torch": _torch, "check": _check},
        **dict.fromkeys(("solver", "keeps", "trimmed"), _solver),
        "whole": partial(_solver, trim=False),
        "mirrors": partial(_solver, mirror=True),
    }
    return serve(makers[args.part](args))


def _report(args: argparse.Namespace, answers: Dict[str, List[Answer]]) -> int:
    """A line for each kind; the first is what the others are compared with."""
    first: tuple = ()
    for name, each in answers.items():
        median, peak = statistics.median(answer.seconds for answer in each), each[-1].peak
        first = first or (median, peak)
        print(
            f"{name:<8}{' '.join(f'{answer.seconds:.2f}' for answer in each)} s: median {median:.3f} s, "
            f"ratio {median / first[0]:.3f}; peak {peak:.2f} GB, ratio {peak / first[1]:.3f}"
        )
    print(f"FCN-8s, {args.size}, width {args.width:g}; ratios to {next(iter(answers))!r}")
    return 0


def _solver(
    args: argparse.Namespace, settings: dict = SETTINGS, dropout: bool = True, **how: bool
) -> Callable[[], float]:
    """Step of the solver, with further arguments `how`; it returns the loss."""
    from ...compat import mxnet as mx
    from ...metric import SegmentationMetric
    from ...solver.solver import Solver

    ctx = options.device(args.gpus)
    symbol, weights = net_and_weights(args)
    if not dropout:
        symbol = _without_dropout(symbol)
    params = {name: mx.nd.array(weights.pop(name), ctx) for name in list(weights)}
    solver = Solver(symbol, ctx, arg_params=params, **how, **settings)
    metric, batch = SegmentationMetric(CLASSES), random_image(image_shape(args))

    def step() -> float:
        loss = solver.step(batch, Inputs(), metric)
        mx.nd.waitall()
        return loss

    step.params = params
    return step


def _without_dropout(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The net, whose dropouts drop nothing."""
    from ...compat import mxnet as mx

    json, dropping = symbol.tojson(), '"p": "0.5"'
    if json.count(dropping) != 2:
        raise FCNXSError("benchmark train: the net has other dropouts than two of a half")
    return mx.sym.load_json(json.replace(dropping, '"p": "0"'))


def _bare(args: argparse.Namespace) -> Callable[[], None]:
    """MXNet's own forward, backward and update of each parameter, and nothing else."""
    from ...compat import mxnet as mx

    ctx = options.device(args.gpus)
    symbol, weights = net_and_weights(args)
    params = {name: mx.nd.array(weights.pop(name), ctx) for name in list(weights)}
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
    """PyTorch's step. MXNet, which knows the shapes, has no part in it and stays out of the process."""
    from .torch_fcn8s import fcn8s_shapes, make_step

    weights = random_weights(fcn8s_shapes(CLASSES, args.width, args.fc))
    return make_step(weights, random_image(image_shape(args)), SETTINGS)


def _check(args: argparse.Namespace) -> Callable[[], None]:
    """Compare two steps of PyTorch with the solver's, of a narrow net on a small image, without dropout.

    Raises:
        FCNXSError: a shape, a loss or a parameter's change is not the same.
    """
    from .torch_fcn8s import fcn8s_shapes, make_step

    small = argparse.Namespace(size="50x43", width=1 / 16, fc=16, gpus=None)
    settings = {**SETTINGS, "learning_rate": 1e-2}
    _, before = net_and_weights(small)
    shapes = {name: array.shape for name, array in before.items()}
    if shapes != fcn8s_shapes(CLASSES, small.width, small.fc):
        raise FCNXSError("benchmark train: PyTorch's net has other parameters than ours")
    weights = {name: array.copy() for name, array in before.items()}
    ours = _solver(small, settings, dropout=False)
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
                raise FCNXSError(f"benchmark train: PyTorch changes {name} in another way than the solver does")

    return check

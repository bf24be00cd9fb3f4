"""Measure conversion, training, inference and fidelity at full size, on this machine.

What measures memory runs in processes of their own, so that their peaks are their own.

convert: makes a caffemodel of Oxford's size (138 million random weights, 553 MB) in a temporary
    folder, and converts it. Seconds, and the peak of resident memory.
train: one step of FCN-8s, by this project's solver and by MXNet's bare forward, backward and update,
    in turns. Medians, peaks, and their ratios.
pooling: scores of FCN-8s with pooling that rounds down and up, in turns. Medians, and their ratio.
parity: random nets in Caffe's, Gluon's and torchvision's formats, run in OpenCV, Gluon and PyTorch (if it is
    there), and converted, in MXNet, on the CPU. A row for each; one that is not equal is exit code 1.

Examples:
    fcnxs benchmark train
    fcnxs benchmark parity --width 0.0625 --fc 16 --size all
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, List

from ..errors import FCNXSError
from . import options

if TYPE_CHECKING:
    from ..compat import mxnet as mx


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs benchmark`."""
    parser.add_argument("what", choices=PARTS, help="what to measure")
    parser.add_argument(
        "--size",
        default="500x375",
        metavar="WxH",
        help="width x height of the image (default: %(default)s); of parity also `all`, 36 small sizes",
    )
    parser.add_argument("--width", type=float, default=1.0, help="of the net, relative to VGG-16 (default: 1)")
    parser.add_argument("--fc", type=int, default=4096, help="channels of fc6 and fc7 (default: 4096)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each kind (default: 5)")
    parser.add_argument("--part", choices=("solver", "bare"), help=argparse.SUPPRESS)
    options.add_gpus(parser)


def run(args: argparse.Namespace) -> int:
    """Run one measurement and print it."""
    if not (args.what == "parity" and args.size == "all"):
        if not re.fullmatch(r"\d+x\d+", args.size):
            raise FCNXSError(f"--size {args.size}: want width x height, such as 500x375")
        least = 1 if args.what == "parity" else 26
        if min(map(int, args.size.split("x"))) < least:
            raise FCNXSError(f"--size {args.size}: want {least}x{least} or more")
    if args.steps < 1 or args.fc < 1:
        raise FCNXSError("--steps and --fc: want 1 or more")
    if not (args.width > 0 and (args.width * 16).is_integer()):
        raise FCNXSError(f"--width {args.width}: want a multiple of 1/16")
    if args.part:
        return _train_part(args)
    return PARTS[args.what](args)


def peak_memory() -> float:
    """Largest resident memory of this process so far, in GB; getrusage's would begin with the parent's."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e9


def _convert(args: argparse.Namespace) -> int:
    from ..caffe import write_caffemodel
    from .parity import random_blobs

    blobs = random_blobs("vgg16", args.width, args.fc, 1000)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "vgg16.caffemodel"
        write_caffemodel(source, blobs, v1=True)
        blobs.clear()
        megabytes = source.stat().st_size / 1e6
        code = (
            "import sys, time; began = time.time(); from fcnxs.tools.main import main; "
            f"code = main(['convert', {str(source)!r}, {str(Path(folder) / 'vgg16fc')!r}]); "
            "from fcnxs.tools.benchmark import peak_memory; "
            "print(f'{time.time() - began:.1f} s, peak {peak_memory():.2f} GB'); sys.exit(code)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise FCNXSError(f"fcnxs convert failed: {done.stderr.strip()}")
    print(f"fcnxs convert of {megabytes:.0f} MB: {done.stdout.splitlines()[-1]}")
    return 0


def _train(args: argparse.Namespace) -> int:
    """Both kinds of step, each in two processes, in turns."""
    seconds: dict = {"bare": [], "solver": []}
    peaks: dict = {"bare": [], "solver": []}
    for part in ("bare", "solver") * 2:
        command = [sys.executable, "-m", "fcnxs", "benchmark", "train", "--part", part, "--size", args.size]
        command += ["--width", str(args.width), "--fc", str(args.fc), "--steps", str(args.steps)]
        command += ["--gpus", args.gpus] if args.gpus else []
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise FCNXSError(f"the {part} step failed: {done.stderr.strip()}")
        *times, peak = map(float, done.stdout.split())
        seconds[part] += times
        peaks[part].append(peak)
        print(f"{part:<8}{' '.join(f'{value:.2f}' for value in times)} s, peak {peak:.2f} GB", flush=True)
    medians = {part: statistics.median(values) for part, values in seconds.items()}
    peak = {part: max(values) for part, values in peaks.items()}
    print(f"FCN-8s, {args.size}: median step {medians['solver']:.2f} s, bare {medians['bare']:.2f} s, "
          f"ratio {medians['solver'] / medians['bare']:.3f}; peak {peak['solver']:.2f} GB, bare "
          f"{peak['bare']:.2f} GB, ratio {peak['solver'] / peak['bare']:.3f}")  # fmt: skip
    return 0


def _train_part(args: argparse.Namespace) -> int:
    """Print the seconds of each step, after two that are not counted, and the peak memory in GB."""
    import time

    import numpy as np

    from ..compat import mxnet as mx
    from ..init import init_from_vgg16
    from ..metric import SegmentationMetric
    from ..solver import Solver
    from ..symbols import get_fcn8s_symbol, get_vgg16fc_symbol

    ctx = options.device(args.gpus)
    shape = _shape(args)
    symbol = get_fcn8s_symbol(21, width=args.width, fc=args.fc)
    trunk = get_vgg16fc_symbol(width=args.width, fc=args.fc)
    params = _random_params(trunk, shape, ctx)
    params, _ = init_from_vgg16(ctx, symbol, params, {})
    data = np.random.default_rng(0).normal(0, 50, shape).astype(np.float32)
    label = np.random.default_rng(0).integers(0, 21, (1, *shape[2:])).astype(np.float32)
    settings = {"learning_rate": 1e-6, "momentum": 0.99, "wd": 5e-4}

    if args.part == "solver":
        solver, metric = Solver(symbol, ctx, arg_params=params, **settings), SegmentationMetric(21)
        batch, names = {"data": data, "softmax_label": label}, argparse.Namespace()
        names.data_name, names.label_name = "data", "softmax_label"
        step = lambda: solver.step(batch, names, metric)  # noqa: E731
    else:
        step = _bare_step(symbol, ctx, params, data, label, settings)
    times: List[float] = []
    for _ in range(args.steps + 2):
        began = time.time()
        step()
        mx.nd.waitall()
        times.append(time.time() - began)
    print(*times[2:], peak_memory())
    return 0


def _bare_step(symbol, ctx, params, data, label, settings):  # noqa: ANN001, ANN202
    """MXNet's own forward, backward and update of each parameter, and nothing else."""
    from ..compat import mxnet as mx

    grads = {name: mx.nd.zeros(array.shape, ctx) for name, array in params.items() if name != "bigscore_weight"}
    inputs = {"data": mx.nd.array(data, ctx), "softmax_label": mx.nd.array(label.reshape(1, -1), ctx)}
    args = {**params, **inputs}
    grad_req = {name: "write" if name in grads else "null" for name in symbol.list_arguments()}
    executor = symbol.bind(ctx, args, grads, grad_req)
    updater = mx.optimizer.get_updater(mx.optimizer.create("sgd", **settings))

    def step() -> None:
        executor.forward(is_train=True)
        executor.backward()
        for name, grad in grads.items():
            updater(name, grad, params[name])

    return step


def _pooling(args: argparse.Namespace) -> int:
    """Scores of FCN-8s with either rounding, in turns, in one process."""
    import time

    import numpy as np

    from ..compat import mxnet as mx
    from ..executors import Executors
    from ..export import scores_symbol
    from ..symbols import get_fcn8s_symbol

    ctx, data = options.device(args.gpus), np.zeros(_shape(args), np.float32)
    params, executors = None, {}
    for convention in ("valid", "full"):
        symbol = scores_symbol(
            get_fcn8s_symbol(21, width=args.width, fc=args.fc, pooling_convention=convention)
        )
        params = params or _random_params(symbol, data.shape, ctx)
        executors[convention] = Executors(symbol, ctx, params, {}).get("data", data.shape)
    seconds: dict = {"valid": [], "full": []}
    for _ in range(args.steps + 2):
        for convention, executor in executors.items():
            began = time.time()
            executor.forward(is_train=False, data=mx.nd.array(data, ctx))
            mx.nd.waitall()
            seconds[convention].append(time.time() - began)
    for convention, times in seconds.items():
        print(f"{convention:<8}{' '.join(f'{value:.2f}' for value in times[2:])} s")
    valid, full = (statistics.median(times[2:]) for times in seconds.values())
    print(f"FCN-8s, {args.size}: valid {valid:.2f} s, full {full:.2f} s, ratio {full / valid:.3f}")
    return 0


def _parity(args: argparse.Namespace) -> int:
    from . import parity

    return parity.run(args)


def _shape(args: argparse.Namespace) -> tuple:
    """Shape (1, 3, H, W) of an image of --size."""
    return (1, 3, *(int(side) for side in args.size.split("x")[::-1]))


def _random_params(symbol: mx.sym.Symbol, shape: tuple, ctx: mx.Context) -> dict:
    """Random parameters that keep the size of activations."""
    from ..compat import mxnet as mx

    shapes, _, _ = symbol.infer_shape(data=shape)
    return {
        name: mx.nd.random.normal(0, (2 / prod(s[1:])) ** 0.5 if len(s) > 1 else 0.1, s, ctx=ctx)
        for name, s in zip(symbol.list_arguments(), shapes)
        if name != "data"
    }


PARTS = {"convert": _convert, "train": _train, "pooling": _pooling, "parity": _parity}

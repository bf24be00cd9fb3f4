"""Engines that `fcnxs benchmark infer` compares, and the process that each of them is.

Each makes, of the files in a folder, a function that takes nothing and gives scores (1, C, H, W), float32. They
may be the engine's own memory: valid until it runs again, and as long as it lives.
ROOT/ has job.json, and the net's symbol.json and weights.safetensors; ROOT/WxH/ image.npy (1, 3, H, W) and
calibration.npy (N, 3, H, W), float32, RGB minus the mean, and net.onnx, all of one size.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Tuple

import numpy as np

from ..compat import MALLOC_PARAMETERS, MXNET_VARIABLES, use_the_machine
from .benchmark_worker import serve

Run = Callable[[], np.ndarray]
Step = Callable[[], object]


class Engine(NamedTuple):
    """One of the means to run the net.

    Args:
        title: for people.
        kind: `ours`, `mxnet` (the original graph), or `other`.
        packages: what it imports, that may not be installed; the last is its own.
        maker: module and function that makes it, called with the folder ROOT/WxH and the precision.
        precisions: that it has, each with the packages that it needs besides.
    """

    title: str
    kind: str
    packages: Tuple[str, ...]
    maker: Tuple[str, str]
    precisions: Dict[str, Tuple[str, ...]]


def _engine(title: str, kind: str, packages: str, maker: str, **precisions: str) -> Engine:
    module = "benchmark_peers" if kind == "other" else "benchmark_ours"
    needs = {name: tuple(each.split()) for name, each in precisions.items()}
    return Engine(title, kind, tuple(packages.split()), (module, maker), needs)


ENGINES = {
    "fcnxs-trimmed": _engine("fcnxs, trimmed", "ours", "mxnet", "trimmed", fp32="", bf16="", int8=""),
    "fcnxs": _engine("fcnxs", "ours", "mxnet", "untrimmed", fp32="", bf16="", int8=""),
    "mxnet": _engine("MXNet, all cores", "mxnet", "mxnet", "original", fp32=""),
    "mxnet-default": _engine("MXNet as it starts", "mxnet", "mxnet", "original", fp32=""),
    "openvino": _engine("OpenVINO", "other", "onnx openvino", "openvino", fp32="", bf16="", int8="nncf"),
    "onnxruntime": _engine("ONNX Runtime", "other", "onnx onnxruntime", "onnxruntime", fp32="", int8=""),
    "opencv": _engine("OpenCV DNN", "other", "onnx cv2", "opencv", fp32=""),
    "torch": _engine("PyTorch", "other", "torch", "torch", fp32="", bf16=""),
    "torch-channels-last": _engine(
        "PyTorch, channels last", "other", "torch", "torch_channels_last", fp32="", bf16=""
    ),
    "torch-compiled": _engine("PyTorch, compiled", "other", "torch", "torch_compiled", fp32="", bf16=""),
}
PREPARATIONS = ("images", "onnx_file")  # processes that do it once, and make the files
DISTRIBUTIONS = {"cv2": "opencv-python"}  # whose name is not that of what is imported


def missing(engine: str, precision: str) -> List[str]:
    """Distributions that an engine needs for a precision, and that are not installed."""
    packages = (*ENGINES[engine].packages, *ENGINES[engine].precisions[precision])
    return [DISTRIBUTIONS.get(name, name) for name in packages if importlib.util.find_spec(name) is None]


def environment(engine: str) -> Dict[str, str]:
    """Variables of an engine's process; MXNet's originals have none of those that this project sets."""
    variables = {**os.environ, "CI": "true"}  # where OpenVINO sends nobody word of its use
    if engine in ENGINES and ENGINES[engine].kind == "mxnet":
        for name in ("OMP_NUM_THREADS", *MXNET_VARIABLES, *MALLOC_PARAMETERS):
            variables.pop(name, None)
    return {**variables, "OMP_NUM_THREADS": str(threads())} if engine != "mxnet-default" else variables


def threads() -> int:
    """Processors that this process may run on: what every engine is told to use."""
    return len(os.sched_getaffinity(0))


def main(engine: str, precision: str, folder: str) -> int:
    """Be one of the processes. Its first pass leaves ENGINE-PRECISION.npy, the class map, and .json, facts."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what engines print is no answer
    try:
        run, facts = _make(engine, precision, Path(folder))
        target = Path(folder) / f"{engine}-{precision}"
        scores = run()
        if isinstance(scores, np.ndarray):
            np.save(target.with_suffix(".npy"), scores.argmax(1).astype(np.uint8))
        target.with_suffix(".json").write_text(json.dumps(facts))
        del scores
        forget_the_making()
        sys.stdout = answers
        return serve(run)
    except Exception as error:  # an engine may fail as it likes: the last line is what is told
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
        print(f"{type(error).__name__}: {lines[-1]}", file=sys.stderr, flush=True)
        os._exit(1)  # with nothing said after that


def forget_the_making() -> None:
    """Give back what loading and converting took, and begin the peak of resident memory anew."""
    gc.collect()
    with suppress(AttributeError):  # glibc's alone
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):  # where the kernel does not let us, the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5")


def _make(engine: str, precision: str, folder: Path) -> Tuple[Step, dict]:
    """What a process does each time, and facts: its version, and the operations of a pass if it counts them."""
    if engine not in ENGINES or ENGINES[engine].kind == "ours":
        use_the_machine()
    if engine in PREPARATIONS:
        prepare = importlib.import_module(".benchmark_prepare", __package__)
        return lambda: getattr(prepare, engine)(folder), {}
    if engine == "rate":
        from .benchmark_machine import multiply

        run, operations = multiply(precision)
        return run, {"operations": operations}
    module, function = ENGINES[engine].maker
    run = getattr(importlib.import_module(f".{module}", __package__), function)(folder, precision)
    version = sys.modules[ENGINES[engine].packages[-1]].__version__.partition("-")[0]
    return run, {"version": version, "operations": getattr(run, "operations", None)}

"""Engines that `fcnxs benchmark infer` compares.

Each makes, of the files in a folder, a function that takes nothing and gives scores (1, C, H, W), float32. They
may be the engine's own memory: valid until it runs again, and as long as it lives.
ROOT/ has job.json, and the net's symbol.json and weights.safetensors; ROOT/WxH/ image.npy (1, 3, H, W) and
calibration.npy (N, 3, H, W), float32, RGB minus the mean, and net.onnx, all of one size.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Callable, Dict, List, NamedTuple, Tuple

import numpy as np

from ....compat import MALLOC_PARAMETERS, MXNET_VARIABLES

Run = Callable[[], np.ndarray]
Step = Callable[[], object]


class Engine(NamedTuple):
    """One of the means to run the net.

    Args:
        title: for people.
        kind: `ours`, `mxnet` (the original graph), or `other`.
        packages: what it imports, that may not be installed; the last is its own.
        maker: function that makes it, of ours.py or, for `other`, of peers.py; it is called with the folder
            ROOT/WxH and the precision.
        precisions: that it has, each with the packages that it needs besides.
    """

    title: str
    kind: str
    packages: Tuple[str, ...]
    maker: str
    precisions: Dict[str, Tuple[str, ...]]


def _engine(title: str, kind: str, packages: str, maker: str, **precisions: str) -> Engine:
    needs = {name: tuple(each.split()) for name, each in precisions.items()}
    return Engine(title, kind, tuple(packages.split()), maker, needs)


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

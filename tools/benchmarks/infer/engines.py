"""Engines that `fcnxs benchmark infer` compares, and their files.

The maker of an engine reads the files below and returns a function without arguments that gives scores
(1, C, H, W), float32. The scores may be the engine's own memory, valid until its next pass.

    ROOT/job.json                     width and fc of the net, images to calibrate with, size
    ROOT/symbol.json, original.json   the net, and the same with label and softmax
    ROOT/weights.safetensors          its weights
    ROOT/WxH/image.npy                (1, 3, H, W), float32, RGB minus the mean
    ROOT/WxH/calibration.npy          (N, 3, H, W), the same
    ROOT/WxH/net.onnx                 the net for images of this size
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
    """An engine.

    Args:
        title: name in tables and charts.
        kind: `ours`, `mxnet` (the original graph), or `other`.
        packages: Python packages to import, which may not be installed; the last is the engine's own.
        maker: name of the function in ours.py, or in peers.py for `other`; it takes the folder ROOT/WxH and
            the precision.
        precisions: supported precisions, each with the packages that it needs besides.
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
PREPARATIONS = ("images", "onnx_file")  # functions of prepare.py, which make the files
DISTRIBUTIONS = {"cv2": "opencv-python"}  # package: its name for pip, where that differs


def missing(engine: str, precision: str) -> List[str]:
    """Packages that an engine needs for a precision and that are not installed, by their names for pip."""
    packages = (*ENGINES[engine].packages, *ENGINES[engine].precisions[precision])
    return [DISTRIBUTIONS.get(name, name) for name in packages if importlib.util.find_spec(name) is None]


def environment(engine: str) -> Dict[str, str]:
    """Variables of an engine's process; the original graph's get none of those that this project sets."""
    variables = {**os.environ, "CI": "true"}  # with CI, OpenVINO sends no statistics of its use
    if engine in ENGINES and ENGINES[engine].kind == "mxnet":
        for name in ("OMP_NUM_THREADS", *MXNET_VARIABLES, *MALLOC_PARAMETERS):
            variables.pop(name, None)
    return {**variables, "OMP_NUM_THREADS": str(threads())} if engine != "mxnet-default" else variables


def threads() -> int:
    """Number of processors that this process may run on, which every engine uses."""
    return len(os.sched_getaffinity(0))

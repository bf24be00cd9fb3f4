"""Engines that `fcnxs benchmark infer` compares, their files, and the processor that they run on.

The maker of an engine reads some of the files below and returns a function without arguments that gives scores
(1, C, H, W), float32. The scores may be the engine's own memory, valid until its next pass.

    ROOT/job.json                     width and fc of the net, images to calibrate with, size
    ROOT/symbol.json, original.json   the net, and the same with label and softmax
    ROOT/weights.safetensors          its weights
    ROOT/WxH/image.npy                (1, 3, H, W), float32, RGB minus the mean
    ROOT/WxH/calibration.npy          (N, 3, H, W), the same
    ROOT/WxH/net.onnx                 the net for images of this size, as it is exported; net-trimmed.onnx
    ROOT/WxH/net.param, net.bin       the same for ncnn; net-trimmed.param, net-trimmed.bin
    ROOT/WxH/whole.json               number of operations of the net; trimmed.json, of the trimmed one
"""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Tuple

import numpy as np

from ....compat import MALLOC_PARAMETERS, MXNET_VARIABLES

Run = Callable[[], np.ndarray]
Step = Callable[[], object]


class Engine(NamedTuple):
    """An engine.

    Args:
        title: name in tables and charts.
        kind: `ours`, `mxnet` (the original graph), `other`, or `export` (our trimmed export in another engine).
        packages: Python packages to import, which may not be installed; the last is the engine's own.
        maker: name of the function in ours.py, or in peers.py for `other` and `export`; it takes ROOT/WxH/FILE
            and the precision.
        file: name of the net's file; "" if the maker takes the folder ROOT/WxH.
        precisions: supported precisions.
        for_int8: packages that int8 needs besides.
    """

    title: str
    kind: str
    packages: Tuple[str, ...]
    maker: str
    file: str = ""
    precisions: Tuple[str, ...] = ("fp32",)
    for_int8: Tuple[str, ...] = ()


ALL, FLOATS = ("fp32", "bf16", "int8"), ("fp32", "bf16")
RUNTIMES = {  # other engines that read a file: the whole net's, and with -trimmed in the name the trimmed one's
    "ncnn": Engine("ncnn", "other", ("ncnn",), "ncnn", "net.param", FLOATS),
    "mnn": Engine("MNN", "other", ("onnx", "MNN"), "mnn", "net.onnx"),
    "openvino": Engine("OpenVINO", "other", ("onnx", "openvino"), "openvino", "net.onnx", ALL, ("nncf",)),
    "onnxruntime": Engine(
        "ONNX Runtime", "other", ("onnx", "onnxruntime"), "onnxruntime", "net.onnx", ("fp32", "int8")
    ),
    "opencv": Engine("OpenCV DNN", "other", ("onnx", "cv2"), "opencv", "net.onnx"),
}
ENGINES = {
    "fcnxs-trimmed": Engine("fcnxs, trimmed", "ours", ("mxnet",), "trimmed", precisions=ALL),
    "fcnxs": Engine("fcnxs", "ours", ("mxnet",), "untrimmed", precisions=ALL),
    "mxnet": Engine("MXNet, all cores", "mxnet", ("mxnet",), "original"),
    "mxnet-default": Engine("MXNet as it starts", "mxnet", ("mxnet",), "original"),
    **RUNTIMES,
    **{
        f"{name}-trimmed": each._replace(
            title=f"{each.title}, our trimmed export",
            kind="export",
            file=each.file.replace(".", "-trimmed."),
        )
        for name, each in RUNTIMES.items()
    },
    "torch": Engine("PyTorch", "other", ("torch",), "torch", precisions=FLOATS),
    "torch-channels-last": Engine(
        "PyTorch, channels last", "other", ("torch",), "torch_channels_last", precisions=FLOATS
    ),
    "torch-compiled": Engine("PyTorch, compiled", "other", ("torch",), "torch_compiled", precisions=FLOATS),
}
PREPARATIONS = {"images", *(engine.file for engine in ENGINES.values() if engine.file)}
DISTRIBUTIONS = {"cv2": "opencv-python"}  # package: its name for pip, where that differs
# Instructions for a precision, one of which is needed: without them it is emulated, and slower than float32.
INSTRUCTIONS = {
    "fp32": (),
    "bf16": ("avx512_bf16", "amx_bf16"),
    "int8": ("avx512_vnni", "avx_vnni", "amx_int8"),
}


def missing(engine: str, precision: str) -> List[str]:
    """Packages that an engine needs for a precision and that are not installed, by their names for pip."""
    packages = ENGINES[engine].packages + ENGINES[engine].for_int8 * (precision == "int8")
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


class Processor(NamedTuple):
    """A processor as /proc/cpuinfo describes it."""

    name: str
    flags: frozenset

    def lacks(self, precision: str) -> str:
        """Instructions that a precision needs and the processor lacks, e.g. "AMX_INT8"; "" if it has them."""
        wanted = INSTRUCTIONS[precision]
        return "" if not wanted or self.flags.intersection(wanted) else " or ".join(map(str.upper, wanted))


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Processor:
    """The processor of this machine; without flags where /proc/cpuinfo has none, as on ARM."""
    text = cpuinfo.read_text()
    name, flags = (re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE) for key in ("model name", "flags"))
    return Processor(name[1] if name else "unknown", frozenset(flags[1].split() if flags else ()))

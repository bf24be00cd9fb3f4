"""Engines of `fcnxs benchmark infer` that run in MXNet: this project's nets, and the original graph."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from ....compat import mxnet as mx
from ....deploy.precision import to_bf16, to_int8
from ....net import Net, bind
from ....predict.forward import trim
from .engines import Run
from .operations import operations


def load(root: Path, symbol: str = "symbol.json") -> Net:
    """The net and its weights."""
    from safetensors.numpy import load_file

    params = {name: mx.nd.array(array) for name, array in load_file(root / "weights.safetensors").items()}
    return Net(mx.sym.load(str(root / symbol)), params, {})


def untrimmed(folder: Path, precision: str) -> Run:
    """Scores of the net, as `Segmenter(trim=False)` computes them."""
    return _ours(load(folder.parent), folder, precision)


def trimmed(folder: Path, precision: str) -> Run:
    """Scores of the trimmed net, as `Segmenter` computes them for a frequent size."""
    return _ours(trim(load(folder.parent), np.load(folder / "image.npy").shape), folder, precision)


def _ours(net: Net, folder: Path, precision: str) -> Run:
    image = np.load(folder / "image.npy")
    counted = sum(operations(net, image.shape).values())
    if precision == "bf16":
        net = to_bf16(net)
    elif precision == "int8":
        net = to_int8(net, [each[np.newaxis] for each in np.load(folder / "calibration.npy")])
    run = _bound(net, image)
    run.operations = counted
    return run


def original(folder: Path, precision: str) -> Run:
    """The original graph, with its label and its softmax, bound as MXNet binds it."""
    net, image = load(folder.parent, "original.json"), np.load(folder / "image.npy")
    label = mx.nd.zeros((1, image.shape[2] * image.shape[3]))
    return _bound(net._replace(arg_params={**net.arg_params, "softmax_label": label}), image)


def _bound(net: Net, image: np.ndarray) -> Run:
    executor = bind(net, image.shape)
    data = executor.arg_dict["data"]

    def run() -> np.ndarray:
        data[:] = image
        return _view(executor.forward(is_train=False)[0])

    return run


def _view(array: mx.nd.NDArray) -> np.ndarray:
    """The array's memory without a copy, float32, as other engines give theirs; the next pass replaces it."""
    array.wait_to_read()
    values = ctypes.POINTER(ctypes.c_float)()
    mx.base.check_call(mx.base._LIB.MXNDArrayGetData(array.handle, ctypes.byref(values)))
    return np.ctypeslib.as_array(values, array.shape)

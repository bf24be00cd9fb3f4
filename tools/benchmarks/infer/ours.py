"""The part of `fcnxs benchmark infer` that runs in MXNet: files for all engines, and two nets to compare.

Each function that makes an engine has the signature that `engines.py` describes.
"""

from __future__ import annotations

import argparse
import ctypes
import json
from math import prod
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy as np

from ....checkpoint import load_symbol
from ....compat import mxnet as mx
from ....conventions import VGG_MEAN
from ....data.generated import picture
from ....data.images import preprocess
from ....deploy.form import Form
from ....deploy.onnx_file import write_onnx
from ....deploy.precision import to_bf16, to_int8
from ....net import Net, bind, layer_shapes, scores_of
from ....predict.forward import trim
from ....symbols.graph.nodes import Entry, Graph, Node, setting
from ....symbols.graph.rewrite import Writer, scores_symbol
from ..material import image_shape, net_and_weights
from .engines import Run, Step

COUNTED = ("Convolution", "Deconvolution", "FullyConnected")
SIDE = 3072  # side of the matrices whose product measures the machine's rate


def images(folder: Path) -> None:
    """Write image.npy and calibration.npy for one size, and the net's files for the first one.

    Also the class map of the whole net in float32, classes.npy, and the number of its operations, whole.json.
    """
    from safetensors.numpy import save_file

    root = folder.parent
    job = json.loads((root / "job.json").read_text())
    if not (root / "weights.safetensors").exists():
        symbol, weights = net_and_weights(argparse.Namespace(**job))
        symbol.save(str(root / "original.json"))  # with label and softmax
        scores_symbol(symbol).save(str(root / "symbol.json"))
        save_file(weights, root / "weights.safetensors")
    shape, rng = image_shape(argparse.Namespace(image_size=folder.name)), np.random.default_rng(0)
    made = [preprocess(picture(rng, *shape[2:], shapes=5)[0], VGG_MEAN) for _ in range(job["images"] + 1)]
    np.save(folder / "image.npy", made[0])
    np.save(folder / "calibration.npy", np.concatenate(made[1:]))
    whole = load(root)
    np.save(folder / "classes.npy", scores_of(whole, made[0]).argmax(1).astype(np.uint8))
    (folder / "whole.json").write_text(json.dumps({"operations": sum(operations(whole, shape).values())}))


def onnx_file(folder: Path) -> None:
    """Write net.onnx for images of one size; its output are scores, its crops are slices."""
    import onnx

    whole, shape, file = load(folder.parent), np.load(folder / "image.npy").shape, folder / "net.onnx"
    form = Form(format="onnx", head="logits", size=shape[2:])
    write_onnx(whole._replace(symbol=_sliced(whole, shape)), form, {}, file)
    model = onnx.load(file)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = shape[0]
    onnx.checker.check_model(model)
    onnx.save(model, file)


def _sliced(whole: Net, shape: Tuple[int, ...]) -> mx.sym.Symbol:
    """The graph for one size, with slices instead of crops, since every engine knows them."""
    writer, shapes = Writer(), layer_shapes(whole.symbol, data=shape)

    def sliced(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        if node["op"] != "Crop":
            return None
        begin = (0, 0, *(setting(node, "offset", axis, 0) for axis in range(2)))
        end = tuple(start + size for start, size in zip(begin, shapes[f"{node['name']}_output"]))
        return writer.add("slice", node["name"], inputs[:1], begin=begin, end=end)

    return writer.symbol(writer.write(Graph.of(whole.symbol), sliced))


def load(root: Path, symbol: str = "symbol.json") -> Net:
    """The net and its weights."""
    from safetensors.numpy import load_file

    params = {name: mx.nd.array(array) for name, array in load_file(root / "weights.safetensors").items()}
    return Net(load_symbol(root / symbol), params, {})


def untrimmed(
    folder: Path, precision: str, change: Callable[[Net, tuple], Net] = lambda net, shape: net
) -> Run:
    """Scores of the net, as `Segmenter(trim=False)` computes them.

    Args:
        folder: folder with the files of one size.
        precision: fp32, bf16 or int8.
        change: takes the net and the shape of its images, and returns the net to run.
    """
    image = np.load(folder / "image.npy")
    net = change(load(folder.parent), image.shape)
    counted = sum(operations(net, image.shape).values())
    if precision == "bf16":
        net = to_bf16(net)
    elif precision == "int8":
        net = to_int8(net, [each[np.newaxis] for each in np.load(folder / "calibration.npy")])
    run = _bound(net, image)
    run.operations = counted
    return run


def trimmed(folder: Path, precision: str) -> Run:
    """Scores of the trimmed net, as `Segmenter` computes them for a frequent size."""
    return untrimmed(folder, precision, trim)


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
    address = ctypes.c_void_p()
    mx.base.check_call(mx.base._LIB.MXNDArrayGetData(array.handle, ctypes.byref(address)))
    values = (ctypes.c_float * array.size).from_address(address.value)
    values.array = array  # The memory is freed with it, even if the executor is gone.
    return np.ctypeslib.as_array(values).reshape(array.shape)


def operations(net: Net, shape: Tuple[int, ...]) -> Dict[str, int]:
    """Multiplications and additions of each convolution, deconvolution and inner product, by name, in order.

    Cells of the padding count, since engines compute with them. Biases, relus, poolings, sums, crops and
    interpolating matrices do not: at full width they are less than 1%.

    Args:
        net: a net in float32.
        shape: shape of the input `data`, (N, 3, H, W).
    """
    arguments = set(net.symbol.list_arguments())
    known = {name: array.shape for name, array in net.arg_params.items() if name in arguments}
    shapes = layer_shapes(net.symbol, data=shape, **known)
    nodes, found = Graph.of(net.symbol).nodes, {}
    for node in nodes:
        if node["op"] in COUNTED:
            source, weight = (nodes[entry[0]] for entry in node["inputs"][:2])
            # A cell that the kernel makes, or that makes a kernel, meets all weights of its channel.
            inverse = node["op"] == "Deconvolution"
            cells = shapes[_output(source) if inverse else _output(node)]
            found[node["name"]] = 2 * prod(cells) * prod(shapes[weight["name"]][1:])
    return found


def _output(node: dict) -> str:
    return node["name"] if node["op"] == "null" else f"{node['name']}_output"


def multiply(precision: str, side: int = SIDE) -> Tuple[Step, int]:
    """Function that multiplies two square matrices by oneDNN, and the number of its operations."""
    rng = np.random.default_rng(0)
    if precision == "int8":
        left = mx.nd.array(rng.integers(0, 255, (side, side)), dtype="uint8")
        right = mx.nd.array(rng.integers(-127, 127, (side, side)), dtype="int8")
        low, high = mx.nd.array([-1.0]), mx.nd.array([1.0])
        ranges = (None, low, high, low, high)
        layer: Callable = mx.nd.contrib.quantized_fully_connected
    else:
        left, right = (mx.nd.array(rng.standard_normal((side, side), np.float32)) for _ in range(2))
        ranges, layer = (), mx.nd.FullyConnected
        if precision == "bf16":
            left, right = (
                mx.nd.amp_cast(each, dtype=np.dtype([("bfloat16", np.uint16)])) for each in (left, right)
            )

    def run() -> None:
        layer(left, right, *ranges, no_bias=True, num_hidden=side)
        mx.nd.waitall()

    return run, 2 * side**3

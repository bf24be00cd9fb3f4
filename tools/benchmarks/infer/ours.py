"""The part of `fcnxs benchmark infer` that runs in MXNet: files for all engines, and two nets to compare.

Each function that makes an engine has the signature that `engines.py` describes.
"""

from __future__ import annotations

import argparse
import ctypes
import json
from math import prod
from pathlib import Path
from typing import Callable, Dict, Tuple

import numpy as np

from ....checkpoint import load_symbol
from ....compat import mxnet as mx
from ....conventions import VGG_MEAN
from ....data.generated import picture
from ....data.images import preprocess
from ....deploy.form import Form, with_ends
from ....deploy.ncnn_file import write_ncnn
from ....deploy.onnx_file import write_onnx
from ....deploy.precision import to_bf16, to_int8
from ....net import Net, bind, layer_shapes, scores_of
from ....predict.forward import trim
from ....symbols.graph.nodes import Graph
from ....symbols.graph.rewrite import scores_symbol
from ..material import image_shape, net_and_weights
from .engines import Run, Step

COUNTED = ("Convolution", "Deconvolution", "FullyConnected")
SIDE = 3072  # side of the matrices whose product measures the machine's rate


def images(folder: Path) -> None:
    """Write image.npy and calibration.npy for one size, and the net's files for the first one.

    Also the class map of the whole net in float32, classes.npy, and the numbers of operations of the whole net
    and of the trimmed one, whole.json and trimmed.json.
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
    for name, net in (("whole", whole), ("trimmed", trim(whole, shape))):
        counted = {"operations": sum(operations(net, shape).values())}
        (folder / f"{name}.json").write_text(json.dumps(counted))


def net_file(file: Path) -> None:
    """Write the net for images of one size, with scores as output, as it is exported.

    Args:
        file: NAME.onnx or, with NAME.bin beside it, NAME.param for ncnn; trimmed if NAME ends so.
    """
    net, shape = load(file.parent.parent), np.load(file.with_name("image.npy")).shape
    kind = "onnx" if file.suffix == ".onnx" else "ncnn"
    form = Form(kind, "logits", shape[2:], trimmed="trimmed" in file.stem)
    if form.trimmed:
        net = trim(net, shape, bilinear=() if form.format == "ncnn" else None)
    net = with_ends(net, form, VGG_MEAN)
    if form.format == "ncnn":
        write_ncnn(net, form, file, file.with_suffix(".bin"))
    else:
        write_onnx(net, form, {}, file)
        _fix_batch(file)


def _fix_batch(file: Path) -> None:
    """Let an ONNX file take one image at a time, and check it."""
    import onnx

    model = onnx.load(file)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.checker.check_model(model)
    onnx.save(model, file)


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
    if precision == "bf16":
        net = to_bf16(net)
    elif precision == "int8":
        net = to_int8(net, [each[np.newaxis] for each in np.load(folder / "calibration.npy")])
    return _bound(net, image)


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

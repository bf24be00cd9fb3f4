"""Files for the engines of `fcnxs benchmark infer`: a net, its weights, images, and the expected class map."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import List, Tuple

import numpy as np

from ....compat import mxnet as mx
from ....conventions import VGG_MEAN
from ....data.generated import picture
from ....data.images import preprocess
from ....deploy.form import Form
from ....deploy.onnx_file import write_onnx
from ....net import Net, layer_shapes
from ....solver.executors import Executors
from ....symbols.graph.nodes import Entry, Graph, Node, setting
from ....symbols.graph.rewrite import Writer, scores_symbol
from ..material import image_shape, net_and_weights
from .operations import operations
from .ours import load


def images(folder: Path) -> None:
    """Write image.npy and calibration.npy for one size, and the net's files for the first one.

    Also the class map of the whole net in float32, classes.npy, and the number of its operations, whole.json.
    """
    job = json.loads((folder.parent / "job.json").read_text())
    if not (folder.parent / "weights.safetensors").exists():
        _net(folder.parent, job)
    shape, rng = image_shape(argparse.Namespace(size=folder.name)), np.random.default_rng(0)
    made = [preprocess(picture(rng, *shape[2:], shapes=5)[0], VGG_MEAN) for _ in range(job["images"] + 1)]
    np.save(folder / "image.npy", made[0])
    np.save(folder / "calibration.npy", np.concatenate(made[1:]))
    whole = load(folder.parent)
    executor = Executors(whole, mx.cpu()).get("data", shape)
    scores = executor.forward(is_train=False, data=mx.nd.array(made[0]))[0]
    np.save(folder / "classes.npy", scores.asnumpy().argmax(1).astype(np.uint8))
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


def _net(root: Path, job: dict) -> None:
    """Write symbol.json, original.json (with label and softmax) and weights.safetensors of job.json's net."""
    from safetensors.numpy import save_file

    symbol, weights = net_and_weights(argparse.Namespace(**job))
    symbol.save(str(root / "original.json"))
    scores_symbol(symbol).save(str(root / "symbol.json"))
    save_file(weights, root / "weights.safetensors")

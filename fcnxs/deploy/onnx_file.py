"""Write nets as ONNX files, by MXNet's own converter."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import List, Mapping, NamedTuple, Tuple

import numpy as np

from ..compat import mxnet as mx
from ..errors import FCNXSError
from ..net import Net
from ..symbols.graph.nodes import Entry, Graph, Node
from ..symbols.graph.rewrite import Writer
from .form import Form

OPSET, IR_VERSION = 13, 8  # the newest opset of MXNet's converter, and the file format that belongs to it


def check_installed() -> None:
    """Check that the packages of the extra `onnx` are installed.

    Raises:
        FCNXSError: one is not; the message has the pip command.
    """
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            raise FCNXSError(f"--format onnx needs {package}: pip install '.[onnx]' in the folder of fcnxs")


def write_onnx(net: Net, form: Form, metadata: Mapping[str, str], file: Path) -> None:
    """Write a net to an ONNX file (opset 13).

    Args:
        net: the net to write, from `with_ends`.
        metadata: texts for the file's metadata.

    Raises:
        FCNXSError: the converter does not know an operator of the net.
    """
    import onnx

    _supply_mapping(onnx)
    from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph

    height, width = form.size or ("H", "W")
    shape = ("N", 3, height, width)
    example = (1, 3, *(form.size or (64, 64)))
    kind = onnx.TensorProto.UINT8 if form.raw == "uint8" else onnx.TensorProto.FLOAT
    params = {**net.arg_params, **net.aux_params}
    try:  # not by export_model, which declares the newest opset of the package though the graph has opset 13
        graph = MXNetGraph().create_onnx_graph_proto(
            _with_no_bias(net.symbol),
            {name: _StandIn(array.shape) for name, array in params.items()},
            [example],
            [kind],
            opset_version=OPSET,
            dynamic=True,
            dynamic_input_shapes=[shape],
        )
    # The errors that its operators raise when they, or a setting of theirs, have no translation.
    except (AttributeError, NotImplementedError, AssertionError, KeyError) as error:
        raise FCNXSError(f"MXNet's ONNX converter cannot convert this net: {error}") from None
    for tensor in graph.initializer:
        if tensor.name in params:
            tensor.CopyFrom(onnx.numpy_helper.from_array(params[tensor.name].asnumpy(), tensor.name))
    _tidy(graph, form, shape)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="fcnxs"
    )
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, str(file))


def _supply_mapping(onnx: ModuleType) -> None:
    """Give onnx the tables of `onnx.mapping`, which MXNet's converter reads and onnx 1.19 removed."""
    if not hasattr(onnx, "mapping"):
        numbers = [number for number in onnx.TensorProto.DataType.values() if number]
        types = {number: onnx.helper.tensor_dtype_to_np_dtype(number) for number in numbers}
        numbers_of = {types[number]: number for number in reversed(numbers)}
        onnx.mapping = SimpleNamespace(TENSOR_TYPE_TO_NP_TYPE=types, NP_TYPE_TO_TENSOR_TYPE=numbers_of)


class _StandIn(NamedTuple):
    """Shape of a parameter without its values, of which the converter would make Python numbers, gigabytes."""

    shape: Tuple[int, ...]
    dtype: type = np.float32

    def asnumpy(self) -> np.ndarray:
        """One value for all."""
        return np.zeros(1, np.float32)


def _with_no_bias(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Write `no_bias` out in deconvolutions: the converter does not know that the default is True."""
    writer = Writer()

    def explicit(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        said = node["op"] != "Deconvolution" or "no_bias" in node["attrs"]
        return None if said else writer.copy(node, inputs, no_bias=True)

    return writer.symbol(writer.write(Graph.of(symbol), explicit))


def _tidy(graph, form: Form, shape: tuple) -> None:  # noqa: ANN001
    """Make the image the only input, name the output and its sizes, and cast a class map to uint8."""
    import onnx

    images = [value for value in graph.input if value.name == "data"]
    del graph.input[:]
    graph.input.extend(images)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    output, new = graph.output.pop(), form.output
    if form.head == "argmax":
        kind, dims = onnx.TensorProto.UINT8, [shape[0], *shape[2:]]
        node = onnx.helper.make_node("Cast", [output.name], [new], to=kind, name=new)
    else:
        kind, dims = onnx.TensorProto.FLOAT, [shape[0], "C", *shape[2:]]
        node = onnx.helper.make_node("Identity", [output.name], [new], name=new)
    graph.node.append(node)
    graph.output.append(onnx.helper.make_tensor_value_info(new, kind, dims))

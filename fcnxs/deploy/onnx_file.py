"""Write nets as ONNX files, by MXNet's own converter."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import List, Mapping, NamedTuple, Tuple

import numpy as np

from ..compat import mxnet as mx
from ..errors import FCNXSError
from ..heads import with_head
from ..net import Net, layer_shapes
from ..symbols.graph.nodes import Entry, Graph, Node, flag, setting, window
from ..symbols.graph.rewrite import Writer
from .form import Form

OPSET, IR_VERSION = 13, 8  # the newest opset of MXNet's converter, and the file format that belongs to it


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

    (_, channels, *_), (height, width) = _input_shape(net.symbol), form.size or ("H", "W")
    shape = ("N", channels, height, width)
    example = (1, channels, *(form.size or (64, 64)))
    kind = onnx.TensorProto.UINT8 if form.raw == "uint8" else onnx.TensorProto.FLOAT
    params = {**net.arg_params, **net.aux_params}
    try:  # not by export_model, which declares the newest opset of the package though the graph has opset 13
        graph = MXNetGraph().create_onnx_graph_proto(
            _convertible(net.symbol, form.size),
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
    _multiply_by_constants(graph)
    _tidy(graph, form, shape)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="fcnxs"
    )
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, str(file))


def _input_shape(symbol: mx.sym.Symbol, size: Tuple[int, int] = (1, 1)) -> Tuple[int, ...]:
    return Graph.of(symbol, casts=True).image_shapes(size)["data"]


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


def _convertible(symbol: mx.sym.Symbol, size: Tuple[int, int] | None) -> mx.sym.Symbol:
    """The same net, written so that the converter knows every setting and every runtime every layer.

    The converter does not know that `no_bias` of deconvolutions is True by default. OpenCV computes no shapes,
    so crops have numbers where the image has a fixed `size` (H, W). OpenCV 5.0 reads outside of the array if a
    1x1 convolution has a pad, which becomes a layer before it.
    """
    writer = Writer()
    shapes = layer_shapes(symbol, data=_input_shape(symbol, size)) if size else {}

    def explicit(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        name, op = node["name"], node["op"]
        if op == "Deconvolution" and "no_bias" not in node["attrs"]:
            return writer.copy(node, inputs, no_bias=True)
        if op == "Convolution" and all(window(node, axis)[0] == 1 for axis in (0, 1)):
            padded = writer.pad(inputs[0], f"{name}_padded", *((window(node, axis)[2],) * 2 for axis in (0, 1)))
            return writer.copy(node, [padded, *inputs[1:]], pad=(0, 0))
        if op == "Crop" and size and not flag(node, "center_crop"):
            starts = (setting(node, "offset", axis, 0) for axis in (0, 1))
            spans = ((start, start + n) for start, n in zip(starts, shapes[f"{name}_output"][2:]))
            return writer.cut(inputs[0], name, *spans)
        return None

    return writer.symbol(writer.write(Graph.of(symbol), explicit))


def _multiply_by_constants(graph) -> None:  # noqa: ANN001
    """Write the upsampling of a trimmed net as products with constant matrices on the right, in four axes.

    As MXNet has it, shapes are computed to repeat the matrices for each channel, which OpenCV cannot do; before
    4.9 it cannot multiply with a constant on the left either.
    """
    from onnx import helper, numpy_helper

    made = {node.output[0]: node for node in graph.node}
    matrices = {tensor.name: tensor for tensor in graph.initializer}
    nodes, needed = [], {value.name for value in graph.output}
    for node in reversed(graph.node):  # without the nodes that no output needs any more
        name = node.output[0]
        planes = made.get(f"{name}_planes")
        if planes is not None:
            rows, columns = (matrices[f"{name}_{axis}"] for axis in ("rows", "columns"))
            for tensor in (rows, columns):
                array = numpy_helper.to_array(tensor)[0]
                tensor.CopyFrom(numpy_helper.from_array(array.T if tensor is rows else array, tensor.name))
            steps = (
                ("Transpose", (planes.input[0],), f"{name}_turned"),  # (N, C, w, h)
                ("MatMul", (f"{name}_turned", rows.name), f"{name}_tall_turned"),  # (N, C, w, H)
                ("Transpose", (f"{name}_tall_turned",), f"{name}_tall"),  # (N, C, H, w)
                ("MatMul", (f"{name}_tall", columns.name), name),  # (N, C, H, W)
            )
            for op, inputs, output in reversed(steps):
                turn = {"perm": (0, 1, 3, 2)} if op == "Transpose" else {}
                nodes.append(helper.make_node(op, inputs, [output], output, **turn))
            needed.add(planes.input[0])
        elif name in needed:
            nodes.append(node)
            needed.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(nodes))


def _tidy(graph, form: Form, shape: tuple) -> None:  # noqa: ANN001
    """Make the image the only input, name the outputs and their sizes, and cast class maps to uint8."""
    import onnx

    images = [value for value in graph.input if value.name == "data"]
    del graph.input[:]
    graph.input.extend(images)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    del graph.output[:]
    for head, end, new in zip(form.heads, form.ends, form.outputs):
        if form.head == "argmax":
            kind, dims = onnx.TensorProto.UINT8, [shape[0], *shape[2:]]
            node = onnx.helper.make_node("Cast", [end], [new], to=kind, name=new)
        else:
            kind, dims = onnx.TensorProto.FLOAT, [shape[0], with_head("C", head), *shape[2:]]
            node = onnx.helper.make_node("Identity", [end], [new], name=new)
        graph.node.append(node)
        graph.output.append(onnx.helper.make_tensor_value_info(new, kind, dims))

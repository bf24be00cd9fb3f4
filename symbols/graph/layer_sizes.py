"""Sizes of a graph's layers as formulas, and the smallest image that leaves every layer a cell.

Axis 0 is rows, axis 1 columns. The formulas are those of MXNet's shape inference
(src/operator/nn/{convolution,pooling,deconvolution}.cc and src/operator/crop-inl.h at 1.9.1).
"""

from __future__ import annotations

from math import lcm
from typing import List, Tuple

from ...compat import mxnet as mx
from .nodes import JOIN, SAME, Graph, Node, flag, image_inputs, setting, window
from .sizes import Size

LARGEST = 4096  # where the search for the smallest image ends


def layer_sizes(graph: Graph, axis: int) -> List[Size | None]:
    """Every node's rows or columns as a formula in those of the image; None where there is none."""
    sizes: List[Size | None] = [None] * len(graph.nodes)
    sizes[graph.image] = Size()
    for i in graph.layers:
        sizes[i] = _size(graph.nodes[i], [sizes[entry[0]] for entry in graph.nodes[i]["inputs"]], axis)
    return sizes


def misfit(graph: Graph, axis: int, height: int, sizes: List[Size | None] | None = None) -> str | None:
    """The first layer that an image of `height` rows (or columns) does not fit, in words; None if all fit."""
    sizes = sizes or layer_sizes(graph, axis)
    numbers = [None if size is None else size.value(height) for size in sizes]
    what = ("rows", "columns")[axis]
    for i, node in enumerate(graph.nodes):
        inputs = [numbers[entry[0]] for entry in node["inputs"]]
        if node["op"] in ("Convolution", "Pooling") and inputs[0] is not None:
            kernel, _, pad = window(node, axis)
            padded = inputs[0] + 2 * pad
            if padded < kernel and not flag(node, "global_pool"):
                return f"{node['name']!r} has a kernel of {kernel} {what} and an input of {padded}"
        if node["op"] == "Crop" and None not in (inputs[0], numbers[i]):
            offset = 0 if flag(node, "center_crop") else setting(node, "offset", axis, 0)
            if offset + numbers[i] > inputs[0]:
                return f"{node['name']!r} cuts {numbers[i]} {what} out of {inputs[0]}, from {offset} on"
        if _joins_equals(node):
            known = {numbers[j] for j in image_inputs(node)} - {None}
            if len(known) > 1:
                return f"{node['name']!r} joins layers of {' and '.join(map(str, sorted(known)))} {what}"
        if numbers[i] is not None and numbers[i] < 1:
            return f"{node['name']!r} has {numbers[i]} {what}"
    return None


def smallest(graph: Graph, axis: int) -> int | None:
    """Fewest rows or columns of an image that fits; None if no size up to `LARGEST` does."""
    sizes = layer_sizes(graph, axis)
    return next((n for n in range(1, LARGEST + 1) if misfit(graph, axis, n, sizes) is None), None)


def nearest(graph: Graph, axis: int, height: int) -> int | None:
    """The rows or columns of an image that fits which are nearest to `height`; None if none are near."""
    sizes = layer_sizes(graph, axis)
    near = (n for away in range(LARGEST) for n in (height + away, height - away) if n > 0)
    return next((n for n in near if misfit(graph, axis, n, sizes) is None), None)


def telling(graph: Graph, axis: int) -> Tuple[List[int], List[int]]:
    """Rows or columns that fit, and those that do not, in the first and the last period of sizes.

    They stand for all sizes from the smallest up to `LARGEST`. The difference of two layers' sizes is periodic
    in the image's size, or grows or shrinks from period to period. Whatever happens at some size therefore
    happens in the first period or in the last.
    """
    sizes, least = layer_sizes(graph, axis), smallest(graph, axis)
    if least is None:
        return ([], [])
    period = lcm(*(size.period for size in sizes if size is not None))
    found: Tuple[List[int], List[int]] = ([], [])
    for n in range(least, LARGEST + 1):
        if n < least + period or n > LARGEST - period:
            found[misfit(graph, axis, n, sizes) is not None].append(n)
    return found


def smallest_input(symbol: mx.sym.Symbol, layers: int | None = None) -> Tuple[int | None, int | None]:
    """Rows and columns of the smallest image that a net takes; None where no size up to 4096 fits.

    Every layer must have a cell, every kernel an input as large as itself, and every crop an input that reaches
    as far as it cuts. Layers whose size is no formula in H, such as FullyConnected, are not checked.

    >>> from fcnxs.symbols import get_fcn8s_symbol
    >>> smallest_input(get_fcn8s_symbol()), smallest_input(get_fcn8s_symbol(pooling_convention="full"))
    ((26, 26), (1, 1))

    Args:
        layers: check only so many layers, in order; None for all.
    """
    graph = Graph.of(symbol)
    last = graph.layers[-1 if layers is None else layers - 1]
    graph = Graph(graph.nodes[: last + 1], [[last, 0, 0]])
    return (smallest(graph, 0), smallest(graph, 1))


def layer_formula(symbol: mx.sym.Symbol, layer: int) -> str:
    """Rows of one layer, given by its place in order, as a formula in H; '-' where there is none."""
    graph = Graph.of(symbol)
    size = layer_sizes(graph, 0)[graph.layers[layer]]
    return "-" if size is None else str(size)


def _size(node: Node, inputs: List[Size | None], axis: int) -> Size | None:
    """Size of a node from those of all its inputs."""
    op, attrs = node["op"], node["attrs"]
    if op == "Crop" and len(inputs) == 1:
        cut = setting(node, "h_w", axis, 0)
        return Size.constant(cut) if cut else None
    if op in ("Crop", "slice_like"):
        axes = attrs.get("axes", "()").strip("()").split(",")
        covered = axes == [""] or str(axis + 2) in [each.strip() for each in axes]
        return inputs[1] if op == "Crop" or covered else inputs[0]
    x = inputs[0] if inputs else None
    if x is None or (op == "argmax" and attrs.get("axis") != "1"):
        return None
    if op in JOIN:
        return x if _joins_equals(node) or (op != "Concat" and all(y == x for y in inputs)) else None
    if op in SAME:
        return x
    kernel, stride, pad = window(node, axis)
    if op == "Convolution":
        return (x + 2 * pad - kernel).divided(stride) + 1
    if op == "Pooling" and flag(node, "global_pool"):
        return Size.constant(1)
    if op == "Pooling":
        convention = attrs.get("pooling_convention", "valid")
        pooled = (x + 2 * pad - kernel).divided(stride, up=convention == "full") + 1
        return pooled if convention in ("valid", "full") else None
    if op == "Deconvolution":
        target = setting(node, "target_shape", axis, 0)
        grown = x * stride + (kernel - stride - 2 * pad + setting(node, "adj", axis, 0))
        return Size.constant(target) if target else grown
    return x * int(attrs["scale"]) if op == "UpSampling" else None


def _joins_equals(node: Node) -> bool:
    """Whether the layers that a node joins must have the same rows and columns."""
    broadcasts, dim = node["op"].startswith("broadcast"), node["attrs"].get("dim", "1")
    return node["op"] in JOIN and not broadcasts and dim in ("0", "1")

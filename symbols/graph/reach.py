"""What a cell sees of the image, and which pixels no score reaches. Axis 0 is rows, axis 1 columns.

An extent is a pair (first, last) of cells, both included; it may reach into the padding.
"""

from __future__ import annotations

from math import lcm
from typing import List, Tuple

from ...compat import mxnet as mx
from ..coord_map import Map
from .layer_sizes import layer_sizes, telling
from .nodes import JOIN, SAME, Graph, Node, flag, image_inputs, setting, window

Extent = Tuple[int, int]
Window = Tuple[int, int, int]  # kernel, stride, pad


def receptive_fields(graph: Graph, maps: List[Map | None], axis: int) -> List[int | None]:
    """Rows (or columns) of the image that one cell of each node sees, from the first to the last.

    Behind a deconvolution the cells of a layer see different numbers of rows, periodically; the largest counts.
    None where a layer on the way has no map, or sees the whole image.
    """
    windows = [window(node, axis) for node in graph.nodes]
    fields: List[int | None] = [None] * len(graph.nodes)
    for i in graph.layers:
        if maps[i] is not None:
            before = _ancestors(graph.nodes, i)
            # The cells see alike after a period, over which every layer before moves on by whole cells.
            strides = {maps[k][0] for k in before if maps[k]}
            period = lcm(*{(maps[i][0] / stride).denominator for stride in strides})
            numbers = [_seen(graph, windows, before, cell, axis) for cell in range(period)]
            fields[i] = None if None in numbers else max(numbers) or None
    return fields


def unscored_border(symbol: mx.sym.Symbol, size: Tuple[int, int]) -> Tuple[Extent, Extent] | None:
    """Rows and columns at the edges of a net's first output that no score reaches through a deconvolution.

    >>> from fcnxs.symbols import get_fcn32s_symbol
    >>> unscored_border(get_fcn32s_symbol(), size=(57, 58))
    ((0, 12), (0, 0))

    Args:
        size: rows and columns of the image; one that fits.

    Returns:
        ((at the top, at the bottom), (left, right)), or None where a layer on the way has no size in H.
    """
    graph = Graph.of(symbol)
    rows, columns = (_unscored(graph, axis, [size[axis]])[0] for axis in (0, 1))
    return None if rows is None or columns is None else (rows, columns)


def most_unscored(symbol: mx.sym.Symbol) -> int | None:
    """Largest number of rows or columns without a score, over all sizes that fit; None if that is unknown."""
    graph = Graph.of(symbol)
    ends = [each for axis in (0, 1) for each in _unscored(graph, axis, telling(graph, axis)[0])]
    return None if None in ends else max(map(sum, ends), default=None)


def _unscored(graph: Graph, axis: int, heights: List[int]) -> List[Extent | None]:
    """Cells without a score at the two ends of the first output, for each of several sizes of the image."""
    sizes, head, found = layer_sizes(graph, axis), graph.heads[0][0], []
    for height in heights:
        numbers = [size and size.value(height) for size in sizes]
        extents = {graph.image: (0, height - 1)}
        for k in graph.layers:
            inputs = [extents.get(j) for j in image_inputs(graph.nodes[k])]
            if inputs and None not in inputs and numbers[k] is not None:
                extents[k] = _reached(graph.nodes[k], _hull(inputs), numbers[k], axis)
        found.append(None)
        if head in extents:
            first, last = extents[head]
            found[-1] = (first, numbers[head] - 1 - last) if first <= last else (0, numbers[head])
    return found


def _ancestors(nodes: List[Node], i: int) -> List[int]:
    """Node i and all those that its cells come from, the last first."""
    found = {i}
    for k in range(i, -1, -1):
        if k in found and nodes[k]["op"] != "null":
            found.update(image_inputs(nodes[k]))
    return sorted(found, reverse=True)


def _seen(graph: Graph, windows: List[Window], before: List[int], cell: int, axis: int) -> int | None:
    """Pixels that a cell of the first node of `before` sees, from the first to the last; None: all.

    `before` are the nodes that it comes from, as `_ancestors` gives them.
    """
    nodes, extents = graph.nodes, {before[0]: (cell, cell)}
    for k in before:
        if nodes[k]["op"] == "null" or k not in extents:
            continue
        back = inputs_of(nodes[k], windows[k], extents[k], axis)
        if back is None:
            return None
        if back[0] > back[1]:  # a deconvolution whose kernel is smaller than its stride leaves cells out
            continue
        for j in image_inputs(nodes[k]):
            extents[j] = _hull([extents[j], back]) if j in extents else back
    first, last = extents.get(graph.image, (0, -1))
    return last - first + 1


def inputs_of(node: Node, window: Window, extent: Extent, axis: int) -> Extent | None:
    """Cells of a node's input that the cells `extent` of its output depend on; None if on all of them."""
    op, (kernel, stride, pad), (first, last) = node["op"], window, extent
    if op == "InstanceNorm":  # averages over the image
        return None
    if op in SAME or op in JOIN:
        return extent
    if op in ("Convolution", "Pooling"):
        return (stride * first - pad, stride * last - pad + kernel - 1)
    if op == "Deconvolution":
        return (-((kernel - 1 - first - pad) // stride), (last + pad) // stride)
    if op == "Crop":
        offset = setting(node, "offset", axis, 0)
        return (first + offset, last + offset)
    scale = int(node["attrs"]["scale"])  # UpSampling, the last that has a map
    return (first // scale, last // scale)


def _reached(node: Node, extent: Extent, size: int, axis: int) -> Extent:
    """Cells of a node, of `size` cells, that an extent of its input reaches; first > last if none."""
    first, last = extent
    op, (kernel, stride, pad) = node["op"], window(node, axis)
    if op in ("Convolution", "Pooling"):  # padding and bias are scores too
        return (0, size - 1)
    if op == "Deconvolution":
        first, last = stride * first - pad, stride * last - pad + kernel - 1
    if op == "Crop" and not flag(node, "center_crop"):
        offset = setting(node, "offset", axis, 0)
        first, last = first - offset, last - offset
    if op == "UpSampling":
        scale = int(node["attrs"]["scale"])
        first, last = scale * first, scale * last + scale - 1
    return (max(first, 0), min(last, size - 1))


def _hull(extents: List[Extent]) -> Extent:
    return (min(first for first, _ in extents), max(last for _, last in extents))

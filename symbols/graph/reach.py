"""What reaches a cell: the pixels that it sees, and whether any score does. Rows are axis 0, columns 1.

An extent is a pair (first, last) of cells, both included; it may reach into the padding.
"""

from __future__ import annotations

import json
from math import lcm
from typing import Dict, List, Tuple

from ...compat import mxnet as mx
from ..coord_map import Map
from .layer_sizes import layer_sizes, telling
from .nodes import JOIN, SAME, Node, flag, graph_nodes, image_inputs, image_of, setting, window

Extent = Tuple[int, int]
Window = Tuple[int, int, int]  # kernel, stride, pad


def receptive_fields(nodes: List[Node], maps: List[Map | None], axis: int) -> List[int | None]:
    """Rows of the image, or columns, from the first to the last that a cell of each node sees.

    Above a deconvolution the cells of one layer see different numbers of pixels, in turns: the largest counts.
    None where a layer on the way has no map, or sees everything.
    """
    image = image_of(nodes)
    windows = [window(node, axis) for node in nodes]
    fields: List[int | None] = [None] * len(nodes)
    for i, node in enumerate(nodes):
        if node["op"] != "null" and maps[i] is not None:
            before = _ancestors(nodes, i)
            # What the cells see repeats after a period: moved on by it, a whole number in every layer before.
            period = lcm(
                *{(maps[i][0] / stride).denominator for stride in {maps[k][0] for k in before if maps[k]}}
            )
            numbers = [_seen(nodes, windows, before, cell, image, axis) for cell in range(period)]
            fields[i] = None if None in numbers else max(numbers) or None
    return fields


def unscored_border(symbol: mx.sym.Symbol, size: Tuple[int, int]) -> Tuple[Extent, Extent] | None:
    """Rows and columns of a net's first output without a score: no cell before a deconvolution reaches them.

    >>> from fcnxs.symbols import get_fcn32s_symbol
    >>> unscored_border(get_fcn32s_symbol(), size=(57, 58))
    ((0, 12), (0, 0))

    Args:
        size: rows and columns of the image; one that fits.

    Returns:
        ((at the top, at the bottom), (left, right)), or None where a layer on the way has no size in H.
    """
    nodes, head = graph_nodes(symbol), json.loads(symbol.tojson())["heads"][0][0]
    rows, columns = (_unscored(nodes, head, axis, [size[axis]])[0] for axis in (0, 1))
    return None if rows is None or columns is None else (rows, columns)


def most_unscored(symbol: mx.sym.Symbol) -> int | None:
    """Most rows or columns without a score, of all sizes that fit; None as `unscored_border`."""
    nodes, head = graph_nodes(symbol), json.loads(symbol.tojson())["heads"][0][0]
    ends = [each for axis in (0, 1) for each in _unscored(nodes, head, axis, telling(nodes, axis)[0])]
    return None if None in ends else max(map(sum, ends), default=None)


def _unscored(nodes: List[Node], head: int, axis: int, heights: List[int]) -> List[Extent | None]:
    """Rows or columns of a node that no score reaches, for each of several sizes of the image."""
    sizes = layer_sizes(nodes, axis)
    return [
        _unscored_by(nodes, head, axis, [None if size is None else size.value(n) for size in sizes])
        for n in heights
    ]


def _unscored_by(nodes: List[Node], i: int, axis: int, numbers: List[int | None]) -> Extent | None:
    height = numbers[image_of(nodes)]
    spans: List[Extent | None] = [(0, height - 1) if k == image_of(nodes) else None for k in range(len(nodes))]
    for k, node in enumerate(nodes[: i + 1]):
        inputs = [spans[j] for j in image_inputs(node)] if node["op"] != "null" else []
        if inputs and None not in inputs and numbers[k] is not None:
            spans[k] = _reached(node, _hull(inputs), numbers[k], axis)
    if spans[i] is None:
        return None
    first, last = spans[i]
    return (first, numbers[i] - 1 - last) if first <= last else (0, numbers[i])


def _ancestors(nodes: List[Node], i: int) -> List[int]:
    """Node i and all those that its cells come from, the last first."""
    found = {i}
    for k in range(i, -1, -1):
        if k in found and nodes[k]["op"] != "null":
            found.update(image_inputs(nodes[k]))
    return sorted(found, reverse=True)


def _seen(
    nodes: List[Node], windows: List[Window], before: List[int], cell: int, image: int, axis: int
) -> int | None:
    """How many pixels a cell of the first of `before` sees, from the first to the last, going back by them."""
    spans: Dict[int, Extent] = {before[0]: (cell, cell)}
    for k in before:
        if nodes[k]["op"] == "null" or k not in spans:
            continue
        back = inputs_of(nodes[k], windows[k], spans[k], axis)
        if back is None:
            return None
        if back[0] > back[1]:  # a cell between those that a deconvolution with a small kernel reaches
            continue
        for j in image_inputs(nodes[k]):
            spans[j] = _hull([spans[j], back]) if j in spans else back
    first, last = spans.get(image, (0, -1))
    return last - first + 1


def inputs_of(node: Node, window: Window, span: Extent, axis: int) -> Extent | None:
    """Cells of a node's input that the cells of a span are made of."""
    op, (kernel, stride, pad), (first, last) = node["op"], window, span
    if op == "InstanceNorm":  # averages over the image
        return None
    if op in SAME or op in JOIN:
        return span
    if op in ("Convolution", "Pooling"):
        return (stride * first - pad, stride * last - pad + kernel - 1)
    if op == "Deconvolution":
        return (-((kernel - 1 - first - pad) // stride), (last + pad) // stride)
    if op == "Crop":
        offset = setting(node, "offset", axis, 0)
        return (first + offset, last + offset)
    scale = int(node["attrs"]["scale"])  # UpSampling, the last that has a map
    return (first // scale, last // scale)


def _reached(node: Node, span: Extent, size: int, axis: int) -> Extent:
    """Cells of a node of `size` cells that its input's cells of a span reach; first > last if none."""
    first, last = span
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


def _hull(spans: List[Extent]) -> Extent:
    return (min(first for first, _ in spans), max(last for _, last in spans))

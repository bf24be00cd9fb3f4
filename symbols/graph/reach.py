"""What a cell sees of the image, and which pixels no score reaches. Axis 0 is rows, axis 1 columns.

An extent is a pair (first, last) of cells, both included; it may reach into the padding.
"""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from math import lcm
from typing import Any, Dict, List, NamedTuple, Tuple

import numpy as np

from ...compat import mxnet as mx
from ..coord_map import Map
from .layer_sizes import AT_ONCE, layer_sizes, telling
from .nodes import JOIN, SAME, Graph, Node, flag, image_inputs, setting, window

Extent = Tuple[int, int]
Window = Tuple[int, int, int]  # kernel, stride, pad

LONGEST = 4096  # period of cells that see alike, and pixels in it; longer ones are not followed
NOWHERE = 1 << 60  # farther from the image than any pixel


def receptive_fields(graph: Graph, maps: List[Map | None], axis: int) -> List[int | None]:
    """Rows (or columns) of the image that one cell of each node sees, from the first to the last.

    Behind a deconvolution the cells of a layer see different numbers of rows, periodically; the largest counts.
    None where a layer on the way has no map, sees the whole image, or has a period of more than `LONGEST`.
    """
    seen: List[Seen | None] = [None] * len(graph.nodes)
    fields: List[int | None] = [None] * len(graph.nodes)
    waiting = [len(takers) for takers in graph.consumers]
    for i, node in enumerate(graph.nodes):
        if node["op"] == "null":
            seen[i] = IMAGE if i in graph.images else CONSTANT
        elif maps[i] is not None:
            seen[i] = _seen(node, maps[i][0], [seen[j] for j in image_inputs(node)], axis)
            fields[i] = seen[i] and seen[i].most
        for entry in node["inputs"]:
            waiting[entry[0]] -= 1
            if not waiting[entry[0]]:  # nobody needs it any more
                seen[entry[0]] = None
    return fields


class Seen(NamedTuple):
    """Which pixels the cells of a layer see: cell c from first[c] to last[c], if it sees any.

    All three arrays are int64 (period,). Cell c + period sees `shift` pixels further on than cell c. A cell
    that sees nothing, as behind a deconvolution whose kernel is smaller than its stride, has the first pixel of
    the next one that does, and the last of the one before.
    """

    first: np.ndarray
    last: np.ndarray
    before: np.ndarray  # number of cells before c, from 0 on, that see something
    seeing: int  # and in a period
    shift: int

    @property
    def most(self) -> int | None:
        """Most pixels that a cell sees; None if no cell sees any."""
        seen = self.last - self.first
        if self.seeing < len(seen):
            seen = seen[np.diff(self.before, append=self.seeing) > 0]
        return int(seen.max()) + 1 if self.seeing else None

    def at(self, cells: np.ndarray, values: np.ndarray, more: int) -> np.ndarray:
        """Values of an array of this (period,) at any cells (N,); they grow by `more` with each period."""
        periods, places = np.divmod(cells, len(values))
        return values[places] + periods * more


IMAGE = Seen(*np.zeros((3, 1), np.int64), seeing=1, shift=1)
CONSTANT = Seen(*np.zeros((3, 1), np.int64), seeing=0, shift=1)


def _seen(node: Node, stride: Fraction, inputs: List[Seen | None], axis: int) -> Seen | None:
    """What a layer's cells see, from what those of its inputs see; None if that is everything, or not known."""
    if None in inputs:
        return None
    if len(inputs) == 1 and node["op"] in SAME and node["op"] != "InstanceNorm":
        return inputs[0]
    # Over a period the layer, and every layer before it, moves on by whole cells.
    shift = lcm(stride.numerator, *(each.shift for each in inputs))
    period = shift / stride
    cells = np.arange(int(min(period, LONGEST)))
    back = inputs_of(node, window(node, axis), (cells, cells), axis)
    if back is None or max(shift, period) > LONGEST:
        return None
    first, last, sees = np.full(len(cells), NOWHERE), np.full(len(cells), -NOWHERE), np.zeros(len(cells), bool)
    for each in inputs:
        some = each.at(back[1] + 1, each.before, each.seeing) > each.at(back[0], each.before, each.seeing)
        np.minimum(first, each.at(back[0], each.first, each.shift), out=first, where=some)
        np.maximum(last, each.at(back[1], each.last, each.shift), out=last, where=some)
        sees |= some
    if not sees.any():
        return CONSTANT
    if max(abs(first[sees]).max(), abs(last[sees]).max()) > NOWHERE // 2:
        return None
    if sees.all():
        return Seen(first, last, cells, len(cells), shift)
    first = np.minimum.accumulate([*first, *(first + shift)][::-1])[::-1][: len(cells)]
    last = np.maximum.accumulate([*(last - shift), *last])[len(cells) :]
    return Seen(first, last, np.cumsum(sees) - sees, int(sees.sum()), shift)


def unscored_border(symbol: mx.sym.Symbol | Graph, size: Tuple[int, int]) -> Tuple[Extent, Extent] | None:
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


def most_unscored(symbol: mx.sym.Symbol | Graph) -> int | None:
    """Largest number of rows or columns without a score, over all sizes that fit; None if that is unknown."""
    graph = Graph.of(symbol)
    ends = [each for axis in (0, 1) for each in _unscored(graph, axis, telling(graph, axis)[0])]
    return None if None in ends else max(map(sum, ends), default=None)


def _unscored(graph: Graph, axis: int, heights: List[int]) -> List[Extent | None]:
    """Cells without a score at the two ends of the first output, for each of several sizes of the image."""
    head, found = graph.heads[0][0], []
    for start in range(0, len(heights), AT_ONCE):
        part = np.array(heights[start : start + AT_ONCE])
        size, reached = layer_sizes(graph, axis)[head], _reached_by_image(graph, axis, part)
        if reached is None:
            found += [None] * len(part)
            continue
        first, last, size = np.broadcast_arrays(*reached, size.value(part), part)[:3]
        ends = zip(np.where(first <= last, first, 0), np.where(first <= last, size - 1 - last, size))
        found += [(int(at_start), int(at_end)) for at_start, at_end in ends]
    return found


def _reached_by_image(graph: Graph, axis: int, heights: np.ndarray) -> Tuple[Any, Any] | None:
    """First and last cell of the first output that scores reach, for several sizes; None if not known."""
    sizes, head = layer_sizes(graph, axis), graph.heads[0][0]
    extents: Dict[int, Tuple[Any, Any]] = dict.fromkeys(graph.images, (0, heights - 1))
    waiting = [len(takers) for takers in graph.consumers]
    waiting[head] += 1
    for k in graph.layers:
        node, inputs = graph.nodes[k], [extents.get(j) for j in image_inputs(graph.nodes[k])]
        if inputs and None not in inputs and sizes[k] is not None:
            extents[k] = _reached(node, _hull(inputs), sizes[k].value(heights), axis)
        for entry in node["inputs"]:
            waiting[entry[0]] -= 1
            if not waiting[entry[0]]:
                extents.pop(entry[0], None)
    return extents.get(head)


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


def _reached(node: Node, extent: Tuple[Any, Any], size: Any, axis: int) -> Tuple[Any, Any]:  # noqa: ANN401
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
    return (np.maximum(first, 0), np.minimum(last, size - 1))


def _hull(extents: List[Tuple[Any, Any]]) -> Tuple[Any, Any]:
    firsts, lasts = zip(*extents)
    return (reduce(np.minimum, firsts), reduce(np.maximum, lasts))

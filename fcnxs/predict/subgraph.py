"""Cut a window out of a net: the graph that computes given cells of some layers, and no others.

The values equal those of the whole net, because each layer reads the same cells there: padding at the borders
of the whole layer, neighbouring cells elsewhere. The cells that a layer needs follow exactly from its kernel,
stride and pad, backward from the wanted cells (`inputs_of` of symbols/graph/reach.py).
Rows are axis 0, columns axis 1. An `Extent` (first, last) is a range of a layer's cells, both included.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, NamedTuple, Sequence, Set, Tuple, Union

from ..compat import mxnet as mx
from ..errors import FCNXSError
from ..symbols.graph.nodes import JOIN, SAME, Entry, Node, flag, has, image_inputs, setting, window
from ..symbols.graph.reach import Extent, inputs_of
from ..symbols.graph.rewrite import Writer

Box = Tuple[Extent, Extent]  # rows, columns
Axes = Tuple[int, int]  # a setting of rows, and of columns
Sizes = Sequence[Sequence[Union[int, None]]]  # rows of every node, and columns

_SAME = SAME - {"InstanceNorm", "slice_like", "SoftmaxOutput", "argmax"}


class Subgraph(NamedTuple):
    """A part of a net that computes one window.

    Attributes:
        text: the graph as JSON; subgraphs with the same text are the same graph.
        inputs: cells to feed in, by the number of the node in the whole net that has them. Cells outside of
            that node's output are zeros.
        outputs: cells that the subgraph computes, by node number, in the order of its heads.
    """

    text: str
    inputs: Dict[int, Box]
    outputs: Dict[int, Box]

    @property
    def symbol(self) -> mx.sym.Symbol:
        """The graph as an MXNet symbol."""
        return mx.sym.load_json(self.text)


def check_windows(nodes: List[Node], members: Iterable[int], sizes: Sequence[int | None]) -> None:
    """Refuse layers that cannot be computed window by window.

    Args:
        nodes: all nodes of the net.
        members: numbers of the nodes to check.
        sizes: rows (or columns) of every node; None where a node has no such axis.

    Raises:
        FCNXSError: a layer needs its whole input at once, or its kind is unknown; the message names it.
    """
    for node in (nodes[i] for i in members):
        op = node["op"]
        sized = all(sizes[j] is not None for j in image_inputs(node))
        known = op in _SAME or op in JOIN or op in ("Convolution", "Deconvolution", "Pooling", "Crop")
        strided = op == "Convolution" and any(
            window(node, axis)[1] > 1 and window(node, axis)[2] and nodes[node["inputs"][0][0]]["op"] != "null"
            for axis in (0, 1)
        )
        padded = op == "Pooling" and any(window(node, axis)[2] for axis in (0, 1))
        fixed = flag(node, "global_pool") or flag(node, "center_crop") or has(node, "target_shape")
        if not sized or not known or strided or padded or fixed:
            raise FCNXSError(f"{op} {node['name']!r}: this layer cannot be computed tile by tile")


def subgraph_of(nodes: List[Node], members: Set[int], sizes: Sizes, wanted: Dict[int, Box]) -> Subgraph:
    """The part of a net that gives the wanted cells.

    Args:
        nodes: of the whole net.
        members: numbers of the nodes that may be computed; what they take from others is input.
        sizes: number of rows of every node, and of columns.
        wanted: cells of members, by number; all of them are there.
    """
    graph = _Window(nodes, members, sizes, wanted)
    heads = [graph.cut(i, box) for i, box in wanted.items()]
    return Subgraph(graph.writer.text(heads), graph.inputs, dict(wanted))


def _taken(node: Node, span: Extent, size: int, axis: int) -> Extent:
    """Cells of a node's input (which has `size` cells) that `span` depends on; at least one exists."""
    first, last = inputs_of(node, window(node, axis), span, axis)
    if node["op"] == "Deconvolution":  # the rows that `adj` adds depend on no input
        first, last = min(first, size - 1), max(last, 0)
    if node["op"] == "Pooling":  # its last window may be cut off; MXNet wants one whole window
        kernel, stride, _ = window(node, axis)
        while first >= stride and min(last, size - 1) - first + 1 < kernel:
            first -= stride
    return (first, last)


class _Window:
    """A subgraph while it is written, with the cells that each of its layers holds so far."""

    def __init__(self, nodes: List[Node], members: Set[int], sizes: Sizes, wanted: Dict[int, Box]) -> None:
        self._nodes, self._members, self._sizes = nodes, members, sizes
        self._need = [self._needed({i: box[axis] for i, box in wanted.items()}, axis) for axis in (0, 1)]
        self._layers: Dict[int, Tuple[Entry, Box]] = {}  # entry here, and cells, of each node
        self.writer, self.inputs = Writer(), {}
        for i in sorted(members & self._need[0].keys() & self._need[1].keys()):
            self._add(i)

    def _needed(self, wanted: Dict[int, Extent], axis: int) -> Dict[int, Extent]:
        """Cells of each node that the wanted ones are made of. Of inputs of convolutions, padding too."""
        need, sizes = dict(wanted), self._sizes[axis]
        for i in sorted(self._members, reverse=True):
            if i in need:
                for j in image_inputs(self._nodes[i]):
                    span = _taken(self._nodes[i], need[i], sizes[j], axis)
                    if not (self._nodes[i]["op"] == "Convolution" and j not in self._members):
                        span = (max(span[0], 0), min(span[1], sizes[j] - 1))
                    need[j] = (min(need[j][0], span[0]), max(need[j][1], span[1])) if j in need else span
        return need

    def _add(self, i: int) -> None:
        """Add the layer with number i."""
        node = self._nodes[i]
        op, before = node["op"], image_inputs(node)
        for j in before:
            if j not in self._members and j not in self.inputs:
                self.inputs[j] = (self._need[0][j], self._need[1][j])
                self._layers[j] = (self.writer.variable(self._nodes[j]["name"]), self.inputs[j])
        need = (self._need[0][i], self._need[1][i])
        if op == "Crop":  # no layer is needed: only the numbers of the cells change
            at, have = self._layers[before[0]]
            offsets = [setting(node, "offset", axis, 0) for axis in (0, 1)]
            box = tuple((first - by, last - by) for (first, last), by in zip(have, offsets))
            self._layers[i] = (at, box)
        elif op in JOIN:
            self._layers[i] = (self._write(node, [self.cut(j, need) for j in before]), need)
        elif op in _SAME:
            at, have = self._layers[before[0]]
            self._layers[i] = (self._write(node, [at]), have)
        else:
            own = {
                "Convolution": self._convolution,
                "Pooling": self._pooling,
                "Deconvolution": self._upsampling,
            }
            at, have, settings = own[op](node, before[0], need)
            self._layers[i] = (self._write(node, [at], settings), have)

    def cut(self, i: int, want: Box) -> Entry:
        """Entry that holds exactly the cells `want` of a layer."""
        at, have = self._layers[i]
        if have == want:
            return at
        spans = [(first - own, last - own + 1) for (first, last), (own, _) in zip(want, have)]
        return self.writer.cut(at, f"{self._nodes[i]['name']}_cut{len(self.writer.nodes)}", *spans)

    def _convolution(self, node: Node, j: int, need: Box) -> Tuple[Entry, Box, Dict[str, Axes]]:
        """Convolution with its pad on both sides of an axis, or on neither.

        A pad on a side where the whole layer has none makes extra cells there, which nothing reads.
        """
        windows = [window(node, axis) for axis in (0, 1)]
        spans = [_taken(node, need[axis], self._sizes[axis][j], axis) for axis in (0, 1)]
        at, have = self._layers[j]
        if j in self.inputs or any(stride > 1 for _, stride, _ in windows):
            have = tuple((max(span[0], own[0]), min(span[1], own[1])) for span, own in zip(spans, have))
            at = self.cut(j, have)
        pads, box = [], []
        for axis, (kernel, stride, pad) in enumerate(windows):
            (first, last), (start, end) = spans[axis], have[axis]
            pads.append(pad if first < start or last > end else 0)
            begin = (start - pads[axis] + pad) // stride
            box.append((begin, begin + (end - start + 1 + 2 * pads[axis] - kernel) // stride))
        return at, (box[0], box[1]), {"pad": tuple(pads)}

    def _pooling(self, node: Node, j: int, need: Box) -> Tuple[Entry, Box, Dict[str, Axes]]:
        spans = [_taken(node, need[axis], self._sizes[axis][j], axis) for axis in (0, 1)]
        box = tuple((first, min(last, self._sizes[axis][j] - 1)) for axis, (first, last) in enumerate(spans))
        have = tuple((box[axis][0] // window(node, axis)[1], need[axis][1]) for axis in (0, 1))
        return self.cut(j, box), have, {}

    def _upsampling(self, node: Node, j: int, need: Box) -> Tuple[Entry, Box, Dict[str, Axes]]:
        """Upsample without the pad: cells that the pad would remove have negative indices. `adj` as needed."""
        taken, adj, box = [], [], []
        for axis in (0, 1):
            kernel, stride, pad = window(node, axis)
            size = self._sizes[axis][j]
            first, last = _taken(node, need[axis], size, axis)
            first, last = max(first, 0), min(last, size - 1)
            end = stride * last - pad + kernel - 1
            taken.append((first, last))
            adj.append(max(0, need[axis][1] - end))
            box.append((stride * first - pad, end + adj[axis]))
        return self.cut(j, (taken[0], taken[1])), (box[0], box[1]), {"pad": (0, 0), "adj": tuple(adj)}

    def _write(self, node: Node, images: Sequence[Entry], settings: Dict[str, Axes] | None = None) -> Entry:
        """Write a copy of a node with new inputs and settings, and variables for its parameters."""
        parameters = [self.writer.variable(self._nodes[j]["name"]) for j, *_ in node["inputs"][len(images) :]]
        return self.writer.copy(node, [*images, *parameters], **(settings or {}))

"""Writing a graph: node by node, or another graph anew with some nodes changed; and such changes.

This makes every pad of a graph three times as large:

    def tripled(i, node, inputs):
        pads = tuple(3 * window(node, axis)[2] for axis in (0, 1))
        return writer.copy(node, inputs, pad=pads) if node["op"] == "Convolution" else None

    writer = Writer()
    symbol = writer.symbol(writer.write(graph, tripled))
"""

from __future__ import annotations

import json
from itertools import accumulate
from typing import Any, Callable, Dict, List, Optional, Sequence

from ...compat import mxnet as mx
from ...errors import FCNXSError
from .nodes import Entry, Graph, Node, flag, setting
from .shapes import Shape, output_shapes

# The version whose names of operators and settings are written, so that MXNet upgrades nothing.
VERSION = 10901
HEADS = ("SoftmaxOutput", "softmax")
# Operator and name of the last node of an exported net that gives scores; with several heads, _HEAD follows.
LOGITS = ("_copy", "scores")

# From a node's number, the node and its inputs as written, to the entry in its place; None copies the node.
Change = Callable[[int, Node, List[Entry]], Optional[Entry]]


class Writer:
    """A graph that is being written. Methods that add a node return the entry of its first output.

    Attributes:
        nodes: nodes written so far.
        written: entry in the new graph of each node of the graph passed to `write`.
    """

    def __init__(self) -> None:
        self.nodes: List[Node] = []
        self.written: List[Entry] = []
        self._variables: Dict[str, Entry] = {}

    def variable(self, name: str, shape: Sequence[int] | None = None) -> Entry:
        """The variable of a name, added when it is first asked for."""
        attrs = {} if shape is None else {"__shape__": str(tuple(shape))}
        return self._variable({"op": "null", "name": name, "attrs": attrs, "inputs": []})

    def add(self, op: str, name: str, inputs: Sequence[Entry], **attrs: Any) -> Entry:  # noqa: ANN401
        """A layer; its settings may be of any type and are written as text."""
        return self.copy({"op": op, "name": name, "attrs": {}}, inputs, **attrs)

    def copy(self, node: Node, inputs: Sequence[Entry], name: str | None = None, **attrs: Any) -> Entry:  # noqa: ANN401
        """A node of another graph, with other inputs, and a new name or settings where they are given."""
        texts = {key: str(value) for key, value in attrs.items()}
        node = {**node, "name": name or node["name"], "attrs": {**node["attrs"], **texts}, "inputs": [*inputs]}
        return self._variable(node) if node["op"] == "null" else self._append(node)

    def write(self, graph: Graph, change: Change, heads: Sequence[Entry] | None = None) -> List[Entry]:
        """Write all nodes of a graph, changed or copied; returns the entries of its outputs, or of `heads`."""
        self.written = []
        for i, node in enumerate(graph.nodes):
            inputs = [self._at(entry) for entry in node["inputs"]]
            entry = change(i, node, inputs)
            self.written.append(self.copy(node, inputs) if entry is None else entry)
        return [self._at(head) for head in (graph.heads if heads is None else heads)]

    def cut(self, x: Entry, name: str, *spans: Sequence[int | None]) -> Entry:
        """Rows and columns of `x` (N, C, H, W), each a span (start, end), end excluded."""
        begin, end = zip(*spans)
        return self.add("slice", name, [x], begin=(None, None, *begin), end=(None, None, *end))

    def pad(self, x: Entry, name: str, *zeros: Sequence[int]) -> Entry:
        """`x` (N, C, H, W) with zeros added: (before, after) its rows, and its columns."""
        width = (0, 0, 0, 0, *zeros[0], *zeros[1])
        return (
            self.add("Pad", name, [x], mode="constant", pad_width=width, constant_value=0) if any(width) else x
        )

    def text(self, heads: Sequence[Entry]) -> str:
        """The graph as MXNet's JSON."""
        return json.dumps(self.graph(heads).content, ensure_ascii=False)

    def graph(self, heads: Sequence[Entry]) -> Graph:
        """The graph as it is now."""
        return Graph(self.nodes, heads, VERSION)

    def symbol(self, heads: Sequence[Entry]) -> mx.sym.Symbol:
        """The graph as MXNet's symbol, without the nodes that no output needs."""
        return symbol_of(self.graph(heads))

    def _at(self, entry: Entry) -> Entry:
        """Where an entry of the graph that is gone through is written."""
        here = self.written[entry[0]]
        return [here[0], *entry[1:]] if entry[1] else [*here[:2], entry[2]]

    def _variable(self, node: Node) -> Entry:
        if node["name"] not in self._variables:
            self._variables[node["name"]] = self._append(node)
        return self._variables[node["name"]]

    def _append(self, node: Node) -> Entry:
        self.nodes.append(node)
        return [len(self.nodes) - 1, 0, 0]


def symbol_of(graph: Graph) -> mx.sym.Symbol:
    """A graph as MXNet's symbol, without the nodes that no output needs."""
    return mx.sym.load_json(json.dumps(graph.content, ensure_ascii=False))


def stacked(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same net with one input `data` (N, C, H, W), the channels of all its images; a net of one as it is.

    >>> from fcnxs.symbols import get_late_fusion_symbol
    >>> stacked(get_late_fusion_symbol()).list_arguments()[:2]
    ['data', 'conv1_1color_weight']
    """
    graph, writer = Graph.of(symbol, casts=True), Writer()
    if not graph.images[1:]:
        return symbol
    ends = [0, *accumulate(shape[1] for shape in graph.image_shapes((0, 0)).values())]
    spans = dict(zip(graph.image_shapes((0, 0)), zip(ends, ends[1:])))
    data = writer.variable("data", (0, ends[-1], 0, 0))

    def cut(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        if node["op"] != "null" or node["name"] not in spans:
            return None
        begin, end = spans[node["name"]]
        return writer.add("slice_axis", f"{node['name']}_of_data", [data], axis=1, begin=begin, end=end)

    return writer.symbol(writer.write(graph, cut))


def scores_symbol(symbol: mx.sym.Symbol, several: bool = False) -> mx.sym.Symbol:
    """Class scores (N, C, H, W) of a net: the input of its softmax, with all dropouts left out.

    Of a net that was exported with its scores as output, these.

    >>> from fcnxs.symbols import get_fcn8s_symbol
    >>> scores_symbol(get_fcn8s_symbol()).list_outputs()
    ['upscore_output']

    Args:
        several: the net may have several heads, each with its softmax and its scores.

    Raises:
        FCNXSError: the net ends neither in one softmax nor in such scores.
    """
    graph, writer = Graph.of(symbol, casts=True), Writer()
    ends = [graph.nodes[head[0]] for head in graph.heads]
    logits = [(end["op"], end["name"].split("_")[0]) == LOGITS for end in ends]
    scored = all(end["op"] in HEADS or scores for end, scores in zip(ends, logits))
    if (len(ends) > 1 and not several) or not scored:
        found = ", ".join(f"{node['op']} {node['name']!r}" for node in ends)
        if found == "LinearRegressionOutput 'euclidean'":
            raise FCNXSError(
                "the net regresses masks of one size, of images of one size; only `fcnxs finetune` evaluates "
                "it, and writes its scores to metrics.jsonl: to segment images, train an FCN (--stages fcn32s)"
            )
        raise FCNXSError(
            f"the net ends in {found}, not in one softmax over classes; VGG-16 has to be finetuned first, "
            "and of exports only those with --head softmax or logits are checkpoints too"
        )

    def without_dropout(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        return inputs[0] if node["op"] == "Dropout" else None

    return writer.symbol(writer.write(graph, without_dropout, [end["inputs"][0] for end in ends]))


def without_crop(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same net with `slice` and `slice_like` for `Crop`, which takes float32 alone."""
    writer = Writer()

    def sliced(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        if node["op"] != "Crop" or len(inputs) != 2 or flag(node, "center_crop"):
            return None
        starts = [(setting(node, "offset", axis, 0), None) for axis in (0, 1)]
        begun = writer.cut(inputs[0], f"{node['name']}_begun", *starts)
        return writer.add("slice_like", node["name"], [begun, inputs[1]], axes=(2, 3))

    return writer.symbol(writer.write(Graph.of(symbol, casts=True), sliced))


def with_seeded_dropout(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same net, whose dropout on GPUs is also drawn from the numbers that `mx.random.seed` determines.

    Without this setting cuDNN draws it, from a seed that C's rand() gives each layer. On the CPU the setting
    changes nothing. Source: apache/mxnet 1.9.1 src/operator/nn/dropout-inl.h (`seed_`, `CuDNNForward`).
    """
    writer = Writer()

    def seeded(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        return writer.copy(node, inputs, cudnn_off=True) if node["op"] == "Dropout" else None

    return writer.symbol(writer.write(Graph.of(symbol, casts=True), seeded))


def with_freed_concats(symbol: mx.sym.Symbol, **inputs: Shape) -> mx.sym.Symbol:
    """The same net, whose axes of Concat are counted from the end, so that training leaks no memory.

    Where an axis is positive, the backward pass is oneDNN's, of which each leaves 0.8 kB for every input of the
    Concat. Source: apache/mxnet 1.9.1 src/operator/nn/mkldnn/mkldnn_concat.cc (`from_mem`, which nobody
    deletes) and src/operator/nn/concat.cc (`BackwardConcatStorageType`).

    Args:
        **inputs: shapes of the inputs by their names.
    """
    graph, writer = Graph.of(symbol, casts=True), Writer()
    if "Concat" not in graph.ops:
        return symbol
    shapes = output_shapes(symbol, graph, **inputs)

    def from_the_end(i: int, node: Node, entries: List[Entry]) -> Entry | None:
        dim, shape = setting(node, "dim", 0, 1), shapes[i]
        counted = node["op"] == "Concat" and dim > 0 and shape is not None
        return writer.copy(node, entries, dim=dim - len(shape)) if counted else None

    return writer.symbol(writer.write(graph, from_the_end))


def with_settings(symbol: mx.sym.Symbol, settings: Dict[str, Dict[str, Any]]) -> mx.sym.Symbol:
    """The same graph with other settings of some layers, by their names."""
    writer = Writer()

    def changed(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        return writer.copy(node, inputs, **settings[node["name"]]) if node["name"] in settings else None

    return writer.symbol(writer.write(Graph.of(symbol), changed))


def with_pad(symbol: mx.sym.Symbol, layer: int, pad: int) -> mx.sym.Symbol:
    """The same graph with another pad of one layer, given by its position in `Graph.layers`."""
    graph = Graph.of(symbol)
    return with_settings(symbol, {graph.nodes[graph.layers[layer]]["name"]: {"pad": (pad, pad)}})

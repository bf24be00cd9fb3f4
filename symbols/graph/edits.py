"""Small changes of a graph that several rooms need."""

from __future__ import annotations

from typing import List

from ...compat import mxnet as mx
from ...errors import FCNXSError
from .nodes import Entry, Graph, Node, flag, setting
from .rewrite import Writer

HEADS = ("SoftmaxOutput", "softmax")


def scores_symbol(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Class scores (N, C, H, W) of a net: the input of its softmax, with all dropouts left out.

    >>> from fcnxs.symbols import get_fcn8s_symbol
    >>> scores_symbol(get_fcn8s_symbol()).list_outputs()
    ['upscore_output']

    Raises:
        FCNXSError: the net does not end in one softmax.
    """
    graph, writer = Graph.of(symbol, casts=True), Writer()
    ends = [graph.nodes[head[0]] for head in graph.heads]
    if len(ends) != 1 or ends[0]["op"] not in HEADS:
        found = ", ".join(f"{node['op']} {node['name']!r}" for node in ends)
        raise FCNXSError(
            f"the net ends in {found}, not in one softmax over classes; VGG-16 has to be finetuned first, "
            "and of exports only those with --head softmax are checkpoints too"
        )

    def without_dropout(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        return inputs[0] if node["op"] == "Dropout" else None

    return writer.symbol(writer.write(graph, without_dropout, ends[0]["inputs"][:1]))


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


def with_pad(symbol: mx.sym.Symbol, layer: int, pad: int) -> mx.sym.Symbol:
    """The same graph with another pad of one layer, by its number in order."""
    graph, writer = Graph.of(symbol), Writer()

    def padded(i: int, node: Node, inputs: List[Entry]) -> Entry | None:
        return writer.copy(node, inputs, pad=(pad, pad)) if i == graph.layers[layer] else None

    return writer.symbol(writer.write(graph, padded))

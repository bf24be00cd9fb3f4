"""Symbols saved by versions of the original example that did not set `adj` yet."""

from __future__ import annotations

from typing import List

from ..compat import mxnet as mx
from .graph.nodes import Entry, Graph, Node, setting
from .graph.rewrite import Writer


def completed(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same net, running at every size that its layers take.

    Pooling rounds sizes down. Without `adj` the last upsampling of the oldest nets is then smaller than the
    image at some sizes, and MXNet refuses to crop it: of the 65 sizes from 32 to 96, at 24 for FCN-32s, at 8
    for FCN-16s, at none for FCN-8s. `adj` adds rows and columns at its end, which no score reaches and which
    hold what MXNet gives to such cells. At the other sizes the crop takes them off again: nothing changes.

    Returns:
        `symbol` itself where nothing is missing.
    """
    graph, writer = Graph.of(symbol), Writer()
    crops = [node["inputs"] for node in graph.nodes if node["op"] == "Crop" and len(node["inputs"]) == 2]
    cropped = {x[0]: graph.nodes[x[0]] for x, like in crops if graph.nodes[like[0]]["op"] == "null"}
    upsampled = {i: node["attrs"] for i, node in cropped.items() if node["op"] == "Deconvolution"}
    short = [i for i, attrs in upsampled.items() if not {"adj", "target_shape"} & attrs.keys()]
    if not short or graph.rounds_up:
        return symbol

    def with_adj(i: int, node: Node, inputs: List[Entry]) -> Entry | None:
        adj = tuple(setting(node, "stride", axis, 1) - 1 for axis in (0, 1))
        return writer.copy(node, inputs, adj=adj) if i in short else None

    return writer.symbol(writer.write(graph, with_adj))

"""Estimate the memory of a forward pass without running it."""

from __future__ import annotations

from math import prod
from typing import Dict, Sequence, Tuple

from ..compat import mxnet as mx
from ..net import layer_shapes
from ..symbols.graph.nodes import Graph

# Operators that overwrite their input if no other layer needs it.
IN_PLACE = {"Activation", "LeakyReLU", "_mul_scalar", "elemwise_add", "_copy", "identity"}


def peak_bytes(
    symbol: mx.sym.Symbol, graph: Graph, shapes: Dict[str, Tuple[int, ...]], itemsize: int = 4
) -> int:
    """Estimate of the most bytes that layer outputs take at one time during a forward pass.

    Parameters are not counted. The estimate allows for oneDNN, which pads channels to multiples of 16, stores
    inputs and outputs in a second memory layout, and copies a layer's weights into its own layout to run it.

    Args:
        symbol: the net.
        graph: the parsed graph of `symbol`.
        shapes: shapes of the inputs, by name.
        itemsize: bytes of one value.
    """
    by_name = layer_shapes(symbol, **shapes)
    nodes, heads = graph.nodes, {head[0] for head in graph.heads}
    last = {entry[0]: i for i, node in enumerate(nodes) for entry in node["inputs"]}
    live, peak, own = 0, 0, {}
    for i, node in enumerate(nodes):
        if node["op"] == "null":
            own[i] = 3 * _cells(shapes[node["name"]]) if node["name"] in shapes else 0
            live += own[i]
            continue
        images = [entry[0] for entry in node["inputs"] if nodes[entry[0]]["op"] != "null"]
        gone = {j for j in images if last[j] == i and j not in heads}
        shape = by_name.get(f"{node['name']}_output") or by_name[f"{node['name']}_output0"]
        own[i] = _cells(shape) * (2 if i in heads else 1)
        reused = max((own[j] for j in gone), default=0) if node["op"] in IN_PLACE else 0
        weights = [nodes[entry[0]]["name"] for entry in node["inputs"] if nodes[entry[0]]["op"] == "null"]
        ordered = sum(prod(by_name[name]) for name in weights if name not in shapes)
        peak = max(peak, live + ordered + own[i] - min(reused, own[i]))
        live += own[i] - sum(own[j] for j in gone)
    return int(max(peak, live) * itemsize)


def _cells(shape: Sequence[int]) -> int:
    return -(-shape[1] // 16) * 16 * shape[2] * shape[3] if shape[1] > 3 else shape[1] * shape[2] * shape[3]

"""Multiplications and additions of a net."""

from __future__ import annotations

from math import prod
from typing import Dict, Tuple

from ....net import Net, layer_shapes
from ....symbols.graph.nodes import Graph

COUNTED = ("Convolution", "Deconvolution", "FullyConnected")


def operations(net: Net, shape: Tuple[int, ...]) -> Dict[str, int]:
    """Multiplications and additions of each convolution, deconvolution and inner product, by name, in order.

    Cells of the padding count, since engines compute with them. Biases, relus, poolings, sums, crops and
    interpolating matrices do not: at full width they are less than 1%.

    Args:
        net: a net in float32.
        shape: shape of the input `data`, (N, 3, H, W).
    """
    arguments = set(net.symbol.list_arguments())
    known = {name: array.shape for name, array in net.arg_params.items() if name in arguments}
    shapes = layer_shapes(net.symbol, data=shape, **known)
    nodes, found = Graph.of(net.symbol).nodes, {}
    for node in nodes:
        if node["op"] in COUNTED:
            source, weight = (nodes[entry[0]] for entry in node["inputs"][:2])
            # A cell that the kernel makes, or that makes a kernel, meets all weights of its channel.
            inverse = node["op"] == "Deconvolution"
            cells = shapes[_output(source) if inverse else _output(node)]
            found[node["name"]] = 2 * prod(cells) * prod(shapes[weight["name"]][1:])
    return found


def _output(node: dict) -> str:
    return node["name"] if node["op"] == "null" else f"{node['name']}_output"

"""A net's first convolution for bfloat16, with the accuracy of float32: its numbers as sums of two halves.

What bfloat16 leaves of a number is in reach of another one: x = a + b to 2^-16, with a = bf16(x) and
b = bf16(x - a). So x * w, with w = c + d, is what a, b, a and b give with c, c, d and d: a convolution of four
times the channels, which are few where the image comes in.
"""

from __future__ import annotations

import numpy as np

from ..compat import mxnet as mx
from ..net import Net
from ..symbols.graph.nodes import Entry, Graph, Node
from ..symbols.graph.rewrite import Writer


def in_halves(net: Net, layer: str) -> Net:
    """The net with one convolution, without groups, such that bfloat16 holds all that it multiplies.

    Its weight is called LAYER_halves_weight, float32 (K, 4C, h, w) where it was (K, C, h, w); its image comes
    in bfloat16, and the symbol has `amp_cast` nodes.
    """
    graph, writer, args = Graph.of(net.symbol), Writer(), dict(net.arg_params)

    def split(_: int, node: Node, inputs: list[Entry]) -> Entry | None:
        if node["name"] != layer:
            return None
        weight, name = graph.nodes[node["inputs"][1][0]]["name"], f"{layer}_halves_weight"
        high, low = _halves(args.pop(weight))
        args[name] = mx.nd.concat(high, high, low, low, dim=1)
        return writer.copy(node, [_image(writer, inputs[0], layer), writer.variable(name), *inputs[2:]])

    symbol = writer.symbol(writer.write(graph, split))
    return net._replace(symbol=symbol, arg_params=args)


def _halves(array: mx.nd.NDArray) -> tuple[mx.nd.NDArray, mx.nd.NDArray]:
    bfloat16 = np.dtype([("bfloat16", np.uint16)])  # as MXNet calls what NumPy does not have
    high = mx.nd.amp_cast(mx.nd.amp_cast(array, dtype=bfloat16), dtype="float32")
    return high, array - high


def _image(writer: Writer, x: Entry, layer: str) -> Entry:
    """High halves, low ones, and both again."""
    high = writer.add("amp_cast", f"{layer}_high", [x], dtype="bfloat16")
    same = writer.add("amp_cast", f"{layer}_high_float32", [high], dtype="float32")
    rest = writer.add("elemwise_sub", f"{layer}_rest", [x, same])
    low = writer.add("amp_cast", f"{layer}_low", [rest], dtype="bfloat16")
    return writer.add("Concat", f"{layer}_halves", [high, low, high, low], num_args=4, dim=1)

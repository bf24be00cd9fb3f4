"""The first convolution in bfloat16 with the accuracy of float32: each number is a sum of two halves.

A float32 number is, to 2^-16, the sum of two bfloat16 numbers: x = a + b with a = bf16(x), b = bf16(x - a).
With w = c + d the product is x * w = a*c + b*c + a*d + b*d: one convolution of the channels (a, b, a, b) with
the weights (c, c, d, d). It has four times the input channels, which is cheap where the image has three.
"""

from __future__ import annotations

import numpy as np

from ..compat import mxnet as mx
from ..net import Net
from ..symbols.graph.nodes import Entry, Graph, Node
from ..symbols.graph.rewrite import Writer


def in_halves(net: Net, layer: str) -> Net:
    """Rewrite one convolution, without groups, so that it multiplies halves in bfloat16.

    Its weight (K, C, h, w) becomes LAYER_halves_weight, float32 (K, 4C, h, w). Its input becomes bfloat16 by
    `amp_cast` nodes.
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
    bfloat16 = np.dtype([("bfloat16", np.uint16)])  # MXNet's stand-in for a type that NumPy lacks
    high = mx.nd.amp_cast(mx.nd.amp_cast(array, dtype=bfloat16), dtype="float32")
    return high, array - high


def _image(writer: Writer, x: Entry, layer: str) -> Entry:
    """The image's channels as (high, low, high, low) halves."""
    high = writer.add("amp_cast", f"{layer}_high", [x], dtype="bfloat16")
    same = writer.add("amp_cast", f"{layer}_high_float32", [high], dtype="float32")
    rest = writer.add("elemwise_sub", f"{layer}_rest", [x, same])
    low = writer.add("amp_cast", f"{layer}_low", [rest], dtype="bfloat16")
    return writer.add("Concat", f"{layer}_halves", [high, low, high, low], num_args=4, dim=1)

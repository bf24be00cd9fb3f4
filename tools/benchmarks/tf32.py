"""`fcnxs benchmark tf32`: what TF32, which newer GPUs convolve float32 in, changes in the scores of FCN-8s."""

from __future__ import annotations

import argparse
from typing import List

import numpy as np

from ...agreement import agreement_of
from ...compat import mxnet as mx
from ...data.images import preprocess
from ...net import Net, scores_of
from ...symbols.graph.nodes import Entry, Graph, Node
from ...symbols.graph.rewrite import Writer, scores_symbol
from .material import image_shape, net_and_params, photo

FACTORS = 2  # of a convolution and a deconvolution, before its bias: data and weights
SPLIT = 2**13 + 1  # leaves 11 of float32's 24 bits, TF32's 10 and the leading one (Dekker 1971)


def tf32(args: argparse.Namespace) -> int:
    """Print how far scores move if each convolution's and deconvolution's data and weights are rounded."""
    symbol, params = net_and_params(args)
    exact = scores_symbol(symbol)
    data = preprocess(photo(np.random.default_rng(0), *image_shape(args)[2:]))
    scores = [scores_of(Net(net, params, {}), data) for net in (exact, rounded(exact))]
    found = agreement_of(*scores)
    print(
        f"FCN-8s, {args.image_size}, width {args.width:g}, TF32 against float32: scores differ by at most "
        f"{found.difference / found.largest:.1e} of the largest; {1 - found.agreement:.2%} of the pixels have "
        "another class"
    )
    return 0


def rounded(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same net, with the factors of its convolutions and deconvolutions rounded as TF32 has them.

    To the nearest number with 10 bits of mantissa: x becomes t - (t - x), t = 8193 x, each step in float32.
    """
    writer = Writer()

    def with_rounding(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        if node["op"] not in ("Convolution", "Deconvolution"):
            return None
        return writer.copy(node, [*map(nearest, inputs[:FACTORS], (0, 1), [node] * 2), *inputs[FACTORS:]])

    def nearest(x: Entry, number: int, node: Node) -> Entry:
        name = f"{node['name']}_factor{number}"
        split = writer.add("_mul_scalar", f"{name}_split", [x], scalar=SPLIT)
        rest = writer.add("elemwise_sub", f"{name}_rest", [split, x])
        return writer.add("elemwise_sub", name, [split, rest])

    return writer.symbol(writer.write(Graph.of(symbol), with_rounding))

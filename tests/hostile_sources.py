"""Real graphs for `hostile_graphs.py` to change: of every net and form, and one with every kind of layer."""

from __future__ import annotations

import json
from typing import Any, List, Tuple

import numpy as np
from old_symbols import as_saved

from fcnxs.compat import mxnet as mx
from fcnxs.deploy.form import Form, with_ends
from fcnxs.deploy.precision import to_bf16, to_int8
from fcnxs.net import Net
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.symbols.trimming.trimmed import Trimmer

SMALL = {"width": 1 / 32, "fc": 4}
SIZE = (1, 3, 40, 52)  # of the image


def random_params(symbol: mx.sym.Symbol, size: Tuple[int, ...] = SIZE) -> dict:
    """Small random values for everything but the image."""
    rng, shapes = np.random.default_rng(0), symbol.infer_shape(data=size)[0]
    named = zip(symbol.list_arguments(), shapes)
    return {name: mx.nd.array(rng.normal(0, 0.1, shape)) for name, shape in named if name != "data"}


def every_operator() -> mx.sym.Symbol:
    """A net with an output of every kind of layer that no net of this package has."""
    sym, data = mx.sym, mx.sym.Variable("data")
    x = sym.Convolution(data, kernel=(3, 3), num_filter=4, num_group=1, dilate=(2, 2), name="x")
    y = sym.BatchNorm(x, fix_gamma=False, name="y")
    half = sym.Pooling(y, kernel=(3, 3), stride=(2, 2), pool_type="avg", name="half")
    flat = sym.Reshape(half, shape=(0, 0, -1), name="flat")
    parts = sym.SliceChannel(x, num_outputs=2, name="parts")
    outputs = [
        *(sym.LeakyReLU(x, act_type=kind) for kind in ("leaky", "prelu", "elu", "gelu")),
        *(
            getattr(sym, op)(x)
            for op in ("abs", "exp", "log", "sqrt", "rsqrt", "square", "negative", "softsign")
        ),
        *(getattr(sym, op)(x) for op in ("relu", "sigmoid", "tanh", "hard_sigmoid", "reciprocal", "ones_like")),
        *(getattr(sym, op)(x, axis=1) for op in ("sum", "mean", "max", "min", "prod", "norm", "argmin")),
        *(getattr(sym, op)(x, axis=1) for op in ("softmax", "log_softmax", "expand_dims")),
        *(
            getattr(sym, op)(x, y)
            for op in ("broadcast_add", "broadcast_maximum", "elemwise_mul", "elemwise_div")
        ),
        *(
            x + 1,
            1 - x,
            x * 2,
            1 / x,
            x**2,
            x > 1,
            sym.clip(x, 0, 6),
            sym.add_n(x, y, x),
            sym.Cast(x, dtype="int32"),
        ),
        *(sym.InstanceNorm(x), sym.LayerNorm(x), sym.GroupNorm(x, num_groups=2), sym.L2Normalization(x)),
        *(sym.LRN(x, nsize=3), sym.SoftmaxActivation(x), sym.SwapAxis(x, dim1=1, dim2=2), sym.transpose(x)),
        *(sym.Concat(x, y, dim=1), sym.stack(x, y, axis=1), sym.squeeze(sym.expand_dims(x, axis=0), axis=0)),
        *(
            sym.slice_axis(x, axis=2, begin=1, end=5),
            sym.slice(x, begin=(0, 0, 1, 1), end=(1, 2, 9, 9), step=()),
        ),
        *(sym.slice_like(x, half, axes=(2, 3)), sym.Pad(x, mode="edge", pad_width=(0, 0, 0, 0, 1, 1, 2, 2))),
        *(
            sym.tile(x, reps=(1, 1, 2, 2)),
            sym.repeat(x, repeats=2, axis=1),
            sym.broadcast_axis(data[:1], axis=0, size=2),
        ),
        *(
            sym.depth_to_space(x, block_size=2),
            sym.space_to_depth(sym.slice_axis(x, axis=2, begin=0, end=2), 2),
        ),
        *(
            sym.UpSampling(x, scale=2, sample_type="nearest"),
            parts[0],
            parts[1],
            sym.BlockGrad(x),
            sym.MakeLoss(x),
        ),
        sym.UpSampling(x, sym.Variable("bilinear"), scale=2, num_filter=4, sample_type="bilinear", num_args=2),
        *(
            sym.contrib.BilinearResize2D(x, height=9, width=9),
            sym.contrib.AdaptiveAvgPooling2D(x, output_size=3),
        ),
        sym.contrib.BilinearResize2D(x, half, mode="like"),
        *(sym.batch_dot(flat, flat, transpose_b=True), sym.reshape_like(flat, half), sym.zeros_like(x)),
        *(sym.broadcast_like(sym.mean(x, axis=1, keepdims=True), x), sym.where(x > 0, x, y), sym.identity(x)),
        *(
            sym.Deconvolution(half, kernel=(4, 4), stride=(2, 2), pad=(1, 1), num_filter=2, num_group=2),
            sym.Flatten(x),
        ),
        *(sym.FullyConnected(half, num_hidden=3), sym.one_hot(sym.argmax(x, axis=1), depth=4), sym.Dropout(x)),
        sym.Crop(x, h_w=(5, 6), offset=(1, 2), num_args=1, name="cut"),
    ]
    return sym.Group(outputs)


def sources(int8: bool = True) -> List[Any]:
    """Real graphs, parsed: of every net, of its forms, old ones, and `every_operator`."""
    fcns = [builder for name, builder in NETS.items() if name.startswith("fcn") and "alexnet" not in name]
    symbols = [builder(**SMALL) for builder in fcns] + [NETS["fcn_alexnet"](width=1 / 16, fc=4)]
    symbols += [every_operator()] * 4
    scores = scores_symbol(NETS["fcn8s"](**SMALL))
    net = Net(scores, random_params(scores), {})
    symbols += [scores, Trimmer(Graph.of(scores)).with_constants(SIZE[2:], set()).symbol]
    symbols += [
        with_ends(net, Form(head=head, raw="uint8"), (1, 2, 3)).symbol for head in ("softmax", "argmax")
    ]
    symbols += [to_bf16(net).symbol]
    if int8:
        symbols += [to_int8(net, [np.zeros(SIZE, np.float32)]).symbol] * 3
    return [json.loads(symbol.tojson(remove_amp_cast=False)) for symbol in symbols] + [
        json.loads(as_saved("fcn32s", "2016-01"))
    ]

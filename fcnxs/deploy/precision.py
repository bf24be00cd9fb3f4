"""Lower the precision of a net: bfloat16 by MXNet's AMP, int8 by its quantization. Some layers stay float32."""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..checkpoint.params_file import BFLOAT16
from ..compat import mxnet as mx
from ..errors import FCNXSError
from ..net import Net, bind, outputs_of
from ..symbols.graph.nodes import Entry, Graph, Node
from ..symbols.graph.rewrite import Writer

KEEP = ("first", "score*")  # patterns of layers that stay in float32; `first` is the first convolution
MODES = {"minmax": "naive", "entropy": "entropy"}  # of calibration, and MXNet's names of them
BACKEND = "MKLDNN_QUANTIZE"  # MXNet's name of the graph passes that fuse layers for oneDNN
FUSED = "_sg_mkldnn_conv"  # a convolution fused with its relu or sum
# Operators that may be quantized, or whose output goes into a quantized one.
CALIBRATED = (FUSED, "Activation", "BatchNorm", "Concat", "Pad", "Pooling", "elemwise_add")

Ranges = Dict[str, Tuple[float, float]]  # smallest and largest value of a tensor, by the tensor's name


class Loss(NamedTuple):
    """Loss of accuracy when one convolution alone is in a lower precision.

    Args:
        layer: name of the convolution.
        changed: part of the pixels whose class changes, in the head where it is largest.
        error: largest difference of a score, relative to the largest score.
    """

    layer: str
    changed: float
    error: float


@functools.cache
def runs_bf16() -> bool:
    """Whether this processor convolves bfloat16 numbers, as MXNet's oneDNN does with AVX512 alone."""
    x, weight = (mx.nd.amp_cast(mx.nd.ones((1, 1, 4, 4)), dtype=BFLOAT16) for _ in range(2))
    try:
        mx.nd.Convolution(x, weight, kernel=(4, 4), num_filter=1, no_bias=True).wait_to_read()
    except mx.MXNetError:  # oneDNN has no such convolution
        return False
    return True


def convolutions(symbol: mx.sym.Symbol) -> List[str]:
    """Names of a graph's convolutions, in its order. Only their precision can be chosen."""
    return Graph.of(symbol).named("Convolution")


def kept_layers(symbol: mx.sym.Symbol, keep: Sequence[str]) -> List[str]:
    """Names of the convolutions that match a pattern, such as `score*`; `first` is the first convolution.

    Raises:
        FCNXSError: a pattern other than those of `KEEP` matches none.
    """
    layers = convolutions(symbol)
    found = {pattern: [name for name in layers if fnmatchcase(name, pattern)] for pattern in keep}
    if "first" in found:
        found["first"] = layers[:1]
    for pattern, names in found.items():
        if not names and pattern not in KEEP:
            raise FCNXSError(f"no convolution of the net matches {pattern!r}; there are {', '.join(layers)}")
    return [name for name in layers if any(name in names for names in found.values())]


def to_bf16(net: Net, keep: Sequence[str] = KEEP) -> Net:
    """Convert convolutions and their parameters to bfloat16; input and scores stay float32.

    If the first convolution is kept and the second is not, the first is computed in bfloat16 with its numbers
    split into sums of two (`in_halves`): as accurate as in float32, and without a cast of its large output.
    The symbol has `amp_cast` nodes, which `tojson` and `save` drop unless called with `remove_amp_cast=False`.

    Args:
        net: without label and dropout, ending in scores.
        keep: patterns of convolutions that stay in float32.

    Raises:
        FCNXSError: a pattern matches no layer.
    """
    from mxnet.contrib import amp

    layers, kept = convolutions(net.symbol), kept_layers(net.symbol, keep)
    if layers[:1] == kept[:1] and layers[1:2] != kept[1:2]:
        net, kept = in_halves(net, layers[0]), kept[1:]
    converted = amp.convert_model(
        net.symbol,
        dict(net.arg_params),  # AMP replaces arrays in it
        dict(net.aux_params),
        target_dtype="bfloat16",
        excluded_sym_names=kept,
        cast_optional_params=True,  # parameters are cast now, not in every forward pass
    )
    return Net(*converted)


def to_int8(net: Net, batches: Sequence[np.ndarray], mode: str = "minmax", keep: Sequence[str] = KEEP) -> Net:
    """Convert convolutions and poolings to int8; input and scores stay float32.

    The parameters stay float32 too: MXNet quantizes the weights, channel by channel, when an executor first
    runs. The graph runs on CPUs only, since it needs oneDNN.

    Args:
        net: without label and dropout, ending in scores.
        batches: images to measure the ranges of activations on, each float32 (N, 3, H, W) minus the mean.
        mode: `minmax` takes the smallest and largest values, `entropy` cuts off rare large ones.
        keep: patterns of convolutions that stay in float32.

    Raises:
        FCNXSError: a pattern matches no layer, there is no such mode, or there are no images.
    """
    return quantized(net, calibrate(net, batches, mode), keep)


def calibrate(net: Net, batches: Sequence[np.ndarray], mode: str = "minmax") -> Ranges:
    """Measure the ranges of a net's activations over images; they serve `quantized` for any layers it keeps.

    Args:
        batches: images as the net takes them, float32 (N, 3, H, W).
        mode: one of `MODES`.

    Raises:
        FCNXSError: there is no such mode, or no image.
    """
    from mxnet.contrib import quantization

    if mode not in MODES or not len(batches):
        raise FCNXSError(
            f"calibration mode {mode!r} with {len(batches)} images: expected {' or '.join(MODES)}, "
            "and at least one image"
        )
    fused = Net(net.symbol.get_backend_symbol(BACKEND), net.arg_params, net.aux_params)
    collector = quantization.quantize_graph(
        *fused, calib_mode=MODES[mode], quantized_dtype="auto", quantize_mode="smart"
    )[-1]
    nodes = Graph.of(fused.symbol).nodes
    collector.include_layer = ["data"] + [
        f"{node['name']}_output" for node in nodes if node["op"] in CALIBRATED
    ]
    executor = None
    for batch in batches:
        if executor is None or executor.arg_dict["data"].shape != batch.shape:  # each keeps its memory
            executor = bind(fused, batch.shape)
            executor.set_monitor_callback(collector.collect, monitor_all=True)
        executor.forward(is_train=False, data=mx.nd.array(batch))
        mx.nd.waitall()
    if mode == "minmax":
        ranges = collector.min_max_dict
    else:
        ranges = quantization._get_optimal_thresholds(collector.hist_dict, "auto")
    # The range of a layer whose outputs are all zero would be empty: a small one stands for it.
    return {name: (float(low), max(float(high), 1e-6)) for name, (low, high) in ranges.items()}


def quantized(net: Net, ranges: Ranges, keep: Sequence[str] = KEEP) -> Net:
    """`to_int8` with ranges from `calibrate`."""
    from mxnet.contrib import quantization

    names = set(kept_layers(net.symbol, keep))
    fused = net.symbol.get_backend_symbol(BACKEND)
    excluded = [node["name"] for node in Graph.of(fused).nodes if names.intersection(_layers_of(node))]
    symbol, args, auxs, _ = quantization.quantize_graph(
        fused,
        net.arg_params,
        net.aux_params,
        excluded_sym_names=excluded,
        calib_mode="none",
        quantized_dtype="auto",  # unsigned behind a relu, else signed
        quantize_mode="smart",
    )
    known = SimpleNamespace(min_max_dict=ranges)
    symbol, args, auxs = quantization.calib_graph(symbol, args, auxs, known, "customize", "auto", logger=None)
    return Net(symbol.get_backend_symbol(BACKEND), args, auxs)


def losses(
    net: Net, lower: Callable[[List[str]], Net], batches: Sequence[np.ndarray], keep: Sequence[str] = KEEP
) -> Iterator[Loss]:
    """Yield the loss of each convolution that is not kept, when it alone is in a lower precision.

    Args:
        lower: returns the net in that precision; the layers of its argument stay in float32.
        batches: images (N, 3, H, W) to compare the scores on.
    """
    layers, kept = convolutions(net.symbol), kept_layers(net.symbol, keep)
    expected = [outputs_of(net, {"data": batch}) for batch in batches]
    for layer in layers:
        if layer in kept:
            continue
        alone = lower([other for other in layers if other != layer])
        given = [outputs_of(alone, {"data": batch}) for batch in batches]
        heads = [[*zip(*outputs)] for outputs in zip(zip(*given), zip(*expected))]  # pairs for each image
        changed = max(np.mean([(a.argmax(1) != b.argmax(1)).mean() for a, b in pairs]) for pairs in heads)
        error = max(np.abs(a - b).max() / np.abs(b).max() for pairs in heads for a, b in pairs)
        yield Loss(layer, float(changed), float(error))


def _layers_of(node: dict) -> List[str]:
    """Convolutions in a node of a fused graph."""
    inner = [name for each in node.get("subgraphs", []) for name in Graph.read(each).named("Convolution")]
    return [node["name"], *inner] if node["op"] == "Convolution" else inner


def in_halves(net: Net, layer: str) -> Net:
    """Rewrite one convolution, without groups, so that it multiplies bfloat16 numbers as accurately as float32.

    A float32 number is, to 2^-16, the sum of two bfloat16 numbers, its halves: x = a + b with a = bf16(x),
    b = bf16(x - a). With w = c + d the product is x * w = a*c + b*c + a*d + b*d: one convolution of the
    channels (a, b, a, b) with the weights (c, c, d, d). It has four times the input channels, which is cheap
    where the image has three.

    Its weight (K, C, h, w) becomes LAYER_halves_weight, float32 (K, 4C, h, w). Its input becomes bfloat16 by
    `amp_cast` nodes.
    """
    graph, writer, args = Graph.of(net.symbol), Writer(), dict(net.arg_params)

    def split(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        if node["name"] != layer:
            return None
        weight, name = graph.nodes[node["inputs"][1][0]]["name"], f"{layer}_halves_weight"
        high, low = _halves(args.pop(weight))
        args[name] = mx.nd.concat(high, high, low, low, dim=1)
        return writer.copy(node, [_image(writer, inputs[0], layer), writer.variable(name), *inputs[2:]])

    symbol = writer.symbol(writer.write(graph, split))
    return net._replace(symbol=symbol, arg_params=args)


def _halves(array: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
    high = mx.nd.amp_cast(mx.nd.amp_cast(array, dtype=BFLOAT16), dtype="float32")
    return high, array - high


def _image(writer: Writer, x: Entry, layer: str) -> Entry:
    """The image's channels as (high, low, high, low) halves."""
    high = writer.add("amp_cast", f"{layer}_high", [x], dtype="bfloat16")
    same = writer.add("amp_cast", f"{layer}_high_float32", [high], dtype="float32")
    rest = writer.add("elemwise_sub", f"{layer}_rest", [x, same])
    low = writer.add("amp_cast", f"{layer}_low", [rest], dtype="bfloat16")
    return writer.add("Concat", f"{layer}_halves", [high, low, high, low], num_args=4, dim=1)

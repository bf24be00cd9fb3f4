"""Forward passes of one net with fixed weights, at many sizes; trimming a net; the memory of a pass."""

from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Container, Dict, Set

import numpy as np

from ..compat import mxnet as mx
from ..device_memory import SharedMemory, give_back, make_room
from ..feasible import LARGEST
from ..net import Net, Shape, check_size, layer_shapes, unfused
from ..symbols.graph.nodes import Graph
from ..symbols.interpolation import is_bilinear
from ..symbols.trimming.trimmed import Trimmer, fixed_params

SIZES = 16  # sizes whose executors are kept on a CPU; a GPU keeps more (`device_memory`)
# MXNet's oneDNN subgraph pass fuses layers. A fused executor gives the same bits in 3% less processor time
# (FCN-8s, full width, 500x375, trimmed or not). But its first pass reorders all weights, which costs as much as
# twenty passes save, and it keeps the reordered copy, 0.56 GB. So only sizes that come OFTEN are fused, and at
# most FUSED of them.
OFTEN, FUSED = 20, 2
# Operators that overwrite their input if no other layer needs it.
IN_PLACE = {"Activation", "LeakyReLU", "_mul_scalar", "elemwise_add", "_copy", "identity"}


@dataclass
class _Size:
    """The net for one input size, its executor, and the number of forward passes asked of it."""

    net: Net
    executor: mx.executor.Executor | None = None
    asked: int = 0
    fused: bool = False


class Passes:
    """Forward passes of a net, with one cached executor for each input size.

    The weights must not change meanwhile, since arrays computed from them are cached. All executors share the
    memory of one donor executor, bound at the largest height and width seen so far and never run.

    Args:
        net: the net, with its parameters on `ctx`. Nobody else may write to them.
        ctx: device to compute on.
        trim: compute only the part of the padded canvas that the image can influence (`trim`).
    """

    def __init__(self, net: Net, ctx: mx.Context, trim: bool = True) -> None:
        self.net, self.ctx, self.graph = net, ctx, Graph.of(net.symbol)
        self._trimmer = Trimmer(self.graph) if trim and _is_float32(net) else None
        self._bilinear = bilinear_weights(net, self._trimmer) if self._trimmer else set()
        self._kept: OrderedDict[Shape, _Size] = OrderedDict()
        self._memory = SharedMemory(ctx)

    def scores(self, data: mx.nd.NDArray | np.ndarray, where: object = "an image") -> mx.nd.NDArray:
        """Class scores (N, C, H, W) of images (N, 3, H, W). The next call overwrites them.

        Args:
            data: images, RGB minus the mean, float32. An array of NumPy's goes to the device once.
            where: name of the image in error messages.

        Raises:
            FCNXSError: the image is too small for the net.
        """
        shape = data.shape
        if shape not in self._kept:
            memory = self.ctx.device_type != "gpu"
            check_size(self.net.symbol, "data", shape, where, self.graph, memory)
            make_room(self._kept, self.ctx, SIZES)
            how = (shape, self._trimmer, self._bilinear)
            self._kept[shape] = _Size(trim(self.net, *how) if self._trimmer else self.net)
        self._kept.move_to_end(shape)
        size = self._kept[shape]
        self._memory.grow(shape, partial(self._bind, self.net), self._free)
        size.asked += 1
        # The first sizes to come often are fused; they will probably stay the most frequent.
        fuse = (
            size.asked >= OFTEN and not size.fused and sum(each.fused for each in self._kept.values()) < FUSED
        )
        if size.executor is None or fuse:
            size.executor, size.fused = self._bind(size.net, shape, fuse), fuse
        return size.executor.forward(is_train=False, data=data)[0]

    def has(self, shape: Shape) -> bool:
        """Whether the net for images of this shape (N, 3, H, W) is cached from an earlier pass."""
        return shape in self._kept

    def release(self) -> None:
        """Free all memory except that of the weights."""
        self._kept.clear()
        self._memory.release()
        give_back(self.ctx)

    def _free(self) -> None:
        for size in self._kept.values():
            size.executor, size.fused = None, False

    def _bind(self, net: Net, shape: Shape, fused: bool = False) -> mx.executor.Executor:
        args = {**net.arg_params, "data": mx.nd.empty(shape, self.ctx)}
        grads = {} if fused else unfused(net.symbol, self.net.arg_params)
        return self._memory.bind(net.symbol, args, grads, net.aux_params)


def bilinear_weights(net: Net, trimmer: Trimmer) -> Set[str]:
    """Names of the upsampling weights that are bilinear; they are copied from the device for that."""
    return {name for name in trimmer.upsampling_weights if is_bilinear(net.arg_params[name].asnumpy())}


def trim(net: Net, shape: Shape, trimmer: Trimmer | None = None, bilinear: Container[str] | None = None) -> Net:
    """The net for one image size, without the part of the padded canvas that no image can influence.

    The FCNs pad the image by 100 pixels; far from the image the layers' cells are the same for every image. A
    trimmed net stores these as constants (`symbols/trimming/trimmed.py` makes the graph).

    Input and output stay the same: `data` (N, 3, H, W), and scores (N, C, H, W) to float32's rounding, for any
    batch size N. The constants are computed from the present weights. A net that cannot be trimmed (it is
    trimmed already, or has parameters that are not float32) is returned unchanged.

    Args:
        net: the net without label and dropout, as `scores_symbol` makes it.
        shape: shape (N, 3, H, W) of the images.
        trimmer, bilinear: analysis of the net's graph, and its `bilinear_weights`, to share them between
            several sizes.
    """
    if not _is_float32(net):
        return net
    trimmer = trimmer or Trimmer(Graph.of(net.symbol))
    bilinear = bilinear_weights(net, trimmer) if bilinear is None else bilinear
    trimmed = trimmer.with_constants(shape[2:], bilinear)
    if trimmed is None:
        return net
    ctx = next(iter(net.arg_params.values())).context
    needed = {name: net.arg_params[name] for name in trimmed.constants.list_arguments()}
    outputs = trimmed.constants.bind(ctx, needed, grad_req="null").forward(is_train=False)
    # The constants are copied, so that they do not keep the executor's memory pool alive.
    known = {**net.arg_params, **{name: x.copy() for name, x in zip(trimmed.names, outputs)}}
    known.update({name: mx.nd.array(array, ctx) for name, array in trimmed.matrices.items()})
    args, auxs = fixed_params(trimmed.symbol, {"data": shape}, ctx)
    used = {name: known[name] for name in trimmed.symbol.list_arguments() if name in known}
    return Net(trimmed.symbol, {**used, **args}, {**net.aux_params, **auxs})


def _is_float32(net: Net) -> bool:
    return all(array.dtype == np.float32 for array in net.arg_params.values())


def peak_bytes(symbol: mx.sym.Symbol, graph: Graph, shapes: Dict[str, Shape], itemsize: int = 4) -> int:
    """Estimate of the most bytes that layer outputs take at one time during a forward pass.

    Parameters are not counted. The estimate allows for oneDNN, which pads channels to multiples of 16, stores
    inputs and outputs in a second memory layout, and copies a layer's weights into its own layout to run it.
    For a layer of more numbers than MXNet can count, no memory is enough.

    Args:
        symbol: the net.
        graph: the parsed graph of `symbol`.
        shapes: shapes of the inputs, by name.
        itemsize: bytes of one value.
    """
    by_name = layer_shapes(symbol, **shapes)
    if max(map(prod, by_name.values())) > LARGEST:
        return sys.maxsize
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


def _cells(shape: Shape) -> int:
    """Numbers of one image's output; of four axes with the channels that oneDNN adds."""
    if len(shape) != 4 or shape[1] <= 3:
        return prod(shape[1:])
    return -(-shape[1] // 16) * 16 * shape[2] * shape[3]

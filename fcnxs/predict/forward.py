"""Forward passes of one net with fixed weights, at many sizes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Tuple

from ..compat import mxnet as mx
from ..net import Net, SharedMemory, check_size, unfused
from ..symbols.graph.nodes import Graph
from ..symbols.trimming.trimmed import Trimmer
from .trim import trim as trimmed

Shape = Tuple[int, ...]

SIZES = 16  # sizes whose executors are kept; beyond that, the least recently used one is dropped
# MXNet's oneDNN subgraph pass fuses layers. A fused executor gives the same bits in 3% less processor time
# (FCN-8s, full width, 500x375, trimmed or not). But its first pass reorders all weights, which costs as much as
# twenty passes save, and it keeps the reordered copy, 0.56 GB. So only sizes that come OFTEN are fused, and at
# most FUSED of them.
OFTEN, FUSED = 20, 2


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
        trim: compute only the part of the padded canvas that the image can influence (`trim.py`).
    """

    def __init__(self, net: Net, ctx: mx.Context, trim: bool = True) -> None:
        self.net, self.ctx, self.graph = net, ctx, Graph.of(net.symbol)
        self._trimmer = Trimmer(self.graph) if trim else None
        self._kept: OrderedDict[Shape, _Size] = OrderedDict()
        self._memory = SharedMemory(ctx)

    def scores(self, data: mx.nd.NDArray, where: object = "an image") -> mx.nd.NDArray:
        """Class scores (N, C, H, W) of images (N, 3, H, W). The next call overwrites them.

        Args:
            data: images, RGB minus the mean, float32.
            where: name of the image in error messages.

        Raises:
            FCNXSError: the image is too small for the net.
        """
        shape = data.shape
        if shape not in self._kept:
            check_size(self.net.symbol, "data", shape, where)
            self._kept[shape] = _Size(
                self.net if self._trimmer is None else trimmed(self.net, shape, self._trimmer)
            )
            if len(self._kept) > SIZES:
                self._kept.popitem(last=False)
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

    def _free(self) -> None:
        for size in self._kept.values():
            size.executor, size.fused = None, False

    def _bind(self, net: Net, shape: Shape, fused: bool = False) -> mx.executor.Executor:
        args = {**net.arg_params, "data": mx.nd.empty(shape, self.ctx)}
        grads = {} if fused else unfused(net.symbol, self.net.arg_params)
        return self._memory.bind(net.symbol, args, grads, net.aux_params)

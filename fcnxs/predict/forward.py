"""Forward passes of one net with fixed weights, at many sizes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import Tuple

from ..binding import SharedMemory, unfused
from ..compat import mxnet as mx
from ..net import Net, check_size
from ..symbols.graph.nodes import Graph
from ..symbols.trimming.trimmed import Trimmer
from .trim import trim as trimmed

Shape = Tuple[int, ...]

SIZES = 16  # that are kept; beyond, the least recently used is dropped
# An executor that MXNet's oneDNN subgraph pass has fused gives the same bits with 3% less work (FCN-8s, full
# width, 500x375, trimmed or not: seconds of two processors). But it orders all weights anew in its first pass,
# which costs what twenty passes save, and keeps them, 0.56 GB. So a size has to come often.
OFTEN, FUSED = 20, 2


@dataclass
class _Size:
    """What is kept of a size: its net, an executor of it, how often it was asked for."""

    net: Net
    executor: mx.executor.Executor | None = None
    asked: int = 0
    fused: bool = False


class Passes:
    """Executors of a net by input size. The weights must not change: what is made of them is kept.

    All work in the arrays of one donor, bound at the largest height and width seen so far and never run.

    Args:
        net: parameters on `ctx`, nobody else's.
        trim: compute only what depends on the image (`trim.py`).
    """

    def __init__(self, net: Net, ctx: mx.Context, trim: bool = True) -> None:
        self.net, self.ctx, self.graph = net, ctx, Graph.of(net.symbol)
        self._trimmer = Trimmer(self.graph) if trim else None
        self._kept: OrderedDict[Shape, _Size] = OrderedDict()
        self._memory = SharedMemory(ctx)

    def scores(self, data: mx.nd.NDArray, where: object = "an image") -> mx.nd.NDArray:
        """Scores (N, C, H, W) of images (N, 3, H, W), valid until the next pass; `where` names the image.

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
        # Those that come often first are fused: they may well come most often.
        fuse = (
            size.asked >= OFTEN and not size.fused and sum(each.fused for each in self._kept.values()) < FUSED
        )
        if size.executor is None or fuse:
            size.executor, size.fused = self._bind(size.net, shape, fuse), fuse
        return size.executor.forward(is_train=False, data=data)[0]

    def has(self, shape: Shape) -> bool:
        """Whether images of a shape (N, 3, H, W) were computed before, and there is an executor for them."""
        return shape in self._kept

    def release(self) -> None:
        """Give back all memory but that of the weights."""
        self._kept.clear()
        self._memory.release()

    def _free(self) -> None:
        for size in self._kept.values():
            size.executor, size.fused = None, False

    def _bind(self, net: Net, shape: Shape, fused: bool = False) -> mx.executor.Executor:
        args = {**net.arg_params, "data": mx.nd.empty(shape, self.ctx)}
        grads = {} if fused else unfused(net.symbol, self.net.arg_params)
        return self._memory.bind(net.symbol, args, grads, net.aux_params)

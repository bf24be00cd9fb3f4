"""Memory of the device that a net computes on, and the executors that are kept and share arrays there."""

from __future__ import annotations

from collections import OrderedDict
from typing import Callable, Dict, Tuple

from .compat import mxnet as mx
from .system.memory import available_memory

Arrays = Dict[str, mx.nd.NDArray]
Shape = Tuple[int, ...]

# Sizes of images whose executors are kept on a GPU. To bind one takes Python 20 to 30 ms, a good part of a pass
# there. Beside the memory that they share, each takes some 2% of the largest's.
ON_GPU = 64
RESERVE = 1 / 8  # of a GPU's memory: if less is free, a new size drops the executors of all others


def free_memory(ctx: mx.Context) -> int:
    """Free bytes of a device. Blocks that MXNet's pool caches on a GPU are not free before `give_back`."""
    return mx.context.gpu_memory_info(ctx.device_id)[0] if is_gpu(ctx) else available_memory()


def give_back(ctx: mx.Context) -> None:
    """Wait until freed arrays are free, and give the blocks that MXNet's pool caches back to the device."""
    mx.nd.waitall()
    ctx.empty_cache()


def is_gpu(ctx: mx.Context) -> bool:
    """Whether a device has memory of its own."""
    return ctx.device_type == "gpu"


def make_room(kept: OrderedDict, ctx: mx.Context, on_cpu: int) -> None:
    """Drop executors, or what holds them, before one of a new size is bound.

    The least recently used ones go until fewer than `on_cpu` are left, on a GPU fewer than `ON_GPU`. All go if
    less than `RESERVE` of a GPU's memory is free, even without the blocks that MXNet's pool caches.

    Args:
        kept: by size, the least recently used first.
    """
    while len(kept) >= (ON_GPU if is_gpu(ctx) else on_cpu):
        kept.popitem(last=False)
    if kept and _is_short(ctx):
        give_back(ctx)
        if _is_short(ctx):
            kept.clear()


def _is_short(ctx: mx.Context) -> bool:
    if not is_gpu(ctx):
        return False
    free, total = mx.context.gpu_memory_info(ctx.device_id)
    return free < RESERVE * total


class SharedMemory:
    """Arrays of activations that the executors of one net share; only one of these may run at a time.

    Binding a net at many image sizes would allocate its activations once for each size. Instead one executor,
    the donor, is bound at the largest height and width, and all others work in its arrays:

        memory = SharedMemory(ctx)
        memory.grow(shape, bind, free)           # binds the donor if `shape` is larger than all before
        memory.bind(symbol, args, grads, auxs)   # an executor in the donor's arrays

    Args:
        ctx: device of all the executors.
    """

    def __init__(self, ctx: mx.Context) -> None:
        self.ctx = ctx
        self.donor: mx.executor.Executor | None = None
        self.shape: Shape = ()  # of the donor's image

    def grow(
        self, shape: Shape, bind: Callable[[Shape], mx.executor.Executor], free: Callable[[], None]
    ) -> None:
        """Bind a larger donor if an image of `shape` (N, 3, H, W) is larger in any of these than all before.

        Args:
            bind: binds the donor for an image of the shape that it is given. The donor is never run.
            free: drops the executors bound so far, so that their memory is free before the donor takes more.
        """
        largest = tuple(map(max, self.shape, shape)) if self.shape else shape
        if largest != self.shape:
            self.release()
            free()
            self.donor, self.shape = bind(largest), largest

    def bind(self, symbol: mx.sym.Symbol, args: Arrays, grads: Arrays, auxs: Arrays) -> mx.executor.Executor:
        """Bind an executor in the donor's arrays, or, without a donor, in its own.

        Args:
            args, auxs: arrays for all arguments and auxiliary states of `symbol`; more are ignored.
            grads: arrays that the backward pass writes gradients to; the other arguments get none.
        """
        requests = dict.fromkeys(grads, "write")
        return symbol.bind(self.ctx, args, grads, requests, auxs, shared_exec=self.donor)

    def release(self) -> None:
        """Drop the donor."""
        self.donor, self.shape = None, ()

"""Memory of the device that a net computes on, and how many executors are kept there."""

from __future__ import annotations

from collections import OrderedDict

from .compat import mxnet as mx
from .system.memory import available_memory

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

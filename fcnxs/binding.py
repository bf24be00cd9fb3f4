"""Executors that share memory, and the devices they run on.

Binding a net at many image sizes would allocate its activations once for each size. Instead one executor, the
donor, is bound at the largest height and width, and all others work in its arrays:

    memory = SharedMemory(ctx)
    memory.grow(shape, bind, free)           # binds the donor if `shape` is larger than all before
    memory.bind(symbol, args, grads, auxs)   # an executor in the donor's arrays
"""

from __future__ import annotations

from typing import Callable, List, Sequence

from .compat import mxnet as mx
from .net import Params, Shape


def devices_of(ctx: mx.Context | Sequence[mx.Context] | None) -> List[mx.Context]:
    """List of devices from one device, several, or None, which is the CPU."""
    return [ctx or mx.cpu()] if ctx is None or isinstance(ctx, mx.Context) else list(ctx)


def unfused(symbol: mx.sym.Symbol, params: Params) -> Params:
    """A gradient array that keeps MXNet from fusing the operators of a net bound for inference.

    Where no parameter has a gradient, MXNet fuses operators (oneDNN subgraphs). A fused executor copies all
    weights for each image size and does not see later updates. Requesting the gradient of one parameter
    prevents that. It costs nothing, because nobody runs the backward pass.

    Args:
        params: parameters of the net; the gradient is that of the one nearest to the output.
    """
    names = [name for name in symbol.list_arguments() if name in params]
    return {name: mx.nd.zeros_like(params[name]) for name in names[-1:]}


class SharedMemory:
    """Arrays of activations that the executors of one net share; only one of these may run at a time.

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

    def bind(self, symbol: mx.sym.Symbol, args: Params, grads: Params, auxs: Params) -> mx.executor.Executor:
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

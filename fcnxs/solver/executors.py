"""MXNet executors of one net, kept by input size."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from math import prod

from ..binding import SharedMemory, unfused
from ..compat import mxnet as mx
from ..net import Net, Params, Shape, check_size
from ..symbols.graph.nodes import Graph
from ..symbols.trimming.trimmed import Trimmer, fixed_params


class Executors:
    """Executors of one net, one for each input size.

    All of them work in the same memory (`SharedMemory`), their inputs too, so that inputs and outputs are valid
    until the next pass of any of them. Beyond `bound` sizes, the least recently used executor is dropped.
    """

    def __init__(self, net: Net, ctx: mx.Context, grads: Params | None = None, trim: bool = False) -> None:
        """Keep the parameters; executors are bound when images come.

        Args:
            net: its parameters are on `ctx`, and used in place: the executors see updates.
            grads: gradient arrays of the parameters to train, in their shapes, on `ctx`; None: inference only.
            trim: compute only what depends on the image, if the net allows it (`symbols/trimming`).
        """
        # For each trimmed executor, MXNet keeps copies of padded arrays; binding anew takes little of a step.
        self.net, self.ctx, self.bound = net, ctx, 1 if trim else 8
        self.grads = unfused(net.symbol, net.arg_params) if grads is None else grads
        self.graph = Graph.of(net.symbol)
        self._trimmer = Trimmer(self.graph) if trim else None
        self._kept: OrderedDict[Shape, mx.executor.Executor] = OrderedDict()
        self._memory = SharedMemory(ctx)
        self._inputs: Params = {}

    def get(self, name: str, shape: Shape, where: object = "an image") -> mx.executor.Executor:
        """Executor whose input `name` has `shape` (N, 3, H, W); `where` names the image in an error.

        Raises:
            FCNXSError: the input is too small for the net.
        """
        if shape not in self._kept:
            check_size(self.net.symbol, name, shape, where)
            self._memory.grow(shape, partial(self._bind, name), self._free)
            while len(self._kept) >= self.bound:
                self._kept.popitem(last=False)
            self._kept[shape] = self._bind(name, shape)
        self._kept.move_to_end(shape)
        return self._kept[shape]

    def _free(self) -> None:
        self._kept.clear()
        self._inputs = {}

    def _bind(self, name: str, shape: Shape) -> mx.executor.Executor:
        symbol = self._trimmer.for_training(shape[2:]) if self._trimmer else None
        symbol = self.net.symbol if symbol is None else symbol
        known, auxs = fixed_params(symbol, {name: shape}, self.ctx)
        known.update(self.net.arg_params)
        shapes, _, _ = symbol.infer_shape(**{name: shape})
        args = {
            arg: known[arg] if arg in known else self._input(arg, arg_shape)
            for arg, arg_shape in zip(symbol.list_arguments(), shapes)
        }
        return self._memory.bind(symbol, args, self.grads, {**auxs, **self.net.aux_params})

    def _input(self, name: str, shape: Shape) -> mx.nd.NDArray:
        """Array of an input: the beginning of the one that the donor has."""
        if name not in self._inputs:
            self._inputs[name] = mx.nd.zeros(shape, self.ctx)
        return self._inputs[name].reshape(-1)[: prod(shape)].reshape(shape)

"""MXNet executors of one net: kept by input size (`Executors`), or in less memory (`Segments`).

`Segments` cuts the net into segments, whose activations are computed again when the backward pass needs them:

    forward      data -> segment 1 -> pool1 -> segment 2 -> pool2 -> segment 3 -> loss
    backward     segment 3;  segment 2 forward again, then back;  segment 1 forward again, then back

Only pool1 and pool2 are kept between the passes. At any time, one segment's activations are in memory.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import FrozenSet, List, NamedTuple, Sequence, Tuple

from ..compat import mxnet as mx
from ..device_memory import SharedMemory, make_room
from ..errors import FCNXSError
from ..net import Net, Params, Shape, check_size, unfused
from ..symbols.graph.nodes import Entry, Graph, Node
from ..symbols.graph.rewrite import Writer, symbol_of
from ..symbols.trimming.trimmed import Trimmer, fixed_params
from ..symbols.upsampling import upsamples_bilinearly, upsamplings, with_products

# Layers behind which a net is cut. The layers before them are VGG-16's widest. All layers behind them together
# need less memory than the first segment alone, so that a third cut would save nothing.
CUTS = ("pool1", "pool2")


class Executors:
    """Executors of one net, one for each input size.

    Bilinear upsampling that is not trained is computed as two products (`symbols/upsampling.py`). A softmax
    behind it then has a label (N*H*W,) and probabilities (N*H*W, C).

    All of them work in the same memory (`SharedMemory`), their inputs too, so that inputs and outputs are valid
    until the next pass of any of them. Beyond `bound` sizes, the least recently used executor is dropped; a GPU
    keeps more, as its memory allows (`device_memory.make_room`).
    """

    def __init__(self, net: Net, ctx: mx.Context, grads: Params | None = None, trim: bool = False) -> None:
        """Keep the parameters; executors are bound when images come.

        Args:
            net: its parameters are on `ctx`, and used in place: the executors see updates.
            grads: gradient arrays of the parameters to train, in their shapes, on `ctx`; None: inference only.
            trim: compute only what depends on the image, if the net allows it (`symbols/trimming`).
        """
        # For each trimmed executor, oneDNN keeps copies of padded arrays; binding anew takes little of a step.
        self.net, self.ctx, self.bound = net, ctx, 1 if trim else 8
        self.grads = unfused(net.symbol, net.arg_params) if grads is None else grads
        self.graph = Graph.of(net.symbol)
        self._trimmer = Trimmer(self.graph) if trim else None
        self._fixed = [name for name in upsamplings(self.graph) if name not in self.grads]
        self._bilinear: FrozenSet[str] = frozenset()  # of these, the weights that are bilinear now
        self._kept: OrderedDict[Shape, mx.executor.Executor] = OrderedDict()
        self._memory = SharedMemory(ctx)
        self._inputs: Params = {}

    def get(self, name: str, shape: Shape, where: object = "an image") -> mx.executor.Executor:
        """Executor whose input `name` has `shape` (N, 3, H, W); `where` names the image in an error.

        Raises:
            FCNXSError: the input is too small for the net.
        """
        self._look_at_weights()
        if shape not in self._kept:
            check_size(self.net.symbol, name, shape, where, self.graph, self.ctx.device_type != "gpu")
            self._memory.grow(shape, partial(self._bind, name), self._free)
            make_room(self._kept, self.ctx, self.bound)
            self._kept[shape] = self._bind(name, shape)
        self._kept.move_to_end(shape)
        return self._kept[shape]

    def _free(self) -> None:
        self._kept.clear()
        self._inputs = {}

    def _look_at_weights(self) -> None:
        """Find the upsampling that is bilinear now; if it is another than before, bind everything anew."""
        params = self.net.arg_params
        bilinear = frozenset(name for name in self._fixed if upsamples_bilinearly(params[name]))
        if bilinear != self._bilinear:
            self._bilinear = bilinear
            self._memory.release()
            self._free()

    def _bind(self, name: str, shape: Shape) -> mx.executor.Executor:
        trimmed = self._trimmer.for_training(shape[2:]) if self._trimmer else None
        symbol = symbol_of(with_products(trimmed or self.graph, self._bilinear, shape[2:]))
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


class Segment(NamedTuple):
    """A part of the net, and the names of its outputs, which are arguments of the segments after it."""

    symbol: mx.sym.Symbol
    names: List[str]


class Segments(Executors):
    """A net that takes the place of `Executors` in a `Replica`, with less memory and more time.

    Each segment is bound when it runs and freed when it has run. The backward pass runs all segments but the
    last forward again; dropout, which would draw other numbers, is in the last. The constants of a trimmed net
    are a segment before the others.

    The arguments are those of `Executors`; `grads` must be given.

    Raises:
        FCNXSError: the net has no layer to be cut behind.
    """

    def __init__(self, net: Net, ctx: mx.Context, grads: Params, trim: bool = False) -> None:
        super().__init__(net, ctx, grads, trim)
        cut_into_segments(self.graph)  # refuses a net that cannot be cut
        self._segments = lru_cache(maxsize=64)(self._make_segments)

    def get(self, name: str, shape: Shape, where: object = "an image") -> Pass:
        """One pass forward and back on an input `name` of `shape` (N, 3, H, W).

        Raises:
            FCNXSError: the input is too small for the net; `where` names the image.
        """
        self._look_at_weights()
        whole, arg_params, aux_params = self.net
        check_size(whole, name, shape, where, self.graph, self.ctx.device_type != "gpu")
        segments, symbol = self._segments(shape[2:])
        shapes, outputs, _ = symbol.infer_shape(**{name: shape})
        named = zip(symbol.list_arguments(), shapes)
        inputs = {arg: mx.nd.zeros(size, self.ctx) for arg, size in named if arg not in arg_params}
        args, auxs = fixed_params(symbol, {name: shape}, self.ctx)
        outputs = [mx.nd.zeros(size, self.ctx) for size in outputs]
        args, auxs = {**arg_params, **args, **inputs}, {**aux_params, **auxs}
        return Pass(segments, args, self.grads, auxs, outputs)

    def _make_segments(self, size: Tuple[int, int]) -> Tuple[List[Segment], mx.sym.Symbol]:
        """Segments for images of a size (H, W), and the net that they make up."""
        trimmed = self._trimmer.with_constants(size, trained=True) if self._trimmer else None
        graph = with_products(trimmed.graph if trimmed else self.graph, self._bilinear, size)
        before = [Segment(trimmed.constants, trimmed.names)] if trimmed else []
        return [*before, *cut_into_segments(graph)], symbol_of(graph)

    def _free(self) -> None:
        super()._free()
        self._segments.cache_clear()


@dataclass
class Pass:
    """Takes the place of an executor in a `Replica`, for one pass forward and one back.

    Args:
        segments: the parts of the net, in order.
        arg_dict: arrays of all arguments; the caller fills the inputs before `forward`.
        grads: gradients that `backward` writes, of the parameters to train.
        outputs: arrays that `forward` fills, in the shapes of the net's outputs.
    """

    segments: List[Segment]
    arg_dict: Params
    grads: Params
    auxs: Params
    outputs: List[mx.nd.NDArray]

    def __post_init__(self) -> None:
        self._ctx, self._grads, self._last = self.outputs[0].context, dict(self.grads), None
        uses = Counter(name for segment in self.segments for name in segment.symbol.list_arguments())
        self._shared = [name for name in self.grads if uses[name] > 1]
        self._requests = {name: "add" if count > 1 else "write" for name, count in uses.items()}

    def forward(self, is_train: bool = False) -> List[mx.nd.NDArray]:
        """Compute `outputs`, in the shapes of the net's outputs, and return them."""
        for segment in self.segments[:-1]:
            # Copies, because an output may lie in a larger array of the segment's, which is to be freed.
            kept = [x.copy() for x in self._bind(segment).forward(is_train)]
            mx.nd.waitall()  # the segment's memory is free before the next one takes its own
            for name, array in zip(segment.names, kept):
                self.arg_dict[name], self._grads[name] = array, mx.nd.zeros(array.shape, self._ctx)
        executor = self._bind(self.segments[-1])
        for own, output in zip(self.outputs, executor.forward(is_train)):
            output.copyto(own)
        self._last = executor if is_train else None
        return self.outputs

    def backward(self) -> None:
        """Write the gradients; to be called once after `forward(is_train=True)`."""
        for name in self._shared:
            self._grads[name][:] = 0
        self._last.backward()
        self._last = None
        for segment in reversed(self.segments[:-1]):
            heads = [self._grads.pop(name) for name in segment.names]
            for name, grad in zip(segment.names, heads):
                del self.arg_dict[name]
                grad.wait_to_read()
            executor = self._bind(segment)
            executor.forward(is_train=True)
            executor.backward(heads)
            del executor  # frees its memory before the next one is bound

    def _bind(self, segment: Segment) -> mx.executor.Executor:
        requests = {name: self._requests[name] for name in self._grads if name in self._requests}
        return segment.symbol.bind(self._ctx, self.arg_dict, self._grads, requests, self.auxs)


def cut_into_segments(graph: Graph) -> List[Segment]:
    """Segments of a net, cut behind `CUTS`. The output of each but the last is an argument named as its layer.

    Raises:
        FCNXSError: the net has no such layer.
    """
    segments, numbers = [], {node["name"]: number for number, node in enumerate(graph.nodes)}
    for k, cut in enumerate(CUTS):
        if cut not in numbers:
            raise FCNXSError(
                f"recompute: the net has no layer {cut!r} to be cut behind; train it without recompute"
            )
        segments.append(Segment(_behind(graph, CUTS[:k], [[numbers[cut], 0, 0]]), [cut]))
    last = _behind(graph, CUTS, graph.heads)
    return [*segments, Segment(last, last.list_outputs())]


def _behind(graph: Graph, layers: Sequence[str], heads: List[Entry]) -> mx.sym.Symbol:
    """Net that computes `heads` from the outputs of `layers`, which become its arguments."""
    writer = Writer()

    def argument(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        return writer.variable(node["name"]) if node["name"] in layers else None

    return writer.symbol(writer.write(graph, argument, heads))

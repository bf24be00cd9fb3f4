"""Training of a net in segments: what passes between them is kept, what is within them computed again."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import List, NamedTuple, Sequence, Tuple

from ..compat import mxnet as mx
from ..errors import FCNXSError
from ..net import Params, Shape, check_size
from ..symbols.graph.nodes import Entry, Graph, Node
from ..symbols.graph.rewrite import Writer
from ..symbols.trimming.trimmed import Trimmer, fixed_params

# Layers behind which a net is cut. Those before them are VGG-16's widest; all others together need less
# memory than the first segment alone, so that a cut more would save nothing.
CUTS = ("pool1", "pool2")


class Part(NamedTuple):
    """A segment, and the names of its outputs: arguments of those after it."""

    symbol: mx.sym.Symbol
    names: List[str]


class Segments:
    """A net that `Replica` trains as one of `Executors`, with less memory and more time.

    A pass binds each segment when it runs, and frees its memory when it has run: what is needed at once is
    that of one segment, not of all. The pass back runs all but the last forward again. Dropout, which would
    not be the same again, is in the last. The constants of a trimmed net are a segment before the others.

    The arguments, which are those of `Executors`, are used in place.

    Raises:
        FCNXSError: the net has no layer to be cut behind.
    """

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        ctx: mx.Context,
        arg_params: Params,
        aux_params: Params,
        grads: Params,
        trim: bool = False,
    ) -> None:
        self.symbol, self.ctx = symbol, ctx
        self.arg_params, self.aux_params, self.grads = arg_params, aux_params, grads
        graph = Graph.of(symbol)
        self._whole = segments(graph)
        self._trimmer = Trimmer(graph) if trim else None
        self._parts = lru_cache(maxsize=64)(self._make_parts)

    def get(self, name: str, shape: Shape, where: object = "an image") -> Pass:
        """What runs once, forward and back, on an input `name` of `shape` (N, 3, H, W).

        Raises:
            FCNXSError: the input is too small for the net; `where` names the image.
        """
        check_size(self.symbol, name, shape, where)
        shapes, outputs, _ = self.symbol.infer_shape(**{name: shape})
        named = zip(self.symbol.list_arguments(), shapes)
        inputs = {arg: mx.nd.zeros(size, self.ctx) for arg, size in named if arg not in self.arg_params}
        parts, symbol = self._parts(shape[2:])
        args, auxs = fixed_params(symbol, {name: shape}, self.ctx)
        outputs = [mx.nd.zeros(size, self.ctx) for size in outputs]
        return Pass(
            parts,
            self.ctx,
            {**self.arg_params, **args, **inputs},
            self.grads,
            {**self.aux_params, **auxs},
            outputs,
        )

    def _make_parts(self, size: Tuple[int, int]) -> Tuple[List[Part], mx.sym.Symbol]:
        """Segments for images of a size, and the whole."""
        trimmed = self._trimmer.with_constants(size, trained=True) if self._trimmer else None
        if trimmed is None:
            return self._whole, self.symbol
        return [Part(trimmed.constants, trimmed.names), *segments(trimmed.graph)], trimmed.symbol


class Pass:
    """What `Replica` uses of an executor, for one pass forward and one back.

    Args:
        parts: what passes.
        arg_dict: arguments, of which the net's inputs are to be filled before `forward`.
        grads: arrays of gradients of parameters, which `backward` fills; the others are not trained.
        outputs: arrays that `forward` fills, in the shapes of the net's.
    """

    def __init__(
        self,
        parts: List[Part],
        ctx: mx.Context,
        arg_dict: Params,
        grads: Params,
        aux_params: Params,
        outputs: List[mx.nd.NDArray],
    ) -> None:
        self.arg_dict, self.outputs = arg_dict, outputs
        self._parts, self._ctx, self._auxs = parts, ctx, aux_params
        self._grads, self._last = dict(grads), None
        uses = Counter(name for part in parts for name in part.symbol.list_arguments())
        self._shared = [name for name in grads if uses[name] > 1]
        self._req = {name: "add" if count > 1 else "write" for name, count in uses.items()}

    def forward(self, is_train: bool = False) -> List[mx.nd.NDArray]:
        """Compute `outputs`, in their shapes."""
        for part in self._parts[:-1]:
            kept = [
                x.copy() for x in self._bind(part).forward(is_train)
            ]  # not the room, of wider layers, they are in
            mx.nd.waitall()  # the segment's memory is free before the next one's is taken
            for name, array in zip(part.names, kept):
                self.arg_dict[name], self._grads[name] = array, mx.nd.zeros(array.shape, self._ctx)
        executor = self._bind(self._parts[-1])
        for own, output in zip(self.outputs, executor.forward(is_train)):
            output.copyto(own)
        self._last = executor if is_train else None
        return self.outputs

    def backward(self) -> None:
        """Write the gradients, once after `forward` with `is_train`."""
        for name in self._shared:
            self._grads[name][:] = 0
        self._last.backward()
        self._last = None
        for part in reversed(self._parts[:-1]):
            heads = [self._grads.pop(name) for name in part.names]
            for name, grad in zip(part.names, heads):
                del self.arg_dict[name]
                grad.wait_to_read()
            executor = self._bind(part)
            executor.forward(is_train=True)
            executor.backward(heads)
            del executor  # before the next is bound

    def _bind(self, part: Part) -> mx.executor.Executor:
        names = part.symbol.list_arguments()
        args = {name: self.arg_dict[name] for name in names}
        grads = {name: self._grads[name] for name in names if name in self._grads}
        req = {name: self._req[name] if name in grads else "null" for name in names}
        auxs = {name: self._auxs[name] for name in part.symbol.list_auxiliary_states()}
        return part.symbol.bind(self._ctx, args, grads, req, auxs)


def segments(graph: Graph) -> List[Part]:
    """Parts of a net, cut behind `CUTS`; the output of each but the last is an argument, of its layer's name.

    Raises:
        FCNXSError: the net has no such layer.
    """
    parts, numbers = [], {node["name"]: number for number, node in enumerate(graph.nodes)}
    for k, cut in enumerate(CUTS):
        if cut not in numbers:
            raise FCNXSError(f"mirror: the net has no layer {cut!r} to be cut behind; train it without mirror")
        parts.append(Part(_behind(graph, CUTS[:k], [[numbers[cut], 0, 0]]), [cut]))
    last = _behind(graph, CUTS, graph.heads)
    return [*parts, Part(last, last.list_outputs())]


def _behind(graph: Graph, layers: Sequence[str], heads: List[Entry]) -> mx.sym.Symbol:
    """A net's outputs, computed from those of some of its layers, which become arguments."""
    writer = Writer()

    def argument(_: int, node: Node, inputs: List[Entry]) -> Entry | None:
        return writer.variable(node["name"]) if node["name"] in layers else None

    return writer.symbol(writer.write(graph, argument, heads))

"""Training of a net in segments: what passes between them is kept, what is within them computed again."""

from __future__ import annotations

import json
from typing import List

from .compat import mxnet as mx
from .errors import FCNXSError
from .executors import Shape, check_size
from .init import Params

# Layers behind which a net is cut. Those before them are VGG-16's widest; all others together need less
# memory than the first segment alone, so that a cut more would save nothing.
CUTS = ("pool1", "pool2")


class Segments:
    """A net that `Replica` trains as one of `Executors`, with less memory and more time.

    A pass binds each segment when it runs, and frees its memory when it has run: what is needed at once is
    that of one segment, not of all. The pass back runs all but the last forward again. Dropout, which would
    not be the same again, is in the last.

    The arguments, which are those of `Executors`, are used in place.

    Raises:
        FCNXSError: the net has no layer to be cut behind.
    """

    def __init__(
        self, symbol: mx.sym.Symbol, ctx: mx.Context, arg_params: Params, aux_params: Params, grads: Params
    ) -> None:
        self.symbol, self.ctx = symbol, ctx
        self.arg_params, self.aux_params, self.grads = arg_params, aux_params, grads
        self.parts = segments(symbol)
        used = [name for part in self.parts for name in part.list_arguments()]
        self.grad_req = {**dict.fromkeys(used, "null"), **dict.fromkeys(grads, "write")}
        self.grad_req.update({cut: "add" if used.count(cut) > 1 else "write" for cut in CUTS})

    def get(self, name: str, shape: Shape, where: object = "an image") -> Pass:
        """What runs once, forward and back, on an input `name` of `shape` (N, 3, H, W).

        Raises:
            FCNXSError: the input is too small for the net; `where` names the image.
        """
        check_size(self.symbol, name, shape, where)
        shapes, outputs, _ = self.symbol.infer_shape(**{name: shape})
        named = zip(self.symbol.list_arguments(), shapes)
        inputs = {arg: mx.nd.zeros(size, self.ctx) for arg, size in named if arg not in self.arg_params}
        return Pass(self, inputs, [mx.nd.zeros(size, self.ctx) for size in outputs])


class Pass:
    """What `Replica` uses of an executor, for one pass forward and one back.

    Args:
        net: what passes.
        inputs: arrays of the net's inputs, to be filled before `forward`.
        outputs: arrays that `forward` fills.
    """

    def __init__(self, net: Segments, inputs: Params, outputs: List[mx.nd.NDArray]) -> None:
        self.arg_dict, self.outputs = {**net.arg_params, **inputs}, outputs
        self._net, self._last = net, None
        self._grads = dict(net.grads)

    def forward(self, is_train: bool = False) -> List[mx.nd.NDArray]:
        """Compute `outputs`."""
        for cut, part in zip(CUTS, self._net.parts):
            kept = self._bind(part).forward(is_train)[0].copy()  # not the room, of a wider layer, that it is in
            kept.wait_to_read()  # the segment's memory is free before the next one's is taken
            self.arg_dict[cut], self._grads[cut] = kept, mx.nd.zeros(kept.shape, self._net.ctx)
        executor = self._bind(self._net.parts[-1])
        for own, output in zip(self.outputs, executor.forward(is_train)):
            output.copyto(own)
        self._last = executor if is_train else None
        return self.outputs

    def backward(self) -> None:
        """Write the gradients, once after `forward` with `is_train`."""
        self._last.backward()
        self._last = None
        for cut, part in reversed(list(zip(CUTS, self._net.parts))):
            del self.arg_dict[cut]
            grad = self._grads.pop(cut)
            grad.wait_to_read()
            executor = self._bind(part)
            executor.forward(is_train=True)
            executor.backward(grad)
            del executor  # before the next is bound

    def _bind(self, part: mx.sym.Symbol) -> mx.executor.Executor:
        net, names = self._net, part.list_arguments()
        args = {name: self.arg_dict[name] for name in names}
        grads = {name: self._grads[name] for name in names if name in self._grads}
        auxs = {name: net.aux_params[name] for name in part.list_auxiliary_states()}
        return part.bind(net.ctx, args, grads, {name: net.grad_req[name] for name in names}, auxs)


def segments(symbol: mx.sym.Symbol) -> List[mx.sym.Symbol]:
    """Parts of a net, cut behind `CUTS`; the output of each but the last is an argument, of its layer's name.

    Raises:
        FCNXSError: the net has no such layer.
    """
    graph, parts = json.loads(symbol.tojson()), []
    numbers = {node["name"]: number for number, node in enumerate(graph["nodes"])}
    for cut in CUTS:
        if cut not in numbers:
            raise FCNXSError(f"mirror: the net has no layer {cut!r} to be cut behind; train it without mirror")
        heads = [[numbers[cut], 0, 0]]
        parts.append(mx.sym.load_json(json.dumps({**graph, "heads": heads})))
        graph["nodes"][numbers[cut]] = {"op": "null", "name": cut, "inputs": []}
    return [*parts, mx.sym.load_json(json.dumps(graph))]

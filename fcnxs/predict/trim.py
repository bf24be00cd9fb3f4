"""Nets that compute only what depends on the image: the same scores in less time (`symbols/trimmed.py`)."""

from __future__ import annotations

from typing import Tuple

import numpy as np

from ..compat import mxnet as mx
from ..net import Net
from ..symbols.graph.nodes import Graph
from ..symbols.interpolation import is_bilinear
from ..symbols.trimming.trimmed import Trimmer, fixed_params


def trim(net: Net, shape: Tuple[int, int, int, int], trimmer: Trimmer | None = None) -> Net:
    """The net for images of one shape (N, 3, H, W), without the part of its canvas that no image changes.

    Input and output stay: `data`, and scores (N, C, H, W), to float32's rounding. The batch size N is free.
    What does not depend on the image is computed here, of the weights as they are now. A net that cannot be
    trimmed, such as one that has been trimmed or is not all float32, is returned as it is.

    Args:
        net: without label and dropout, as `scores_symbol` makes it.
        trimmer: of the net's graph, where it is trimmed for several sizes.
    """
    if any(array.dtype != np.float32 for array in net.arg_params.values()):
        return net
    trimmer = trimmer or Trimmer(Graph.of(net.symbol))
    bilinear = {name for name in trimmer.upsampling_weights if is_bilinear(net.arg_params[name].asnumpy())}
    trimmed = trimmer.with_constants(shape[2:], bilinear)
    if trimmed is None:
        return net
    ctx = next(iter(net.arg_params.values())).context
    needed = {name: net.arg_params[name] for name in trimmed.constants.list_arguments()}
    outputs = trimmed.constants.bind(ctx, needed, grad_req="null").forward(is_train=False)
    known = {**net.arg_params, **{name: x.copy() for name, x in zip(trimmed.names, outputs)}}  # not their pool
    known.update({name: mx.nd.array(array, ctx) for name, array in trimmed.matrices.items()})
    args, auxs = fixed_params(trimmed.symbol, {"data": shape}, ctx)
    used = {name: known[name] for name in trimmed.symbol.list_arguments() if name in known}
    return Net(trimmed.symbol, {**used, **args}, {**net.aux_params, **auxs})

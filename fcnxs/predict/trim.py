"""Trim a net to the cells that depend on the image: the same scores in less time.

The FCNs pad the image by 100 pixels; far from the image the layers' cells are the same for every image. A
trimmed net stores these as constants (`symbols/trimming/trimmed.py` makes the graph).
"""

from __future__ import annotations

from typing import Tuple

import numpy as np

from ..compat import mxnet as mx
from ..net import Net
from ..symbols.graph.nodes import Graph
from ..symbols.interpolation import is_bilinear
from ..symbols.trimming.trimmed import Trimmer, fixed_params


def trim(net: Net, shape: Tuple[int, int, int, int], trimmer: Trimmer | None = None) -> Net:
    """The net for one image size, without the part of the padded canvas that no image can influence.

    Input and output stay the same: `data` (N, 3, H, W), and scores (N, C, H, W) to float32's rounding, for any
    batch size N. The constants are computed from the present weights. A net that cannot be trimmed (it is
    trimmed already, or has parameters that are not float32) is returned unchanged.

    Args:
        net: the net without label and dropout, as `scores_symbol` makes it.
        shape: shape (N, 3, H, W) of the images.
        trimmer: analysis of the net's graph, to share it between several sizes.
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
    # The constants are copied, so that they do not keep the executor's memory pool alive.
    known = {**net.arg_params, **{name: x.copy() for name, x in zip(trimmed.names, outputs)}}
    known.update({name: mx.nd.array(array, ctx) for name, array in trimmed.matrices.items()})
    args, auxs = fixed_params(trimmed.symbol, {"data": shape}, ctx)
    used = {name: known[name] for name in trimmed.symbol.list_arguments() if name in known}
    return Net(trimmed.symbol, {**used, **args}, {**net.aux_params, **auxs})

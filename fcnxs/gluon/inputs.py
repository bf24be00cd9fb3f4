"""What a Gluon net refuses: inputs, and parameters without values."""

from __future__ import annotations

import numpy as np

from ..compat import mxnet as mx
from ..errors import FCNXSError


def check_input(x: mx.nd.NDArray, dtype: np.dtype) -> None:
    """Raise FCNXSError unless an input is images (N, 3, H, W) of `dtype`, the net's type."""
    if not isinstance(x, mx.nd.NDArray):
        raise FCNXSError(f"input: expected an mx.nd.NDArray (N, 3, H, W), not {type(x).__name__}")
    if x.ndim != 4 or x.shape[1] != 3:
        raise FCNXSError(f"input of shape {x.shape}: expected (N, 3, H, W), RGB of 0 to 255 minus the mean")
    if x.dtype != dtype:
        kind = np.dtype(x.dtype).name
        raise FCNXSError(
            f"input of type {kind}: the net is {dtype.name}; cast one of them "
            f"(x.astype({dtype.name!r}), net.cast({kind!r}))"
        )
    if x.dtype == np.float16 and x.context.device_type != "gpu":
        raise FCNXSError("input of type float16 on the CPU: MXNet computes float16 only on GPUs")


def check_values(net: mx.gluon.Block, ctx: mx.Context | None = None) -> None:
    """Raise FCNXSError if a parameter of a net has no value, or none on `ctx`."""
    for name, parameter in net.params.items():
        try:
            there = parameter.list_ctx()
        except RuntimeError:
            raise FCNXSError(
                f"parameter {name} has no value yet: call initialize(ctx=...) "
                "or load_parameters(FILE, ctx=...) first"
            ) from None
        if ctx not in (None, *there):
            places = ", ".join(map(str, there))
            raise FCNXSError(f"input on {ctx}, parameters on {places}: collect_params().reset_ctx(...)")

"""A graph with its parameters."""

from __future__ import annotations

from typing import NamedTuple

from .compat import mxnet as mx
from .init import Params


class Net(NamedTuple):
    """A graph whose one input is `data` (N, 3, H, W), float32, RGB minus the mean, and its parameters."""

    symbol: mx.sym.Symbol
    arg_params: Params
    aux_params: Params

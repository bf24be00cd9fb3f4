"""First values of a Gluon net's parameters."""

from __future__ import annotations

from typing import Sequence

from ..compat import mxnet as mx
from ..net import DECONVOLUTIONS, SCORES
from ..symbols.interpolation import bilinear


def first_values(name: str, shape: Sequence[int]) -> mx.init.Initializer | None:
    """Initializer of a parameter; None: the one that `initialize` gets."""
    layer = name.rpartition("_")[0]
    if layer in DECONVOLUTIONS:
        return _Bilinear()
    if len(shape) == 1 and name.endswith(("gamma", "var")):  # of a batch normalisation
        return mx.init.One()
    return mx.init.Zero() if len(shape) == 1 or layer in SCORES else None


class _Bilinear(mx.init.Initializer):
    """Bilinear upsampling of each channel by itself; MXNet's initializer of that name adds up all channels."""

    def _init_weight(self, _: str, array: mx.nd.NDArray) -> None:
        array[:] = bilinear(array.shape)

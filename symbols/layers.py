"""The layers of the nets' figures, a call each. Symbols in, Symbol out; nothing else is remembered.

Every layer takes the settings of MXNet's operator that the original example gave it and no others, so
that graphs built here equal the original's node for node.
"""

from __future__ import annotations

from ..compat import mxnet as mx
from ..errors import FCNXSError
from . import graph

Symbol = mx.sym.Symbol


def conv(x: Symbol, name: str, channels: int, kernel: int = 3, pad: int = 0, workspace: int = 1024) -> Symbol:
    """Convolution with a square kernel and stride 1. (N, C, H, W) to (N, channels, H', W')."""
    settings = {"pad": (pad, pad)} if pad else {}
    return mx.sym.Convolution(
        x, kernel=(kernel, kernel), num_filter=channels, workspace=workspace, name=name, **settings
    )


def relu(x: Symbol, name: str) -> Symbol:
    """max(x, 0)."""
    return mx.sym.Activation(x, act_type="relu", name=name)


def conv_relu(x: Symbol, suffix: str, channels: int, pad: int = 1, workspace: int = 1024) -> Symbol:
    """3x3 convolution `conv{suffix}` and its `relu{suffix}`."""
    return relu(conv(x, f"conv{suffix}", channels, pad=pad, workspace=workspace), f"relu{suffix}")


def pool(x: Symbol, name: str) -> Symbol:
    """2x2 maximum pooling with stride 2, sizes rounded down."""
    return mx.sym.Pooling(x, pool_type="max", kernel=(2, 2), stride=(2, 2), name=name)


def dropout(x: Symbol, name: str) -> Symbol:
    """Drop half of the values while training, and double the others."""
    return mx.sym.Dropout(x, p=0.5, name=name)


def deconv(x: Symbol, name: str, channels: int, factor: int, workspace: int = 1024) -> Symbol:
    """Upsampling by `factor` with a kernel of twice that. `adj` makes up for pooling's rounding down."""
    return mx.sym.Deconvolution(
        x,
        kernel=(2 * factor, 2 * factor),
        stride=(factor, factor),
        adj=(factor - 1, factor - 1),
        num_filter=channels,
        workspace=workspace,
        name=name,
    )


def crop(x: Symbol, like: Symbol, name: str | None = None) -> Symbol:
    """`x` cut to the size of `like` where its cells lie on those of `like`.

    The offset comes from composing the coordinate maps of the graph (FCN paper, section 3.2 and the
    authors' coord_map.py).

    Raises:
        FCNXSError: the two cannot be aligned: different scale, negative or fractional offset.
    """
    return mx.sym.Crop(x, like, offset=graph.crop_offset(x, like), name=name)


def add(a: Symbol, b: Symbol, name: str | None = None) -> Symbol:
    """Sum of two layers.

    Raises:
        FCNXSError: their coordinate maps differ.
    """
    graph.check_aligned(a, b, f"sum {name!r}" if name else "a sum")
    return mx.sym.elemwise_add(a, b, name=name)


def softmax_loss(x: Symbol, name: str = "softmax") -> Symbol:
    """Softmax over channels; its gradient is the loss's, divided by H*W; pixels labelled 255 have none."""
    return mx.sym.SoftmaxOutput(x, multi_output=True, use_ignore=True, ignore_label=255, name=name)


def scaled(channels: int, width: float) -> int:
    """Channels of a net that is `width` times as wide as VGG-16; `width` is a multiple of 1/64.

    Raises:
        FCNXSError: that is not a whole number of channels, at least 1.
    """
    count = channels * width
    if count != int(count) or count < 1:
        raise FCNXSError(f"width={width}: {channels} channels become {count}; use a multiple of 1/64")
    return int(count)

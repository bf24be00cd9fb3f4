"""Layers of the nets, one function each: Symbols in, Symbol out, no state.

Every layer sets the attributes that the original example set and no others, so that graphs built here equal
the original's node for node.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

from ..compat import mxnet as mx
from ..conventions import MOST_CLASSES
from ..errors import FCNXSError
from .graph import maps

Symbol = Any  # an mx.sym.Symbol, which type checkers do not find: MXNet has no type hints


@contextmanager
def suffixed(suffix: str) -> Iterator[None]:
    """Within this context, MXNet adds `suffix` to the names of new layers, and so of their weights and labels.

    >>> with suffixed("_geo"):
    ...     conv(mx.sym.Variable("data"), "score", 3).list_arguments()
    ['data', 'score_geo_weight', 'score_geo_bias']
    """

    class Suffixed(mx.name.NameManager):
        def get(self, name: str | None, hint: str) -> str:
            return super().get(name, hint) + suffix

    with Suffixed():
        yield


def conv(
    x: Symbol,
    name: str,
    channels: int,
    kernel: int = 3,
    pad: int = 0,
    workspace: int = 1024,
    stride: int = 1,
    groups: int = 1,
) -> Symbol:
    """Convolution with a square kernel. (N, C, H, W) to (N, channels, H', W').

    Raises:
        FCNXSError: `channels` is less than 1.
    """
    if channels < 1:
        raise FCNXSError(f"layer {name}: {channels} channels; expected 1 or more")
    settings = {"kernel": (kernel, kernel), "pad": (pad, pad), "stride": (stride, stride), "num_group": groups}
    unset = {"pad": (0, 0), "stride": (1, 1), "num_group": 1}  # MXNet's defaults
    settings = {key: value for key, value in settings.items() if value != unset.get(key)}
    return mx.sym.Convolution(x, num_filter=channels, workspace=workspace, name=name, **settings)


def image(name: str, channels: int = 3) -> Symbol:
    """An input (N, channels, H, W). That of three channels says no shape, as the original's."""
    return mx.sym.Variable(name, **({} if channels == 3 else {"shape": (0, channels, 0, 0)}))


def relu(x: Symbol, name: str) -> Symbol:
    """max(x, 0)."""
    return mx.sym.Activation(x, act_type="relu", name=name)


def conv_relu(x: Symbol, suffix: str, channels: int, pad: int = 1, **settings: int) -> Symbol:
    """Convolution `conv{suffix}`, 3x3 with a pad of 1 by default, and `relu{suffix}`.

    Args:
        **settings: further arguments of `conv`.
    """
    return relu(conv(x, f"conv{suffix}", channels, pad=pad, **settings), f"relu{suffix}")


def pool(x: Symbol, name: str, kernel: int = 2, pooling_convention: str = "valid") -> Symbol:
    """Maximum pooling with stride 2. Sizes are rounded down ('valid') or, as Caffe does, up ('full').

    Raises:
        FCNXSError: `pooling_convention` is neither.
    """
    if pooling_convention not in ("valid", "full"):
        raise FCNXSError(f"pooling_convention={pooling_convention!r}: expected 'valid' or 'full'")
    settings = {"pooling_convention": "full"} if pooling_convention == "full" else {}
    return mx.sym.Pooling(x, pool_type="max", kernel=(kernel, kernel), stride=(2, 2), name=name, **settings)


def lrn(x: Symbol, name: str) -> Symbol:
    """Local response normalisation over 5 channels (AlexNet paper, section 3.3), with Caffe's constants."""
    return mx.sym.LRN(x, nsize=5, alpha=1e-4, beta=0.75, knorm=1, name=name)


def dropout(x: Symbol, name: str) -> Symbol:
    """Drop half of the values while training, and double the others."""
    return mx.sym.Dropout(x, p=0.5, name=name)


def deconv(
    x: Symbol,
    name: str,
    channels: int,
    kernel: int,
    stride: int,
    workspace: int = 1024,
    pooling_convention: str = "valid",
) -> Symbol:
    """Upsampling by `stride`. `adj` adds rows and columns to make up for pooling that rounds down."""
    settings = {"kernel": (kernel, kernel), "stride": (stride, stride)}
    if pooling_convention == "valid":
        settings["adj"] = (stride - 1, stride - 1)
    return mx.sym.Deconvolution(x, num_filter=channels, workspace=workspace, name=name, **settings)


def scale(x: Symbol, name: str, factor: float) -> Symbol:
    """`x` times a constant."""
    return mx.sym._internal._mul_scalar(x, scalar=factor, name=name)


def crop(x: Symbol, like: Symbol, name: str | None = None) -> Symbol:
    """`x` cut to the size of `like` where its cells lie on those of `like`.

    The offset comes from composing the coordinate maps of the graph (FCN paper, section 3.2 and the
    authors' coord_map.py).

    Raises:
        FCNXSError: the two cannot be aligned: different scale, negative or fractional offset.
    """
    return mx.sym.Crop(x, like, offset=maps.crop_offset(x, like), name=name)


def add(a: Symbol, b: Symbol, name: str | None = None) -> Symbol:
    """Sum of two layers.

    Raises:
        FCNXSError: their coordinate maps differ.
    """
    maps.check_aligned(a, b, f"sum {name!r}" if name else "a sum")
    return mx.sym.elemwise_add(a, b, name=name)


def softmax_loss(x: Symbol, name: str = "softmax") -> Symbol:
    """Softmax over channels; its gradient is the loss's, divided by H*W; pixels labelled 255 have none."""
    return mx.sym.SoftmaxOutput(x, multi_output=True, use_ignore=True, ignore_label=255, name=name)


def euclidean_loss(x: Symbol, channels: int, size: int, name: str = "euclidean") -> Symbol:
    """Masks `x` (N, channels, size, size), with half their squared distance to the true ones as the loss.

    `softmax_label` (N, size, size) holds classes: a pixel's mask is 1 in the channel of its class and 0 in
    the others. Pixels labelled 255 have no gradient. The loss is summed over an image, as Caffe's
    EuclideanLoss.
    """
    sym = mx.sym
    like = sym.zeros_like(sym.argmax(x, axis=1, name="classes"), name="like")  # gives the label its shape
    label = sym.elemwise_add(sym.Variable("softmax_label"), like, name="truth")  # (N, size, size)
    masks = sym.one_hot(label, depth=channels, name="one_hot")  # 0 everywhere for 255
    masks = sym.transpose(masks, axes=(0, 3, 1, 2), name="true_masks")
    ignored = sym._internal._equal_scalar(label, scalar=255, name="is_255")
    ignored = sym.expand_dims(ignored, axis=1, name="ignored")
    own = sym.broadcast_mul(x, ignored, name="own")  # makes ignored pixels their own target
    # LinearRegressionOutput leaves the gradient of its target undefined: no gradient goes that way.
    target = sym.BlockGrad(sym.elemwise_add(masks, own, name="masks_and_own"), name="target")
    return sym.LinearRegressionOutput(x, target, grad_scale=channels * size * size, name=name)


def check_numclass(numclass: int, where: object) -> int:
    """Return a net's number of classes.

    Raises:
        FCNXSError: there are more than class maps and labels can hold, whose 255 is no class; it names `where`.
    """
    if numclass > MOST_CLASSES:
        raise FCNXSError(
            f"{where}: {numclass} classes; class maps and labels hold at most {MOST_CLASSES} (0 to "
            f"{MOST_CLASSES - 1}; 255 is no class): merge some"
        )
    return numclass


def scaled(channels: int, width: float) -> int:
    """Channels of a net that is `width` times as wide as VGG-16; `width` is a multiple of 1/64.

    Raises:
        FCNXSError: the number of channels is not whole, or less than 1.
    """
    count = channels * width
    if count != int(count) or count < 1:
        raise FCNXSError(f"width={width}: {channels} channels become {count}; use a multiple of 1/64")
    return int(count)

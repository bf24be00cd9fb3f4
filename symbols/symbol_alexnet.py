"""FCN-AlexNet (FCN paper, section 4.1): AlexNet (Krizhevsky et al., NIPS 2012), fully convolutional."""

from __future__ import annotations

from ..compat import mxnet as mx
from .layers import Symbol, check_numclass, conv, conv_relu, dropout, lrn, pool, relu, scaled
from .symbol_fcnxs import fcnxs_score


def get_alexnetfc_symbol(
    workspace_default: int = 1024,
    width: float = 1,
    fc: int = 4096,
    pooling_convention: str = "valid",
    pad: int = 100,
) -> Symbol:
    """Trunk of FCN-AlexNet: fully convolutional CaffeNet. Output `relu7_output`. `pad` is that of conv1.

    CaffeNet is AlexNet with each pooling before its normalisation, not behind it.
    """

    def group(x: Symbol, suffix: str, channels: int, **settings: int) -> Symbol:
        return conv_relu(x, suffix, scaled(channels, width), workspace=workspace_default, **settings)

    def half(x: Symbol, name: str) -> Symbol:
        return pool(x, name, kernel=3, pooling_convention=pooling_convention)

    data = mx.sym.Variable("data")
    x = group(data, "1", 96, kernel=11, pad=pad, stride=4)  # (N, 96, (H + 193) / 4, ...)
    x = lrn(half(x, "pool1"), "norm1")  # (N, 96, (H + 189) / 8, ...)

    x = group(x, "2", 256, kernel=5, pad=2, groups=2)
    x = lrn(half(x, "pool2"), "norm2")  # (N, 256, (H + 181) / 16, ...)

    x = group(x, "3", 384, kernel=3, pad=1)
    x = group(x, "4", 384, kernel=3, pad=1, groups=2)
    x = group(x, "5", 256, kernel=3, pad=1, groups=2)
    x = half(x, "pool5")  # (N, 256, (H + 165) / 32, ...)

    x = dropout(relu(conv(x, "fc6", fc, kernel=6, workspace=workspace_default), "relu6"), "drop6")
    return relu(
        conv(x, "fc7", fc, kernel=1, workspace=workspace_default), "relu7"
    )  # (N, fc, (H + 5) / 32, ...)


def get_fcn_alexnet_symbol(
    numclass: int = 21,
    workspace_default: int = 1024,
    width: float = 1,
    fc: int = 4096,
    pooling_convention: str = "valid",
) -> Symbol:
    """FCN-AlexNet: the class scores of AlexNet, upsampled 32 times. Inputs and output as `get_fcnxs_symbol`.

    Args:
        width: scale of the channels of conv1 to conv5, a multiple of 1/16.
        pooling_convention: 'valid' needs H and W of 27 at least; 'full', Caffe's, takes any.

    Source: shelhamer/fcn.berkeleyvision.org voc-fcn-alexnet/net.py.
    """
    check_numclass(numclass, "numclass")
    relu7 = get_alexnetfc_symbol(workspace_default, width, fc, pooling_convention)
    data = relu7.get_internals()["data"]
    score = conv(dropout(relu7, "drop7"), "score", numclass, kernel=1, workspace=workspace_default)
    return fcnxs_score(score, data, None, (63, 63), (32, 32), numclass, workspace_default, pooling_convention)

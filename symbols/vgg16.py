"""VGG-16 (Simonyan and Zisserman, ICLR 2015, configuration D), fully convolutional, in pieces.

Sizes in the comments are those of the original's pad of 100 at full width, up to pooling's rounding.
"""

from __future__ import annotations

from .layers import Symbol, conv, conv_relu, dropout, pool, relu, scaled


def vgg16_pool3(
    input: Symbol,
    workspace_default: int = 1024,
    width: float = 1,
    pad: int = 100,
    pooling_convention: str = "valid",
) -> Symbol:
    """Layers conv1_1 to pool3. `input` (N, 3, H, W); the output has stride 8.

    Args:
        workspace_default: MXNet's workspace for each convolution, in MB.
        width: scale of the channels, a multiple of 1/64.
        pad: pad of conv1_1: 100 in the FCNs, 1 in the classifier.
        pooling_convention: 'valid' rounds sizes down as the original, 'full' up as Caffe.
    """

    def group(x: Symbol, suffix: str, channels: int, pad: int = 1) -> Symbol:
        return conv_relu(x, suffix, scaled(channels, width), pad, workspace_default)

    x = group(input, "1_1", 64, pad=pad)  # (N, 64, H + 198, W + 198)
    x = group(x, "1_2", 64)
    x = pool(x, "pool1", pooling_convention=pooling_convention)  # (N, 64, (H + 198) / 2, ...)

    x = group(x, "2_1", 128)
    x = group(x, "2_2", 128)
    x = pool(x, "pool2", pooling_convention=pooling_convention)  # (N, 128, (H + 198) / 4, ...)

    x = group(x, "3_1", 256)
    x = group(x, "3_2", 256)
    x = group(x, "3_3", 256)
    return pool(x, "pool3", pooling_convention=pooling_convention)  # (N, 256, (H + 198) / 8, ...)


def vgg16_pool4(
    input: Symbol, workspace_default: int = 1024, width: float = 1, pooling_convention: str = "valid"
) -> Symbol:
    """Layers conv4_1 to pool4, on the output of `vgg16_pool3`; the output has stride 16."""
    x = input
    for suffix in ("4_1", "4_2", "4_3"):
        x = conv_relu(x, suffix, scaled(512, width), workspace=workspace_default)
    return pool(x, "pool4", pooling_convention=pooling_convention)  # (N, 512, (H + 198) / 16, ...)


def vgg16_relu7(
    input: Symbol,
    workspace_default: int = 1024,
    width: float = 1,
    fc: int = 4096,
    pooling_convention: str = "valid",
) -> Symbol:
    """Layers conv5_1 to relu7, on the output of `vgg16_pool4`; fc6 and fc7 are convolutions."""
    x = input
    for suffix in ("5_1", "5_2", "5_3"):
        x = conv_relu(x, suffix, scaled(512, width), workspace=workspace_default)
    x = pool(x, "pool5", pooling_convention=pooling_convention)  # (N, 512, (H + 198) / 32, ...)

    x = conv(x, "fc6", fc, kernel=7, workspace=workspace_default)  # (N, 4096, (H + 6) / 32, ...)
    x = relu(x, "relu6")
    x = dropout(x, "drop6")

    x = conv(x, "fc7", fc, kernel=1, workspace=workspace_default)
    return relu(x, "relu7")


def vgg16_score(
    input: Symbol,
    numclass: int,
    workspace_default: int = 1024,
    width: float = 1,
    fc: int = 4096,
    pooling_convention: str = "valid",
) -> Symbol:
    """Layers conv5_1 to score, on the output of `vgg16_pool4`.

    Output (N, numclass, (H + 6) / 32, ...) for an
    image of H rows.
    """
    x = vgg16_relu7(input, workspace_default, width, fc, pooling_convention)
    x = dropout(x, "drop7")
    return conv(x, "score", numclass, kernel=1, workspace=workspace_default)

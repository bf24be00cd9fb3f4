"""VGG-16 (Simonyan and Zisserman, ICLR 2015, configuration D), fully convolutional, in pieces and as a whole.

Also the nets on it that do not upsample: the classifier, and regression of masks. Sizes in the comments are
those of the original's pad of 100 at full width, up to pooling's rounding.
"""

from __future__ import annotations

from typing import Tuple

from ..compat import mxnet as mx
from .layers import Symbol, check_numclass, conv, conv_relu, dropout, euclidean_loss, pool, relu, scaled


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
        return conv_relu(x, suffix, scaled(channels, width), pad, workspace=workspace_default)

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


def vgg16_score(input: Symbol, numclass: int, workspace_default: int = 1024, **options: float | str) -> Symbol:
    """Layers conv5_1 to score, on the output of `vgg16_pool4`; further arguments as `vgg16_relu7`.

    Output (N, numclass, (H + 6) / 32, ...) for an image of H rows.
    """
    x = dropout(vgg16_relu7(input, workspace_default, **options), "drop7")
    return conv(x, "score", numclass, kernel=1, workspace=workspace_default)


def get_vgg16fc_symbol(
    workspace_default: int = 1024,
    width: float = 1,
    fc: int = 4096,
    pooling_convention: str = "valid",
    pad: int = 100,
) -> Symbol:
    """Trunk of the FCNs: fully convolutional VGG-16. Output `relu7_output`. `pad` is that of conv1_1."""
    data = mx.sym.Variable("data")
    pool3 = vgg16_pool3(data, workspace_default, width, pad, pooling_convention)
    pool4 = vgg16_pool4(pool3, workspace_default, width, pooling_convention)
    return vgg16_relu7(pool4, workspace_default, width, fc, pooling_convention)


def get_vgg16_symbol(numclass: int = 1000, workspace_default: int = 1024, **options: float | str) -> Symbol:
    """VGG-16 as a classifier of (N, 3, 224, 224) images. `softmax_label` (N,), output (N, numclass).

    Layers fc6 to fc8 are convolutions with 1x1 outputs. They compute the same as VGG-16's inner products, and
    their weights have the shapes of the FCNs' layers. Further arguments as `get_vgg16fc_symbol`.
    """
    x = dropout(get_vgg16fc_symbol(workspace_default, pad=1, **options), "drop7")
    fc8 = conv(x, "fc8", numclass, kernel=1, workspace=workspace_default)  # (N, numclass, 1, 1)
    return mx.sym.SoftmaxOutput(mx.sym.Flatten(fc8, name="scores"), name="softmax")


def get_mask_regression_symbol(
    mask_size: int = 64,
    numclass: int = 21,
    workspace_default: int = 1024,
    width: float = 1,
    pooling_convention: str = "valid",
    image_size: Tuple[int, int] | None = None,
) -> Symbol:
    """Regression of masks, the baseline that FCNs replaced: every mask pixel sees every cell of relu5_3.

    Input `data` (N, 3, H, W), RGB minus the mean, all images of one size (224x224 makes relu5_3 14x14);
    `softmax_label` (N, mask_size, mask_size), classes or 255. Output `euclidean_output` (N, numclass,
    mask_size, mask_size), the masks; the class of a pixel is that of the largest.

    Args:
        mask_size: height and width of the masks.
        image_size: (height, width) of the images, for the graph to declare; None: it does not.

    Source: Object segmentation with deep regression, ICIP 2015.
    """
    check_numclass(numclass, "numclass")
    trunk = get_vgg16fc_symbol(workspace_default, width, pooling_convention=pooling_convention, pad=1)
    relu5 = trunk.get_internals()["relu5_3_output"]  # (N, 512, H / 16, W / 16)
    if image_size is not None:
        trunk.get_internals()["data"]._set_attr(__shape__=str((0, 3, *map(int, image_size))))

    x = mx.sym.FullyConnected(relu5, num_hidden=numclass * mask_size**2, name="mask")
    x = mx.sym.Reshape(x, shape=(0, numclass, mask_size, mask_size), name="masks")
    return euclidean_loss(x, numclass, mask_size)

"""VGG-16 without upsampling: the classifier, the trunk that the FCNs share, and regression of masks."""

from __future__ import annotations

from ..compat import mxnet as mx
from . import layers
from .layers import Symbol
from .vgg16 import vgg16_pool3, vgg16_pool4, vgg16_relu7


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


def get_vgg16_symbol(
    numclass: int = 1000,
    workspace_default: int = 1024,
    width: float = 1,
    fc: int = 4096,
    pooling_convention: str = "valid",
) -> Symbol:
    """VGG-16 as a classifier of (N, 3, 224, 224) images. `softmax_label` (N,), output (N, numclass).

    Layers fc6 to fc8 are convolutions with 1x1 outputs. They compute the same as VGG-16's inner products, and
    their weights have the shapes of the FCNs' layers.
    """
    relu7 = get_vgg16fc_symbol(workspace_default, width, fc, pooling_convention, pad=1)
    x = layers.dropout(relu7, "drop7")
    fc8 = layers.conv(x, "fc8", numclass, kernel=1, workspace=workspace_default)  # (N, numclass, 1, 1)
    return mx.sym.SoftmaxOutput(mx.sym.Flatten(fc8, name="scores"), name="softmax")


def get_mask_regression_symbol(
    mask_size: int = 64,
    numclass: int = 21,
    workspace_default: int = 1024,
    width: float = 1,
    pooling_convention: str = "valid",
) -> Symbol:
    """Regression of masks, the baseline that FCNs replaced: every mask pixel sees every cell of relu5_3.

    Input `data` (N, 3, H, W), RGB minus the mean, all images of one size (224x224 makes relu5_3 14x14);
    `softmax_label` (N, mask_size, mask_size), classes or 255. Output `euclidean_output` (N, numclass,
    mask_size, mask_size), the masks; the class of a pixel is that of the largest.

    Source: Object segmentation with deep regression, ICIP 2015.
    """
    trunk = get_vgg16fc_symbol(workspace_default, width, pooling_convention=pooling_convention, pad=1)
    relu5 = trunk.get_internals()["relu5_3_output"]  # (N, 512, H / 16, W / 16)

    x = mx.sym.FullyConnected(relu5, num_hidden=numclass * mask_size**2, name="mask")
    x = mx.sym.Reshape(x, shape=(0, numclass, mask_size, mask_size), name="masks")
    return layers.euclidean_loss(x, numclass, mask_size)

"""What images and labels of GluonCV's data sets need for these nets, and the other way round."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ..compat import mxnet as mx
from ..conventions import IGNORE_LABEL, VGG_MEAN


class transform:  # noqa: N801  (called like a function of mxnet.gluon.data.vision.transforms)
    """Image (H, W, 3), RGB of 0 to 255, of any type, to the nets' input (3, H, W), float32, minus the mean.

    It is the `transform` of a GluonCV data set, in the place of `ToTensor` and `Normalize`, which scale images
    to 0 to 1 and divide by ImageNet's deviation: nothing that these nets have been trained on.

    Args:
        mean: R, G, B; that of a net is `net.mean`.

    >>> transform((1, 2, 3))(mx.nd.full((40, 60, 3), 9, dtype="uint8"))[:, 0, 0]
    <BLANKLINE>
    [8. 7. 6.]
    <NDArray 3 @cpu(0)>
    """

    def __init__(self, mean: Sequence[float] = VGG_MEAN) -> None:
        self.mean = tuple(map(float, mean))

    def __call__(self, image: mx.nd.NDArray) -> mx.nd.NDArray:
        """Input of an image; see the class."""
        mean = mx.nd.array(np.float32(self.mean), image.context)
        return mx.nd.transpose(mx.nd.broadcast_sub(image.astype("float32"), mean), (2, 0, 1))


def gluoncv_label(label: mx.nd.NDArray) -> mx.nd.NDArray:
    """Labels with -1, which GluonCV's losses and metric ignore, for 255, which ours ignore; any shape, int32.

    GluonCV's own data sets give -1 already; `PixelLoss` takes both.

    >>> gluoncv_label(mx.nd.array([0, 20, 255])).asnumpy()
    array([ 0, 20, -1], dtype=int32)
    """
    label = label.astype("int32")
    return mx.nd.where(label == IGNORE_LABEL, -mx.nd.ones_like(label), label)

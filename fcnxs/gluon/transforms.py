"""Convert images of GluonCV's data sets for these nets, and labels of this package for GluonCV."""

from __future__ import annotations

from typing import Sequence

import numpy as np

from ..compat import mxnet as mx
from ..conventions import IGNORE_LABEL, VGG_MEAN


class transform:  # noqa: N801  (called like a function of mxnet.gluon.data.vision.transforms)
    """Convert an image (H, W, 3), RGB of 0 to 255, to the nets' input (3, H, W), float32, minus the mean.

    Give it to a GluonCV data set as `transform`, instead of `ToTensor` and `Normalize`: these scale images to 0
    to 1 and divide by ImageNet's deviation, and these nets were not trained so.

    Args:
        mean: R, G, B; a net's is `net.mean`.

    >>> transform((1, 2, 3))(mx.nd.full((40, 60, 3), 9, dtype="uint8"))[:, 0, 0]
    <BLANKLINE>
    [8. 7. 6.]
    <NDArray 3 @cpu(0)>
    """

    def __init__(self, mean: Sequence[float] = VGG_MEAN) -> None:
        self.mean = tuple(map(float, mean))

    def __call__(self, image: mx.nd.NDArray) -> mx.nd.NDArray:
        """Convert an image (H, W, 3) to (3, H, W)."""
        mean = mx.nd.array(np.float32(self.mean), image.context)
        return mx.nd.transpose(mx.nd.broadcast_sub(image.astype("float32"), mean), (2, 0, 1))


def gluoncv_label(label: mx.nd.NDArray) -> mx.nd.NDArray:
    """Replace 255, the ignored label here, by -1, which GluonCV's losses and metric ignore; any shape, int32.

    GluonCV's own data sets give -1 already; `PixelLoss` takes both.

    >>> gluoncv_label(mx.nd.array([0, 20, 255])).asnumpy()
    array([ 0, 20, -1], dtype=int32)
    """
    label = label.astype("int32")
    return mx.nd.where(label == IGNORE_LABEL, -mx.nd.ones_like(label), label)

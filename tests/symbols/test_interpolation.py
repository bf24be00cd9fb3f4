"""Bilinear upsampling as matrices, against the deconvolution and crop that it stands for."""

import numpy as np
import pytest

from fcnxs.compat import mxnet as mx
from fcnxs.symbols.interpolation import bilinear, is_bilinear, matrix


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "adj", "offset"),
    [(4, 2, 0, 1, 1), (16, 8, 0, 7, 27), (8, 8, 2, 0, 0), (5, 3, 1, 2, 4), (64, 32, 0, 31, 19)],
)
def test_matrices_give_what_the_deconvolution_gives(kernel, stride, pad, adj, offset):
    """Where the crop goes beyond the last cell of the input too, into what `adj` adds."""
    rows, columns = 5, 7
    x = np.random.default_rng(0).normal(size=(2, 3, rows, columns)).astype(np.float32)
    up = mx.nd.Deconvolution(
        mx.nd.array(x),
        mx.nd.array(bilinear((3, 3, kernel, kernel))),
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(pad, pad),
        adj=(adj, adj),
        num_filter=3,
    ).asnumpy()
    expected = up[:, :, offset:, offset:]
    window, (height, width) = (kernel, stride, pad), expected.shape[2:]
    by_rows, by_columns = matrix(window, rows, offset, height), matrix(window, columns, offset, width)
    np.testing.assert_allclose(by_rows @ x @ by_columns.T, expected, rtol=0, atol=1e-5)


def test_only_bilinear_weights_are_bilinear():
    weight = bilinear((4, 4, 16, 16))
    assert is_bilinear(weight)
    assert not is_bilinear(weight[:, :, :, :8]) and not is_bilinear(weight[:, :3])
    for index, change in (((0, 1, 3, 3), 1e-6), ((2, 2, 8, 8), 1e-6)):
        other = weight.copy()
        other[index] += change
        assert not is_bilinear(other)

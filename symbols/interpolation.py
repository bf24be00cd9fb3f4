"""Bilinear upsampling: as the kernel of a deconvolution, and as a matrix for each axis.

The kernel is the outer product of a ramp with itself, and each channel is upsampled separately. Therefore a
deconvolution and its crop equal two products for each channel, `rows @ x @ columns.T`. These compute no cell
that the crop would remove, and need no workspace.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np


def ramp(size: int) -> np.ndarray:
    """Kernel (size,), float64, of linear upsampling by a factor of (size + 1) // 2."""
    return 1 - np.abs(np.arange(size) - (size - 1) / 2) / ((size + 1) // 2)


def upsample_filt(size: int) -> np.ndarray:
    """Bilinear upsampling kernel (size, size), float64, for a factor of (size + 1) // 2.

    >>> upsample_filt(3)
    array([[0.25, 0.5 , 0.25],
           [0.5 , 1.  , 0.5 ],
           [0.25, 0.5 , 0.25]])

    Source: apache/mxnet 1.4.1 example/fcn-xs/init_fcnxs.py.
    """
    return np.outer(ramp(size), ramp(size))


def bilinear(shape: Tuple[int, ...]) -> np.ndarray:
    """Weight (C, C, k, k), float32, of a deconvolution that upsamples each channel by itself, bilinearly."""
    weight = np.zeros(shape, np.float32)
    channels = np.arange(min(shape[:2]))
    weight[channels, channels] = upsample_filt(shape[-1])
    return weight


def is_bilinear(weight: np.ndarray) -> bool:
    """Whether a weight (I, O, k, l) equals that of `bilinear`, as in nets whose upsampling is not trained."""
    (inputs, outputs), (rows, columns) = weight.shape[:2], weight.shape[2:]
    return inputs == outputs and rows == columns and np.array_equal(weight, bilinear(weight.shape))


def matrix(window: Tuple[int, int, int], size: int, offset: int, length: int) -> np.ndarray:
    """Matrix, float32 (length, size), that upsamples `size` cells along one axis and crops the result.

    Args:
        window: kernel, stride and pad of the deconvolution.
        offset, length: of the crop. Rows where the deconvolution has no cell (`adj`) are zeros.
    """
    kernel, stride, pad = window
    cells = offset + pad + np.arange(length)[:, np.newaxis] - stride * np.arange(size)
    inside = (cells >= 0) & (cells < kernel)
    return np.where(inside, ramp(kernel)[np.clip(cells, 0, kernel - 1)], 0).astype(np.float32)

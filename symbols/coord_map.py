"""Coordinate maps: where a layer's cells lie in the image. Exact, and free of MXNet.

A map is a pair `fp = (stride, offset)`. Cell x of a layer lies at `stride * x + offset` in the
layer's input, both measured in pixel edges. Layers in sequence compose, first the one nearest the
image; a deconvolution has the inverse map of the convolution with its kernel, stride and pad.

>>> pool = filter_map(kernel=2, stride=2)
>>> compose_fp(filter_map(kernel=3, pad=1), pool) == (2, 0)
True
>>> compose_fp(pool, inv_fp(pool)) == (1, 0)
True

Source: apache/mxnet 1.4.1 example/fcn-xs/symbol_fcnxs.py has the same functions in floating point;
BVLC/caffe python/caffe/coord_map.py has the inverse maps, from pixels to cells and between centres.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Tuple

from ..errors import FCNXSError

Map = Tuple[Fraction, Fraction]

IDENTITY: Map = (Fraction(1), Fraction(0))


def filter_map(kernel: int = 1, stride: int = 1, pad: int = 0) -> Map:
    """Map of a convolution or pooling: cell x is centred on its window of `kernel` input cells.

    >>> print(format_map(filter_map(kernel=7, stride=2, pad=3)))
    (2, -1/2)
    """
    return (Fraction(stride), Fraction(kernel - stride, 2) - pad)


def compose_fp(fp_first: Map, fp_second: Map) -> Map:
    """Map of two layers in sequence; `fp_first` is the one nearer to the image.

    >>> print(format_map(compose_fp((8, -99), filter_map(kernel=7))))
    (8, -75)
    """
    stride, offset = map(Fraction, fp_first)
    return (stride * Fraction(fp_second[0]), stride * Fraction(fp_second[1]) + offset)


def compose_fp_list(fp_list: Iterable[Map]) -> Map:
    """Map of a sequence of layers, the one nearest to the image first; the identity if there are none."""
    fp_out = IDENTITY
    for fp in fp_list:
        fp_out = compose_fp(fp_out, fp)
    return fp_out


def inv_fp(fp_in: Map) -> Map:
    """Inverse of a map: the two composed, in either order, are the identity.

    >>> print(format_map(inv_fp(filter_map(kernel=64, stride=32))))
    (1/32, -1/2)

    Raises:
        FCNXSError: the stride is 0.
    """
    stride, offset = map(Fraction, fp_in)
    if stride == 0:
        raise FCNXSError(f"the map {format_map(fp_in)} has stride 0 and no inverse")
    return (1 / stride, -offset / stride)


def format_map(fp: Map) -> str:
    """Map as people read it: `(8, -99)`, or `(1/2, 3/4)` where it is fractional."""
    return f"({fp[0]}, {fp[1]})"

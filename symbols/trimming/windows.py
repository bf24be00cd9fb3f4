"""Which cells of each layer an image can change, and which cells to compute: one axis at a time, no MXNet.

On an empty image (all zeros, the mean colour) every layer has one value per channel, its plateau. Only at its
ends it has a ring of a few other cells, which come from zero padding. An image changes the cells of its
support; all others are known before:

    cells of a layer   |rr|pppp|ssssssss|ppppp|rr|     r ring, p plateau, s support of the image
    window                   |..ssssssss.|              computed; it holds the support and no ring

FCN-8s, an image of 375 rows: conv1_1 has 573 rows, and the image changes rows 98 to 474 of them; pool4 has 35,
and the image changes rows 3 to 32.

Spans are pairs (start, end) of cells, end excluded.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Callable, List, NamedTuple, Sequence, Tuple

Span = Tuple[int, int]


@dataclass(frozen=True)
class Step:
    """A layer of a chain that begins at the image.

    Args:
        kernel, stride, pad: of its window; (1, 1, 0) for a layer that works on single cells, such as a relu.
        rebased: whether the layer takes its input minus the input's plateau, the value far from the border.
    """

    kernel: int = 1
    stride: int = 1
    pad: int = 0
    rebased: bool = False


class Cells(NamedTuple):
    """Cells of a layer: their number, those that an image can change, and those between the rings."""

    size: int
    support: Span
    plateau: Span


class Plan(NamedTuple):
    """The windows to compute of a chain of layers.

    Args:
        zeros: number of zeros to add before and after the image.
        pads: pad of each layer in the trimmed net, in place of its own.
        windows: cells of each layer that this computes, numbered as in the whole layer.
        cells: cells of each whole layer.
    """

    zeros: Span
    pads: List[int]
    windows: List[Span]
    cells: List[Cells]


def cells(chain: Sequence[Step], sizes: Sequence[int], image: int) -> List[Cells]:
    """Size, support and plateau of each layer of a chain.

    Args:
        sizes: number of cells of each layer.
        image: size of the image. Its plateau is zero, as is its padding, so the first layer has no rings.
    """
    found, support, plateau = [], (0, image), (0, image)
    for number, (step, size) in enumerate(zip(chain, sizes)):
        start, end = support
        support = ((start + step.pad - step.kernel) // step.stride + 1, -(-(end + step.pad) // step.stride))
        support = (max(support[0], 0), min(support[1], size))
        start, end = plateau
        plateau = (-(-(start + step.pad) // step.stride), (end + step.pad - step.kernel) // step.stride + 1)
        plateau = plateau if number else (0, size)
        found.append(Cells(size, support, plateau))
    return found


def plan(chain: Sequence[Step], sizes: Sequence[int], image: int) -> Plan | None:
    """The smallest windows that hold the support of each layer; None if the last window meets a ring.

    A layer's pad moves both ends of its window. The pads are chosen so that each window starts at a multiple of
    the next stride; the zeros after the image are chosen so that each window ends behind its support.
    """
    whole = cells(chain, sizes, image)
    pads, start = _pads(chain, whole)
    if start > 0 or min(pads) < 0:
        return None
    window = (start, max(image, _end(chain, pads, whole)))
    zeros, windows = (-start, window[1] - image), []
    for step, pad, layer in zip(chain, pads, whole):
        start, end = window[0] + step.pad - pad, window[1] + step.pad + pad
        count = (end - start - step.kernel) // step.stride + 1
        window = (start // step.stride, start // step.stride + count)
        if start % step.stride or not contains(window, layer.support):
            return None
        windows.append(window)
    return Plan(zeros, pads, windows, whole) if contains(whole[-1].plateau, windows[-1]) else None


def _pads(chain: Sequence[Step], whole: Sequence[Cells]) -> Tuple[List[int], int]:
    """Pads of the layers, and the start of the image's window, computed from the last layer back.

    A rebased layer's pad makes its window grow as fast as the support. The first rebased layer behind a pooling
    also makes up for layers that are not rebased, and lets its window start at a multiple of the next stride.
    """
    pads, start = [0] * len(chain), whole[-1].support[0]  # start of the window of layer k
    for k in range(len(chain) - 1, -1, -1):
        step = chain[k]
        start = start * step.stride - step.pad  # start of the input's window, without a pad
        if step.rebased:
            first = chain[k - 1].stride > 1
            wanted = whole[k - 1].support[0]
            pads[k] = wanted - start if first else step.kernel - 1
            start += pads[k]
    return pads, start


def _end(chain: Sequence[Step], pads: Sequence[int], whole: Sequence[Cells]) -> int:
    """End that the image's window needs so that every window holds its support."""
    end = whole[-1].support[1]
    for step, pad, layer in zip(reversed(chain), reversed(pads), reversed(whole)):
        end = (max(end, layer.support[1]) - 1) * step.stride - step.pad + step.kernel - pad
    return end


def smaller(chain: Sequence[Step], sizes: Callable[[int], Sequence[int]], image: int) -> int | None:
    """Size of the smallest image whose layers have the same rings as those of `image`, and a plateau between.

    Each layer's cell size // 2, at its centre, is then on the plateau. The result may be negative: the first
    layer pads its input, and only the layers need cells.

    Args:
        sizes: gives the number of cells of each layer for a size of the image.
    """
    period = prod(step.stride for step in chain)
    for size in range(image % period - period * (image // period + 16), image + 1, period):
        layers = cells(chain, sizes(size), size)
        if all(contains(layer.plateau, (layer.size // 2, layer.size // 2 + 1)) for layer in layers):
            return size
    return None


def needed(up: Step, wanted: Span, size: int) -> Span:
    """Cells of a deconvolution's input, which has `size`, whose kernels reach a span of its output."""
    start, end = wanted
    return (max((start + up.pad - up.kernel) // up.stride + 1, 0), min(-(-(end + up.pad) // up.stride), size))


def contains(span: Span, other: Span) -> bool:
    """Whether `span` contains all cells of `other`."""
    return span[0] <= other[0] and other[1] <= span[1]

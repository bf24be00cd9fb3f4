"""What of each layer an image can change, and the cells to compute for it: one axis at a time, free of MXNet.

Where the image is zero all over, the mean colour, a layer has one value per channel, its plateau, but for
rings of a few cells at its ends, where zero padding is felt. An image changes the cells of its support alone.
As long as the support meets no ring, a layer is known but for a window around the support.

Spans are pairs (start, end) of cells, the end not included.
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
        kernel, stride, pad: of its window; a layer that works on single cells has (1, 1, 0).
        rebased: takes its input minus its plateau, which zero padding then continues.
    """

    kernel: int = 1
    stride: int = 1
    pad: int = 0
    rebased: bool = False


class Cells(NamedTuple):
    """Cells of a layer: how many, those that an image changes, and those outside of the rings."""

    size: int
    support: Span
    plateau: Span


class Plan(NamedTuple):
    """What to compute of a chain.

    Args:
        zeros: to put before and after the image.
        pads: of each layer, in place of its own.
        windows: cells of each layer that are then computed, as the whole layer counts them.
        cells: of each whole layer.
    """

    zeros: Span
    pads: List[int]
    windows: List[Span]
    cells: List[Cells]


def cells(chain: Sequence[Step], sizes: Sequence[int], image: int) -> List[Cells]:
    """Cells of each layer of a chain.

    Args:
        sizes: of the layers.
        image: size of the image, whose plateau is zero, so that the first layer has no rings.
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
    """The smallest windows that hold the support of each layer; None if the last one's meets a ring.

    A pad moves both ends of a window. So the pads are those by which windows start where they should, at
    multiples of the strides; how far they reach is up to the zeros after the image.
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
    """Pads of the layers, and where the window of the image starts; found from the last layer back.

    A rebased layer has the pad by which its window grows as the support does. The first of a stage makes up for
    those that are not rebased, and lets the stage end at a multiple of the next stride.
    """
    pads, start = [0] * len(chain), whole[-1].support[0]  # of the window of layer k
    for k in range(len(chain) - 1, -1, -1):
        step = chain[k]
        start = start * step.stride - step.pad  # of the input's window, if there is no pad
        if step.rebased:
            first = chain[k - 1].stride > 1
            wanted = whole[k - 1].support[0]
            pads[k] = wanted - start if first else step.kernel - 1
            start += pads[k]
    return pads, start


def _end(chain: Sequence[Step], pads: Sequence[int], whole: Sequence[Cells]) -> int:
    """Where the window of the image has to end for all windows to hold their supports."""
    end = whole[-1].support[1]
    for step, pad, layer in zip(reversed(chain), reversed(pads), reversed(whole)):
        end = (max(end, layer.support[1]) - 1) * step.stride - step.pad + step.kernel - pad
    return end


def smaller(chain: Sequence[Step], sizes: Callable[[int], Sequence[int]], image: int) -> int | None:
    """The smallest image whose layers have the rings and, between them, the plateau of those of `image`.

    The plateau is at each layer's centre, cell size // 2. The size may be negative: what matters is that the
    first layer, which pads, has one.

    Args:
        sizes: of the layers by the size of the image.
    """
    period = prod(step.stride for step in chain)
    for size in range(image % period - period * (image // period + 16), image + 1, period):
        layers = cells(chain, sizes(size), size)
        if all(contains(layer.plateau, (layer.size // 2, layer.size // 2 + 1)) for layer in layers):
            return size
    return None


def needed(up: Step, wanted: Span, size: int) -> Span:
    """Cells of a deconvolution's input, of `size`, that reach a span of its output."""
    start, end = wanted
    return (max((start + up.pad - up.kernel) // up.stride + 1, 0), min(-(-(end + up.pad) // up.stride), size))


def contains(span: Span, other: Span) -> bool:
    """Whether a span holds another one."""
    return span[0] <= other[0] and other[1] <= span[1]

"""Sizes of a graph's layers as exact formulas in the size H of the image, and the smallest image that fits.

A size is `scale * base + shift`. The base is H, or a quotient that is rounded down or up. Formulas are kept
simple: exact divisions are carried out, nested quotients with one rounding become one quotient, and a number
added to a quotient is added inside it.

    >>> pool1 = (Size() + 198).divided(2)
    >>> print((pool1 + 2).divided(2))
    floor((H + 202)/4)
    >>> print(pool1 * 2 + 3, pool1.value(375))
    2 floor((H + 198)/2) + 3 286

Axis 0 is rows, axis 1 columns. The formulas are those of MXNet's shape inference
(src/operator/nn/{convolution,pooling,deconvolution}.cc and src/operator/crop-inl.h at 1.9.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import gcd, lcm
from typing import Any, Iterator, List, Tuple

import numpy as np

from ...compat import mxnet as mx
from .nodes import JOIN, SAME, Graph, Node, flag, image_inputs, setting, window

LARGEST = 4096  # where the search for the smallest image ends
DEEPEST, GREATEST = 12, 1 << 31  # quotients within one another, and numbers, that a formula may have
AT_ONCE = 1024  # sizes of the image that are compared at a time, which bounds the memory


@dataclass(frozen=True)
class Quotient:
    """A size divided by a whole number, rounded down, or `up`."""

    size: Size
    divisor: int
    up: bool

    def value(self, height: int) -> int:
        """The size for an image of size H = `height`."""
        return _divided(self.size.value(height), self.divisor, self.up)

    def text(self, variable: str) -> str:
        """`floor((H + 198)/8)`, with `variable` as the name of H."""
        inner = self.size.text(variable)
        inner = f"({inner})" if " " in inner and not (self.size.scale == 1 and self.size.shift == 0) else inner
        return f"{'ceil' if self.up else 'floor'}({inner}/{self.divisor})"


@dataclass(frozen=True)
class Size:
    """`scale * base + shift`; the base None is H itself. `Size()` is H, `Size.constant(7)` always 7."""

    scale: int = 1
    base: Quotient | None = None
    shift: int = 0

    @classmethod
    def constant(cls, number: int) -> Size:
        """A size that does not depend on H."""
        return cls(0, None, number)

    def __add__(self, number: int) -> Size:
        if self.scale == 1 and self.base is not None:
            inner = self.base.size + (self.shift + number) * self.base.divisor
            return Size(1, Quotient(inner, self.base.divisor, self.base.up))
        return Size(self.scale, self.base, self.shift + number)

    def __sub__(self, number: int) -> Size:
        return self + -number

    def __mul__(self, number: int) -> Size:
        if self.scale * number == 0:
            return Size.constant(self.shift * number)
        return Size(self.scale * number, self.base, self.shift * number)

    def divided(self, divisor: int, up: bool = False) -> Size:
        """Quotient by a divisor of at least 1, rounded down, or `up`."""
        # With a whole base, floor((g a base + b) / (g d)) = floor((a base + floor(b / g)) / d); ceil alike.
        common = gcd(self.scale, divisor)
        divisor, shift = divisor // common, _divided(self.shift, common, up)
        size = Size(self.scale // common, self.base, 0) + shift
        if divisor == 1:
            return size
        inner = size.base
        # floor(floor(a / m) / d) = floor(a / (m d))
        if size.scale == 1 and inner is not None and inner.up == up:
            return inner.size.divided(inner.divisor * divisor, up)
        return Size(1, Quotient(size, divisor, up))

    @cached_property
    def depth(self) -> int:
        """Number of quotients that are within one another."""
        return 0 if self.base is None else 1 + self.base.size.depth

    @cached_property
    def is_short(self) -> bool:
        """Whether somebody could read the formula; others are not followed."""
        inner = self.base is None or (self.base.divisor <= GREATEST and self.base.size.is_short)
        return inner and self.depth <= DEEPEST and max(abs(self.scale), abs(self.shift)) <= GREATEST

    @property
    def period(self) -> int:
        """Growth of H after which the size has always grown by the same number."""
        return 1 if self.base is None else self.base.divisor * self.base.size.period

    def value(self, height: int) -> int:
        """The size for an image of size H = `height`."""
        return self.scale * (height if self.base is None else self.base.value(height)) + self.shift

    def text(self, variable: str = "H") -> str:
        """`32 floor((H + 6)/32) + 63`, with `variable` as the name of H."""
        if self.scale == 0:
            return str(self.shift)
        base = variable if self.base is None else self.base.text(variable)
        base = base if self.scale == 1 else f"{self.scale} {base}"
        sign = "-" if self.shift < 0 else "+"
        return f"{base} {sign} {abs(self.shift)}" if self.shift else base

    def __str__(self) -> str:
        return self.text()


def _divided(number: int, divisor: int, up: bool) -> int:
    return -(-number // divisor) if up else number // divisor


@lru_cache(maxsize=4)
def layer_sizes(graph: Graph, axis: int) -> List[Size | None]:
    """Every node's rows or columns as a formula in those of the image; None where there is no short one."""
    sizes: List[Size | None] = [None] * len(graph.nodes)
    for i in graph.images:
        sizes[i] = Size()
    for i in graph.layers:
        size = _size(graph.nodes[i], [sizes[entry[0]] for entry in graph.nodes[i]["inputs"]], axis)
        sizes[i] = size if size is None or size.is_short else None
    return sizes


def misfit(graph: Graph, axis: int, height: int) -> str | None:
    """The first layer that an image of `height` rows (or columns) does not fit, in words; None if all fit."""
    faults = _faults(graph, axis, height)
    return next((text.format(*values) for wrong, text, *values in faults if wrong), None)


def fits(graph: Graph, axis: int, heights: np.ndarray) -> np.ndarray:
    """Which images fit, of several numbers of rows (or columns): bool (N,)."""
    found = np.ones(len(heights), bool)
    for start in range(0, len(heights), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        for wrong, *_ in _faults(graph, axis, heights[part]):
            found[part] &= np.logical_not(wrong)
    return found


def _faults(graph: Graph, axis: int, height: Any) -> Iterator[Tuple[Any, ...]]:  # noqa: ANN401
    """For each condition: whether a size, or each of an array of sizes, violates it; a text; its values.

    Conditions that are the same in several layers are given once.
    """
    sizes, values, seen = layer_sizes(graph, axis), {}, set()
    what = ("rows", "columns")[axis]

    def number(i: int) -> Any:  # noqa: ANN401
        size = sizes[i]
        if size is not None and id(size) not in values:
            values[id(size)] = size.value(height)
        return None if size is None else values[id(size)]

    for i, node in enumerate(graph.nodes):
        name, op, sources = node["name"], node["op"], image_inputs(node)
        first, own = (number(sources[0]) if sources else None), number(i)
        if op in ("Convolution", "Pooling") and first is not None and not flag(node, "global_pool"):
            kernel, _, pad = window(node, axis)
            padded = first + 2 * pad
            condition = (id(sizes[sources[0]]), kernel, pad)
            if condition not in seen:
                seen.add(condition)
                yield (
                    padded < kernel,
                    "{!r} has a kernel of {} {} and an input of {}",
                    name,
                    kernel,
                    what,
                    padded,
                )
        if op == "Crop" and first is not None and own is not None:
            offset = 0 if flag(node, "center_crop") else setting(node, "offset", axis, 0)
            cut = (name, own, what, first, offset)
            yield offset + own > first, "{!r} cuts {} {} out of {}, from {} on", *cut
        if joins_equals(node):
            joined = {id(sizes[j]): j for j in sources if sizes[j] is not None}
            first, *others = map(number, joined.values()) if joined else [None]
            for other in others:
                ordered = np.minimum(first, other), np.maximum(first, other)
                yield other != first, "{!r} joins layers of {} and {} {}", name, *ordered, what
        if own is not None and id(sizes[i]) not in seen:
            seen.add(id(sizes[i]))
            yield own < 1, "{!r} has {} {}", name, own, what


def smallest(graph: Graph, axis: int) -> int | None:
    """Fewest rows or columns of an image that fits; None if no size up to `LARGEST` does."""
    return nearest(graph, axis, 1)


def nearest(graph: Graph, axis: int, height: int) -> int | None:
    """The rows or columns of an image that fits which are nearest to `height`; None if none are near."""
    for far in (64, 512, LARGEST):
        near = np.arange(max(1, height - far + 1), height + far)
        fitting = near[fits(graph, axis, near)]
        if fitting.size:  # of two as near, the larger
            return int(fitting[np.argmin(2 * abs(fitting - height) + (fitting < height))])
    return None


def telling(graph: Graph, axis: int) -> Tuple[List[int], List[int]]:
    """Rows or columns that fit, and those that do not, in the first and the last period of sizes.

    They stand for all up to `LARGEST`: the difference of two layers' sizes is periodic in the image's size, or
    grows or shrinks from period to period. What happens at some size happens in the first period or the last.
    """
    least = smallest(graph, axis)
    if least is None:
        return ([], [])
    period = 1
    for size in {id(size): size for size in layer_sizes(graph, axis) if size is not None}.values():
        period = lcm(period, size.period) if period < LARGEST else period
    heights = np.arange(least, LARGEST + 1)
    heights = heights[(heights < least + period) | (heights > LARGEST - period)]
    fitting = fits(graph, axis, heights)
    return (heights[fitting].tolist(), heights[~fitting].tolist())


def smallest_input(symbol: mx.sym.Symbol, layers: int | None = None) -> Tuple[int | None, int | None]:
    """Rows and columns of the smallest image that a net takes; None where no size up to 4096 fits.

    Every layer must have a cell, every kernel an input as large as itself, and every crop an input that reaches
    as far as it cuts. Layers whose size is no formula in H, such as FullyConnected, are not checked.

    >>> from fcnxs.symbols import get_fcn8s_symbol
    >>> smallest_input(get_fcn8s_symbol()), smallest_input(get_fcn8s_symbol(pooling_convention="full"))
    ((26, 26), (1, 1))

    Args:
        layers: check only so many layers, in order; None for all.
    """
    graph = Graph.of(symbol)
    last = graph.layers[-1 if layers is None else layers - 1]
    graph = Graph(graph.nodes[: last + 1], [[last, 0, 0]])
    return (smallest(graph, 0), smallest(graph, 1))


def layer_formula(symbol: mx.sym.Symbol, layer: int) -> str:
    """Rows of one layer, given by its place in order, as a formula in H; '-' where there is none."""
    graph = Graph.of(symbol)
    size = layer_sizes(graph, 0)[graph.layers[layer]]
    return "-" if size is None else str(size)


def _size(node: Node, inputs: List[Size | None], axis: int) -> Size | None:
    """Size of a node from those of all its inputs."""
    op, attrs = node["op"], node["attrs"]
    if op == "Crop" and len(inputs) == 1:
        cut = setting(node, "h_w", axis, 0)
        return Size.constant(cut) if cut else None
    if op in ("Crop", "slice_like"):
        axes = attrs.get("axes", "()").strip("()").split(",")
        covered = axes == [""] or str(axis + 2) in [each.strip() for each in axes]
        return inputs[1] if op == "Crop" or covered else inputs[0]
    x = inputs[0] if inputs else None
    if x is None or (op == "argmax" and attrs.get("axis") != "1"):
        return None
    if op in JOIN:
        return x if joins_equals(node) or (op != "Concat" and all(y == x for y in inputs)) else None
    if op in SAME:
        return x
    kernel, stride, pad = window(node, axis)
    if op == "Convolution":
        return (x + 2 * pad - kernel).divided(stride) + 1
    if op == "Pooling" and flag(node, "global_pool"):
        return Size.constant(1)
    if op == "Pooling":
        convention = attrs.get("pooling_convention", "valid")
        pooled = (x + 2 * pad - kernel).divided(stride, up=convention == "full") + 1
        return pooled if convention in ("valid", "full") else None
    if op == "Deconvolution":
        target = setting(node, "target_shape", axis, 0)
        grown = x * stride + (kernel - stride - 2 * pad + setting(node, "adj", axis, 0))
        return Size.constant(target) if target else grown
    return x * int(attrs["scale"]) if op == "UpSampling" else None


def joins_equals(node: Node) -> bool:
    """Whether the layers that a node joins must have the same rows and columns."""
    broadcasts, dim = node["op"].startswith("broadcast"), node["attrs"].get("dim", "1")
    return node["op"] in JOIN and not broadcasts and dim in ("0", "1")

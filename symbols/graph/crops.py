"""Derives the offset of a crop in three independent ways.

1. From sizes. Without rounding and `adj`, a layer's size is an affine function of the image's. A crop removes
   as much at the end as at the start: half of the difference of the two sizes.
2. From a sum over the layers. A convolution or pooling moves the edge of cell 0 by (K - S)/2 - P cells of its
   input, which is that times the product of the strides before it in pixels. A deconvolution moves it back by
   the same formula, a crop by its offset.
3. From composed maps: `compose_fp(inv_fp(like), x)`, negated (FCN paper, section 3.2; coord_map.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import List, NamedTuple, Tuple

from ...compat import mxnet as mx
from ..coord_map import Map, compose_fp, inv_fp
from .maps import walk
from .nodes import JOIN, SAME, Graph, flag, has, image_inputs, setting, window

Affine = Tuple[Fraction, Fraction]  # size = scale * H + shift


class Term(NamedTuple):
    """Image pixels by which one layer moves the upper or left edge of cell 0; `text` is the calculation."""

    name: str
    shift: Fraction
    text: str


class Path(NamedTuple):
    """The layers from the image to a node: the product of their strides, and the terms that are not 0."""

    stride: Fraction
    terms: List[Term]

    @property
    def total(self) -> Fraction:
        """Pixels from the edge of the image to the edge of cell 0."""
        return sum((term.shift for term in self.terms), Fraction(0))


@dataclass(frozen=True)
class CropDerivation:
    """A crop of layer `x` to the size of layer `like`: its offset in the graph, and three derivations of it.

    Args:
        sizes, paths, maps: those of `x`, and of `like`; None where a layer on the way has none. A derivation
            `from_*` is then None too, as where the strides of the two differ.
    """

    name: str
    x: str
    like: str
    offset: int
    sizes: Tuple[Affine | None, ...]
    paths: Tuple[Path | None, ...]
    maps: Tuple[Map | None, ...]

    @property
    def from_sizes(self) -> Fraction | None:
        """Half of the difference of the two sizes."""
        x, like = self.sizes
        return (x[1] - like[1]) / 2 if x and like and x[0] == like[0] else None

    @property
    def from_sum(self) -> Fraction | None:
        """Difference of the two sums over the layers, in cells, negated."""
        x, like = self.paths
        return -(x.total - like.total) / x.stride if x and like and x.stride == like.stride else None

    @property
    def from_maps(self) -> Fraction | None:
        """Offset of the map from `like` to `x`, negated."""
        x, like = self.maps
        scale, shift = compose_fp(inv_fp(like), x) if x and like else (None, None)
        return -shift if scale == 1 else None

    @property
    def agrees(self) -> bool:
        """Whether every derivation that is not None gives the graph's offset, and the strides are equal."""
        pairs = (self.sizes, self.paths, self.maps)
        results = (self.from_sizes, self.from_sum, self.from_maps)
        strides_agree = all(a is None or b is None or a[0] == b[0] for a, b in pairs)
        return strides_agree and all(result in (None, self.offset) for result in results)


def crop_derivations(symbol: mx.sym.Symbol, axis: int = 0) -> List[CropDerivation]:
    """Every Crop of one layer to another's size, in order, with three derivations of its offset.

    >>> from fcnxs.symbols import get_fcn16s_symbol
    >>> [(crop.name, crop.offset, int(crop.from_maps)) for crop in crop_derivations(get_fcn16s_symbol())]
    [('score_pool4c', 5, 5), ('upscore', 27, 27)]

    Args:
        symbol: any Symbol. Crops to a given size or from the centre are left out: their offset follows from
            no layer.
        axis: 0 for rows, 1 for columns.
    """
    graph = Graph.of(symbol)
    nodes, maps, sizes = graph.nodes, walk(graph, axis, strict=False).maps, _affine_sizes(graph, axis)
    found = []
    for node in nodes:
        if node["op"] == "Crop" and len(node["inputs"]) == 2 and not flag(node, "center_crop"):
            pair = [entry[0] for entry in node["inputs"]]
            names, paths = (nodes[i]["name"] for i in pair), tuple(_path(graph, i, axis) for i in pair)
            own = (tuple(sizes[i] for i in pair), paths, tuple(maps[i] for i in pair))
            found.append(CropDerivation(node["name"], *names, setting(node, "offset", axis, 0), *own))
    return found


def _affine_sizes(graph: Graph, axis: int) -> List[Affine | None]:
    """Size of every node without rounding and without `adj`, None where it has none."""
    sizes: List[Affine | None] = [None] * len(graph.nodes)
    sizes[graph.image] = (Fraction(1), Fraction(0))
    for i, node in enumerate(graph.nodes):
        inputs = [sizes[entry[0]] for entry in node["inputs"]]
        fixed = flag(node, "global_pool") or has(node, "target_shape")
        if fixed or not inputs or inputs[0] is None:
            continue
        (scale, shift), op, (kernel, stride, pad) = inputs[0], node["op"], window(node, axis)
        if op in JOIN or (op in SAME and op != "slice_like"):  # slice_like cuts at the end alone
            sizes[i] = inputs[0]
        elif op in ("Convolution", "Pooling"):
            sizes[i] = (scale / stride, (shift + 2 * pad - kernel) / stride + 1)
        elif op == "Deconvolution":
            sizes[i] = (scale * stride, (shift - 1) * stride + kernel - 2 * pad)
        elif op == "Crop" and len(inputs) == 2:
            sizes[i] = inputs[1]
        elif op == "UpSampling":
            sizes[i] = (scale * int(node["attrs"]["scale"]), shift * int(node["attrs"]["scale"]))
    return sizes


def _path(graph: Graph, i: int, axis: int) -> Path | None:
    """Strides and terms of the layers from the image to node i, along first inputs; None if one is unknown."""
    nodes, way = graph.nodes, []
    while nodes[i]["op"] != "null":
        way.append(nodes[i])
        if not image_inputs(nodes[i]):
            return None
        i = image_inputs(nodes[i])[0]
    if i != graph.image:
        return None
    stride, terms = Fraction(1), []
    for node in reversed(way):
        op, (kernel, step, pad) = node["op"], window(node, axis)
        shift, text = (Fraction(kernel - step, 2) - pad, f"({kernel} - {step})/2 - {pad}")
        if op in ("Convolution", "Pooling") and not flag(node, "global_pool"):
            term, stride = (shift * stride, f"({text}) x {stride}"), stride * step
        elif op == "Deconvolution" and not has(node, "target_shape"):
            stride = stride / step  # of the finer grid, in which the deconvolution's kernel moves
            term = (-shift * stride, f"-({text}) x {stride}")
        elif op == "Crop" and not flag(node, "center_crop"):
            offset = setting(node, "offset", axis, 0)
            term = (offset * stride, f"{offset} x {stride}")
        elif op == "UpSampling":
            stride, term = stride / int(node["attrs"]["scale"]), (Fraction(0), "")
        elif op in SAME or op in JOIN:
            continue
        else:
            return None
        if term[0] != 0:
            terms.append(Term(node["name"], *term))
    return Path(stride, terms)

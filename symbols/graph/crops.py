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
from .maps import is_short, walk
from .nodes import JOIN, SAME, Graph, Node, flag, has, image_inputs, setting, window

Affine = Tuple[Fraction, Fraction]  # size = scale * H + shift

MOST_TERMS = 100


class Term(NamedTuple):
    """Image pixels by which one layer moves the upper or left edge of cell 0; `text` is the calculation."""

    name: str
    shift: Fraction
    text: str


class Path(NamedTuple):
    """The layers from the image to a node.

    Attributes:
        stride: product of their strides.
        total: pixels from the edge of the image to the edge of cell 0.
        term: the last term that is not 0, and `before` the path up to it; None at the image.
    """

    stride: Fraction
    total: Fraction
    term: Term | None = None
    before: Path | None = None

    @property
    def terms(self) -> List[Term]:
        """The terms that are not 0; of more than `MOST_TERMS` the last ones."""
        found, path = [], self
        while path.before is not None and len(found) < MOST_TERMS:
            found.append(path.term)
            path = path.before
        return found[::-1]

    def then(self, name: str, stride: Fraction, shift: Fraction = Fraction(0), text: str = "") -> Path:
        """The path through a further layer, which multiplies the stride and moves cell 0."""
        if shift == 0:
            return self._replace(stride=self.stride * stride)
        return Path(self.stride * stride, self.total + shift, Term(name, shift, text), self)


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


def crop_derivations(symbol: mx.sym.Symbol | Graph, axis: int = 0) -> List[CropDerivation]:
    """Every Crop of one layer to another's size, in order, with three derivations of its offset.

    >>> from fcnxs.symbols import get_fcn16s_symbol
    >>> [(crop.name, crop.offset, int(crop.from_maps)) for crop in crop_derivations(get_fcn16s_symbol())]
    [('score_pool4c', 5, 5), ('upscore', 27, 27)]

    Args:
        symbol: any Symbol, or its graph. Crops to a given size or from the centre are left out: their offset
            follows from no layer.
        axis: 0 for rows, 1 for columns.
    """
    graph = Graph.of(symbol)
    nodes, maps, sizes = graph.nodes, walk(graph, axis, strict=False).maps, exact_sizes(graph, axis)
    ways = _paths(graph, axis)
    found = []
    for node in nodes:
        if node["op"] == "Crop" and len(node["inputs"]) == 2 and not flag(node, "center_crop"):
            pair = [entry[0] for entry in node["inputs"]]
            names, paths = (nodes[i]["name"] for i in pair), tuple(ways[i] for i in pair)
            own = (tuple(sizes[i] for i in pair), paths, tuple(maps[i] for i in pair))
            found.append(CropDerivation(node["name"], *names, setting(node, "offset", axis, 0), *own))
    return found


def exact_sizes(graph: Graph, axis: int) -> List[Affine | None]:
    """Size of every node without rounding and without `adj`, as (scale, shift) of scale H + shift.

    None where a layer on the way has no such size.
    """
    sizes: List[Affine | None] = [None] * len(graph.nodes)
    for i in graph.images:
        sizes[i] = (Fraction(1), Fraction(0))
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
        sizes[i] = sizes[i] if sizes[i] and is_short(*sizes[i]) else None
    return sizes


def _paths(graph: Graph, axis: int) -> List[Path | None]:
    """Path of every node, along first inputs; None where a layer on the way is not known."""
    paths: List[Path | None] = [None] * len(graph.nodes)
    for i in graph.images:
        paths[i] = Path(Fraction(1), Fraction(0))
    for i in graph.layers:
        sources = image_inputs(graph.nodes[i])
        before = paths[sources[0]] if sources else None
        path = _through(graph.nodes[i], before, axis) if before is not None else None
        paths[i] = path if path is not None and is_short(path.stride, path.total) else None
    return paths


def _through(node: Node, before: Path, axis: int) -> Path | None:
    """Path through one more layer; None if the layer is not known."""
    name, op, (kernel, step, pad) = node["name"], node["op"], window(node, axis)
    shift, text = (Fraction(kernel - step, 2) - pad, f"({kernel} - {step})/2 - {pad}")
    if op in ("Convolution", "Pooling") and not flag(node, "global_pool"):
        return before.then(name, Fraction(step), shift * before.stride, f"({text}) x {before.stride}")
    if op == "Deconvolution" and not has(node, "target_shape"):
        stride = before.stride / step  # of the finer grid, in which the deconvolution's kernel moves
        return before.then(name, Fraction(1, step), -shift * stride, f"-({text}) x {stride}")
    if op == "Crop" and not flag(node, "center_crop"):
        offset = setting(node, "offset", axis, 0)
        return before.then(name, Fraction(1), offset * before.stride, f"{offset} x {before.stride}")
    if op == "UpSampling":
        return before.then(name, Fraction(1, int(node["attrs"]["scale"])))
    return before if op in SAME or op in JOIN else None

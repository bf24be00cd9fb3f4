"""Describes a net: a row for each layer with its parameters, sizes and coordinate maps."""

from __future__ import annotations

from math import prod
from typing import List, NamedTuple, Tuple

from ...compat import mxnet as mx
from ...errors import FCNXSError
from ..coord_map import Map
from .layer_sizes import LARGEST, layer_sizes, misfit, nearest, smallest
from .maps import own_map, walk
from .nodes import Graph, flag, has, setting, window
from .reach import receptive_fields
from .shapes import Shape, output_shapes


class Row(NamedTuple):
    """One layer. A field is None where the layer has no such thing, or it is not known."""

    name: str
    op: str  # MXNet's operator
    parameters: int  # weights and biases; shared ones are counted at the first layer
    formula: str | None  # its rows as a formula in the image's, H; its columns in W
    shape: Shape | None  # for one image: (1, channels, rows, columns), or fewer axes
    kernel: int | None  # of a dilated one, the cells from first to last
    stride: int | None
    pad: int | None
    own_map: Map | None  # (S, P') to its input; P' = (K - S)/2 - P, inverted by a deconvolution
    map: Map | None  # (stride, offset) to the image, composed
    receptive_field: int | None  # rows of the image that one cell sees, from the first to the last
    adj: int | None  # of a deconvolution: rows or columns added at the end
    group: int | None  # of a convolution or deconvolution: number of groups of channels


def describe(
    symbol: mx.sym.Symbol, size: Tuple[int, int], axis: int = 0, graph: Graph | None = None
) -> List[Row]:
    """A row for every layer of a graph, in order. Names may occur twice.

    >>> from fcnxs.symbols import get_fcn32s_symbol
    >>> score = next(row for row in describe(get_fcn32s_symbol(), (375, 500)) if row.name == "score")
    >>> score.formula, score.shape, score.receptive_field
    ('floor((H + 6)/32)', (1, 21, 11, 15), 404)

    Args:
        symbol: any Symbol. Its image is the variable `data`, or else the first variable that is an operator's
            first input. Maps are None from an operator on whose map is not known, such as Flatten.
        size: rows and columns of the image, which has three channels unless its variable says others.
        axis: 0 for formulas, kernels and maps of rows, 1 for those of columns.
        graph: graph of `symbol`, if it is known.

    Raises:
        FCNXSError: the image is too small for the net, or MXNet finds another fault in the graph.
    """
    graph = graph or Graph.of(symbol)
    maps, shapes = walk(graph, axis, strict=False).maps, _shapes(symbol, graph, size)
    sizes, fields = layer_sizes(graph, axis), receptive_fields(graph, maps, axis)
    counts = _parameters(symbol, graph, shapes)
    rows = []
    for i in graph.layers:
        node = graph.nodes[i]
        formula = None if sizes[i] is None else sizes[i].text("HW"[axis])
        windowed = node["op"] in ("Convolution", "Deconvolution", "Pooling") and not flag(node, "global_pool")
        geometry = window(node, axis) if windowed else (None, None, None)
        grown = node["op"] == "Deconvolution" and not has(node, "target_shape")  # else MXNet sets adj
        adj = setting(node, "adj", axis, 0) if grown else None
        group = setting(node, "num_group", 0, 1) if node["op"] in ("Convolution", "Deconvolution") else None
        row = (counts[i], formula, shapes[i], *geometry, own_map(node, axis), maps[i], fields[i])
        rows.append(Row(node["name"], node["op"], *row, adj, group))
    return rows


def _shapes(symbol: mx.sym.Symbol, graph: Graph, size: Tuple[int, int]) -> List[Shape | None]:
    """Shape of every node's first output, as MXNet infers it for one image."""
    _check_fit(graph, size)
    try:
        return output_shapes(symbol, graph, **graph.image_shapes(size))
    except mx.MXNetError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise FCNXSError(
            f"MXNet infers no shapes for an image of {size[0]} rows and {size[1]} columns: {lines[-1]}"
        ) from None


def _check_fit(graph: Graph, size: Tuple[int, int]) -> None:
    for axis, what in ((0, "rows"), (1, "columns")):
        fault = misfit(graph, axis, size[axis])
        if fault:
            which, other = "smallest", [smallest(graph, each) for each in (0, 1)]
            if None not in other and all(number >= least for number, least in zip(size, other)):
                which, other = "nearest", [nearest(graph, each, size[each]) for each in (0, 1)]
            if None in other:
                raise FCNXSError(f"no image of up to {LARGEST} rows fits: with {size[axis]} {what}, {fault}")
            raise FCNXSError(
                f"an image of {size[0]} rows and {size[1]} columns does not fit: {fault}; "
                f"the {which} size that fits has {other[0]} rows and {other[1]} columns"
            )


def _parameters(symbol: mx.sym.Symbol, graph: Graph, shapes: List[Shape | None]) -> List[int]:
    """Weights that each node is the first to take: variables other than image, labels and statistics."""
    nodes = graph.nodes
    others = {*(nodes[i]["name"] for i in graph.images), *symbol.list_auxiliary_states()}
    counts, counted = [0] * len(nodes), set()
    for i, node in enumerate(nodes):
        for j in (entry[0] for entry in node["inputs"]):
            name = nodes[j]["name"]
            if nodes[j]["op"] != "null" or j in counted or name in others or name.endswith("label"):
                continue
            counted.add(j)
            counts[i] += prod(shapes[j]) if shapes[j] else 0
    return counts

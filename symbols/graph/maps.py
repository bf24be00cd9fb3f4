"""Reads coordinate maps off a graph. Only this module knows each operator's map."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import Dict, List, NamedTuple, Tuple

from ...compat import mxnet as mx
from ...errors import FCNXSError
from ..coord_map import IDENTITY, Map, compose_fp, filter_map, format_map, inv_fp
from .nodes import JOIN, SAME, Graph, Node, flag, has, image_inputs, setting, window


def coordinate_maps(symbol: mx.sym.Symbol, axis: int = 0) -> Dict[str, Map]:
    """Map of every layer of a graph, from its cells to the pixels of its input.

    >>> data = mx.sym.Variable("data")
    >>> pool = mx.sym.Pooling(data, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max", name="pool")
    >>> {name: format_map(fp) for name, fp in coordinate_maps(pool).items()}
    {'data': '(1, 0)', 'pool': '(2, -1/2)'}

    Args:
        symbol: any Symbol, with one output or several. Variables that enter as images have the identity.
        axis: 0 for rows, 1 for columns. They are equal unless a kernel, stride or pad is not square.

    Returns:
        {node name: (stride, offset)}, exact, in pixel edges; weights, biases and labels have none.

    Raises:
        FCNXSError: layers with different maps are joined, or an operator's map is not known.
    """
    graph = Graph.of(symbol)
    maps = walk(graph, axis).maps
    return {node["name"]: fp for node, fp in zip(graph.nodes, maps) if fp is not None}


def crop_offset(x: mx.sym.Symbol, like: mx.sym.Symbol) -> Tuple[int, int]:
    """Rows and columns to cut from the top and left of `x` so that its cells lie on those of `like`.

    Raises:
        FCNXSError: the two scales differ, or the offset is negative or fractional.
    """
    rows, columns = (_offset(*pair) for pair in _maps_of(x, like))
    return (rows, columns)


def check_aligned(a: mx.sym.Symbol, b: mx.sym.Symbol, what: str) -> None:
    """Refuse to join two layers whose maps differ; `what` names the joining layer."""
    for (name_a, fp_a), (name_b, fp_b) in _maps_of(a, b):
        if fp_a != fp_b:
            raise _misaligned(what, name_a, fp_a, name_b, fp_b)


def _offset(x: Tuple[str, Map], like: Tuple[str, Map]) -> int:
    (name, fp), (like_name, like_fp) = x, like
    scale, shift = compose_fp(inv_fp(like_fp), fp)
    offset = -shift
    pair = f"cannot crop {name!r}, map {format_map(fp)}, like {like_name!r}, map {format_map(like_fp)}"
    if scale != 1:
        raise FCNXSError(f"{pair}: their strides differ by a factor of {scale}; resample one first")
    if offset < 0:
        raise FCNXSError(f"{pair}: the offset would be {offset}, negative; pad the first layer more")
    if offset.denominator != 1:
        raise FCNXSError(f"{pair}: the offset would be {offset}, not whole; change a kernel or pad")
    return int(offset)


def _maps_of(a: mx.sym.Symbol, b: mx.sym.Symbol) -> List[List[Tuple[str, Map]]]:
    """Name and map of two layers, for rows and for columns."""
    graph = Graph.of(mx.sym.Group([a, b]))
    heads = [head[0] for head in graph.heads]
    names = [graph.nodes[i]["name"] for i in heads]
    if len(heads) != 2:
        raise FCNXSError(f"expected layers with one output each, not {names}")
    found = [walk(graph, axis).maps for axis in (0, 1)]
    return [[(name, maps[i] or IDENTITY) for name, i in zip(names, heads)] for maps in found]


class Walk(NamedTuple):
    """Result of `walk`: the map of every node, None where there is none, and the refusals, by node."""

    maps: List[Map | None]
    refused: Dict[int, FCNXSError]


@lru_cache(maxsize=4)
def walk(graph: Graph, axis: int, strict: bool = True) -> Walk:
    """Maps of all nodes of a graph, by number, since names may occur twice.

    Args:
        strict: raise an error. Otherwise it is recorded, and the nodes that follow have no map.

    Raises:
        FCNXSError: as `coordinate_maps`.
    """
    nodes = graph.nodes
    found = Walk([None] * len(nodes), {})
    for i in graph.layers:
        images = image_inputs(nodes[i])
        if not strict:  # a variable that is joined with layers is a parameter, unless it is the image
            images = [j for j in images if nodes[j]["op"] != "null" or j in graph.images] or images[:1]
        for j in images:
            if nodes[j]["op"] == "null":  # a variable that enters as an image
                found.maps[j] = IDENTITY
        if all(found.maps[j] is not None for j in images):
            try:
                found.maps[i] = _map(nodes, i, images, found.maps, axis)
            except FCNXSError as error:
                if strict:
                    raise
                found.refused[i] = error
    return found


def misaligned(symbol: mx.sym.Symbol | Graph, axis: int = 0) -> List[str]:
    """A sentence for each layer that joins layers whose cells do not lie on each other. Rows: axis 0."""
    graph = Graph.of(symbol)
    maps, refused = walk(graph, axis, strict=False)
    joined = {i: {maps[j] for j in image_inputs(graph.nodes[i])} - {None} for i in refused}
    return [str(error) for i, error in refused.items() if len(joined[i]) > 1]


def own_map(node: Node, axis: int) -> Map | None:
    """Map of one node, from its cells to its input's; None if it is not known."""
    op, attrs = node["op"], node["attrs"]
    if op == "Concat" and attrs.get("dim", "1") not in ("0", "1"):
        return None
    if op in SAME or op in JOIN or (op == "slice_axis" and attrs["axis"] == "1"):  # of channels
        return IDENTITY
    if not flag(node, "global_pool") and not flag(node, "center_crop") and not has(node, "target_shape"):
        if op in ("Convolution", "Pooling"):
            return filter_map(*window(node, axis))
        if op == "Deconvolution":
            return inv_fp(filter_map(*window(node, axis)))
        if op == "Crop":
            return (Fraction(1), Fraction(setting(node, "offset", axis, 0)))
        if op == "UpSampling":
            return (Fraction(1, int(attrs["scale"])), Fraction(0))
    return None


def _map(nodes: List[Node], i: int, images: List[int], maps: List[Map | None], axis: int) -> Map:
    """Map of node i from those of the images that enter it; joined images must have the same."""
    fp, own = maps[images[0]] if images else IDENTITY, own_map(nodes[i], axis)
    what, attrs = f"{nodes[i]['op']} {nodes[i]['name']!r}", nodes[i]["attrs"]
    for j in images[1:]:
        if maps[j] != fp:
            raise _misaligned(what, nodes[images[0]]["name"], fp, nodes[j]["name"], maps[j])
    if own is None and nodes[i]["op"] == "Concat":
        raise FCNXSError(
            f"{what} along axis {attrs['dim']} joins parts side by side: it has no single coordinate map"
        )
    if own is None:
        settings = ", ".join(f"{key}={text}" for key, text in attrs.items())
        raise FCNXSError(f"{what} ({settings}) has no known coordinate map")
    composed = fp if own is IDENTITY else compose_fp(fp, own)
    if not is_short(*composed):
        raise FCNXSError(f"{what} has a map with numbers of more than 64 bits")
    return composed


def is_short(*numbers: Fraction) -> bool:
    """Whether the numbers have 64 bits at most; others are not followed through a graph, where they grow on."""
    return all(max(abs(each.numerator), each.denominator) >> 64 == 0 for each in numbers)


def _misaligned(what: str, name_a: str, fp_a: Map, name_b: str, fp_b: Map) -> FCNXSError:
    return FCNXSError(
        f"{what} joins {name_a!r}, map {format_map(fp_a)}, and {name_b!r}, map {format_map(fp_b)}: "
        "their cells do not coincide; crop one like the other first"
    )

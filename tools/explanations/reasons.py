"""Explains the design of a net: fc6, the skips, the constants of at-once. Numbers are read off its graph."""

from __future__ import annotations

from math import prod
from typing import Dict, List, NamedTuple, Sequence, Tuple

from ...compat import mxnet as mx
from ...symbols import Row
from ...symbols.graph.layer_sizes import layer_sizes
from ...symbols.graph.nodes import JOIN, Graph, window
from ...symbols.graph.rewrite import with_pad

Answer = Tuple[str, str]  # question, answer


def by(size: Sequence[int | None]) -> str:
    """Rows and columns, as width x height."""
    return f"{size[1]}x{size[0]}"


def source_of(graph: Graph, i: int, through: Sequence[str] = ()) -> int:
    """Number of the node whose output is a node's first input, before any operators in `through`."""
    i = graph.nodes[i]["inputs"][0][0]
    return source_of(graph, i, through) if graph.nodes[i]["op"] in through else i


def reasons(symbol: mx.sym.Symbol, graph: Graph, rows: Sequence[Row], columns: Sequence[Row]) -> List[Answer]:
    """Questions and answers about the net's design; questions that do not arise are left out."""
    pairs = dict(zip(graph.layers, zip(rows, columns)))
    found = [_why_convolution(symbol, graph, i, pairs) for i in pairs]
    skips = _skips(graph, pairs)
    if skips:
        found += [_what_skips_add(skips, pairs), _why_constants(graph, skips)]
    return [answer for answer in found if answer is not None]


def _why_convolution(
    symbol: mx.sym.Symbol, graph: Graph, i: int, pairs: Dict[int, Tuple[Row, Row]]
) -> Answer | None:
    """About an unpadded convolution named fc over all cells of a pooling, which was an inner product."""
    row, column = pairs[i]
    if row.op != "Convolution" or not row.name.startswith("fc"):
        return None
    number = source_of(graph, i, ("Activation", "Dropout"))
    source = pairs[number][0] if number in pairs else None
    if source is None or source.op != "Pooling" or None in (source.map, source.shape):
        return None
    kernel, inputs = (row.kernel, column.kernel), source.shape[1] * row.kernel * column.kernel
    whole = row.parameters - row.shape[1] * inputs in (0, row.shape[1])  # neither groups nor dilation
    if max(kernel) == 1 or (row.pad, column.pad, row.stride, column.stride) != (0, 0, 1, 1) or not whole:
        return None
    places = f"{by(row.shape[2:])} places" if prod(row.shape[2:]) > 1 else "one place"
    return (
        f"Why is {row.name} a convolution?",
        f"In the classifier it is an inner product: {row.shape[1]:,} numbers, each with a weight for each of "
        f"the {inputs:,} values in the {by(kernel)} cells of {source.name}"
        f"{_image(symbol, graph, number, source, kernel)}. A convolution with a kernel of {by(kernel)} has the "
        "same weights and gives the same numbers wherever its kernel fits: it slides the classifier over the "
        f"image, {source.map[0]} pixels at a time (FCN paper, section 3.1). Here it has {places}.",
    )


def _image(symbol: mx.sym.Symbol, graph: Graph, number: int, source: Row, kernel: Tuple[int, int]) -> str:
    """The image for which a layer has just a kernel's cells, where the first convolution keeps the size."""
    layer = graph.ops.index("Convolution")
    first, image = graph.nodes[layer], tuple(int(source.map[0]) * cells for cells in kernel)
    pad = window(first, 0)[0] // 2
    padded = Graph.of(with_pad(symbol, graph.layers.index(layer), pad))
    sizes = [layer_sizes(padded, axis)[number] for axis in (0, 1)]
    if window(first, 0)[1] != 1 or tuple(size and size.value(n) for size, n in zip(sizes, image)) != kernel:
        return ""
    return f", all that there are for an image of {by(image)} where {first['name']} pads {pad}"


class Skip(NamedTuple):
    """Numbers of the nodes of a skip: its score, the coarser scores upsampled for it, and the sum of both."""

    score: int
    coarser: int
    total: int


def _skips(graph: Graph, pairs: Dict[int, Tuple[Row, Row]]) -> List[Skip]:
    """Sums of upsampled scores with a finer layer's, cropped like them; none unless all have maps."""
    nodes, found = graph.nodes, []
    for i in graph.layers:
        inputs = [entry[0] for entry in nodes[i]["inputs"]]
        for j in inputs if nodes[i]["op"] in JOIN else []:
            if nodes[j]["op"] == "Crop" and len(nodes[j]["inputs"]) == 2:
                score, up = (entry[0] for entry in nodes[j]["inputs"])
                if (nodes[score]["op"], nodes[up]["op"]) == ("Convolution", "Deconvolution") and up in inputs:
                    found.append(Skip(score, source_of(graph, up), i))
    known = all(i in pairs and pairs[i][0].receptive_field is not None for skip in found for i in skip)
    return found if known else []


def _what_skips_add(skips: List[Skip], pairs: Dict[int, Tuple[Row, Row]]) -> Answer:
    cells = []
    for i in (skips[0].coarser, *(skip.score for skip in skips)):
        row, column = pairs[i]
        sees = by((row.receptive_field, column.receptive_field))
        cells.append(f"{row.name} has a cell every {row.map[0]} pixels, which sees {sees}")
    total = pairs[skips[-1].total][0]
    return (
        f"What {'does the skip' if len(skips) == 1 else 'do the skips'} add?",
        f"Finer places: {'; '.join(cells)}. The coarse cells see enough to tell what is there, the fine ones "
        f"are close enough to tell where it ends (FCN paper, section 4.2). The sum, {total.name}, has a cell "
        f"every {total.map[0]} pixels.",
    )


def _why_constants(graph: Graph, skips: List[Skip]) -> Answer | None:
    nodes = graph.nodes
    scaled = [(skip.score, source_of(graph, skip.score)) for skip in skips]
    scaled = [(i, j) for i, j in scaled if nodes[j]["op"] == "_mul_scalar"]
    if not scaled:
        return None
    each = [f"{nodes[source_of(graph, j)]['name']} by {nodes[j]['attrs']['scalar']}" for _, j in scaled]
    return (
        "Why are there constants in the skips?",
        f"They multiply {', '.join(each)}, so that the inputs of "
        f"{' and '.join(nodes[i]['name'] for i, _ in scaled)} are about as large as that of "
        f"{nodes[skips[0].coarser]['name']}, and all can be trained in one stage instead of one after the "
        "other (the journal version of the FCN paper, PAMI 2017).",
    )

"""Why a net is built as it is: fc6, the skips, the constants of at-once. Numbers are read off its graph."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Sequence, Tuple

if TYPE_CHECKING:
    from ...compat import mxnet as mx
    from ...symbols import Row
    from ...symbols.graph.nodes import Node

Answer = Tuple[str, str]  # question, answer


def by(size: Tuple[int | None, int | None]) -> str:
    """Rows and columns, as width x height."""
    return f"{size[1]}x{size[0]}"


def by_node(nodes: Sequence[Node], rows: Sequence[Row]) -> Dict[int, Row]:
    """Rows by the numbers of their nodes."""
    return dict(zip((i for i, node in enumerate(nodes) if node["op"] != "null"), rows))


def source_of(nodes: Sequence[Node], i: int, through: Sequence[str]) -> int:
    """Number of the node that a node takes first; those of some operators are passed by."""
    i = nodes[i]["inputs"][0][0]
    while nodes[i]["op"] in through:
        i = nodes[i]["inputs"][0][0]
    return i


def reasons(symbol: mx.sym.Symbol, rows: Sequence[Row], columns: Sequence[Row]) -> List[Answer]:
    """Why a net is built as it is; questions that do not arise are left out."""
    from ...symbols.graph.nodes import Graph

    nodes = Graph.of(symbol).nodes
    row_of, column_of = by_node(nodes, rows), by_node(nodes, columns)
    found = [_why_convolution(symbol, nodes, i, row_of, column_of) for i in row_of]
    skips = _skips(nodes, row_of)
    if skips:
        found += [_what_skips_add(skips, row_of, column_of), _why_constants(nodes, skips, row_of)]
    return [answer for answer in found if answer is not None]


def _why_convolution(
    symbol: mx.sym.Symbol, nodes: List[Node], i: int, row_of: Dict[int, Row], column_of: Dict[int, Row]
) -> Answer | None:
    """Of a convolution that was an inner product: an unpadded one, named fc, of all the cells of a pooling."""
    row, column = row_of[i], column_of[i]
    source = row_of.get(source_of(nodes, i, ("Activation", "Dropout"))) if row.op == "Convolution" else None
    if (
        source is None
        or source.op != "Pooling"
        or not row.name.startswith("fc")
        or None in (source.map, source.shape)
    ):
        return None
    kernel = (row.kernel, column.kernel)
    inputs = source.shape[1] * row.kernel * column.kernel
    whole = row.parameters - row.shape[1] * inputs in (0, row.shape[1])  # neither groups nor dilation
    if max(kernel) == 1 or (row.pad, column.pad, row.stride, column.stride) != (0, 0, 1, 1) or not whole:
        return None
    places = f"{by(row.shape[2:])} places" if prod(row.shape[2:]) > 1 else "one place"
    return (
        f"Why is {row.name} a convolution?",
        f"In the classifier it is an inner product: {row.shape[1]:,} numbers, each with a weight for each of "
        f"the {inputs:,} values in the {by(kernel)} cells of {source.name}"
        f"{_image(symbol, source, row_of, kernel)}. A convolution with a kernel of {by(kernel)} has the same "
        "weights, and gives the same numbers at every place where its kernel fits: that is the classifier slid "
        f"over the image, {source.map[0]} pixels at a time (FCN paper, section 3.1). Here it has {places}.",
    )


def _image(symbol: mx.sym.Symbol, source: Row, row_of: Dict[int, Row], kernel: Tuple[int, int]) -> str:
    """The image of which a layer has just the cells of a kernel, where the first layer keeps the size."""
    from ...symbols.graph.edits import with_pad
    from ...symbols.graph.layer_sizes import layer_sizes
    from ...symbols.graph.nodes import Graph

    rows = list(row_of.values())
    first = next(row for row in rows if row.op == "Convolution")
    number = next(i for i, row in zip(row_of, rows) if row is source)
    graph = Graph.of(with_pad(symbol, rows.index(first), first.kernel // 2))
    sizes = [layer_sizes(graph, axis)[number] for axis in (0, 1)]
    image = tuple(int(source.map[0]) * cells for cells in kernel)
    if None in sizes or first.stride != 1 or tuple(size.value(n) for size, n in zip(sizes, image)) != kernel:
        return ""
    return f", all that there are for an image of {by(image)} where {first.name} pads {first.kernel // 2}"


class Skip(NamedTuple):
    """Numbers of the nodes of a skip: its score, and the coarser scores that it is added to, upsampled."""

    score: int
    coarser: int
    total: int


def _skips(nodes: List[Node], row_of: Dict[int, Row]) -> List[Skip]:
    """Sums of upsampled scores and of a finer layer's, cropped like them, where all have maps."""
    from ...symbols.graph.nodes import JOIN

    found = []
    for i in row_of:
        inputs = [entry[0] for entry in nodes[i]["inputs"]]
        for j in inputs if nodes[i]["op"] in JOIN else []:
            if nodes[j]["op"] == "Crop" and len(nodes[j]["inputs"]) == 2:
                score, up = (entry[0] for entry in nodes[j]["inputs"])
                if (nodes[score]["op"], nodes[up]["op"]) == ("Convolution", "Deconvolution") and up in inputs:
                    found.append(Skip(score, nodes[up]["inputs"][0][0], i))
    fields = [row_of[i].receptive_field if i in row_of else None for skip in found for i in skip]
    return found if None not in fields else []


def _what_skips_add(skips: List[Skip], row_of: Dict[int, Row], column_of: Dict[int, Row]) -> Answer:
    def cell(i: int) -> str:
        sees = by((row_of[i].receptive_field, column_of[i].receptive_field))
        return f"{row_of[i].name} has a cell every {row_of[i].map[0]} pixels, which sees {sees}"

    cells = "; ".join(cell(i) for i in (skips[0].coarser, *(skip.score for skip in skips)))
    total = row_of[skips[-1].total]
    return (
        f"What {'does the skip' if len(skips) == 1 else 'do the skips'} add?",
        f"Finer places: {cells}. The coarse cells see enough to tell what is there, the fine ones are close "
        f"enough to tell where it ends (FCN paper, section 4.2). The sum, {total.name}, has a cell every "
        f"{total.map[0]} pixels.",
    )


def _why_constants(nodes: List[Node], skips: List[Skip], row_of: Dict[int, Row]) -> Answer | None:
    scaled = {skip.score: source_of(nodes, skip.score, ()) for skip in skips}
    scaled = {i: j for i, j in scaled.items() if nodes[j]["op"] == "_mul_scalar"}
    if not scaled:
        return None
    each = ", ".join(
        f"{nodes[source_of(nodes, j, ())]['name']} by {nodes[j]['attrs']['scalar']}" for j in scaled.values()
    )
    scores, coarse = " and ".join(row_of[i].name for i in scaled), row_of[skips[0].coarser].name
    return (
        "Why are there constants in the skips?",
        f"They multiply {each}, so that the inputs of {scores} are about as large as that of {coarse}, and all "
        "can be trained in one stage instead of one after the other (the journal version of the FCN paper, "
        "PAMI 2017).",
    )

"""What newcomers ask of a net, answered with numbers that are read off its graph."""

from __future__ import annotations

from itertools import count
from math import prod
from typing import TYPE_CHECKING, List, Sequence, Tuple

from .reasons import Answer, by, by_node, reasons, source_of

if TYPE_CHECKING:
    from ...compat import mxnet as mx
    from ...symbols import Row
    from ...symbols.graph.nodes import Graph


def answers(
    symbol: mx.sym.Symbol, size: Tuple[int, int], rows: Sequence[Row], columns: Sequence[Row]
) -> List[Answer]:
    """What newcomers ask of this net; questions that do not arise are left out.

    Args:
        size: rows and columns of the image.
        rows, columns: of `describe(symbol, size)`, for axis 0 and 1.
    """
    coarse = _coarsest(rows)
    found = [_smallest(symbol, rows)]
    if coarse is not None:
        found += [_why_pad(symbol, rows, coarse), _sees(rows, columns, coarse)]
    found += [*reasons(symbol, rows, columns), _unscored(symbol, size, rows)]
    found += [_why_no_scale(row, source, rows) for row, source in _dense(symbol, rows)]
    return [answer for answer in found if answer is not None]


def _coarsest(rows: Sequence[Row]) -> int | None:
    """Number of the layer that makes the coarsest scores: the last convolution with the largest stride."""
    strides = {i: row.map[0] for i, row in enumerate(rows) if row.op == "Convolution" and row.map is not None}
    largest = max(strides.values(), default=1)
    return max(i for i, stride in strides.items() if stride == largest) if largest > 1 else None


def _smallest(symbol: mx.sym.Symbol, rows: Sequence[Row]) -> Answer:
    from ...symbols.graph.layer_sizes import LARGEST, misfit, smallest_input
    from ...symbols.graph.nodes import Graph

    question, graph, least = "What is the smallest input?", Graph.of(symbol), smallest_input(symbol)
    if None in least:
        return (question, f"One of more than {LARGEST} rows or columns.")
    known = all(row.formula for row in rows if row.op in ("Convolution", "Crop", "Deconvolution", "Pooling"))
    text = f"{by(least)}, width x height{'' if known else ', as far as the sizes are known'}."
    dense = [row.name for row, _ in _dense(symbol, rows)]
    if dense:
        text = (
            f"The graph can be built from {by(least)} on, width x height, but the weights of "
            f"{', '.join(dense)} belong to one size alone."
        )
    if least[0] > 1:
        text += f" With {least[0] - 1} rows, {misfit(graph, 0, least[0] - 1)}."
    gap = _gap(graph, least)
    if gap is not None:
        fault = misfit(graph, 0, gap[0]) or misfit(graph, 1, gap[1])
        text += f" Not every larger one fits: of {by(gap)}, {fault}."
    return (question, text)


def _gap(graph: Graph, least: Tuple[int, int]) -> Tuple[int, int] | None:
    """The first size that does not fit of those larger than the smallest that does."""
    from ...symbols.graph.layer_sizes import misfit, telling

    found = list(least)
    for axis in (0, 1):
        if telling(graph, axis)[1]:
            found[axis] = next(n for n in count(least[axis]) if misfit(graph, axis, n) is not None)
    return None if found == list(least) else tuple(found)


def _why_pad(symbol: mx.sym.Symbol, rows: Sequence[Row], coarse: int) -> Answer | None:
    """What would become of the net with a pad of 1 instead of a large one."""
    from ...symbols import crop_derivations, smallest_input
    from ...symbols.graph.edits import with_pad
    from ...symbols.graph.layer_sizes import layer_formula

    number = next(i for i, row in enumerate(rows) if row.op == "Convolution")
    first, score = rows[number], rows[coarse].name
    if first.pad is None or first.pad <= first.kernel // 2 or rows[coarse].formula is None:
        return None
    other = with_pad(symbol, number, 1)
    here, there = (smallest_input(net, coarse + 1) for net in (symbol, other))
    text = (
        f"With a pad of 1, {score} would have {layer_formula(other, coarse)} rows, and the smallest input with "
        f"a score would be {by(there)}. With {first.pad} it has {rows[coarse].formula}, and {by(here)} is "
        "enough."
    )
    negative = [(crop.name, crop.from_maps) for crop in crop_derivations(other) if (crop.from_maps or 0) < 0]
    for name, offset in negative:
        text += (
            f" And the offset of {name} would be {offset}, a negative one: the upsampled scores would end "
            "inside the image, and could not be cut to its size. As it is they reach past its edges, and the "
            "crop takes off what the padding has added."
        )
    return (f"Why does {first.name} pad {first.pad}?", text)


def _sees(rows: Sequence[Row], columns: Sequence[Row], coarse: int) -> Answer | None:
    score, last = rows[coarse], rows[-1]
    field, stride = score.receptive_field, score.map[0]
    if field is None:
        return None
    text = (
        f"{by((field, columns[coarse].receptive_field))} pixels of the image and its padding. The next cell "
        f"sees as many, {stride} further on"
    )
    text += f": {field - stride} of {field} rows are the same." if field > stride else "."
    if last.receptive_field not in (None, field):
        reach = by((last.receptive_field, columns[-1].receptive_field))
        text += f" A pixel of {last.name} is made of several cells, and sees up to {reach}."
    return (f"What does a cell of {score.name} see?", text)


def _unscored(symbol: mx.sym.Symbol, size: Tuple[int, int], rows: Sequence[Row]) -> Answer | None:
    """Rows and columns that the upsampled scores do not reach, here and at worst."""
    from ...symbols import smallest_input, unscored_border
    from ...symbols.graph.nodes import Graph
    from ...symbols.graph.reach import most_unscored

    border, least = unscored_border(symbol, size), smallest_input(symbol)
    if border is None or None in least or not any(row.op == "Deconvolution" for row in rows):
        return None
    question, gap = "Does every pixel get a score?", _gap(Graph.of(symbol), least)
    worst = max(most_unscored(symbol), *map(sum, border))
    if worst == 0:
        where = "" if least == (1, 1) else f" from {by(least)} on"
        where = where if gap is None else f" that fits ({by(gap)} does not)"
        return (question, f"Yes, at every size{where}: the upsampled scores reach the edges of the image.")
    (top, bottom), (left, right) = border
    text = (
        f"At {by(size)}, {top} rows at the top and {bottom} at the bottom have none, and {left} columns on "
        f"the left and {right} on the right; at other sizes up to {worst}."
    )
    if any(row.adj for row in rows) and any(row.op == "Pooling" for row in rows):
        text += (
            " Pooling rounds sizes down, and adj of the deconvolutions makes up for it with cells that no "
            "score reaches: 0 for every class, read as class 0. Pooling that rounds up needs no adj (pooling "
            "convention 'full')."
        )
    return (question, text)


def _dense(symbol: mx.sym.Symbol, rows: Sequence[Row]) -> List[Tuple[Row, Row]]:
    """Fully connected layers whose weights depend on the image's size, each with the layer that it takes."""
    from ...symbols.graph.nodes import Graph

    nodes = Graph.of(symbol).nodes
    row_of = by_node(nodes, rows)
    found = []
    for i, row in row_of.items():
        if row.op == "FullyConnected":
            source = row_of.get(source_of(nodes, i, ("Dropout", "Flatten", "Reshape")))
            if source is not None and len(source.shape or ()) == 4 and "H" in (source.formula or ""):
                found.append((row, source))
    return found


def _why_no_scale(row: Row, source: Row, rows: Sequence[Row]) -> Answer:
    """Weights of a fully connected layer that takes an image's cells."""
    return (f"Why does {row.name} not scale?", _dense_text(row, source, rows))


def _dense_text(row: Row, source: Row, rows: Sequence[Row]) -> str:
    from ...symbols import get_fcn8s_symbol
    from ...symbols.graph.describe import describe

    inputs, outputs = prod(source.shape[1:]), row.shape[1]
    weights = inputs * outputs
    values = " x ".join(map(str, source.shape[1:]))
    text = (
        f"Each of its {outputs:,} numbers has a weight for each of the {values} = {inputs:,} values of "
        f"{source.name}: {weights:,} weights, {weights * 4 / 1e9:,.1f} GB in single precision, for images of "
        "this one size."
    )
    masks = [other.shape for other in rows if other.op == "Reshape" and len(other.shape or ()) == 4]
    if not masks or prod(masks[0][1:]) != outputs:
        return f"{text} A convolution with a kernel of that size has as many, and takes larger images too."
    _, classes, *mask = masks[0]
    fcn = describe(get_fcn8s_symbol(classes), (224, 224))
    scores = [each for each in fcn if each.op == "Convolution" and each.name.startswith("score")]
    count = sum(each.parameters - each.shape[1] for each in scores)
    names = ", ".join(each.name for each in scores)
    return (
        f"{text} They make {classes} masks of {by(mask)}; masks of twice the side from images of twice the "
        f"side would take {16 * weights:,}. FCN-8s scores {classes} classes with {count:,} weights "
        f"({names}), the same for every cell, and so for images of every size."
    )

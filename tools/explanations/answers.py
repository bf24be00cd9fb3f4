"""Questions that newcomers ask about a net, answered with numbers that are read off its graph."""

from __future__ import annotations

from itertools import count
from math import prod
from typing import List, Sequence, Tuple

from ...compat import mxnet as mx
from ...symbols import Row, crop_derivations, describe, get_fcn8s_symbol, smallest_input, unscored_border
from ...symbols.graph.layer_sizes import LARGEST, layer_formula, misfit, smallest, telling
from ...symbols.graph.nodes import Graph
from ...symbols.graph.reach import most_unscored
from ...symbols.graph.rewrite import with_pad
from .reasons import Answer, by, reasons, source_of


def answers(
    symbol: mx.sym.Symbol, size: Tuple[int, int], rows: Sequence[Row], columns: Sequence[Row]
) -> List[Answer]:
    """Questions about this net and their answers; questions that do not arise are left out.

    Args:
        size: rows and columns of the image.
        rows, columns: results of `describe(symbol, size)` for axis 0 and axis 1.
    """
    graph = Graph.of(symbol)
    least = (smallest(graph, 0), smallest(graph, 1))
    gap, dense = None if None in least else _gap(graph, least), _dense(graph, rows)
    found = [_smallest(graph, rows, least, gap, [row.name for row, _ in dense])]
    found += _about_scores(symbol, rows, columns)
    found += [*reasons(symbol, graph, rows, columns), _unscored(symbol, size, rows, least, gap)]
    found += [(f"Why does {row.name} not scale?", _why_no_scale(row, source, rows)) for row, source in dense]
    return [answer for answer in found if answer is not None]


def _gap(graph: Graph, least: Tuple[int, int]) -> Tuple[int, int] | None:
    """The first size that does not fit among those larger than the smallest that does."""
    found = [*least]
    for axis in (0, 1):
        if telling(graph, axis)[1]:
            found[axis] = next(n for n in count(least[axis]) if misfit(graph, axis, n))
    return None if found == [*least] else tuple(found)


def _smallest(
    graph: Graph, rows: Sequence[Row], least: Tuple, gap: Tuple[int, int] | None, dense: List[str]
) -> Answer:

    if None in least:
        return ("What is the smallest input?", f"One of more than {LARGEST} rows or columns.")
    known = all(row.formula for row in rows if row.op in ("Convolution", "Crop", "Deconvolution", "Pooling"))
    text = f"{by(least)}, width x height{'' if known else ', as far as the sizes are known'}."
    if dense:
        text = (
            f"The graph can be built from {by(least)} on, width x height, but the weights of "
            f"{', '.join(dense)} belong to one size alone."
        )
    if least[0] > 1:
        text += f" With {least[0] - 1} rows, {misfit(graph, 0, least[0] - 1)}."
    if gap is not None:
        fault = misfit(graph, 0, gap[0]) or misfit(graph, 1, gap[1])
        text += f" Not every larger one fits: of {by(gap)}, {fault}."
    return ("What is the smallest input?", text)


def _about_scores(symbol: mx.sym.Symbol, rows: Sequence[Row], columns: Sequence[Row]) -> List[Answer | None]:
    """About the coarsest scores, which come from the last convolution with the largest stride."""
    strides = {i: row.map[0] for i, row in enumerate(rows) if row.op == "Convolution" and row.map is not None}
    largest = max(strides.values(), default=1)
    if largest <= 1:
        return []
    coarse = max(i for i, stride in strides.items() if stride == largest)
    return [_why_pad(symbol, rows, coarse), _sees(rows, columns, coarse)]


def _why_pad(symbol: mx.sym.Symbol, rows: Sequence[Row], coarse: int) -> Answer | None:
    """Compare the net with one that pads 1 instead of much."""
    number = next(i for i, row in enumerate(rows) if row.op == "Convolution")
    first, score = rows[number], rows[coarse]
    if first.pad is None or first.pad <= first.kernel // 2 or score.formula is None:
        return None
    other = with_pad(symbol, number, 1)
    here, there = (by(smallest_input(net, coarse + 1)) for net in (symbol, other))
    text = (
        f"With a pad of 1, {score.name} would have {layer_formula(other, coarse)} rows, and the smallest input "
        f"with a score would be {there}. With {first.pad} it has {score.formula}, and {here} is enough."
    )
    for crop in crop_derivations(other):
        if (crop.from_maps or 0) < 0:
            text += (
                f" And the offset of {crop.name} would be {crop.from_maps}, a negative one: the upsampled "
                "scores would end inside the image. As it is they reach past its edges, and the crop takes off "
                "what the padding has added."
            )
    return (f"Why does {first.name} pad {first.pad}?", text)


def _sees(rows: Sequence[Row], columns: Sequence[Row], coarse: int) -> Answer | None:
    score, last = rows[coarse], rows[-1]
    field, stride = score.receptive_field, score.map[0]
    if field is None:
        return None
    same = f": {field - stride} of {field} rows are the same." if field > stride else "."
    text = (
        f"{by((field, columns[coarse].receptive_field))} pixels of the image and its padding. The next cell "
        f"sees as many, {stride} further on{same}"
    )
    if last.receptive_field not in (None, field):
        reach = by((last.receptive_field, columns[-1].receptive_field))
        text += f" A pixel of {last.name} is made of several cells, and sees up to {reach}."
    return (f"What does a cell of {score.name} see?", text)


def _unscored(
    symbol: mx.sym.Symbol,
    size: Tuple[int, int],
    rows: Sequence[Row],
    least: Tuple,
    gap: Tuple[int, int] | None,
) -> Answer | None:
    """Rows and columns that the upsampled scores do not reach, here and at worst."""
    border, question = unscored_border(symbol, size), "Does every pixel get a score?"
    if border is None or None in least or not any(row.op == "Deconvolution" for row in rows):
        return None
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


def _dense(graph: Graph, rows: Sequence[Row]) -> List[Tuple[Row, Row]]:
    """Fully connected layers whose weights depend on the image's size, each with the layer before it."""
    row_of, found = dict(zip(graph.layers, rows)), []
    for i, row in row_of.items():
        if row.op == "FullyConnected":
            source = row_of.get(source_of(graph, i, ("Dropout", "Flatten", "Reshape")))
            if source is not None and len(source.shape or ()) == 4 and "H" in (source.formula or ""):
                found.append((row, source))
    return found


def _why_no_scale(row: Row, source: Row, rows: Sequence[Row]) -> str:
    """Weights of a fully connected layer, and of FCN-8s where the layer makes masks."""
    inputs, outputs = prod(source.shape[1:]), row.shape[1]
    weights, values = inputs * outputs, " x ".join(map(str, source.shape[1:]))
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
    of_fcn = sum(each.parameters - each.shape[1] for each in scores)
    return (
        f"{text} They make {classes} masks of {by(mask)}; masks of twice the side from images of twice the "
        f"side would take {16 * weights:,}. FCN-8s scores {classes} classes with {of_fcn:,} weights "
        f"({', '.join(each.name for each in scores)}), the same for every cell, for images of every size."
    )

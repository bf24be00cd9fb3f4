"""What newcomers ask of a net, answered with numbers that are read off its graph."""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING, List, Sequence, Tuple

if TYPE_CHECKING:
    from ..compat import mxnet as mx
    from ..symbols import Row

Answer = Tuple[str, str]  # question, answer


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
    found += [_unscored(symbol, size, rows), *_dense(symbol, rows)]
    return [answer for answer in found if answer is not None]


def _coarsest(rows: Sequence[Row]) -> int | None:
    """Number of the layer that makes the coarsest scores: the last convolution with the largest stride."""
    strides = {i: row.map[0] for i, row in enumerate(rows) if row.op == "Convolution" and row.map is not None}
    largest = max(strides.values(), default=1)
    return max(i for i, stride in strides.items() if stride == largest) if largest > 1 else None


def _by(size: Tuple[int | None, int | None]) -> str:
    """Rows and columns, as width x height."""
    return f"{size[1]}x{size[0]}"


def _smallest(symbol: mx.sym.Symbol, rows: Sequence[Row]) -> Answer:
    from ..symbols.layer_sizes import LARGEST, misfit, smallest_input
    from ..symbols.nodes import graph_nodes

    least = smallest_input(symbol)
    if None in least:
        return ("What is the smallest input?", f"One of more than {LARGEST} rows or columns.")
    text = f"{_by(least)}, width x height"
    known = all(row.formula for row in rows if row.op in ("Convolution", "Crop", "Deconvolution", "Pooling"))
    text += "." if known else ", as far as the sizes are known."
    if least[0] > 1:
        text += f" With {least[0] - 1} rows, {misfit(graph_nodes(symbol), 0, least[0] - 1)}."
    return ("What is the smallest input?", text)


def _why_pad(symbol: mx.sym.Symbol, rows: Sequence[Row], coarse: int) -> Answer | None:
    """What would become of the net with a pad of 1 instead of a large one."""
    from ..symbols import crop_derivations, smallest_input
    from ..symbols.layer_sizes import layer_formula, with_pad

    number = next(i for i, row in enumerate(rows) if row.op == "Convolution")
    first, score = rows[number], rows[coarse].name
    if first.pad is None or first.pad <= first.kernel // 2 or rows[coarse].formula is None:
        return None
    other = with_pad(symbol, number, 1)
    here, there = (smallest_input(net, coarse + 1) for net in (symbol, other))
    text = (
        f"With a pad of 1, {score} would have {layer_formula(other, coarse)} rows, and the smallest input with "
        f"a score would be {_by(there)}. With {first.pad} it has {rows[coarse].formula}, and {_by(here)} is "
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
        f"{_by((field, columns[coarse].receptive_field))} pixels of the image and its padding. The next cell "
        f"sees as many, {stride} further on"
    )
    text += f": {field - stride} of {field} rows are the same." if field > stride else "."
    if last.receptive_field not in (None, field):
        reach = _by((last.receptive_field, columns[-1].receptive_field))
        text += f" A pixel of {last.name} is made of several cells, and sees up to {reach}."
    return (f"What does a cell of {score.name} see?", text)


def _unscored(symbol: mx.sym.Symbol, size: Tuple[int, int], rows: Sequence[Row]) -> Answer | None:
    """Rows and columns that the upsampled scores do not reach, here and at worst."""
    from ..symbols import unscored_border
    from ..symbols.layer_sizes import fits

    border = unscored_border(symbol, size)
    if border is None or not any(row.op == "Deconvolution" for row in rows):
        return None
    period = max((ceil(row.map[0]) for row in rows if row.map is not None), default=1)
    sizes = [(size[0] + more, size[1] + more) for more in range(period)]
    worst = max(sum(ends) for each in sizes if fits(symbol, each) for ends in unscored_border(symbol, each))
    question = "Does every pixel get a score?"
    if worst == 0:
        return (question, "Yes, at every size: the upsampled scores reach the edges of the image.")
    (top, bottom), (left, right) = border
    return (
        question,
        f"At {_by(size)}, {top} rows at the top and {bottom} at the bottom have none, and {left} columns on "
        f"the left and {right} on the right; at other sizes up to {worst}. Pooling rounds sizes down, and adj "
        "of the deconvolutions makes up for it with cells that no score reaches: 0 for every class, read as "
        "class 0. Pooling that rounds up needs no adj (pooling convention 'full').",
    )


def _dense(symbol: mx.sym.Symbol, rows: Sequence[Row]) -> List[Answer]:
    """Weights of the fully connected layers that take an image's cells."""
    from ..symbols.nodes import graph_nodes

    nodes = graph_nodes(symbol)
    row_of = dict(zip((i for i, node in enumerate(nodes) if node["op"] != "null"), rows))
    found = []
    for i, row in row_of.items():
        if row.op == "FullyConnected":
            j = nodes[i]["inputs"][0][0]
            while j in row_of and row_of[j].op in ("Dropout", "Flatten", "Reshape"):
                j = nodes[j]["inputs"][0][0]
            if j in row_of and len(row_of[j].shape or ()) == 4 and prod(row_of[j].shape[2:]) > 1:
                found.append((f"Why does {row.name} not scale?", _dense_text(row, row_of[j], rows)))
    return found


def _dense_text(row: Row, source: Row, rows: Sequence[Row]) -> str:
    from ..symbols import describe, get_fcn8s_symbol

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
        f"{text} They make {classes} masks of {_by(mask)}; masks of twice the side from images of twice the "
        f"side would take {16 * weights:,}. FCN-8s scores {classes} classes with {count:,} weights "
        f"({names}), the same for every cell, and so for images of every size."
    )

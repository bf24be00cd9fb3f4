"""Questions that newcomers ask about a net, and about its design, answered with numbers read off its graph."""

from __future__ import annotations

from itertools import islice
from math import prod
from typing import List, NamedTuple, Sequence, Tuple

from ...compat import mxnet as mx
from ...symbols import Row, crop_derivations, describe, get_fcn8s_symbol, smallest_input, unscored_border
from ...symbols.graph.layer_sizes import LARGEST, layer_formula, layer_sizes, misfit
from ...symbols.graph.nodes import JOIN, Graph, window
from ...symbols.graph.reach import most_unscored
from ...symbols.graph.rewrite import with_pad
from .net import Net

Answer = Tuple[str, str]  # question, answer
MOST = 8  # layers about which the same question is answered


class Skip(NamedTuple):
    """Numbers of the nodes of a skip: its score, the coarser scores upsampled for it, and the sum of both."""

    score: int
    coarser: int
    total: int


def answers(
    symbol: mx.sym.Symbol, size: Tuple[int, int], rows: Sequence[Row], columns: Sequence[Row]
) -> List[Answer]:
    """Questions that arise about a net and their answers; the arguments are those of `Net`."""
    net = Net(symbol, size, rows, columns)
    dense, skips = _dense(net), _skips(net)
    found = [_smallest(net, [row.name for row, _ in dense]), *_about_scores(net)]
    found += islice(filter(None, (_why_convolution(net, i) for i in net.pairs)), MOST)
    if skips:
        found += [_what_skips_add(net, skips), _why_constants(net, skips)]
    found += [_unscored(net)]
    found += [(f"Why does {row.name} not scale?", _why_no_scale(row, source, rows)) for row, source in dense]
    return [answer for answer in found if answer is not None]


def by(size: Sequence[int | None]) -> str:
    """Rows and columns, as width x height."""
    return f"{size[1]}x{size[0]}"


def _smallest(net: Net, dense: List[str]) -> Answer:
    least, gap = net.least, net.gap
    if None in least:
        return ("What is the smallest input?", f"One of more than {LARGEST} rows or columns.")
    sized = ("Convolution", "Crop", "Deconvolution", "Pooling")
    known = all(row.formula for row in net.rows if row.op in sized)
    text = f"{by(least)}, width x height{'' if known else ', as far as the sizes are known'}."
    if dense:
        text = (
            f"The graph can be built from {by(least)} on, width x height, but the weights of "
            f"{', '.join(dense)} belong to one size alone."
        )
    if least[0] > 1:
        text += f" With {least[0] - 1} rows, {misfit(net.graph, 0, least[0] - 1)}."
    if gap is not None:
        fault = misfit(net.graph, 0, gap[0]) or misfit(net.graph, 1, gap[1])
        text += f" Not every larger one fits: of {by(gap)}, {fault}."
    return ("What is the smallest input?", text)


def _about_scores(net: Net) -> List[Answer | None]:
    """About the coarsest scores, which come from the last convolution with the largest stride."""
    strides = {i: row.map[0] for i, row in enumerate(net.rows) if row.op == "Convolution" and row.map}
    largest = max(strides.values(), default=1)
    if largest <= 1:
        return []
    end = next((i for i, row in enumerate(net.rows) if row.op == "Deconvolution"), len(net.rows))
    coarsest = [i for i, stride in strides.items() if stride == largest]
    coarse = max([i for i in coarsest if i < end] or coarsest)  # of several heads, the first one's
    return [_why_pad(net, coarse), _sees(net, coarse)]


def _why_pad(net: Net, coarse: int) -> Answer | None:
    """Compare the net with one that pads 1 instead of much."""
    numbers = [k for k, i in enumerate(net.graph.layers) if net.takes_image(i)]
    numbers = numbers or [next(k for k, row in enumerate(net.rows) if row.op == "Convolution")]
    number = numbers[0]
    first, score = net.rows[number], net.rows[coarse]
    if first.pad is None or first.pad <= first.kernel // 2 or score.formula is None:
        return None
    other = net.symbol
    for each in numbers:
        other = with_pad(other, each, 1)
    here, there = (by(smallest_input(each, coarse + 1)) for each in (net.symbol, other))
    text = (
        f"With a pad of 1, {score.name} would have {layer_formula(other, coarse)} rows, and the smallest input "
        f"with a score would be {there}. With {first.pad} it has {score.formula}, and {here} is enough."
    )
    crops = [crop for crop in crop_derivations(other) if (crop.from_maps or 0) < 0]
    for offset in dict.fromkeys(crop.from_maps for crop in crops):
        names = " and ".join(crop.name for crop in crops if crop.from_maps == offset)
        text += (
            f" And the offset of {names} would be {offset}, a negative one: the upsampled "
            "scores would end inside the image. As it is they reach past its edges, and the crop takes off "
            "what the padding has added."
        )
    return (f"Why does {first.name} pad {first.pad}?", text)


def _sees(net: Net, coarse: int) -> Answer | None:
    score, last = net.rows[coarse], net.rows[-1]
    field, stride = score.receptive_field, score.map[0]
    if field is None:
        return None
    same = f": {field - stride} of {field} rows are the same." if field > stride else "."
    text = (
        f"{by((field, net.columns[coarse].receptive_field))} pixels of the image and its padding. The next "
        f"cell sees as many, {stride} further on{same}"
    )
    if last.receptive_field not in (None, field):
        reach = by((last.receptive_field, net.columns[-1].receptive_field))
        text += f" A pixel of {last.name} is made of several cells, and sees up to {reach}."
    return (f"What does a cell of {score.name} see?", text)


def _why_convolution(net: Net, i: int) -> Answer | None:
    """About an unpadded convolution named fc over all cells of a pooling, which was an inner product."""
    row, column = net.pairs[i]
    if row.op != "Convolution" or not row.name.startswith("fc"):
        return None
    number = net.source(i, ("Activation", "Dropout"))
    source = net.pairs[number][0] if number in net.pairs else None
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
        f"{_image(net, number, kernel)}. A convolution with a kernel of {by(kernel)} has the same weights and "
        "gives the same numbers wherever its kernel fits: it slides the classifier over the "
        f"image, {source.map[0]} pixels at a time (FCN paper, section 3.1). Here it has {places}.",
    )


def _image(net: Net, number: int, kernel: Tuple[int, int]) -> str:
    """The image for which a layer has just a kernel's cells, where the first convolution keeps the size."""
    layer, stride = net.graph.ops.index("Convolution"), int(net.pairs[number][0].map[0])
    first, image = net.graph.nodes[layer], (stride * kernel[0], stride * kernel[1])
    pad = window(first, 0)[0] // 2
    padded = Graph.of(with_pad(net.symbol, net.graph.layers.index(layer), pad))
    sizes = [layer_sizes(padded, axis)[number] for axis in (0, 1)]
    if window(first, 0)[1] != 1 or tuple(size and size.value(n) for size, n in zip(sizes, image)) != kernel:
        return ""
    return f", all that there are for an image of {by(image)} where {first['name']} pads {pad}"


def _skips(net: Net) -> List[Skip]:
    """Sums of upsampled scores with a finer layer's, cropped like them; none unless all have maps.

    Of several heads, those of the first one: the others' are alike.
    """
    nodes, found = net.graph.nodes, []
    for i in net.graph.layers:
        inputs = [entry[0] for entry in nodes[i]["inputs"]]
        for j in inputs if nodes[i]["op"] in JOIN else []:
            if nodes[j]["op"] == "Crop" and len(nodes[j]["inputs"]) == 2:
                score, up = (entry[0] for entry in nodes[j]["inputs"])
                if (nodes[score]["op"], nodes[up]["op"]) == ("Convolution", "Deconvolution") and up in inputs:
                    found.append(Skip(score, net.source(up), i))
    known = all(i in net.pairs and net.pairs[i][0].receptive_field is not None for skip in found for i in skip)
    strides = [net.pairs[skip.score][0].map[0] for skip in found] if known else []
    return found[: next((k for k in range(1, len(strides)) if strides[k] >= strides[k - 1]), len(strides))]


def _what_skips_add(net: Net, skips: List[Skip]) -> Answer:
    cells = []
    for i in (skips[0].coarser, *(skip.score for skip in skips)):
        row, column = net.pairs[i]
        sees = by((row.receptive_field, column.receptive_field))
        cells.append(f"{row.name} has a cell every {row.map[0]} pixels, which sees {sees}")
    total = net.pairs[skips[-1].total][0]
    return (
        f"What {'does the skip' if len(skips) == 1 else 'do the skips'} add?",
        f"Finer places: {'; '.join(cells)}. The coarse cells see enough to tell what is there, the fine ones "
        f"are close enough to tell where it ends (FCN paper, section 4.2). The sum, {total.name}, has a cell "
        f"every {total.map[0]} pixels.",
    )


def _why_constants(net: Net, skips: List[Skip]) -> Answer | None:
    nodes = net.graph.nodes
    scaled = [(skip.score, net.source(skip.score)) for skip in skips]
    scaled = [(i, j) for i, j in scaled if nodes[j]["op"] == "_mul_scalar"]
    if not scaled:
        return None
    each = [f"{nodes[net.source(j)]['name']} by {nodes[j]['attrs']['scalar']}" for _, j in scaled]
    return (
        "Why are there constants in the skips?",
        f"They multiply {', '.join(each)}, so that the inputs of "
        f"{' and '.join(nodes[i]['name'] for i, _ in scaled)} are about as large as that of "
        f"{nodes[skips[0].coarser]['name']}, and all can be trained in one stage instead of one after the "
        "other (the journal version of the FCN paper, PAMI 2017).",
    )


def _unscored(net: Net) -> Answer | None:
    """Rows and columns that the upsampled scores do not reach, here and at worst."""
    border, question = unscored_border(net.graph, net.size), "Does every pixel get a score?"
    if border is None or None in net.least or not any(row.op == "Deconvolution" for row in net.rows):
        return None
    worst = max(most_unscored(net.graph), *map(sum, border))
    if worst == 0:
        where = "" if net.least == (1, 1) else f" from {by(net.least)} on"
        where = where if net.gap is None else f" that fits ({by(net.gap)} does not)"
        return (question, f"Yes, at every size{where}: the upsampled scores reach the edges of the image.")
    (top, bottom), (left, right) = border
    text = (
        f"At {by(net.size)}, {top} rows at the top and {bottom} at the bottom have none, and {left} columns on "
        f"the left and {right} on the right; at other sizes up to {worst}."
    )
    if any(row.adj for row in net.rows) and any(row.op == "Pooling" for row in net.rows):
        text += (
            " Pooling rounds sizes down, and adj of the deconvolutions makes up for it with cells that no "
            "score reaches: 0 for every class, read as class 0. Pooling that rounds up needs no adj (pooling "
            "convention 'full')."
        )
    return (question, text)


def _dense(net: Net) -> List[Tuple[Row, Row]]:
    """Fully connected layers whose weights depend on the image's size, each with the layer before it."""
    found = []
    for i, (row, _) in net.pairs.items():
        if row.op == "FullyConnected" and len(found) < MOST:
            source, _ = net.pairs.get(net.source(i, ("Dropout", "Flatten", "Reshape")), (None, None))
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

"""Plateaus of a trunk's layers, and the frame of its last one, computed from the weights on a small canvas.

The canvas is the net's on an empty image, with its long plateau shortened to a few cells: rings at the ends,
plateau at the centre. The centre cell of each layer is its plateau. The last layer, its centre repeated, is
the frame around the window.
"""

from __future__ import annotations

from typing import Dict, List

from ..graph.nodes import Entry, Node
from ..graph.rewrite import Writer
from .trunk import Trunk
from .windows import Plan, Span


def constants(writer: Writer, nodes: List[Node], trunk: Trunk) -> Dict[str, Entry]:
    """Add the constants of a trimmed net to a graph, as functions of its weights; returns them by name.

    - `LAYER_plateau` (C,): plateau of a rebased layer before its ReLU, or of a skip; replaces the bias.
    - `INPUT_rebased_beta` (C,): plateau of a rebased layer's input, negated.
    - `LAYER_frame` (1, C, H, W): the last layer, with zeros in its window.
    """
    found: Dict[str, Entry] = {}
    small = _canvas(writer, nodes, trunk)
    plateaus = [
        writer.cut(x, f"{nodes[i]['name']}_centre", *((n // 2, n // 2 + 1) for n in size))
        for i, x, size in zip(trunk.layers, small, trunk.canvas)
    ]  # (1, C, 1, 1)
    for k, i in enumerate(trunk.layers):
        if trunk.rebased[k]:
            before = nodes[trunk.layers[k - 1]]["name"]
            name = f"{nodes[i]['name']}_plateau"
            found[name] = writer.add("Reshape", name, [plateaus[k]], shape=(-1,))
            flat = writer.add("Reshape", f"{before}_plateau", [plateaus[k - 1]], shape=(-1,))
            name = f"{before}_rebased_beta"
            found[name] = writer.add("negative", name, [flat])
    for skip in trunk.skips:
        x = plateaus[trunk.layers.index(skip.pool)]
        if skip.scale is not None:
            x = writer.copy(nodes[skip.scale], [x], f"{nodes[skip.scale]['name']}_centre")
        conv = nodes[skip.conv]
        x = writer.copy(conv, [x, *_parameters(writer, nodes, conv)], f"{conv['name']}_centre")
        name = f"{conv['name']}_plateau"
        found[name] = writer.add("Reshape", name, [x], shape=(-1,))
    last = nodes[trunk.layers[-1]]["name"]
    found[f"{last}_frame"] = _frame(writer, small[-1], last, trunk)
    return found


def _canvas(writer: Writer, nodes: List[Node], trunk: Trunk) -> List[Entry]:
    """The layers of the trunk on a small empty canvas; the first one is its bias everywhere."""
    first = nodes[trunk.layers[0]]
    bias = _parameters(writer, nodes, first)[1:]
    x = writer.add("Reshape", f"{first['name']}_flat", bias, shape=(1, -1, 1, 1))
    found = [writer.add("broadcast_axis", f"{first['name']}_canvas", [x], axis=(2, 3), size=trunk.canvas[0])]
    for i in trunk.layers[1:]:
        inputs = [found[-1], *_parameters(writer, nodes, nodes[i])]
        found.append(writer.copy(nodes[i], inputs, f"{nodes[i]['name']}_canvas"))
    return found


def _parameters(writer: Writer, nodes: List[Node], node: Node) -> List[Entry]:
    return [writer.copy(nodes[entry[0]], []) for entry in node["inputs"][1:]]


def _frame(writer: Writer, x: Entry, name: str, trunk: Trunk) -> Entry:
    """The last layer of the canvas, stretched to the whole layer's size, with zeros in the window."""
    for axis, (size, plan) in enumerate(zip(trunk.canvas[-1], trunk.plans)):
        x = _stretched(writer, x, f"{name}_{('rows', 'columns')[axis]}", axis + 2, size, plan)
    inside = writer.cut(x, f"{name}_inside", *(plan.windows[-1] for plan in trunk.plans))
    inside = writer.pad(inside, f"{name}_inside_padded", *frame(trunk))
    return writer.add("elemwise_sub", f"{name}_frame", [x, inside])


def frame(trunk: Trunk) -> List[Span]:
    """Number of cells before and after the window of the last layer, for rows and for columns."""
    ends = [(plan.windows[-1], plan.cells[-1].size) for plan in trunk.plans]
    return [(start, size - end) for (start, end), size in ends]


def _stretched(writer: Writer, x: Entry, name: str, axis: int, size: int, plan: Plan) -> Entry:
    """`x` with its centre row or column repeated until it has as many as the whole layer."""
    centre, times = size // 2, plan.cells[-1].size - size + 1
    spans = {"before": (0, centre), "centre": (centre, centre + 1), "after": (centre + 1, size)}
    parts = {
        part: writer.add("slice_axis", f"{name}_{part}", [x], axis=axis, begin=start, end=end)
        for part, (start, end) in spans.items()
        if start < end
    }
    parts["centre"] = writer.add("broadcast_axis", f"{name}_repeated", [parts["centre"]], axis=axis, size=times)
    dim = axis - 4  # counted from the end, as `with_freed_concats` says why
    return writer.add("Concat", name, [*parts.values()], dim=dim, num_args=len(parts))

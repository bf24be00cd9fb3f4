"""What the layers of a trunk are where no image changes them: read off a small canvas that has none."""

from __future__ import annotations

from typing import Dict, List

from ..graph.nodes import Node
from ..graph.rewrite import Entry, Graph
from .trunk import Trunk
from .windows import Plan, Span


def constants(graph: Graph, nodes: List[Node], trunk: Trunk) -> Dict[str, Entry]:
    """Add the constants of a trimmed net to a graph, as functions of its weights, by name.

    Of each rebased layer its plateau before the ReLU, `LAYER_plateau` (C,), in place of its bias, and the
    plateau of its input, negated, `INPUT_rebased_beta` (C,); of a skip its plateau; of the last layer what
    surrounds its window, `LAYER_frame` (1, C, H, W), which is zero in the window.
    """
    found: Dict[str, Entry] = {}
    small = _canvas(graph, nodes, trunk)
    plateaus = [
        graph.cut(x, f"{nodes[i]['name']}_centre", *((n // 2, n // 2 + 1) for n in size))
        for i, x, size in zip(trunk.layers, small, trunk.canvas)
    ]  # (1, C, 1, 1)
    for k, i in enumerate(trunk.layers):
        if trunk.rebased[k]:
            before = nodes[trunk.layers[k - 1]]["name"]
            name = f"{nodes[i]['name']}_plateau"
            found[name] = graph.add("Reshape", name, [plateaus[k]], shape=(-1,))
            flat = graph.add("Reshape", f"{before}_plateau", [plateaus[k - 1]], shape=(-1,))
            name = f"{before}_rebased_beta"
            found[name] = graph.add("negative", name, [flat])
    for skip in trunk.skips:
        x = plateaus[trunk.layers.index(skip.pool)]
        if skip.scale is not None:
            x = graph.copy(nodes[skip.scale], [x], f"{nodes[skip.scale]['name']}_centre")
        conv = nodes[skip.conv]
        x = graph.copy(conv, [x, *_parameters(graph, nodes, conv)], f"{conv['name']}_centre")
        name = f"{conv['name']}_plateau"
        found[name] = graph.add("Reshape", name, [x], shape=(-1,))
    last = nodes[trunk.layers[-1]]["name"]
    found[f"{last}_frame"] = _frame(graph, small[-1], last, trunk)
    return found


def _canvas(graph: Graph, nodes: List[Node], trunk: Trunk) -> List[Entry]:
    """The layers of the trunk on a small canvas of zeros, of which the first is its bias everywhere."""
    first = nodes[trunk.layers[0]]
    x = graph.add("Reshape", f"{first['name']}_flat", _parameters(graph, nodes, first)[1:], shape=(1, -1, 1, 1))
    found = [graph.add("broadcast_axis", f"{first['name']}_canvas", [x], axis=(2, 3), size=trunk.canvas[0])]
    for i in trunk.layers[1:]:
        inputs = [found[-1], *_parameters(graph, nodes, nodes[i])]
        found.append(graph.copy(nodes[i], inputs, f"{nodes[i]['name']}_canvas"))
    return found


def _parameters(graph: Graph, nodes: List[Node], node: Node) -> List[Entry]:
    return [graph.copy(nodes[entry[0]], []) for entry in node["inputs"][1:]]


def _frame(graph: Graph, x: Entry, name: str, trunk: Trunk) -> Entry:
    """The last layer of the canvas, stretched at its centre, with zeros in the window."""
    for axis, (size, plan) in enumerate(zip(trunk.canvas[-1], (trunk.rows, trunk.columns))):
        x = _stretched(graph, x, f"{name}_{('rows', 'columns')[axis]}", axis + 2, size, plan)
    spans = [plan.windows[-1] for plan in (trunk.rows, trunk.columns)]
    inside = graph.cut(x, f"{name}_inside", *spans)
    inside = graph.pad(inside, f"{name}_inside_padded", *frame(trunk))
    return graph.add("elemwise_sub", f"{name}_frame", [x, inside])


def frame(trunk: Trunk) -> List[Span]:
    """Cells before and after the window of the last layer, rows and columns."""
    return [
        (plan.windows[-1][0], plan.cells[-1].size - plan.windows[-1][1]) for plan in (trunk.rows, trunk.columns)
    ]


def _stretched(graph: Graph, x: Entry, name: str, axis: int, size: int, plan: Plan) -> Entry:
    """Rows or columns of `x` with the one at its centre repeated, as many as the whole layer has."""
    centre, times = size // 2, plan.cells[-1].size - size + 1
    spans = {"before": (0, centre), "centre": (centre, centre + 1), "after": (centre + 1, size)}
    parts = {
        part: graph.add("slice_axis", f"{name}_{part}", [x], axis=axis, begin=start, end=end)
        for part, (start, end) in spans.items()
        if start < end
    }
    parts["centre"] = graph.add("broadcast_axis", f"{name}_repeated", [parts["centre"]], axis=axis, size=times)
    return graph.add("Concat", name, [*parts.values()], dim=axis, num_args=len(parts))

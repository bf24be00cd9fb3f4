"""Graphs for floating-point types that not every operator of MXNet takes."""

from __future__ import annotations

import json

from ..compat import mxnet as mx
from ..symbols.nodes import flag, setting
from ..symbols.rewrite import Graph


def without_crop(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """The same net with `slice` and `slice_like` for `Crop`, which takes float32 alone."""
    content, graph, entries = json.loads(symbol.tojson(remove_amp_cast=False)), Graph(), []
    for node in content["nodes"]:
        inputs = [[entries[i][0], output, 0] for i, output, *_ in node["inputs"]]
        if node["op"] == "Crop" and len(inputs) == 2 and not flag(node, "center_crop"):
            starts = [(setting(node, "offset", axis, 0), None) for axis in (0, 1)]
            begun = graph.cut(inputs[0], f"{node['name']}_begun", *starts)
            entries.append(graph.add("slice_like", node["name"], [begun, inputs[1]], axes=(2, 3)))
        else:
            entries.append(graph.copy(node, inputs))
    return graph.symbol([[entries[i][0], output, 0] for i, output, *_ in content["heads"]])

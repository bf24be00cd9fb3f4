"""Small changes of a graph that several rooms need."""

from __future__ import annotations

import json

from ...compat import mxnet as mx
from ...errors import FCNXSError
from .nodes import flag, setting
from .rewrite import Graph

HEADS = ("SoftmaxOutput", "softmax")


def scores_symbol(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Class scores (N, C, H, W) of a net: what its softmax takes, with no dropout on the way.

    >>> from fcnxs.symbols import get_fcn8s_symbol
    >>> scores_symbol(get_fcn8s_symbol()).list_outputs()
    ['upscore_output']

    Raises:
        FCNXSError: the net does not end in one softmax.
    """
    graph = json.loads(symbol.tojson(remove_amp_cast=False))
    nodes, heads = graph["nodes"], graph["heads"]
    ends = [nodes[head[0]] for head in heads]
    if len(ends) != 1 or ends[0]["op"] not in HEADS:
        found = ", ".join(f"{node['op']} {node['name']!r}" for node in ends)
        raise FCNXSError(
            f"the net ends in {found}, not in one softmax over classes; VGG-16 has to be finetuned first, "
            "and of exports only those with --head softmax are checkpoints too"
        )
    graph["heads"] = [ends[0]["inputs"][0]]
    for node in nodes:  # in order, so that what stands before a dropout has been redirected itself
        node["inputs"] = [_behind_dropout(nodes, entry) for entry in node["inputs"]]
    return mx.sym.load_json(json.dumps(graph))


def _behind_dropout(nodes: list, entry: list) -> list:
    node = nodes[entry[0]]
    return node["inputs"][0] if node["op"] == "Dropout" else entry


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


def with_pad(symbol: mx.sym.Symbol, layer: int, pad: int) -> mx.sym.Symbol:
    """The same graph with another pad of one layer, by its number in order."""
    graph = json.loads(symbol.tojson())
    layers = [node for node in graph["nodes"] if node["op"] != "null"]
    layers[layer]["attrs"]["pad"] = f"({pad}, {pad})"
    return mx.sym.load_json(json.dumps(graph))

"""The scores of a net: what remains of it for deployment, without label, loss and dropout."""

from __future__ import annotations

import json

from .compat import mxnet as mx
from .errors import FCNXSError

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

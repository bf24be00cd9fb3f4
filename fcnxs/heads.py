"""Nets of several heads on one trunk: their names, and the net of one head alone."""

from __future__ import annotations

import re
from typing import List

from .compat import mxnet as mx
from .errors import FCNXSError
from .symbols.graph.nodes import Entry, Graph, Node
from .symbols.graph.rewrite import Writer

SOFTMAX = re.compile(r"softmax_(\w+)_output")


def heads_of(symbol: mx.sym.Symbol) -> List[str]:
    """Names of a net's heads, in the order of its outputs; none for a net of one.

    >>> from fcnxs.symbols import get_fcn8s_symbol
    >>> heads_of(get_fcn8s_symbol(heads={"sem": 33, "geo": 3})), heads_of(get_fcn8s_symbol())
    (['sem', 'geo'], [])
    """
    found = [SOFTMAX.fullmatch(name) for name in symbol.list_outputs()]
    return [match[1] for match in found] if len(found) > 1 and all(found) else []


def without_head(name: str, head: str) -> str:
    """Name of a layer or parameter of a head, as a net of one head has it: score_sem_weight, score_weight."""
    return re.sub(rf"_{re.escape(head)}(?=(?:_weight|_bias|_label)?$)", "", name)


def net_of_head(symbol: mx.sym.Symbol, head: str) -> mx.sym.Symbol:
    """The trunk with one head, whose layers have the names of a net of one head.

    >>> from fcnxs.symbols import get_fcn8s_symbol
    >>> net = net_of_head(get_fcn8s_symbol(heads={"sem": 33, "geo": 3}), "geo")
    >>> net.list_outputs(), net.list_arguments() == get_fcn8s_symbol(3).list_arguments()
    (['softmax_output'], True)

    Raises:
        FCNXSError: the net has no such head.
    """
    heads = heads_of(symbol)
    if head not in heads:
        has = f"the heads {' and '.join(heads)}" if heads else "one head, without a name"
        raise FCNXSError(f"head {head!r}: the net has {has}")
    graph, writer = Graph.of(symbol, casts=True), Writer()

    def renamed(_: int, node: Node, inputs: List[Entry]) -> Entry:
        return writer.copy(node, inputs, without_head(node["name"], head))

    return writer.symbol(writer.write(graph, renamed, [graph.heads[heads.index(head)]]))

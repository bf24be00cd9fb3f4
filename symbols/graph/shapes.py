"""Shapes of a graph's layers, as MXNet infers them."""

from __future__ import annotations

from typing import List, Tuple

from ...compat import mxnet as mx
from .nodes import Graph, Node
from .operators import INPUTS, outputs_of

Shape = Tuple[int, ...]


def output_shapes(symbol: mx.sym.Symbol, graph: Graph, **inputs: Shape) -> List[Shape | None]:
    """Shape of every node's first output, by the node's number; None where MXNet infers none.

    Args:
        graph: graph of `symbol`.
        **inputs: shapes of the inputs by their names.

    Raises:
        MXNetError: the net does not take these inputs.
    """
    internals = symbol.get_internals()
    names, shapes = internals.list_outputs(), internals.infer_shape_partial(**inputs)[1]
    found: List[Shape | None] = []
    k = 0
    for node in graph.nodes:
        while k < len(names) and not _is_first(names[k], node):  # an `amp_cast`, which graphs may leave out
            k += 1
        shape = shapes[k] if k < len(names) else None
        found.append(tuple(shape) if shape and min(shape) > 0 else None)
        k += outputs_of(node) if node["op"] in INPUTS else 1
    return found


def _is_first(output: str, node: Node) -> bool:
    """Whether MXNet gives this name to a node's first output."""
    name, op = node["name"], node["op"]
    return output == name if op == "null" else output in (f"{name}_output", f"{name}_output0", f"{name}_out")

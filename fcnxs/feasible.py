"""What the layers of a net have to be for an image of one size, beyond what MXNet's shape inference checks.

MXNet finds a crop that begins outside its input, or a layer that no memory has room for, when it runs the net,
and then ends the process. `check_layers` finds them before.
"""

from __future__ import annotations

import re
from math import prod
from typing import Dict, List, NamedTuple

from .compat import mxnet as mx
from .errors import FCNXSError, last_line, printable
from .symbols.graph.nodes import Graph, Node, flag, setting
from .symbols.graph.operators import WINDOWS
from .symbols.graph.shapes import Shape, output_shapes
from .system.memory import available_memory

LARGEST = (1 << 31) - 1  # numbers in one array of MXNet's


class Need(NamedTuple):
    """Numbers that the outputs of layers have at one time, at least, and in the largest output of one layer."""

    together: int
    largest: int
    layer: str


def check_layers(
    symbol: mx.sym.Symbol, graph: Graph, inputs: Dict[str, Shape], where: object, memory: bool = True
) -> None:
    """Raise an error that names the layer unless a net can run on inputs of these shapes.

    Args:
        graph: graph of `symbol`.
        inputs: shapes of the inputs by their names, an image (N, 3, H, W).
        where: name of the image in errors.
        memory: refuse a pass that needs more memory than is available to this process, too.

    Raises:
        FCNXSError: MXNet infers no shapes, a crop begins or ends outside its input, or memory is too small.
    """
    try:
        shapes = output_shapes(symbol, graph, **inputs)
    except mx.MXNetError as error:
        told = re.search(r"in operator (.*?): .*?Check failed: .*?: (.*)$", last_line(error))
        why = f"layer '{printable(told[1])}': {told[2]}" if told else last_line(error)
        raise FCNXSError(f"{where}: MXNet infers no shapes: {why}") from None
    for node, shape in zip(graph.nodes, shapes):
        fault = _fault(node, [shapes[entry[0]] for entry in node["inputs"]], shape)
        if fault:
            raise FCNXSError(f"{where}: {node['op']} '{printable(node['name'])}' {fault}")
    if memory:
        _check_memory(need(graph, shapes), where)


def _fault(node: Node, inputs: List[Shape | None], shape: Shape | None) -> str | None:
    """What is wrong with a layer, in words; None if nothing is, or its shapes are not known."""
    op = node["op"]
    if op == "Crop" and shape is not None and None not in inputs:
        if any(len(each) != 4 for each in inputs):
            return f"takes layers of shapes {', '.join(map(str, inputs))}; expected four numbers"
        for axis, what in ((0, "rows"), (1, "columns")):
            there, kept = inputs[0][2 + axis], shape[2 + axis]
            offset = (there - kept) // 2 if flag(node, "center_crop") else setting(node, "offset", axis, 0)
            if not 0 <= offset <= there - kept:
                return f"cuts {kept} {what} out of {there}, from {offset} on"
    return None


def need(graph: Graph, shapes: List[Shape | None]) -> Need:
    """What the outputs of layers need, where a layer may overwrite an input that nobody else takes."""
    last = {entry[0]: i for i, node in enumerate(graph.nodes) for entry in node["inputs"]}
    heads = {head[0] for head in graph.heads}
    sizes = [0 if shape is None else prod(shape) for shape in shapes]
    live = together = 0
    for i, node in enumerate(graph.nodes):
        taken = {entry[0] for entry in node["inputs"] if graph.nodes[entry[0]]["op"] != "null"}
        gone = [sizes[j] for j in taken if last[j] == i and j not in heads]
        in_place = node["op"] not in WINDOWS and sizes[i] in gone
        together = max(together, live + (0 if in_place else sizes[i]))
        live += (sizes[i] if node["op"] != "null" else 0) - sum(gone)
    largest = max(range(len(sizes)), key=sizes.__getitem__)
    return Need(together, sizes[largest], graph.nodes[largest]["name"])


def _check_memory(needed: Need, where: object) -> None:
    layer = f"layer '{printable(needed.layer)}'"
    if needed.largest > LARGEST:
        raise FCNXSError(
            f"{where}: {layer} has {needed.largest} numbers, more than MXNet can count; cut the image up"
        )
    there = available_memory()
    if 4 * needed.together > there:
        raise FCNXSError(
            f"{where}: a pass of the net takes {4 * needed.together / 1e9:.3f} GB at least, {layer} alone "
            f"{4 * needed.largest / 1e9:.3f} GB, and {there / 1e9:.3f} GB of memory are available"
        )

"""Writing a graph: node by node, or another graph's anew with some of its nodes changed.

This makes every pad of a graph three times as large:

    def tripled(i, node, inputs):
        pads = tuple(3 * window(node, axis)[2] for axis in (0, 1))
        return writer.copy(node, inputs, pad=pads) if node["op"] == "Convolution" else None

    writer = Writer()
    symbol = writer.symbol(writer.write(graph, tripled))
"""

from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, Optional, Sequence

from ...compat import mxnet as mx
from .nodes import Entry, Graph, Node

# The version whose names of operators and settings are written, so that MXNet upgrades nothing.
VERSION = {"mxnet_version": ["int", 10901]}

# From a node's number, the node and its inputs as written, to the entry in its place; None copies the node.
Change = Callable[[int, Node, List[Entry]], Optional[Entry]]


class Writer:
    """A graph that is being written. Methods that add a node return the entry of its first output.

    Attributes:
        nodes: nodes written so far.
        written: entry in the new graph of each node of the graph passed to `write`.
    """

    def __init__(self) -> None:
        self.nodes: List[Node] = []
        self.written: List[Entry] = []
        self._variables: Dict[str, Entry] = {}

    def variable(self, name: str, shape: Sequence[int] | None = None) -> Entry:
        """The variable of a name, added when it is first asked for."""
        attrs = {} if shape is None else {"__shape__": str(tuple(shape))}
        return self._variable({"op": "null", "name": name, "attrs": attrs, "inputs": []})

    def add(self, op: str, name: str, inputs: Sequence[Entry], **attrs: Any) -> Entry:  # noqa: ANN401
        """A layer; its settings may be of any type and are written as text."""
        return self.copy({"op": op, "name": name, "attrs": {}}, inputs, **attrs)

    def copy(self, node: Node, inputs: Sequence[Entry], name: str | None = None, **attrs: Any) -> Entry:  # noqa: ANN401
        """A node of another graph, with other inputs, and a new name or settings where they are given."""
        texts = {key: str(value) for key, value in attrs.items()}
        node = {**node, "name": name or node["name"], "attrs": {**node["attrs"], **texts}, "inputs": [*inputs]}
        return self._variable(node) if node["op"] == "null" else self._append(node)

    def write(self, graph: Graph, change: Change, heads: Sequence[Entry] | None = None) -> List[Entry]:
        """Write all nodes of a graph, changed or copied; returns the entries of its outputs, or of `heads`."""
        self.written = []
        for i, node in enumerate(graph.nodes):
            inputs = [self._at(entry) for entry in node["inputs"]]
            entry = change(i, node, inputs)
            self.written.append(self.copy(node, inputs) if entry is None else entry)
        return [self._at(head) for head in (graph.heads if heads is None else heads)]

    def cut(self, x: Entry, name: str, *spans: Sequence[int | None]) -> Entry:
        """Rows and columns of `x` (N, C, H, W), each a span (start, end), end excluded."""
        begin, end = zip(*spans)
        return self.add("slice", name, [x], begin=(None, None, *begin), end=(None, None, *end))

    def pad(self, x: Entry, name: str, *zeros: Sequence[int]) -> Entry:
        """`x` (N, C, H, W) with zeros added: (before, after) its rows, and its columns."""
        width = (0, 0, 0, 0, *zeros[0], *zeros[1])
        return (
            self.add("Pad", name, [x], mode="constant", pad_width=width, constant_value=0) if any(width) else x
        )

    def text(self, heads: Sequence[Entry]) -> str:
        """The graph as MXNet's JSON."""
        arguments = [i for i, node in enumerate(self.nodes) if node["op"] == "null"]
        return json.dumps({"nodes": self.nodes, "arg_nodes": arguments, "heads": [*heads], "attrs": VERSION})

    def symbol(self, heads: Sequence[Entry]) -> mx.sym.Symbol:
        """The graph as MXNet's symbol, without the nodes that no output needs."""
        return mx.sym.load_json(self.text(heads))

    def _at(self, entry: Entry) -> Entry:
        """Where an entry of the graph that is gone through is written."""
        here = self.written[entry[0]]
        return [here[0], *entry[1:]] if entry[1] else [*here[:2], entry[2]]

    def _variable(self, node: Node) -> Entry:
        if node["name"] not in self._variables:
            self._variables[node["name"]] = self._append(node)
        return self._variables[node["name"]]

    def _append(self, node: Node) -> Entry:
        self.nodes.append(node)
        return [len(self.nodes) - 1, 0, 0]

"""A graph written anew, node for node: what its JSON says, with layers changed and added."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Sequence

from ...compat import mxnet as mx
from .nodes import Node

Entry = List[int]  # an output of a node, as inputs and heads name it: [node, output, version]

VERSION = {"mxnet_version": ["int", 10901]}  # whose operators' settings the nodes have: nothing is upgraded


class Graph:
    """Nodes in order, to which more are added; each gives its first output."""

    def __init__(self) -> None:
        self.nodes: List[Node] = []
        self._variables: Dict[str, Entry] = {}

    def variable(self, name: str, shape: Sequence[int] | None = None) -> Entry:
        """The variable of a name, made when it is first asked for."""
        if name not in self._variables:
            attrs = {} if shape is None else {"attrs": {"__shape__": str(tuple(shape))}}
            self._variables[name] = self._append({"op": "null", "name": name, **attrs, "inputs": []})
        return self._variables[name]

    def add(self, op: str, name: str, inputs: Sequence[Entry], **attrs: Any) -> Entry:  # noqa: ANN401
        """A layer with settings of any type."""
        texts = {key: str(value) for key, value in attrs.items()}
        return self._append({"op": op, "name": name, "attrs": texts, "inputs": list(inputs)})

    def copy(self, node: Node, inputs: Sequence[Entry], name: str | None = None, **attrs: Any) -> Entry:  # noqa: ANN401
        """A node of another graph, with other inputs, and a new name or settings where they are given."""
        if node["op"] == "null":
            if node["name"] not in self._variables:
                self._variables[node["name"]] = self._append({**node, "inputs": []})
            return self._variables[node["name"]]
        return self.add(node["op"], name or node["name"], inputs, **{**node.get("attrs", {}), **attrs})

    def cut(self, x: Entry, name: str, *spans: Sequence[int]) -> Entry:
        """Rows and columns of `x` (N, C, H, W), each a span (start, end)."""
        begin, end = zip(*spans)
        return self.add("slice", name, [x], begin=(None, None, *begin), end=(None, None, *end))

    def pad(self, x: Entry, name: str, *zeros: Sequence[int]) -> Entry:
        """`x` (N, C, H, W) with so many zeros before and after its rows and its columns."""
        width = (0, 0, 0, 0, *zeros[0], *zeros[1])
        return (
            self.add("Pad", name, [x], mode="constant", pad_width=width, constant_value=0) if any(width) else x
        )

    def symbol(self, heads: Sequence[Entry]) -> mx.sym.Symbol:
        """What MXNet makes of it."""
        arguments = [i for i, node in enumerate(self.nodes) if node["op"] == "null"]
        content = {"nodes": self.nodes, "arg_nodes": arguments, "heads": list(heads), "attrs": VERSION}
        return mx.sym.load_json(json.dumps(content))

    def _append(self, node: Node) -> Entry:
        self.nodes.append(node)
        return [len(self.nodes) - 1, 0, 0]

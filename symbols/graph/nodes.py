"""Reading a graph: its operators, their inputs and their settings, from a symbol's JSON and without MXNet.

    graph = Graph.of(symbol)          # or Graph.read(text)
    for i in graph.layers:
        node = graph.nodes[i]
        window(node, axis=0)          # kernel, stride and pad of its rows

A node is `{"op": "Pooling", "name": "pool1", "attrs": {"kernel": "(2, 2)", ...}, "inputs": [[7, 0, 0]]}`.
Its inputs, and the graph's outputs, are entries [i, k, version]: output k of node i.
"""

from __future__ import annotations

import json
import re
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

from ...errors import FCNXSError, last_line

if TYPE_CHECKING:
    from ...compat import mxnet as mx

Node = Dict[str, Any]  # op ("null" for a variable), name, attrs (all text), inputs
Entry = List[int]

SETTINGS = ("param", "attr", "attrs")  # keys under which versions of MXNet write a node's settings
WITH_VERSION = 900  # the first version that wrote itself into its files, and only settings that were given

# Operators whose output cells lie where the cells of their first input do; further inputs are
# parameters or labels.
SAME = {
    *("Activation", "BatchNorm", "BlockGrad", "Cast", "Dropout", "InstanceNorm", "LRN", "LeakyReLU"),
    *("SoftmaxActivation", "SoftmaxOutput", "_copy", "_div_scalar", "_minus_scalar", "_mul_scalar"),
    *("_plus_scalar", "argmax", "clip", "identity", "log_softmax", "relu", "sigmoid", "slice_like"),
    *("softmax", "tanh"),
}
# Operators that join inputs cell by cell: all of them must have the same map.
JOIN = {
    *("Concat", "_maximum", "_minimum", "add_n", "broadcast_add", "broadcast_div", "broadcast_mul"),
    *("broadcast_sub", "elemwise_add", "elemwise_div", "elemwise_mul", "elemwise_sub"),
}


class Graph:
    """Nodes in order, inputs before the nodes that take them, and the entries that are the outputs.

    Make one for each net and keep it: every call of MXNet's `tojson` leaks 51 kB.

    Attributes:
        version: version of MXNet that wrote the graph, such as 10901; before 0.9, which did not say it, 0.
    """

    def __init__(self, nodes: List[Node], heads: Sequence[Entry], version: int = 0) -> None:
        self.nodes, self.heads, self.version = nodes, list(heads), version

    @classmethod
    def read(cls, text: str | Dict[str, Any]) -> Graph:
        """Graph of a symbol's JSON, of any version of MXNet.

        >>> data = {"op": "null", "name": "data", "inputs": []}
        >>> relu = {"op": "Activation", "name": "relu", "param": {"act_type": "relu"}, "inputs": [[0, 0]]}
        >>> Graph.read({"nodes": [data, relu], "heads": [[1, 0]]}).nodes[1]["attrs"]
        {'act_type': 'relu'}

        Raises:
            FCNXSError: the text is not JSON, or the JSON is not a graph; the message says why.
        """
        try:
            content = json.loads(text) if isinstance(text, str) else text
            for key in ("nodes", "heads"):
                if not isinstance(content, dict) or not isinstance(content.get(key), list):
                    raise _damaged(f"it has no {key}")
            nodes = [_node(i, given) for i, given in enumerate(content["nodes"])]
        except (json.JSONDecodeError, RecursionError) as error:
            raise FCNXSError(f"not a symbol JSON: {last_line(error)}") from None
        heads = [_entry(given, len(nodes), "the output") for given in content["heads"]]
        if not heads:
            raise _damaged("it has no heads")
        return cls(nodes, heads, _version(content))

    @property
    def content(self) -> Dict[str, Any]:
        """The graph as MXNet's JSON has it, with every node's settings under `attrs`."""
        keys = ("op", "name", "attrs", "inputs", "subgraphs")
        nodes = [{key: node[key] for key in keys if key in node} for node in self.nodes]
        arguments = [i for i, node in enumerate(nodes) if node["op"] == "null"]
        attrs = {"mxnet_version": ["int", self.version]} if self.version > WITH_VERSION else {}
        return {"nodes": nodes, "arg_nodes": arguments, "heads": self.heads, "attrs": attrs}

    @classmethod
    def of(cls, symbol: mx.sym.Symbol | Graph, casts: bool = False) -> Graph:
        """Graph of a symbol; a graph is returned as it is.

        Args:
            casts: keep the `amp_cast` nodes of a net in bfloat16, as a graph to be written again needs.
        """
        return symbol if isinstance(symbol, cls) else cls.read(symbol.tojson(remove_amp_cast=not casts))

    @cached_property
    def image(self) -> int:
        """Number of the variable that is the image: `data`, or else the first that an operator takes first.

        Raises:
            FCNXSError: there is none.
        """
        first = [self.nodes[i]["inputs"][0][0] for i in self.layers if self.nodes[i]["inputs"]]
        variables = [i for i in first if self.nodes[i]["op"] == "null"]
        variables.sort(key=lambda i: self.nodes[i]["name"] != "data")
        if not variables:
            raise FCNXSError("the graph has no layer that takes an image")
        return variables[0]

    @cached_property
    def images(self) -> List[int]:
        """Numbers of the variables that are images of one size: `image`, and others named ...data.

        A net of late fusion has several; each is the first input of a convolution.
        """
        first = {self.nodes[i]["inputs"][0][0] for i in self.layers if self.nodes[i]["op"] == "Convolution"}
        named = {i for i in first if self.nodes[i]["op"] == "null" and self.nodes[i]["name"].endswith("data")}
        return [self.image, *sorted(named - {self.image})]

    def image_shapes(self, size: Tuple[int, int]) -> Dict[str, Tuple[int, ...]]:
        """Shape (1, channels, rows, columns) of each image by its name; 3 channels unless it says others."""
        named = [self.nodes[i] for i in self.images]
        return {node["name"]: (1, setting(node, "__shape__", 1, 0) or 3, *size) for node in named}

    @cached_property
    def layers(self) -> List[int]:
        """Numbers of the nodes that are operators, not variables."""
        return [i for i, node in enumerate(self.nodes) if node["op"] != "null"]

    @cached_property
    def consumers(self) -> List[List[int]]:
        """Numbers of the nodes that take each node, once for each input."""
        found: List[List[int]] = [[] for _ in self.nodes]
        for i, node in enumerate(self.nodes):
            for entry in node["inputs"]:
                found[entry[0]].append(i)
        return found

    @property
    def rounds_up(self) -> bool:
        """Whether a pooling has the convention 'full'."""
        return any(node["attrs"].get("pooling_convention") == "full" for node in self.nodes)

    @property
    def ops(self) -> List[str]:
        """Operator of each node; 'null' for a variable."""
        return [node["op"] for node in self.nodes]

    def named(self, op: str) -> List[str]:
        """Names of the nodes of one operator, in order."""
        return [node["name"] for node in self.nodes if node["op"] == op]


def _node(i: int, given: Any) -> Node:  # noqa: ANN401
    """A node with its settings under `attrs`, as text."""
    for key, kind in (("op", str), ("name", str), ("inputs", list)):
        if not isinstance(given, dict) or not isinstance(given.get(key), kind):
            raise _damaged(f"node {i} has no {key}")
    name, attrs = f"node {i}, {given['name']!r},", {}
    for key in SETTINGS:
        if not isinstance(given.get(key, {}), dict):
            raise _damaged(f"the {key} of {name} are not settings: {given[key]!r}")
        attrs.update({setting: str(value) for setting, value in given.get(key, {}).items()})
    rest = {key: value for key, value in given.items() if key not in SETTINGS}
    if "subgraphs" in given:
        if not isinstance(given["subgraphs"], list):
            raise _damaged(f"the subgraphs of {name} are not graphs")
        rest["subgraphs"] = [Graph.read(each).content for each in given["subgraphs"]]
    return {**rest, "attrs": attrs, "inputs": [_entry(each, i, name) for each in given["inputs"]]}


def _entry(given: Any, before: int, taker: str) -> Entry:  # noqa: ANN401
    """An entry, of one of the first `before` nodes, with its version."""
    whole = isinstance(given, list) and len(given) in (2, 3) and all(type(number) is int for number in given)
    if not whole or not 0 <= given[0] < before:
        raise _damaged(f"{taker} is made of {given!r}, which is no node before it")
    return [*given, 0][:3]


def _version(content: Dict[str, Any]) -> int:
    """Version of MXNet that wrote a graph; if it is not said, the key of its settings tells: 0.9 changed it."""
    attrs = content.get("attrs")
    kind_and_number = attrs.get("mxnet_version") if isinstance(attrs, dict) else None
    numbers = kind_and_number[1:] if isinstance(kind_and_number, list) else []
    unsaid = 0 if any("param" in node for node in content["nodes"]) else WITH_VERSION
    return next((number for number in numbers if type(number) is int), unsaid)


def _damaged(what: str) -> FCNXSError:
    return FCNXSError(f"MXNet cannot load this symbol: {what}")


def image_inputs(node: Node) -> List[int]:
    """Numbers of the nodes whose cells become the node's: its first input, or all those that it joins."""
    inputs = [entry[0] for entry in node["inputs"]]
    return inputs if node["op"] in JOIN else inputs[:1]


def setting(node: Node, key: str, axis: int, default: int) -> int:
    """An operator's setting for rows (axis 0) or columns (1), such as its kernel."""
    values = _numbers(node["attrs"].get(key, ""))
    return values[axis] if len(values) > axis else default


@lru_cache(maxsize=1024)  # a net has few of them, which are asked for at thousands of image sizes
def _numbers(text: str) -> Tuple[int, ...]:
    """Numbers in the text of a setting: `(3, 3)`, and `(3L,3L)` of Python 2."""
    return tuple(map(int, re.findall(r"-?\d+", text)))


def has(node: Node, key: str) -> bool:
    """Whether a setting is there and not 0: until 0.9, MXNet wrote defaults too, as `target_shape: (0,0)`."""
    return any(_numbers(node["attrs"].get(key, "")))


def flag(node: Node, key: str) -> bool:
    """Whether an operator's setting is true."""
    return node["attrs"].get(key, "").lower() in ("true", "1")


def window(node: Node, axis: int) -> Tuple[int, int, int]:
    """Kernel, stride and pad of a convolution, pooling or deconvolution; a dilated kernel as it spans."""
    kernel = (setting(node, "kernel", axis, 1) - 1) * setting(node, "dilate", axis, 1) + 1
    return (kernel, setting(node, "stride", axis, 1), setting(node, "pad", axis, 0))

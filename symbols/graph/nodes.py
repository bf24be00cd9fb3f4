"""Reading the nodes of a graph: what its JSON says of operators, their inputs and their settings."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Tuple

from ...compat import mxnet as mx
from ...errors import FCNXSError

Node = Dict[str, Any]  # of a symbol's JSON: op, name, attrs, inputs

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


def graph_nodes(symbol: mx.sym.Symbol) -> List[Node]:
    """Nodes of a graph in order: inputs come before what takes them."""
    return json.loads(symbol.tojson())["nodes"]


def rounds_up(nodes: List[Node]) -> bool:
    """Whether a graph has the pooling convention 'full'."""
    return any(node.get("attrs", {}).get("pooling_convention") == "full" for node in nodes)


def image_inputs(node: Node) -> List[int]:
    """Numbers of the nodes whose cells become the node's: its first input, or all those that it joins."""
    inputs = [entry[0] for entry in node["inputs"]]
    return inputs if node["op"] in JOIN else inputs[:1]


def setting(node: Node, key: str, axis: int, default: int) -> int:
    """An operator's setting for rows (axis 0) or columns (1), such as its kernel."""
    values = re.findall(r"-?\d+", node.get("attrs", {}).get(key, ""))  # "(3, 3)", and "(3L,3L)" of Python 2
    return int(values[axis]) if len(values) > axis else default


def flag(node: Node, key: str) -> bool:
    """Whether an operator's setting is true."""
    return node.get("attrs", {}).get(key) in ("True", "1")


def window(node: Node, axis: int) -> Tuple[int, int, int]:
    """Kernel, stride and pad of a convolution, pooling or deconvolution; a dilated kernel as it spans."""
    kernel = (setting(node, "kernel", axis, 1) - 1) * setting(node, "dilate", axis, 1) + 1
    return (kernel, setting(node, "stride", axis, 1), setting(node, "pad", axis, 0))


def image_of(nodes: List[Node]) -> int:
    """Number of the variable that is the image: `data`, or else the first that an operator takes first.

    Raises:
        FCNXSError: there is none.
    """
    first = [node["inputs"][0][0] for node in nodes if node["op"] != "null" and node["inputs"]]
    variables = [i for i in first if nodes[i]["op"] == "null"]
    variables.sort(key=lambda i: nodes[i]["name"] != "data")
    if not variables:
        raise FCNXSError("the graph has no layer that takes an image")
    return variables[0]

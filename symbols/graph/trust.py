"""What a graph of a file has to be before MXNet sees it: no such graph ends the process or runs code.

MXNet trusts what it loads: an operator `_Native` calls an address that the file gives, and numbers out of range
read memory that is not theirs. `check` needs no MXNet and refuses

- more nodes than 20,000;
- operators outside the table of `operators.py`, except those that the caller adds on purpose;
- other numbers of inputs than an operator takes, and numbers of outputs that it does not have;
- settings that are not numbers, or not in their range.

`Graph.read` has refused a wrong structure before. What depends on the size of the image is checked before a
pass (`fcnxs/feasible.py`).
"""

from __future__ import annotations

import re
from typing import Collection, List

from ...errors import FCNXSError, printable
from .nodes import WITH_VERSION, Graph, Node, flag
from .operators import (
    ALIASES,
    FLAGS,
    INPUTS,
    MOST_NODES,
    OF_A_WINDOW,
    RANGES,
    TWO,
    WINDOWS,
    ZERO_TOO,
    inputs_of,
    outputs_of,
)

NUMBER = r"\s*(?:[-+]?[0-9]+L?|None)\s*"
NUMBERS = re.compile(rf"{NUMBER}|[(\[]\s*(?:{NUMBER}(?:,{NUMBER})*,?\s*)?[)\]]")
SHAPE = (-1, (1 << 31) - 1)  # of a variable; 0 and -1 are not known yet
LONGEST_NAME = 500
FUSED = "_sg_mkldnn_conv"
FORMER = {"with_relu": "with_act", "with_postsum_relu": "with_postsum_act"}
HIDDEN = re.compile(r"(?s).+_(?:ctx_group|lr_mult|wd_mult|force_mirroring|mirror_stage|profiler_scope)")


def check(graph: Graph, operators: Collection[str] = ()) -> None:
    """Raise an error that names the node unless MXNet can load the graph.

    Operators are renamed to MXNet's present names.

    Args:
        operators: operators that the graph may have besides those of the table. Their inputs and settings are
            not checked.

    Raises:
        FCNXSError: as the module says.
    """
    inner = [Graph.read(each) for node in graph.nodes for each in node.get("subgraphs", ())]
    count = len(graph.nodes) + sum(len(each.nodes) for each in inner)
    if count > MOST_NODES:
        raise FCNXSError(f"the graph has {count} nodes; expected at most {MOST_NODES}")
    for node in graph.nodes:
        _renamed(node)
        _check_node(graph, node, operators)
    for i, k, _ in graph.heads:
        _check_output(graph, i, k, "the output")


def _check_node(graph: Graph, node: Node, operators: Collection[str]) -> None:
    op, what = node["op"], f"node '{printable(node['name'])}'"
    if not node["name"].isprintable() or len(node["name"]) > LONGEST_NAME:
        raise FCNXSError(f"{what}: its name cannot be printed, or has more than {LONGEST_NAME} characters")
    for i, k, _ in node["inputs"]:
        _check_output(graph, i, k, what)
    if op == "null":
        return _check_variable(node, what)
    what = f"{what} ({printable(op)})"
    if op in operators and op not in INPUTS:
        return None
    if op not in INPUTS or (node.get("subgraphs") and op != FUSED):
        raise FCNXSError(
            f"{what}: this operator is not among those that a file's graph may have, since some of MXNet's run "
            f"code or end the process; if you trust the file, allow it: --allow-operator {printable(op)}, "
            f"in Python operators=['{printable(op)}']"
        )
    _check_settings(node, what)
    expected = _fused_inputs(node, what) if op == FUSED else inputs_of(node)
    taken = len(node["inputs"])
    without_states = op == "BatchNorm" and taken == 3 and graph.version <= WITH_VERSION  # MXNet adds them
    if expected is not None and taken != expected and not without_states:
        raise FCNXSError(f"{what}: its number of inputs is {taken}; expected {expected}")
    if without_states and any(HIDDEN.fullmatch(key) for key in node["attrs"]):
        raise FCNXSError(f"{what}: has settings of inputs that it does not take; leave them out")
    return None


def _check_output(graph: Graph, i: int, k: int, taker: str) -> None:
    """Refuse an output that node i does not have. How many an added operator has is not known."""
    node = graph.nodes[i]
    there = 1 if node["op"] == "null" else outputs_of(node) if node["op"] in INPUTS else 1 << 10
    if not 0 <= k < there:
        raise FCNXSError(f"{taker}: takes output {k} of '{printable(node['name'])}', which has {there}")


def _check_variable(node: Node, what: str) -> None:
    attrs = node["attrs"]
    if node["inputs"] or node.get("subgraphs"):
        raise FCNXSError(f"{what}: a variable that takes inputs")
    for key, (low, high) in (("__shape__", SHAPE), ("__dtype__", (-1, 12)), ("__storage_type__", (-1, 0))):
        if key in attrs:
            _check_range(what, key, attrs[key], low, high)


def _check_settings(node: Node, what: str) -> None:
    op, attrs = node["op"], node["attrs"]
    for key, text in attrs.items():
        if key in ("num_args", "num_outputs") and not text.isdecimal():
            raise FCNXSError(f"{what}: {key} is {text!r:.80}; expected a whole number")
        if key in RANGES:
            low, high = RANGES[key]
            _check_range(what, key, text, 0 if (op, key) in ZERO_TOO else low, high)
        elif key in FLAGS and text.lower() not in ("true", "false", "1", "0", "none"):
            raise FCNXSError(f"{what}: {key} is {text!r:.80}; expected True or False")
    for key in TWO if op == "Crop" else ():
        if len(_numbers(attrs.get(key, "0 0"))) != 2:
            raise FCNXSError(f"{what}: {key} is {attrs[key]!r:.80}; expected two numbers")
    if op in WINDOWS:
        sides = len(_numbers(attrs.get("kernel", "")))
        if not flag(node, "global_pool") and not 1 <= sides <= 3:
            raise FCNXSError(f"{what}: kernel is {attrs.get('kernel')!r:.80}; expected 1 to 3 numbers")
        for key in OF_A_WINDOW:
            length = len(_numbers(attrs.get(key, "")))
            if length not in (0, sides) and not (op == "Pooling" and flag(node, "global_pool")):
                raise FCNXSError(
                    f"{what}: {key} is {attrs[key]!r:.80}, {length} numbers, but its kernel has {sides}"
                )


def _check_range(what: str, key: str, text: str, low: int, high: int) -> None:
    numbers = _numbers(text)
    if not NUMBERS.fullmatch(text) or any(not low <= number <= high for number in numbers):
        raise FCNXSError(f"{what}: {key} is {text!r:.80}; expected whole numbers from {low} to {high}")


def _numbers(text: str) -> List[int]:
    """Whole numbers in a setting's text; up to twenty digits of each, which are more than any range has."""
    return [int(digits) for digits in re.findall(r"[-+]?[0-9]{1,20}", text)]


def _renamed(node: Node) -> None:
    """Give a node the names of its operator and settings that MXNet has now."""
    node["op"] = ALIASES.get(node["op"], node["op"])
    if node["op"] == FUSED:
        node["attrs"] = {FORMER.get(key, key): text for key, text in node["attrs"].items()}


def _fused_inputs(node: Node, what: str) -> int:
    """Check a convolution that oneDNN computes together with what follows it; return the inputs that it takes.

    The inner graph is a convolution, and behind it, each once and in this order if at all, a batch
    normalisation, an activation, a sum with a further input and an activation. Their other inputs are
    variables. MXNet reads inputs by their place in this chain, and does not look whether they are there.
    """
    inner = [Graph.read(each) for each in node.get("subgraphs", ())]
    chain = [inner[0].nodes[i] for i in inner[0].layers] if len(inner) == 1 else []
    kinds = [_KINDS.get(ALIASES.get(each["op"], each["op"]), "?") for each in chain]
    told = {
        key: flag(node, key) for key in ("with_bn", "with_act", "with_sum", "with_postsum_act", "quantized")
    }
    expected = ["conv", *(kind for kind, key in _CHAIN if told[key])]
    if kinds != expected:
        found = ", ".join(printable(each["op"]) for each in chain) or "nothing"
        raise FCNXSError(f"{what}: its inner graph has {found}, where its settings say {', '.join(expected)}")
    check(inner[0])
    nodes, before, variables = inner[0].nodes, None, []
    for i, each in zip(inner[0].layers, chain):
        entries = [entry[0] for entry in each["inputs"]]
        first, others = (entries[0], entries[1:]) if before is not None else (before, entries)
        variables += others
        if first != before or any(nodes[j]["op"] != "null" for j in others):
            raise FCNXSError(f"{what}: its inner graph is no chain at '{printable(each['name'])}'")
        before = i
    if [head[:2] for head in inner[0].heads] != [[before, 0]] or len({*variables}) < len(variables):
        raise FCNXSError(f"{what}: its inner graph does not end in its last layer, or takes an input twice")
    return len(variables) + (2 + 2 * told["with_sum"] if told["quantized"] else 0)


_KINDS = {
    **{"Convolution": "conv", "BatchNorm": "bn", "elemwise_add": "sum"},
    **{"Activation": "act", "LeakyReLU": "act", "clip": "act"},
}
_CHAIN = (("bn", "with_bn"), ("act", "with_act"), ("sum", "with_sum"), ("act", "with_postsum_act"))

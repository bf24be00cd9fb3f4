"""Nets for deployment: without label, loss and dropout, and checked against what they came from."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from . import checkpoint
from .checkpoint import Checkpoint
from .compat import mxnet as mx
from .errors import FCNXSError
from .executors import Executors
from .init import check_params

HEADS = ("SoftmaxOutput", "softmax")


def scores_symbol(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Class scores (N, C, H, W) of a net: what its softmax takes, with no dropout on the way.

    Raises:
        FCNXSError: the net does not end in one softmax.
    """
    graph = json.loads(symbol.tojson())
    nodes, heads = graph["nodes"], graph["heads"]
    ends = [nodes[head[0]] for head in heads]
    if len(ends) != 1 or ends[0]["op"] not in HEADS:
        found = ", ".join(f"{node['op']} {node['name']!r}" for node in ends)
        raise FCNXSError(
            f"the net ends in {found}, not in one softmax over classes; VGG-16 has to be finetuned first"
        )
    graph["heads"] = [ends[0]["inputs"][0]]
    for node in nodes:  # in order, so that what stands before a dropout has been redirected itself
        node["inputs"] = [_behind_dropout(nodes, entry) for entry in node["inputs"]]
    return mx.sym.load_json(json.dumps(graph))


def deploy_symbol(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Net with the one input `data` and the one output `softmax_output`, probabilities (N, C, H, W)."""
    return mx.sym.softmax(scores_symbol(symbol), axis=1, name="softmax")


def export(source: Checkpoint, prefix: str | os.PathLike[str], seed: int = 0) -> float:
    """Write PREFIX-symbol.json, PREFIX-0000.params and PREFIX-meta.json, and compare them with `source`.

    Both nets are run, the exported one as read from the files, on random images of two sizes.

    Returns:
        the largest difference of a probability.

    Raises:
        FCNXSError: `source` is not an FCN or lacks a parameter, or the files cannot be written.
        ExportMismatch: the exported net gives other probabilities; nothing is then written.
    """
    symbol = deploy_symbol(source.symbol)
    check_params(source.symbol, source.arg_params, source.aux_params, str(source.params_file))
    arg_params = {name: source.arg_params[name] for name in symbol.list_arguments() if name != "data"}
    meta = replace(source.meta, source=checkpoint.source_of(source.params_file))
    source_prefix = source.params_file.with_name(source.params_file.stem[: -len("-0000")])
    if Path(prefix).resolve() == source_prefix.resolve():
        raise FCNXSError(f"{prefix}: an export would replace the symbol of its source; choose another --output")
    largest = 0.0

    def compare(written: Path) -> None:
        nonlocal largest
        largest = _difference(source, checkpoint.load(written, 0), seed)
        if not largest <= 1e-5:  # NaN is not
            raise ExportMismatch(f"{prefix}: gives other probabilities than {source.params_file}, by {largest}")

    checkpoint.save(prefix, 0, symbol, arg_params, source.aux_params, meta, check=compare)
    return largest


class ExportMismatch(Exception):
    """An exported net does not give what its source gives."""


def _difference(source: Checkpoint, exported: Checkpoint, seed: int) -> float:
    rng = np.random.default_rng(seed)
    largest = []
    for shape in ((1, 3, 64, 96), (1, 3, 75, 50)):
        image = mx.nd.array(rng.uniform(-128, 128, shape))
        outputs = []
        for each in (source, exported):
            executor = Executors(each.symbol, mx.cpu(), each.arg_params, each.aux_params).get("data", shape)
            outputs.append(executor.forward(is_train=False, data=image)[0].asnumpy())
        largest.append(float(np.abs(outputs[0] - outputs[1]).max()))
    return float(np.max(largest))


def _behind_dropout(nodes: list, entry: list) -> list:
    node = nodes[entry[0]]
    return node["inputs"][0] if node["op"] == "Dropout" else entry

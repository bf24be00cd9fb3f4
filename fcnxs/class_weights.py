"""Weights of the classes in the loss, so that rare classes count more: from frequencies, a file, and in a net.

A pixel's gradient is multiplied by the weight of its label; nothing is divided by the sum of the weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Dict, List, Sequence

import numpy as np

from .compat import mxnet as mx
from .errors import FCNXSError
from .system.files import read_text
from .system.json_files import Number, checked, parse_json, told_of

ARGUMENT = "class_weights"  # of a weighted net, float32 (C,)
WEIGHT = Number(float, 0, 1e6)
WAY_OUT = "give each class a number from 0 to 1,000,000: a line `NAME NUMBER` each, or a JSON object"


def median_frequency(pixels: np.ndarray, around: np.ndarray) -> List[float]:
    """Weights that balance the classes by their median frequency (Eigen and Fergus, ICCV 2015, section 6.2).

    The frequency of a class is its share of the pixels of those images that have it; its weight is the median
    frequency divided by its own. A class without a pixel has the weight 1 and does not count in the median.

    >>> median_frequency(np.array([90, 10, 0]), np.array([100, 50, 0]))
    [0.6111111111111112, 2.75, 1.0]

    Args:
        pixels: pixels of each class, (C,).
        around: all pixels, also the ignored ones, of the images that have the class, (C,).
    """
    there = pixels > 0
    frequency = pixels[there] / around[there]
    weights = np.ones(len(pixels))
    if there.any():
        weights[there] = np.median(frequency) / frequency
    return weights.tolist()


def read_weights(file: Path, classes: Sequence[str]) -> List[float]:
    """Weights of these classes, in their order, from a file: JSON, {NAME: NUMBER, ...}, or lines `NAME NUMBER`.

    Raises:
        FCNXSError: the file cannot be read, is another kind of file, or lacks a class, has another one or one
            twice, or a weight is not a number from 0 to 1,000,000.
    """
    what = "weights of classes"
    text = read_text(file, what)
    with told_of(file, what, WAY_OUT):
        pairs = _json_pairs(text) if text.lstrip()[:1] in ("{", "[") else _line_pairs(text)
        weights: Dict[str, float] = {}
        for name, value in pairs:
            if name in weights:
                raise ValueError(f"it has the class {name!r:.80} twice")
            weights[name] = float(checked(value, WEIGHT, repr(name)))
        for name in weights:
            if name not in classes:
                raise ValueError(f"it has {name!r:.80}, which is none of the {len(classes)} classes")
        for name in classes:
            if name not in weights:
                raise ValueError(f"it lacks the class {name!r:.80}")
    result = [weights[name] for name in classes]
    return check_weights(result, len(classes), str(file))


def _json_pairs(text: str) -> List[tuple]:
    if not isinstance(parse_json(text), dict):
        raise ValueError("it is JSON, but not an object")
    return json.loads(text, object_pairs_hook=list)  # which keeps a name that occurs twice


def _line_pairs(text: str) -> List[tuple]:
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        name, _, value = line.strip().replace("\t", " ").rpartition(" ")
        if line.strip():
            try:
                pairs.append((name.strip(), float(value)))
            except ValueError:
                raise ValueError(f"line {number}: {line.strip()!r:.80} is not a name and a number") from None
    return pairs


def check_weights(weights: Sequence[float], numclass: int, where: str = "class_weights") -> List[float]:
    """Return the weights as a list; errors name `where`.

    Raises:
        FCNXSError: there is not one for each class, one is negative or above 1,000,000, or all are 0.
    """
    values = [float(weight) for weight in weights]
    if len(values) != numclass:
        raise FCNXSError(f"{where}: {len(values)} weights, but there are {numclass} classes")
    wrong = [value for value in values if not WEIGHT.least <= value <= WEIGHT.most]  # nor NaN
    if wrong:
        raise FCNXSError(f"{where}: a weight is {wrong[0]:g}; expected numbers from 0 to {WEIGHT.most:,.0f}")
    if not any(values):
        raise FCNXSError(f"{where}: all weights are 0, with which nothing can be learned")
    return values


def weighted(symbol: mx.sym.Symbol, numclass: int) -> mx.sym.Symbol:
    """A net with the same outputs, whose gradients are those of the weighted loss.

    It has one more argument, `ARGUMENT`. SoftmaxOutput cannot do it: with out_grad and multi_output, MXNet
    1.9.1 computes wrong gradients.

    Raises:
        FCNXSError: the net does not end in a softmax over the classes of each pixel.
    """
    settings = {key: value for key, value in (symbol.list_attr() or {}).items() if not key.startswith("__")}
    if settings.get("multi_output") not in ("True", "true", "1"):
        raise FCNXSError("class weights: the net does not end in one SoftmaxOutput with multi_output")
    scores, label = symbol.get_children()
    table = mx.sym.Variable(ARGUMENT, shape=(numclass,))
    scores = weigh(mx.sym, scores, label, table)
    return mx.sym.SoftmaxOutput(scores, label, name=symbol.name, **settings)


def weigh(F: ModuleType, scores: mx.nd.NDArray, label: mx.nd.NDArray, table: mx.nd.NDArray) -> mx.nd.NDArray:
    """The same scores (N, C, H, W); a returning gradient is multiplied by the weight of each pixel's label.

    Args:
        F: mx.nd or mx.sym.
        label: (N, 1, H, W), classes. The weight of an ignored pixel is of no account: it has no gradient.
        table: weights of the classes, (C,).
    """
    like = F.zeros_like(F.slice_axis(scores, axis=1, begin=0, end=1))  # gives the label its shape
    weight = F.take(table, label + like, mode="clip")  # (N, 1, H, W)
    # As large as the scores: on CPUs, the backward pass of broadcast_mul takes six times as long.
    scaled = scores * F.BlockGrad(F.broadcast_like(weight, scores))
    return F.BlockGrad(scores) + (scaled - F.BlockGrad(scaled))  # scores + 0

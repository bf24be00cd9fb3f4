"""The nets' operators in float64 NumPy, forward and backward: a reference that shares nothing with MXNet."""

from __future__ import annotations

import json
from ast import literal_eval
from functools import partial
from typing import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Product = Callable[[np.ndarray, np.ndarray, tuple], np.ndarray]  # as np.tensordot


def without_blas(left: np.ndarray, right: np.ndarray, axes: tuple) -> np.ndarray:
    """`np.tensordot` by loops of NumPy's own.

    With the BLAS of NumPy 1.23 this reference was wrong in three of some thousand runs; why is not known.
    """
    summed, with_them = (each if isinstance(each, tuple) else (each,) for each in axes)
    own, others = list(range(left.ndim)), list(range(left.ndim, left.ndim + right.ndim))
    for i, j in zip(summed, with_them):
        others[j] = own[i]
    kept = [i for i in own if i not in summed] + [j for j in others if j >= left.ndim]
    return np.einsum(left, own, right, others, kept)


def run(symbol_json: str, values: dict, product: Product = without_blas) -> tuple:
    """Outputs of all nodes, and gradients of all arguments, of a net that ends in SoftmaxOutput; float64.

    Args:
        values: arrays of all arguments, by name.
        product: the sums of products in convolutions and deconvolutions, forward and backward.
    """
    graph = json.loads(symbol_json)
    nodes = graph["nodes"]
    operators = {**OPERATORS, **{name: partial(each, product) for name, each in WITH_PRODUCTS.items()}}
    outputs, backward = [], []
    for node in nodes:
        inputs = [outputs[entry[0]] for entry in node["inputs"]]
        if node["op"] == "null":
            outputs.append(np.asarray(values[node["name"]], np.float64))
            backward.append(None)
        else:
            output, grads_of = operators[node["op"]](node.get("attrs", {}), *inputs)
            outputs.append(output)
            backward.append(grads_of)
    grads = [np.zeros_like(output) for output in outputs]
    for node, grad, grads_of in zip(nodes[::-1], grads[::-1], backward[::-1]):
        if grads_of is not None:
            for entry, part in zip(node["inputs"], grads_of(grad)):
                grads[entry[0]] += part
    names = [node["name"] for node in nodes]
    arguments = {node["name"] for node in nodes if node["op"] == "null"}
    return dict(zip(names, outputs)), {n: g for n, g in zip(names, grads) if n in arguments}


def _pair(attrs: dict, key: str, default: int) -> int:
    pair = literal_eval(attrs.get(key, str((default, default))))
    assert pair[0] == pair[1]
    return pair[0]


def convolution(product: Product, attrs: dict, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> tuple:
    """Output (N, K, H, W) of a convolution of stride 1, and its gradients' function."""
    pad, k = _pair(attrs, "pad", 0), weight.shape[-1]
    padded = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    windows = sliding_window_view(padded, (k, k), axis=(2, 3))  # (N, C, H, W, k, k)
    y = product(windows, weight, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2) + bias[:, None, None]

    def grads(dy: np.ndarray) -> tuple:
        d_weight = product(dy, windows, ((0, 2, 3), (0, 2, 3)))
        d_padded = np.zeros_like(padded)
        for i in range(k):
            for j in range(k):
                part = product(dy, weight[:, :, i, j], (1, 0)).transpose(0, 3, 1, 2)
                d_padded[:, :, i : i + dy.shape[2], j : j + dy.shape[3]] += part
        inside = slice(pad, -pad or None)
        return d_padded[:, :, inside, inside], d_weight, dy.sum((0, 2, 3))

    return y, grads


def deconvolution(product: Product, attrs: dict, x: np.ndarray, weight: np.ndarray) -> tuple:
    """Output (N, K, H, W) of a deconvolution without pad, and its gradients' function."""
    k, stride, adj = weight.shape[-1], _pair(attrs, "stride", 1), _pair(attrs, "adj", 0)
    height, width = ((size - 1) * stride + k + adj for size in x.shape[2:])
    y = np.zeros((x.shape[0], weight.shape[1], height, width))

    def places() -> tuple:
        for i in range(k):
            for j in range(k):
                rows = slice(i, i + stride * x.shape[2], stride)
                yield i, j, (slice(None), slice(None), rows, slice(j, j + stride * x.shape[3], stride))

    for i, j, at in places():
        y[at] += product(x, weight[:, :, i, j], (1, 0)).transpose(0, 3, 1, 2)

    def grads(dy: np.ndarray) -> tuple:
        dx, d_weight = np.zeros_like(x), np.zeros_like(weight)
        for i, j, at in places():
            dx += product(dy[at], weight[:, :, i, j], (1, 1)).transpose(0, 3, 1, 2)
            d_weight[:, :, i, j] = product(x, dy[at], ((0, 2, 3), (0, 2, 3)))
        return dx, d_weight

    return y, grads


def pooling(attrs: dict, x: np.ndarray) -> tuple:
    """Output (N, C, H, W) of a max pooling 2x2 of stride 2, and its gradients' function."""
    assert attrs["pool_type"] == "max" and _pair(attrs, "kernel", 1) == _pair(attrs, "stride", 1) == 2
    up = attrs.get("pooling_convention", "valid") == "full"
    n, c, h, w = x.shape[0], x.shape[1], (x.shape[2] + up) // 2, (x.shape[3] + up) // 2
    odd = [(0, 0), (0, 0), *((0, max(0, 2 * cells - size)) for cells, size in zip((h, w), x.shape[2:]))]
    padded = np.pad(x, odd, constant_values=-np.inf)[:, :, : 2 * h, : 2 * w]
    cells = padded.reshape(n, c, h, 2, w, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h, w, 4)
    first = cells.argmax(-1)[..., None]

    def grads(dy: np.ndarray) -> tuple:
        d_cells = np.zeros_like(cells)
        np.put_along_axis(d_cells, first, dy[..., None], -1)
        d_cells = d_cells.reshape(n, c, h, w, 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, 2 * h, 2 * w)
        dx = np.zeros_like(x)
        dx[:, :, : 2 * h, : 2 * w] = d_cells[:, :, : x.shape[2], : x.shape[3]]
        return (dx,)

    return cells.max(-1), grads


def crop(attrs: dict, x: np.ndarray, like: np.ndarray) -> tuple:
    """Output (N, C, H, W), cut to the size of `like`, and its gradients' function."""
    top, left = literal_eval(attrs["offset"])
    at = (slice(None), slice(None), slice(top, top + like.shape[2]), slice(left, left + like.shape[3]))

    def grads(dy: np.ndarray) -> tuple:
        dx = np.zeros_like(x)
        dx[at] = dy
        return dx, np.zeros_like(like)

    return x[at], grads


def softmax_output(attrs: dict, x: np.ndarray, label: np.ndarray) -> tuple:
    """Probabilities (N, C, H, W), and the function of the loss's gradients."""
    exp = np.exp(x - x.max(1, keepdims=True))
    p = exp / exp.sum(1, keepdims=True)
    given, label = label, label.reshape(x.shape[0], *x.shape[2:]).astype(int)

    def grads(_: np.ndarray) -> tuple:
        hit = np.arange(x.shape[1])[:, None, None] == label[:, None]
        counted = (label != int(attrs["ignore_label"]))[:, None]
        return (p - hit) * counted / (x.shape[2] * x.shape[3]), np.zeros(given.shape)

    return p, grads


WITH_PRODUCTS = {"Convolution": convolution, "Deconvolution": deconvolution}
OPERATORS = {
    "Pooling": pooling,
    "Crop": crop,
    "SoftmaxOutput": softmax_output,
    "Activation": lambda attrs, x: (np.maximum(x, 0), lambda dy: (dy * (x > 0),)),
    "Dropout": lambda attrs, x: (x, lambda dy: (dy,)),  # with p = 0
    "_mul_scalar": lambda attrs, x: (x * float(attrs["scalar"]), lambda dy: (dy * float(attrs["scalar"]),)),
    "elemwise_add": lambda attrs, a, b: (a + b, lambda dy: (dy, dy)),
}

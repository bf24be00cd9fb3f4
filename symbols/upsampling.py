"""Bilinear upsampling in training, as two products of matrices for each image, with the softmax behind it.

A deconvolution computes all classes for each class, although a bilinear kernel keeps them apart, and cells that
the crop removes. `interpolation.py` has the two products. Here the graph computes their matrices from the sizes
of its layers, so that one graph serves images of all sizes; gradients need no more than the same two products:

    scores (N, C, h, w) -> (N, h, w, C) -> by columns (N, h, W, C) -> by rows (N, H, W, C)

The classes of a pixel lie side by side in the end. A softmax over such rows runs on all threads and is faster:
MXNet's SoftmaxOutput over the channels of images has one thread for each image.
"""

from __future__ import annotations

from math import prod
from typing import Container, Dict, List, Tuple

import numpy as np

from ..compat import mxnet as mx
from .graph.nodes import Entry, Graph, Node, flag, has, setting, window
from .graph.rewrite import Writer
from .interpolation import upsample_filt

# Settings with which a softmax over channels has the same gradient over rows, but for the division by H*W.
SOFTMAX = {"multi_output", "use_ignore", "ignore_label", "grad_scale"}


def upsamplings(graph: Graph) -> Dict[str, Tuple[int, int]]:
    """Deconvolutions and their crops, numbers of nodes by the names of the weights, that may become products.

    No other layer takes the deconvolution or its weight; it has no bias.
    """
    found = {}
    for crop, node in enumerate(graph.nodes):
        deconv = node["inputs"][0][0] if node["op"] == "Crop" and len(node["inputs"]) == 2 else None
        if deconv is None or flag(node, "center_crop") or not _is_plain(graph.nodes[deconv]):
            continue
        weight = graph.nodes[deconv]["inputs"][1][0]
        if graph.consumers[deconv] == [crop] and graph.consumers[weight] == [deconv]:
            found[graph.nodes[weight]["name"]] = (deconv, crop)
    return found


def _is_plain(node: Node) -> bool:
    """Whether a node is a deconvolution without bias, groups, dilation or a size that is given."""
    if node["op"] != "Deconvolution" or len(node["inputs"]) != 2 or has(node, "target_shape"):
        return False
    return all(setting(node, key, axis, 1) == 1 for key in ("num_group", "dilate") for axis in (0, 1))


def upsamples_bilinearly(weight: mx.nd.NDArray) -> bool:
    """Whether a weight (C, C, k, k) on a device is that of `interpolation.bilinear`, without a copy of it."""
    if weight.ndim != 4 or weight.dtype != np.float32:
        return False
    channels, others, rows, columns = weight.shape
    if channels != others or rows != columns:
        return False
    own = mx.nd.diag(weight, axis1=0, axis2=1).asnumpy()  # (k, k, C)
    if not (own == upsample_filt(rows).astype(np.float32)[..., np.newaxis]).all():
        return False
    # Between the kernels of classes c and c + 1 to themselves lie those of other classes, which are zeros.
    flat, size = weight.reshape(-1), rows * columns
    step = (channels + 1) * size
    between = [flat[c * step + size : (c + 1) * step] for c in range(channels - 1)]
    return not between or not mx.nd.concat(*(mx.nd.dot(x, x) for x in between), dim=0).asnumpy().any()


def with_products(graph: Graph, weights: Container[str], size: Tuple[int, int] | None = None) -> Graph:
    """The same net without these weights, out of `upsamplings`, which are bilinear and not trained.

    Args:
        size: (H, W) of the images. A softmax behind the products is then computed over rows: its output is
            (N*H*W, C), and its label (N*H*W,). None: outputs and labels keep their shapes.
    """
    writer, found = Writer(), upsamplings(graph)
    pairs = {crop: deconv for name, (deconv, crop) in found.items() if name in weights}
    over_rows = {
        j for i in pairs for j in graph.consumers[i] if graph.consumers[i] == [j] and _over_rows(graph.nodes[j])
    }

    def change(i: int, node: Node, inputs: List[Entry]) -> Entry | None:
        if i in pairs.values():
            return inputs[0]
        if i in pairs:
            deconv, name = graph.nodes[pairs[i]], node["name"]
            x, channels = _products(writer, deconv, node, inputs), int(deconv["attrs"]["num_filter"])
            if size is not None and over_rows.intersection(graph.consumers[i]):
                return writer.add("Reshape", name, [x], shape=(-1, channels))
            x = writer.add("Reshape", f"{name}_pixels", [x], shape=(0, 0, -4, -1, channels))  # (N, H, W, C)
            return writer.add("transpose", name, [x], axes=(0, 3, 1, 2))
        if i in over_rows and size is not None:
            scale = np.float32(node["attrs"].get("grad_scale", 1)) / np.float32(prod(size))
            return writer.copy(node, inputs, multi_output=False, grad_scale=float(scale))
        return None

    return writer.graph(writer.write(graph, change))


def _over_rows(node: Node) -> bool:
    """Whether a node is a softmax over channels that may become one over rows (`SOFTMAX`)."""
    known = all(key in SOFTMAX or key.startswith("__") for key in node["attrs"])
    return node["op"] == "SoftmaxOutput" and flag(node, "multi_output") and known


def _products(writer: Writer, deconv: Node, crop: Node, inputs: List[Entry]) -> Entry:
    """Write a deconvolution and its crop as two products; returns the result (N, H, W*C).

    Args:
        inputs: the deconvolution's, (N, C, h, w), and the layer (N, C', H, W) that it is cropped like.
    """
    (x, like), name = inputs, deconv["name"]
    rows, columns = (_matrix(writer, deconv, crop, axis, x, like) for axis in (0, 1))
    x = writer.add("transpose", f"{name}_pixels", [x], axes=(0, 2, 3, 1))  # (N, h, w, C)
    lines = writer.add("Reshape", f"{name}_lines", [x], shape=(-3, 0, 0))  # (N*h, w, C)
    first = {"lhs_axes": (0,), "rhs_axes": (0,)}
    columns = writer.add("broadcast_like", f"{name}_all_columns", [columns, lines], **first)
    wide = writer.add("batch_dot", f"{name}_wide", [columns, lines])  # (N*h, W, C)
    images = {"lhs_begin": 0, "lhs_end": 1, "rhs_begin": 0, "rhs_end": 2}
    wide = writer.add("reshape_like", f"{name}_images", [wide, x], **images)  # (N, h, W, C)
    wide = writer.add("Reshape", f"{name}_flat", [wide], shape=(0, 0, -3))  # (N, h, W*C)
    rows = writer.add("broadcast_like", f"{name}_all_rows", [rows, wide], **first)
    return writer.add("batch_dot", f"{name}_high", [rows, wide])


def _matrix(writer: Writer, deconv: Node, crop: Node, axis: int, x: Entry, like: Entry) -> Entry:
    """`interpolation.matrix` of an axis, (1, length, size): the ramp is what a hat has above 0.

    Cell c of the cropped result is cell c + offset + pad - stride * s of the kernel that lies on cell s of `x`.
    """
    kernel, stride, pad = window(deconv, axis)
    name, factor = f"{deconv['name']}_{('rows', 'columns')[axis]}", (kernel + 1) // 2
    begin = setting(crop, "offset", axis, 0) + pad - (kernel - 1) / 2
    cells = writer.add("_contrib_arange_like", f"{name}_cells", [like], axis=axis + 2, start=begin)
    cells = writer.add("Reshape", f"{name}_column", [cells], shape=(1, -1, 1))
    starts = writer.add("_contrib_arange_like", f"{name}_starts", [x], axis=axis + 2, step=stride)
    starts = writer.add("Reshape", f"{name}_row", [starts], shape=(1, 1, -1))
    away = writer.add("abs", f"{name}_away", [writer.add("broadcast_sub", f"{name}_from", [cells, starts])])
    away = writer.add("_mul_scalar", f"{name}_down", [away], scalar=-1 / factor)
    hat = writer.add("relu", name, [writer.add("_plus_scalar", f"{name}_hat", [away], scalar=1)])
    return writer.add("BlockGrad", f"{name}_fixed", [hat])

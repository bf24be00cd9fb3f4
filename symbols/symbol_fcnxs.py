"""FCN-32s, FCN-16s and FCN-8s (FCN paper, section 4), and the nets around them.

By default each graph equals the one that apache/mxnet 1.4.1 example/fcn-xs/symbol_fcnxs.py builds.
"""

from __future__ import annotations

import json
from ast import literal_eval
from typing import Dict, Tuple

from ..compat import mxnet as mx
from ..errors import FCNXSError
from . import graph, layers
from .layers import Symbol
from .vgg16 import vgg16_pool3, vgg16_pool4, vgg16_relu7, vgg16_score


def get_fcn32s_symbol(
    numclass: int = 21, workspace_default: int = 1024, width: float = 1, fc: int = 4096
) -> Symbol:
    """FCN-32s: the class scores of VGG-16, upsampled 32 times.

    Input `data` (N, 3, H, W), RGB minus the mean, H and W at least 26; `softmax_label` (N, H*W) or
    (N, H, W), classes or 255. Output `softmax_output` (N, numclass, H, W), probabilities.

    Args:
        numclass: number of classes.
        workspace_default: MXNet's workspace for each convolution, in MB.
        width: scale of the channels of conv1_1 to conv5_3, a multiple of 1/64.
        fc: channels of fc6 and fc7.
    """
    data = mx.sym.Variable("data")
    pool3 = vgg16_pool3(data, workspace_default, width)
    pool4 = vgg16_pool4(pool3, workspace_default, width)
    score = vgg16_score(pool4, numclass, workspace_default, width, fc)

    return fcnxs_score(score, data, None, (64, 64), (32, 32), numclass, workspace_default)


def get_fcn16s_symbol(
    numclass: int = 21, workspace_default: int = 1024, width: float = 1, fc: int = 4096
) -> Symbol:
    """FCN-16s: FCN-32s with the skip from pool4. Arguments, inputs and output as `get_fcn32s_symbol`."""
    data = mx.sym.Variable("data")
    pool3 = vgg16_pool3(data, workspace_default, width)
    pool4 = vgg16_pool4(pool3, workspace_default, width)
    score = vgg16_score(pool4, numclass, workspace_default, width, fc)

    fused = _skip(score, pool4, ("score2", "score_pool4", "score_fused"), numclass, workspace_default)
    return fcnxs_score(fused, data, None, (32, 32), (16, 16), numclass, workspace_default)


def get_fcn8s_symbol(
    numclass: int = 21, workspace_default: int = 1024, width: float = 1, fc: int = 4096
) -> Symbol:
    """FCN-8s: FCN-16s with the skip from pool3. Arguments, inputs and output as `get_fcn32s_symbol`."""
    data = mx.sym.Variable("data")
    pool3 = vgg16_pool3(data, workspace_default, width)
    pool4 = vgg16_pool4(pool3, workspace_default, width)
    score = vgg16_score(pool4, numclass, workspace_default, width, fc)

    fused = _skip(score, pool4, ("score2", "score_pool4", "score_fused"), numclass, workspace_default)
    final = _skip(fused, pool3, ("score4", "score_pool3", "score_final"), numclass, workspace_default)
    return fcnxs_score(final, data, None, (16, 16), (8, 8), numclass, workspace_default)


def _skip(x: Symbol, skip: Symbol, names: Tuple[str, str, str], numclass: int, workspace: int) -> Symbol:
    """Upsample the coarse scores twice; score the finer layer, crop it like them, and add."""
    up_name, score_name, sum_name = names
    up = layers.deconv(x, up_name, numclass, factor=2, workspace=workspace)
    score = layers.conv(skip, score_name, numclass, kernel=1, workspace=workspace)
    return layers.add(up, layers.crop(score, up, f"{score_name}c"), sum_name)


def fcnxs_score(
    input: Symbol,
    crop: Symbol,
    offset: Tuple[int, int] | None = None,
    kernel: Tuple[int, int] = (64, 64),
    stride: Tuple[int, int] = (32, 32),
    numclass: int = 21,
    workspace_default: int = 1024,
) -> Symbol:
    """Upsample the scores `input` to the pixels of `crop`, with softmax and its loss.

    Args:
        offset: rows and columns cut from the top and left; None takes them from the coordinate maps.

    Raises:
        FCNXSError: `offset` is given and is not that of the maps, or the maps cannot be aligned.
    """
    bigscore = mx.sym.Deconvolution(
        input,
        kernel=kernel,
        stride=stride,
        adj=(stride[0] - 1, stride[1] - 1),
        num_filter=numclass,
        workspace=workspace_default,
        name="bigscore",
    )
    upscore = layers.crop(bigscore, crop, "upscore")
    if offset is not None and tuple(offset) != (derived := graph.crop_offset(bigscore, crop)):
        raise FCNXSError(f"offset={tuple(offset)} of crop 'upscore': the coordinate maps give {derived}")
    return layers.softmax_loss(upscore)


def offset() -> Dict[str, Tuple[int, int]]:
    """Crop offsets of the three nets, (rows, columns) by the original's names, read off their graphs."""
    offsets = {}
    for name, build in FCNXS.items():
        for node in json.loads(build().tojson())["nodes"]:
            if node["op"] == "Crop":
                key = f"{name}_upscore" if node["name"] == "upscore" else node["name"]
                offsets[key] = literal_eval(node["attrs"]["offset"])
    return offsets


def get_vgg16fc_symbol(workspace_default: int = 1024, width: float = 1, fc: int = 4096) -> Symbol:
    """Trunk of the FCNs: fully convolutional VGG-16 with a pad of 100. Output `relu7_output`."""
    pool3 = vgg16_pool3(mx.sym.Variable("data"), workspace_default, width)
    pool4 = vgg16_pool4(pool3, workspace_default, width)
    return vgg16_relu7(pool4, workspace_default, width, fc)


def get_vgg16_symbol(
    numclass: int = 1000, workspace_default: int = 1024, width: float = 1, fc: int = 4096
) -> Symbol:
    """VGG-16 as a classifier of (N, 3, 224, 224) images. `softmax_label` (N,), output (N, numclass)."""
    pool3 = vgg16_pool3(mx.sym.Variable("data"), workspace_default, width, pad=1)
    pool4 = vgg16_pool4(pool3, workspace_default, width)
    relu7 = layers.dropout(vgg16_relu7(pool4, workspace_default, width, fc), "drop7")
    fc8 = layers.conv(relu7, "fc8", numclass, kernel=1, workspace=workspace_default)  # (N, numclass, 1, 1)
    return mx.sym.SoftmaxOutput(mx.sym.Flatten(fc8), name="softmax")


FCNXS = {"fcn32s": get_fcn32s_symbol, "fcn16s": get_fcn16s_symbol, "fcn8s": get_fcn8s_symbol}

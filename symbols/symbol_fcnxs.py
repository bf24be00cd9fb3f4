"""FCN-32s to FCN-2s and FCN-8s at-once (FCN paper, section 4; at-once: its journal version, PAMI 2017).

By default FCN-32s, 16s and 8s equal what apache/mxnet 1.4.1 example/fcn-xs/symbol_fcnxs.py builds.
"""

from __future__ import annotations

from ast import literal_eval
from functools import partial, reduce
from typing import Dict, Sequence, Tuple

from ..compat import mxnet as mx
from ..errors import FCNXSError
from . import layers
from .graph import maps
from .graph.nodes import Graph
from .layers import Symbol
from .symbol_vgg16 import vgg16_pool3, vgg16_pool4, vgg16_relu7, vgg16_score

# By the stride of the first net with the skip: the pooling it starts from, the upsampled scores, their sum.
SKIPS = {
    16: ("pool4", "score2", "score_fused"),
    8: ("pool3", "score4", "score_final"),
    4: ("pool2", "score8", "score_fused_pool2"),
    2: ("pool1", "score16", "score_fused_pool1"),
}


def get_fcnxs_symbol(
    stride: int,
    numclass: int = 21,
    workspace_default: int = 1024,
    width: float = 1,
    fc: int = 4096,
    pooling_convention: str = "valid",
    skip_scales: Dict[str, float] | None = None,
    heads: Dict[str, int] | None = None,
    channels: int = 3,
) -> Symbol:
    """FCN whose finest scores have `stride`: no skip at 32, one from pool4 at 16, ..., down to pool1 at 2.

    Input `data` (N, 3, H, W), RGB minus the mean; `softmax_label` (N, H*W) or (N, H, W), classes or 255.
    Output `softmax_output` (N, numclass, H, W), probabilities.

    Args:
        stride: 32, 16, 8, 4 or 2.
        numclass: number of classes.
        workspace_default: MXNet's workspace for each convolution, in MB.
        width: scale of the channels of conv1_1 to conv5_3, a multiple of 1/64.
        fc: channels of fc6 and fc7.
        pooling_convention: 'valid' rounds sizes down as the original: H and W at least 26, and the last
            rows and columns, up to 12, of FCN-32s get no score. 'full' rounds up as Caffe: any H and W.
        skip_scales: constants by which the poolings are multiplied before they are scored, by name.
        heads: numbers of classes of several labellings of an image, by name, in place of `numclass`. Each head
            has its own scores, skips, upsampling and loss: with {"sem": 33, "geo": 3} the labels are
            `softmax_sem_label` and `softmax_geo_label`, the outputs `softmax_sem_output` and
            `softmax_geo_output`. Source: shelhamer/fcn.berkeleyvision.org siftflow-fcn*/net.py.
        channels: of the input: 4 for RGB and depth.

    Raises:
        FCNXSError: there is no such net, or it would have more than 255 classes.
    """
    for name, classes in (heads or {"numclass": numclass}).items():
        layers.check_numclass(classes, name)
    if stride not in (32, *SKIPS):
        raise FCNXSError(f"stride={stride!r}: expected 32, 16, 8, 4 or 2")
    data = layers.image("data", channels)
    pool3 = vgg16_pool3(data, workspace_default, width, pooling_convention=pooling_convention)
    pool4 = vgg16_pool4(pool3, workspace_default, width, pooling_convention)
    relu7 = vgg16_relu7(pool4, workspace_default, width, fc, pooling_convention)
    top = layers.dropout(relu7, "drop7")
    trunk = top.get_internals()

    def head(classes: int) -> Symbol:
        x = layers.conv(top, "score", classes, kernel=1, workspace=workspace_default)
        for skip_stride, (pool, up, total) in SKIPS.items():
            if skip_stride >= stride:
                x = layers.deconv(x, up, classes, 4, 2, workspace_default, pooling_convention)
                skip = trunk[f"{pool}_output"]
                if pool in (skip_scales or {}):
                    skip = layers.scale(skip, f"scale_{pool}", skip_scales[pool])
                skip = layers.conv(skip, f"score_{pool}", classes, kernel=1, workspace=workspace_default)
                x = layers.add(x, layers.crop(skip, x, f"score_{pool}c"), total)
        kernel, strides = (2 * stride, 2 * stride), (stride, stride)
        return fcnxs_score(x, data, None, kernel, strides, classes, workspace_default, pooling_convention)

    if not heads:
        return head(numclass)
    ends = []
    for name, classes in heads.items():
        with layers.suffixed(f"_{name}"):
            ends.append(head(classes))
    return mx.sym.Group(ends)


def get_fcn32s_symbol(numclass: int = 21, workspace_default: int = 1024, **options: float | str) -> Symbol:
    """FCN-32s: the class scores of VGG-16, upsampled 32 times. All arguments as `get_fcnxs_symbol`."""
    return get_fcnxs_symbol(32, numclass, workspace_default, **options)


def get_fcn16s_symbol(numclass: int = 21, workspace_default: int = 1024, **options: float | str) -> Symbol:
    """FCN-16s: FCN-32s with the skip from pool4. All arguments as `get_fcnxs_symbol`."""
    return get_fcnxs_symbol(16, numclass, workspace_default, **options)


def get_fcn8s_symbol(numclass: int = 21, workspace_default: int = 1024, **options: float | str) -> Symbol:
    """FCN-8s: FCN-16s with the skip from pool3. All arguments as `get_fcnxs_symbol`."""
    return get_fcnxs_symbol(8, numclass, workspace_default, **options)


def get_fcn8s_atonce_symbol(
    numclass: int = 21, workspace_default: int = 1024, **options: float | str
) -> Symbol:
    """FCN-8s for training in one stage: the skips' inputs are scaled to the size of the scores.

    All arguments as `get_fcnxs_symbol`. Source: shelhamer/fcn.berkeleyvision.org voc-fcn8s-atonce/net.py.
    """
    scales = {"pool4": 0.01, "pool3": 0.0001}
    return get_fcnxs_symbol(8, numclass, workspace_default, skip_scales=scales, **options)


def get_late_fusion_symbol(
    numclass: int = 40,
    workspace_default: int = 1024,
    width: float = 1,
    fc: int = 4096,
    pooling_convention: str = "valid",
    modalities: Sequence[str] = ("color", "hha"),
) -> Symbol:
    """Late fusion: the mean of the scores of one FCN-32s for each image of a scene, upsampled.

    Inputs `color_data` and `hha_data` (N, 3, H, W), minus their means; label and output as `get_fcnxs_symbol`.

    Args:
        modalities: names of the images, which end the names of their trunk's layers: conv1_1color, fc6hha.
            The other arguments are those of `get_fcnxs_symbol`.

    Source: FCN paper, section 5.2; shelhamer/fcn.berkeleyvision.org nyud-fcn32s-color-hha/net.py.
    """
    layers.check_numclass(numclass, "numclass")
    scores = []
    images = [layers.image(f"{modality}_data") for modality in modalities]
    for modality, data in zip(modalities, images):
        with layers.suffixed(modality):
            pool3 = vgg16_pool3(data, workspace_default, width, pooling_convention=pooling_convention)
            pool4 = vgg16_pool4(pool3, workspace_default, width, pooling_convention)
            options = {"width": width, "fc": fc, "pooling_convention": pooling_convention}
            scores.append(vgg16_score(pool4, numclass, workspace_default, **options))
    total = reduce(partial(layers.add, name="score_sum"), scores)
    mean = layers.scale(total, "score_fused", 1 / len(scores))
    return fcnxs_score(
        mean, images[0], None, (64, 64), (32, 32), numclass, workspace_default, pooling_convention
    )


def fcnxs_score(
    input: Symbol,
    crop: Symbol,
    offset: Tuple[int, int] | None = None,
    kernel: Tuple[int, int] = (64, 64),
    stride: Tuple[int, int] = (32, 32),
    numclass: int = 21,
    workspace_default: int = 1024,
    pooling_convention: str = "valid",
) -> Symbol:
    """Upsample the scores `input` to the pixels of `crop`, with softmax and its loss.

    Args:
        input: class scores of the coarse net.
        crop: layer whose size the upsampled scores are cropped to, usually the image.
        offset: rows and columns cut from the top and left; None takes them from the coordinate maps.
        kernel, stride: kernel and stride of the upsampling, both square.

    Raises:
        FCNXSError: `offset` is given and is not that of the maps, the maps cannot be aligned, or `kernel`
            or `stride` is not square.
    """
    if len({*kernel}) != 1 or len({*stride}) != 1:
        raise FCNXSError(f"fcnxs_score: kernel={kernel}, stride={stride}: both must be square")
    bigscore = layers.deconv(
        input, "bigscore", numclass, kernel[0], stride[0], workspace_default, pooling_convention
    )
    upscore = layers.crop(bigscore, crop, "upscore")
    if offset is not None and tuple(offset) != (derived := maps.crop_offset(bigscore, crop)):
        raise FCNXSError(f"offset={tuple(offset)} of crop 'upscore': the coordinate maps give {derived}")
    return layers.softmax_loss(upscore)


FCNXS = {"fcn32s": get_fcn32s_symbol, "fcn16s": get_fcn16s_symbol, "fcn8s": get_fcn8s_symbol}


def offset() -> Dict[str, Tuple[int, int]]:
    """Crop offsets of the three nets, (rows, columns) by the original's names, read off their graphs.

    >>> offset()["fcn32s_upscore"], offset()["score_pool3c"]
    ((19, 19), (9, 9))
    """
    offsets = {}
    for name, build in FCNXS.items():
        for node in Graph.of(build()).nodes:
            if node["op"] == "Crop":
                key = f"{name}_upscore" if node["name"] == "upscore" else node["name"]
                offsets[key] = literal_eval(node["attrs"]["offset"])
    return offsets

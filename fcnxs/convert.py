"""Weights of other frameworks as nets of this package. What a file holds is told by its content.

Caffe: VGG-16 and the FCNs of shelhamer/fcn.berkeleyvision.org, of any width and number of classes. Gluon,
GluonCV, torchvision and timm: VGG-16. Every array of a file is accounted for.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, FrozenSet, Iterator, List, NamedTuple, Tuple

import numpy as np

from .compat import mxnet as mx
from .data import VGG_MEAN
from .errors import FCNXSError
from .init import Params, is_input
from .sources import FCN_MEAN, FIRST, IMAGENET_MEAN, SCALES, NamedArray, arrays_of_caffe, arrays_of_sequential
from .symbols import NETS
from .tensors import iterate_tensors, kind_of_file

TITLES = {
    **{"vgg16fc": "VGG-16", "fcn32s": "FCN-32s", "fcn16s": "FCN-16s", "fcn8s": "FCN-8s"},
    **{"fcn8s_atonce": "FCN-8s at-once", "fcn_alexnet": "FCN-AlexNet"},
}


class Fate(NamedTuple):
    """What became of one array of the file, and the parameter made from it; None where there is none."""

    blob: str
    parameter: str | None
    what: str


@dataclass
class Converted:
    """A net with the weights of a file.

    Args:
        framework: caffe, gluon or torchvision: whose file it is.
        net: name in `fcnxs.symbols.NETS`.
        width, fc: scale of the channels, and channels of fc6 and fc7.
        numclass: of an FCN; None for VGG-16.
        mean: of the input, RGB, subtracted from images of 0 to 255.
        classifier: fc8's parameters, which the net itself does not have.
    """

    framework: str
    net: str
    symbol: mx.sym.Symbol
    arg_params: Params
    mean: Tuple[float, float, float]
    fates: List[Fate]
    width: float
    fc: int
    numclass: int | None
    classifier: Params


def read(path: str | Path, trunk: bool = False, pooling_convention: str | None = None) -> Converted:
    """Read a net from a file of weights.

    Args:
        trunk: of an FCN, take VGG-16 alone, as the parent of nets with other classes.
        pooling_convention: 'valid' or 'full'; None takes Caffe's own, 'full', for Caffe's FCNs, and for
            VGG-16 the original example's, 'valid'.

    Raises:
        FCNXSError: the file cannot be read or is damaged, holds none of these nets, lacks a layer, or an
            array has a wrong shape or is not finite.
    """
    kind = kind_of_file(path)
    if kind == "caffe":
        framework, arrays = "caffe", arrays_of_caffe(path)
    else:
        tensors = dict(iterate_tensors(path, kind))
        framework = "gluon" if kind == "gluon" else "torchvision"
        arrays = arrays_of_sequential(path, tensors)
    taken, fates, layers = _collect(path, arrays)
    net = _net_of(path, layers, trunk)
    if pooling_convention is None:
        pooling_convention = "valid" if net == "vgg16fc" else "full"
    mean = VGG_MEAN if framework == "caffe" else tuple(round(255 * value, 4) for value in IMAGENET_MEAN)
    if framework == "caffe" and "score" in layers:
        mean = FCN_MEAN
    return _converted(path, framework, net, mean, taken, fates, layers, pooling_convention)


def _collect(
    path: str | Path, arrays: Iterator[NamedArray]
) -> Tuple[Dict[str, NamedArray], List[Fate], Dict[str, None]]:
    """Arrays by parameter, fates of those that no net has, and the names of all layers in order."""
    known = _known_parameters()
    taken: Dict[str, NamedArray] = {}
    fates, layers = [], {}
    for array in arrays:
        layers[array.layer] = None
        if not np.isfinite([array.values.min(initial=0), array.values.max(initial=0)]).all():  # nor NaN
            raise FCNXSError(f"{path}: {array.title} holds values that are not finite numbers")
        if array.parameter not in known and f"{array.layer}_weight" in known and array.values.any():
            raise FCNXSError(f"{path}: {array.title} has no place in the net, and is not zero")
        if array.parameter not in known:
            fates.append(Fate(array.title, None, array.done or "dropped: not a layer of these nets"))
        elif array.parameter in taken:
            raise FCNXSError(f"{path}: layer {array.layer} is there twice")
        else:
            taken[array.parameter] = array
    return taken, fates, layers


@functools.cache
def _known_parameters() -> FrozenSet[str]:
    """Parameters of all the nets that a file can hold, and of the classifier."""
    return frozenset(name for net in (*TITLES, "vgg16") for name in _parameters_of(net))


@functools.cache
def _parameters_of(net: str) -> Tuple[str, ...]:
    return tuple(name for name in NETS[net]().list_arguments() if not is_input(name))


def _net_of(path: str | Path, layers: Dict[str, None], trunk: bool) -> str:
    """Tell the net by the names of its layers."""
    if "conv1_1" in layers:
        if trunk or "score" not in layers:
            return "vgg16fc"
        if "scale_pool4" in layers or "scale_pool3" in layers:
            return "fcn8s_atonce"
        return "fcn8s" if "score_pool3" in layers else "fcn16s" if "score_pool4" in layers else "fcn32s"
    if "conv1" in layers and "score" in layers and not trunk:
        return "fcn_alexnet"
    found = ", ".join(list(layers)[:4]) or "none"
    raise FCNXSError(f"{path}: neither VGG-16 nor one of the FCNs: its layers are {found:.100}, ...")


def _converted(
    path: str | Path,
    framework: str,
    net: str,
    mean: Tuple[float, float, float],
    taken: Dict[str, NamedArray],
    fates: List[Fate],
    layers: Dict[str, None],
    pooling_convention: str,
) -> Converted:
    """The net in the width of its arrays, each of which has the shape that it needs."""
    needed = _parameters_of(net)
    missing = [name.rpartition("_")[0] for name in needed if name not in taken]
    missing = [*dict.fromkeys(missing), *(s for s in SCALES if net == "fcn8s_atonce" and s not in layers)]
    if missing:
        raise FCNXSError(
            f"{path}: layers {', '.join(missing)} of {TITLES[net]} are not, or not whole, in this file"
        )
    first = "conv1" if net == "fcn_alexnet" else "conv1_1"
    width = taken[f"{first}_bias"].values.size / FIRST[first]
    fc = taken["fc6_bias"].values.size
    settings = {"width": width, "fc": fc, "pooling_convention": pooling_convention}
    if net != "vgg16fc":
        settings["numclass"] = taken["score_bias"].values.size
    symbol, shapes = _built(path, net, settings, first)
    params: Params = {}
    for name in needed:
        array = taken.pop(name)
        params[name], done = _fitted(path, array, shapes[name], TITLES[net])
        fates.append(Fate(array.title, f"{name} {shapes[name]}", done))
    classifier = _classifier(path, taken, fc)
    for array in taken.values():
        what = "the classifier's scores" if array.layer == "fc8" else f"not a layer of {TITLES[net]}"
        fates.append(Fate(array.title, None, f"dropped: {what}"))
    numclass = settings.get("numclass")
    return Converted(framework, net, symbol, params, mean, fates, width, fc, numclass, classifier)


def _classifier(path: str | Path, taken: Dict[str, NamedArray], fc: int) -> Params:
    """Parameters of fc8, if both are there."""
    if not {"fc8_weight", "fc8_bias"} <= taken.keys():
        return {}
    classes = taken["fc8_bias"].values.size
    shapes = {"fc8_weight": (classes, fc, 1, 1), "fc8_bias": (classes,)}
    return {name: _fitted(path, taken[name], shape, "VGG-16")[0] for name, shape in shapes.items()}


def _built(
    path: str | Path, net: str, settings: dict, first: str
) -> Tuple[mx.sym.Symbol, Dict[str, Tuple[int, ...]]]:
    """A net, and the shape of each of its parameters."""
    if not (settings["width"] and settings["fc"] and 0 < settings.get("numclass", 1) < 256):
        raise FCNXSError(f"{path}: {first} or fc6 has no channels, or there are not 1 to 255 classes")
    try:
        symbol = NETS[net](**settings)
        shapes, _, _ = symbol.infer_shape_partial(data=(1, 3, 64, 64))  # which prints nothing when it fails
    except (FCNXSError, mx.MXNetError) as error:
        what = str(error) if isinstance(error, FCNXSError) else "MXNet cannot infer the shapes of such a net"
        raise FCNXSError(
            f"{path}: {first} has {int(settings['width'] * FIRST[first])} channels: {what}"
        ) from None
    return symbol, dict(zip(symbol.list_arguments(), shapes))


def _fitted(
    path: str | Path, array: NamedArray, shape: Tuple[int, ...], title: str
) -> Tuple[mx.nd.NDArray, str]:
    """Array in the shape that its parameter needs, and how it came to it."""
    values, given = array.values, array.values.shape
    if given == shape:
        done = "copied"
    elif len(shape) == 1 and given == (1, 1, 1, *shape):
        values, done = values.reshape(shape), "reshaped"
    elif shape[2:] and given[-2:] == (shape[0], int(np.prod(shape[1:]))) and set(given[:-2]) <= {1}:
        values, done = values.reshape(shape), "reshaped"  # of an inner product
    elif array.layer in ("bigscore", "score2", "score4") and given == (shape[0], 1, *shape[2:]):
        values, done = values * np.eye(shape[0], dtype=np.float32)[..., None, None], "made dense"
    else:
        raise FCNXSError(
            f"{path}: {array.title} has the wrong shape for {array.parameter} of {title}, which needs {shape} "
            "beside the file's other layers"
        )
    return mx.nd.array(values), ", ".join(filter(None, (done, array.done)))

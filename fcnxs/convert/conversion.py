"""Read a file of weights of another framework as a net of this package.

    read("fcn8s-heavy-pascal.caffemodel").net  # 'fcn8s'

The file's content decides the net. A file of Caffe holds VGG-16 or an FCN of
shelhamer/fcn.berkeleyvision.org, of any width and number of classes; a file of Gluon, GluonCV, torchvision or
timm holds VGG-16. Every array gets a `Fate`: it becomes a parameter, or is dropped for a stated reason.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

import numpy as np

from ..compat import mxnet as mx
from ..conventions import VGG_MEAN
from ..errors import FCNXSError
from ..net import Params, is_input
from ..symbols import NETS
from . import arrays
from .arrays import FIRST, NamedArray

TITLES = {
    **{"vgg16fc": "VGG-16", "fcn32s": "FCN-32s", "fcn16s": "FCN-16s", "fcn8s": "FCN-8s"},
    **{"fcn8s_atonce": "FCN-8s at-once", "fcn_alexnet": "FCN-AlexNet"},
}


class Fate(NamedTuple):
    """An array of the file (`blob`), the parameter made of it (None if dropped), and how (`what`)."""

    blob: str
    parameter: str | None
    what: str


@dataclass
class Converted:
    """A net with the weights of a file.

    Args:
        framework: the file's framework: caffe, gluon, or torchvision (timm's too).
        net: name in `fcnxs.symbols.NETS`.
        mean: RGB mean to subtract from images of 0 to 255.
        fates: one for each array of the file.
        width, fc: channels relative to VGG-16's, and channels of fc6 and fc7.
        numclass: number of classes of an FCN; None for VGG-16.
        classifier: parameters of fc8, which `symbol` does not have; empty if the file has none.
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
        trunk: take only VGG-16 out of an FCN, to start nets for other classes from.
        pooling_convention: 'valid' or 'full'. None: 'full', as in Caffe, for Caffe's FCNs and their trunks;
            'valid', as in the original example, for VGG-16.

    Raises:
        FCNXSError: the file cannot be read or is damaged, holds none of these nets, or lacks a layer; or an
            array has a wrong shape or a value that is not finite.
    """
    file = _collect(path)
    net = _net_of(file, trunk)
    if pooling_convention is None:
        pooling_convention = "full" if file.framework == "caffe" and "score" in file.layers else "valid"
    return _converted(file, net, pooling_convention)


class _File(NamedTuple):
    """Content of a file: arrays by parameter, fates of arrays that no net has, names of the layers in order."""

    path: str | Path
    framework: str
    taken: Dict[str, NamedArray]
    fates: List[Fate]
    layers: List[str]


def _collect(path: str | Path) -> _File:
    """Sort the arrays of a file; refuse values that are not finite, and layers that occur twice."""
    known = {name for net in (*TITLES, "vgg16") for name in _parameters_of(net)}
    framework, found = arrays.arrays_of(path)
    file = _File(path, framework, {}, [], [])
    for array in found:
        file.layers.append(array.layer)
        if not np.isfinite([array.values.min(initial=0), array.values.max(initial=0)]).all():  # nor NaN
            raise FCNXSError(f"{path}: {array.title} holds values that are not finite numbers")
        if array.parameter in file.taken:
            raise FCNXSError(f"{path}: layer {array.layer} occurs twice")
        if array.parameter in known:
            file.taken[array.parameter] = array
        elif f"{array.layer}_weight" in known and array.values.any():
            raise FCNXSError(f"{path}: the net has no parameter for {array.title}, whose values are not zero")
        else:
            file.fates.append(Fate(array.title, None, array.done or "dropped: not a layer of these nets"))
    return file


@functools.cache
def _parameters_of(net: str) -> Tuple[str, ...]:
    return tuple(name for name in NETS[net]().list_arguments() if not is_input(name))


def _net_of(file: _File, trunk: bool) -> str:
    """Identify the net by the names of its layers."""
    layers = set(file.layers)
    if "conv1_1" in layers:
        if trunk:
            return "vgg16fc"
        if "score" not in layers:
            if any(name.startswith(("score", "scale_", "upscore", "bigscore")) for name in layers):
                raise FCNXSError(
                    f"{file.path}: has layers of an FCN, but lacks score_fr; --trunk converts its VGG-16 alone"
                )
            return "vgg16fc"
        if layers & arrays.SCALES.keys():
            return "fcn8s_atonce"
        return "fcn8s" if "score_pool3" in layers else "fcn16s" if "score_pool4" in layers else "fcn32s"
    if "conv1" in layers and "score" in layers:
        if trunk:
            raise FCNXSError(f"{file.path}: an FCN-AlexNet, which contains no VGG-16; leave --trunk out")
        return "fcn_alexnet"
    if "arg:conv1_1_weight" in layers:
        raise FCNXSError(f"{file.path}: already a checkpoint of MXNet; use it with --prefix and --epoch")
    found = ", ".join([*dict.fromkeys(file.layers)][:4]) or "none"
    raise FCNXSError(f"{file.path}: neither VGG-16 nor one of the FCNs: its layers are {found:.100}, ...")


def _names_of(file: _File) -> Dict[str, str]:
    """The framework's names of our layers, where they differ."""
    if file.framework == "caffe":
        return {ours: theirs for theirs, ours in arrays.CAFFE_NAMES.items() if ours != "bigscore"}
    scheme = arrays.GLUON if file.framework == "gluon" else arrays.TORCHVISION
    return {ours: f"{theirs} ({ours})" for theirs, ours in zip(scheme, arrays.VGG16_LAYERS)}


def _converted(file: _File, net: str, pooling_convention: str) -> Converted:
    """Build the net in the width of the file's arrays, and fit each array to its parameter."""
    path, _, taken, fates, layers = file
    missing = [name.rpartition("_")[0] for name in _parameters_of(net) if name not in taken]
    missing += [layer for layer in arrays.SCALES if net == "fcn8s_atonce" and layer not in layers]
    if missing:
        theirs = _names_of(file)
        names = ", ".join(dict.fromkeys(theirs.get(name, name) for name in missing))
        raise FCNXSError(f"{path}: layers {names} of {TITLES[net]} are missing or incomplete in this file")
    first = "conv1" if net == "fcn_alexnet" else "conv1_1"
    settings = {"width": taken[f"{first}_bias"].values.size / FIRST[first], "fc": taken["fc6_bias"].values.size}
    numclass = None if net == "vgg16fc" else taken["score_bias"].values.size
    if not (all(settings.values()) and numclass in (None, *range(1, 256))):
        raise FCNXSError(f"{path}: {first} or fc6 has no channels, or the number of classes is not 1 to 255")
    classes = {} if numclass is None else {"numclass": numclass}
    try:
        symbol = NETS[net](**settings, **classes, pooling_convention=pooling_convention)
        shapes, _, _ = symbol.infer_shape_partial(data=(1, 3, 64, 64))  # which prints nothing when it fails
    except (FCNXSError, mx.MXNetError) as error:
        what = str(error) if isinstance(error, FCNXSError) else "MXNet cannot infer the shapes of such a net"
        raise FCNXSError(f"{path}: {first} has {taken[f'{first}_bias'].values.size} channels: {what}") from None
    shapes = dict(zip(symbol.list_arguments(), shapes))
    params: Params = {}
    for name in _parameters_of(net):
        array = taken.pop(name)  # and is freed
        params[name], done = _fitted(path, array, shapes[name], TITLES[net])
        fates.append(Fate(array.title, f"{name} {shapes[name]}", done))
    classifier = _classifier(path, taken, settings["fc"]) if net == "vgg16fc" else {}
    for array in taken.values():
        what = "the classifier's scores" if array.layer == "fc8" else f"not a layer of {TITLES[net]}"
        fates.append(Fate(array.title, None, f"dropped: {what}"))
    mean = tuple(round(255 * value, 4) for value in arrays.IMAGENET_MEAN)
    if file.framework == "caffe":
        mean = arrays.FCN_MEAN if "score" in layers else VGG_MEAN
    of_file = (file.framework, net, symbol, params, mean, fates)
    return Converted(*of_file, **settings, numclass=numclass, classifier=classifier)


def _classifier(path: str | Path, taken: Dict[str, NamedArray], fc: int) -> Params:
    """Parameters of fc8, if the file has both."""
    if not {"fc8_weight", "fc8_bias"} <= taken.keys():
        return {}
    classes = taken["fc8_bias"].values.size
    if not classes:
        raise FCNXSError(f"{path}: fc8 has no channels")
    shapes = {"fc8_weight": (classes, fc, 1, 1), "fc8_bias": (classes,)}
    return {name: _fitted(path, taken[name], shape, "VGG-16")[0] for name, shape in shapes.items()}


def _fitted(
    path: str | Path, array: NamedArray, shape: Tuple[int, ...], title: str
) -> Tuple[mx.nd.NDArray, str]:
    """The array in its parameter's shape, and how it was fitted: copied, reshaped, made dense."""
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
            "to fit the file's other layers"
        )
    return mx.nd.array(values), ", ".join(filter(None, (done, array.done)))

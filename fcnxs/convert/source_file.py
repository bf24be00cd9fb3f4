"""A file of weights, its arrays sorted by the parameters of our nets, and which net they belong to."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Dict, FrozenSet, List, NamedTuple, Tuple

import numpy as np

from ..errors import FCNXSError
from ..net import is_input
from ..symbols import NETS
from . import arrays
from .arrays import NamedArray
from .caffe_layers import SCALING, SETTINGS, graph_of, name_of
from .caffe_names import FIRST, SECOND, name_here
from .caffe_schema import Message

TITLES = {
    **{"vgg16fc": "VGG-16", "alexnetfc": "AlexNet"},
    **{"fcn32s": "FCN-32s", "fcn16s": "FCN-16s", "fcn8s": "FCN-8s"},
    **{"fcn8s_atonce": "FCN-8s at-once", "fcn_alexnet": "FCN-AlexNet"},
    **{f"siftflow_fcn{stride}s": f"FCN-{stride}s with the heads sem and geo" for stride in (32, 16, 8)},
    "nyud_fcn32s_color_hha": "FCN-32s of color and HHA",
}
LARGEST_SCALE = 1 << 16  # values of a scale layer; larger arrays of unknown layers are not kept


class Fate(NamedTuple):
    """An array of the file (`blob`), the parameter made of it (None if dropped), and how (`what`)."""

    blob: str
    parameter: str | None
    what: str


class File(NamedTuple):
    """Content of a file.

    Args:
        taken: arrays by parameter.
        others: arrays that no net has, by layer.
        fates: theirs.
        layers: names of the layers in order.
        sources: layers of each file that describes the net, with its name; the first counts.
    """

    path: Path
    framework: str
    taken: Dict[str, NamedArray]
    others: Dict[str, List[np.ndarray]]
    fates: List[Fate]
    layers: List[str]
    sources: List[Tuple[List[Message], str]]


def collect(path: str | Path) -> File:
    """Sort the arrays of a file; refuse values that are not finite, and layers that occur twice."""
    known = _all_parameters()
    messages: List[Message] = []
    framework, found = arrays.arrays_of(path, messages)
    file = File(Path(path), framework, {}, {}, [], [], [(messages, str(path))])
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
            if array.values.size <= LARGEST_SCALE:
                file.others.setdefault(array.layer, []).append(array.values)
    return file


@functools.cache
def parameters_of(net: str) -> Tuple[str, ...]:
    """Names of a net's parameters."""
    return tuple(name for name in NETS[net]().list_arguments() if not is_input(name))


@functools.cache
def _all_parameters() -> FrozenSet[str]:
    return frozenset(name for net in (*TITLES, "vgg16") for name in parameters_of(net))


def net_of(file: File, trunk: bool) -> str:
    """Identify the net by the names of its layers.

    Raises:
        FCNXSError: it is none of ours.
    """
    layers = set(file.layers)
    if "conv1_1" in layers:
        if trunk:
            return "vgg16fc"
        if layers & {"score_sem", "score_geo"}:
            pools = {name.rpartition("_")[0] for name in layers}
            stride = 8 if "score_pool3" in pools else 16 if "score_pool4" in pools else 32
            return f"siftflow_fcn{stride}s"
        if "score" not in layers:
            described = (layer for layers_of, _ in file.sources for layer in layers_of)
            fcn = [layer.name for layer in described if layer.type == "Deconvolution"]
            if fcn or any(
                name.startswith(("score", "scale_", "upscore", "bigscore", "deconv")) for name in layers
            ):
                raise FCNXSError(
                    f"{file.path}: has layers of an FCN, but lacks score_fr; --trunk converts its VGG-16 alone"
                )
            return "vgg16fc"
        if layers & arrays.SCALES.keys() or scales_skips(file):
            return "fcn8s_atonce"
        return "fcn8s" if "score_pool3" in layers else "fcn16s" if "score_pool4" in layers else "fcn32s"
    if layers & {"conv1_1color", "conv1_1hha"}:
        if trunk:
            raise FCNXSError(
                f"{file.path}: an FCN of two images with a VGG-16 for each; --trunk takes that of an FCN of "
                "one image, such as nyud-fcn32s-color's"
            )
        return "nyud_fcn32s_color_hha"
    if "conv1_1_bgrd" in layers:
        raise FCNXSError(
            f"{file.path}: an FCN of BGR and depth, which is not converted: no weights of it were published; "
            "`fcnxs.symbols.NETS['nyud_fcn32s_color_d']` builds it"
        )
    if "conv1" in layers and layers & {"score", "fc8"}:
        return "alexnetfc" if trunk or "score" not in layers else "fcn_alexnet"
    if "arg:conv1_1_weight" in layers:
        raise FCNXSError(
            f"{file.path}: already a checkpoint of MXNet; use it with --prefix and --epoch (of an FCN, --trunk "
            "takes VGG-16 alone)"
        )
    found = ", ".join([*dict.fromkeys(file.layers)][:4]) or "none"
    raise FCNXSError(f"{file.path}: neither VGG-16 nor one of the FCNs: its layers are {found:.100}, ...")


def _names_of(file: File) -> Dict[str, str]:
    """The framework's names of our layers, where they differ."""
    if file.framework == "caffe":
        titles = [*(array.title for array in file.taken.values()), *(fate.blob for fate in file.fates)]
        old = any(title.startswith("score-") for title in titles)
        published = [theirs for theirs in (FIRST if old else SECOND) if theirs != "score59"]
        published = [f"{theirs}{end}" for theirs in published for end in ("", "_sem", "_geo", "color", "hha")]
        return {name_here(theirs): theirs for theirs in published if "bigscore" not in name_here(theirs)}
    scheme = arrays.GLUON if file.framework == "gluon" else arrays.TORCHVISION
    return {ours: f"{theirs} ({ours})" for theirs, ours in zip(scheme, arrays.VGG16_LAYERS)}


def scales_skips(file: File) -> bool:
    """Whether the layers that describe the net scale pool3 or pool4 before they are scored."""
    nodes = [node for layers, _ in file.sources[:1] for node in graph_of(layers)]
    scores = [node for node in nodes if node.name in ("score_pool4", "score_pool3")]
    return any(each.kind in SCALING for node in scores for each in node.inputs)


def check_complete(file: File, net: str) -> None:
    """Refuse a file that lacks a parameter of a net.

    Raises:
        FCNXSError: it does; the message has the framework's names of the layers.
    """
    missing = [name.rpartition("_")[0] for name in parameters_of(net) if name not in file.taken]
    if net == "fcn8s_atonce" and not scales_skips(file):
        missing += [layer for layer in arrays.SCALES if layer not in file.layers]
    if missing:
        theirs = _names_of(file)
        names = ", ".join(dict.fromkeys(theirs.get(name, name) for name in missing))
        raise FCNXSError(f"{file.path}: layers {names} of {TITLES[net]} are missing or incomplete in this file")


def is_fcn_of_caffe(file: File) -> bool:
    """Whether the file has an FCN of Caffe, of which VGG-16 alone may be taken."""
    return file.framework == "caffe" and any(layer.startswith("score") for layer in file.layers)


def add_zero_biases(file: File) -> None:
    """Add the biases of layers that have none (`bias_term: false`), as zeros.

    Raises:
        FCNXSError: such a layer has a bias.
    """
    for layers, where in file.sources[:1]:
        for layer in layers:
            name = name_of(layer)
            weight, bias = file.taken.get(f"{name}_weight"), f"{name}_bias"
            if weight is None or layer.type not in SETTINGS or bias not in _all_parameters():
                continue
            param = getattr(layer, SETTINGS[layer.type][0])
            if not getattr(param, "bias_term", True) and param.num_output in weight.values.shape:
                if bias in file.taken and file.taken[bias].values.any():
                    raise FCNXSError(
                        f"{where}: layer {layer.name}: bias_term false, but {file.path} has a bias"
                    )
                zeros = np.zeros(param.num_output, np.float32)
                file.taken[bias] = NamedArray("(none)", name, bias, zeros, "zeros: bias_term is false")

"""Read a file of weights of another framework as a net of this package.

    read("fcn8s-heavy-pascal.caffemodel").net  # 'fcn8s'

The file's content decides the net. A file of Caffe holds VGG-16, AlexNet or an FCN of
shelhamer/fcn.berkeleyvision.org, of any width and number of classes; a file of Gluon, GluonCV, torchvision or
timm holds VGG-16. Every array gets a `Fate`: it becomes a parameter, or is dropped for a stated reason.
Settings of layers, and the mean, are those of the caffemodel or of a prototxt, if these have them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from .. import checkpoint
from ..compat import mxnet as mx
from ..errors import FCNXSError
from ..init import trunk_of
from ..net import Params
from ..symbols import NETS
from ..symbols.graph.nodes import Graph
from . import arrays
from .arrays import FIRST, TRUNKS, NamedArray, for_images, is_mxnet
from .caffe_input import Given, Prepared, assumed, given_mean, prepared
from .caffe_layers import layers_of_text
from .caffe_names import HEADS, MODALITIES, suffixes
from .caffe_net import Described, Ours, contradictions, describe, is_whole
from .caffe_prototxt import OF_CLASSES
from .source_file import (
    TITLES,
    Fate,
    File,
    add_zero_biases,
    check_complete,
    collect,
    is_fcn_of_caffe,
    net_of,
    parameters_of,
)

VOC_MEAN_CLASSES = (21, 60)  # of the FCNs for VOC and PASCAL-Context, whose means are equal


class Source(NamedTuple):
    """A net of Caffe as its file has it: its layers, and how images are prepared for it."""

    described: Described
    prepared: Dict[str, Prepared]  # by what ends the names of the image's trunk; "" for the one image


@dataclass
class Converted:
    """A net with the weights of a file.

    Args:
        framework: the file's framework: caffe, gluon, torchvision (timm's too), or mxnet.
        net: name in `fcnxs.symbols.NETS`.
        mean: RGB mean to subtract from images of 0 to 255; of several images that of the first.
        fates: one for each array of the file.
        width, fc: channels relative to VGG-16's, and channels of fc6 and fc7.
        numclass: number of classes of an FCN; None for VGG-16, and for several heads.
        classifier: parameters of fc8, which `symbol` does not have; empty if the file has none.
        source: the net of a file of Caffe.
        told: sentences on what differs from the published net, and on what was assumed.
        heads: number of classes of each head, where there are several.
        means: mean of each image by the name of the net's input, where there are several; of a checkpoint of
            MXNet as its meta file has them.
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
    source: Source | None = None
    told: List[str] = field(default_factory=list)
    heads: Dict[str, int] | None = None
    means: Dict[str, Tuple[float, float, float]] | None = None


def read(
    path: str | Path,
    trunk: bool = False,
    pooling_convention: str | None = None,
    prototxt: str | Path | None = None,
    mean: Sequence[float] | None = None,
    mean_file: str | Path | None = None,
) -> Converted:
    """Read a net from a file of weights.

    Args:
        trunk: take only VGG-16 or AlexNet out of an FCN, to start nets for other classes from; `path` may then
            be a checkpoint of MXNet, PREFIX-NNNN.params, with its symbol and meta file beside it.
        pooling_convention: 'valid' or 'full'. None: as the file's layers say, or 'full', as in Caffe, for
            Caffe's FCNs and their trunks; and for AlexNet; 'valid', as in the original example, for VGG-16.
        prototxt: description of a caffemodel's layers, by which they count instead of its own.
        mean: (R, G, B) to subtract from images of 0 to 255; None: as the file's data layer says, or
            VOC's of the authors for FCNs, and VGG-16's for VGG-16.
        mean_file: file of Caffe's (`.binaryproto`) with the mean.

    Raises:
        FCNXSError: a file cannot be read or is damaged, holds none of these nets, or lacks a layer; a layer
            does something that ours cannot; or an array has a wrong shape or a value that is not finite.
    """
    given = given_mean(mean, mean_file)
    if trunk and is_mxnet(path):
        if prototxt is not None:
            raise FCNXSError(
                f"--prototxt {prototxt}: describes files of Caffe; {path} is a checkpoint of MXNet"
            )
        return _trunk_of_mxnet(Path(path), pooling_convention, given)
    layers = None if prototxt is None else layers_of_text(prototxt)
    file = collect(path)
    if file.framework != "caffe" and prototxt is not None:
        raise FCNXSError(f"--prototxt {prototxt}: describes files of Caffe; {path} is one of {file.framework}")
    if layers is not None:
        file.sources.insert(0, (layers, str(prototxt)))
    return _converted(file, net_of(file, trunk), pooling_convention, given)


def _trunk_of_mxnet(path: Path, pooling_convention: str | None, given: Given | None) -> Converted:
    """The trunk of an FCN's checkpoint, whose mean is that of the meta file."""
    prefix, _, epoch = path.name.removesuffix(".params").rpartition("-")
    if not (prefix and epoch.isdigit()):
        raise FCNXSError(
            f"{path}: a checkpoint of MXNet is read by its name, which should be PREFIX-NNNN.params"
        )
    loaded = checkpoint.load(
        path.with_name(prefix), int(epoch), pooling_convention=pooling_convention, strict=False
    )
    found, params = trunk_of(loaded.symbol, loaded.arg_params, str(path))
    convention = pooling_convention or found.pooling_convention
    net = f"{found.name}fc"
    symbol = NETS[net](width=found.width, fc=found.fc, pooling_convention=convention)
    dropped = (None, f"dropped: not a layer of {TITLES[net]}")
    fates = [
        Fate(
            f"{name} {array.shape}",
            *((f"{name} {array.shape}", "copied") if name in params else dropped),
        )
        for name, array in loaded.arg_params.items()
    ]
    mean = loaded.meta.mean if given is None else given.mean[:: 1 if given.of_image else -1]
    told = [] if given is None else given.told
    of_file, means = ("mxnet", net, symbol, params, mean, fates), loaded.meta.means
    kept = {"classifier": {}, "told": told, "means": means and {**means, [*means][0]: mean}}
    return Converted(*of_file, width=found.width, fc=found.fc, numclass=None, **kept)


def _converted(file: File, net: str, pooling_convention: str | None, given: Given | None) -> Converted:
    """Build the net in the width of the file's arrays, and fit each array to its parameter."""
    path, taken, fates = file.path, file.taken, file.fates
    add_zero_biases(file)
    check_complete(file, net)
    ends = MODALITIES.get(net, ("",))
    firsts = [f"{'conv1' if 'alexnet' in net else 'conv1_1'}{end}" for end in ends]
    first = firsts[0]
    sizes = {name: array.values.size for name, array in taken.items() if name.endswith("_bias")}
    settings = {"width": sizes[f"{first}_bias"] / FIRST[first], "fc": sizes[f"fc6{ends[0]}_bias"]}
    heads = {head: sizes[f"score_{head}_bias"] for head in HEADS.get(net, ())} or None
    numclass = None if net in TRUNKS or heads else sizes[f"score{ends[0]}_bias"]
    if not (all(settings.values()) and {numclass, *(heads or {}).values()} <= {None, *range(1, 256)}):
        raise FCNXSError(f"{path}: {first} or fc6 has no channels, or the number of classes is not 1 to 255")
    classes = {"heads": heads} if heads else {} if numclass is None else {"numclass": numclass}
    convention = pooling_convention or ("full" if is_fcn_of_caffe(file) or net == "alexnetfc" else "valid")
    try:
        symbol = NETS[net](**settings, **classes, pooling_convention=convention)
    except FCNXSError as error:
        raise FCNXSError(f"{path}: {first} has {sizes[f'{first}_bias']} channels: {error}") from None
    if file.framework == "caffe":
        symbol, source, told = _source(file, net, symbol, pooling_convention is None, given)
        mean = source.prepared[ends[0]].mean
        for name, each in zip(firsts, source.prepared.values()):
            array = taken[f"{name}_weight"]
            taken[f"{name}_weight"] = for_images(array, each.factor, each.start.bgr)
    else:
        source, told, mean = None, [], tuple(round(255 * value, 4) for value in arrays.IMAGENET_MEAN)
        if given is not None:
            mean, told = given.mean[:: 1 if given.of_image else -1], given.told
    shapes = _shapes_of(symbol, path)
    params: Params = {}
    for name in parameters_of(net):
        array = taken.pop(name)  # and is freed
        params[name], done = _fitted(path, array, shapes[name], TITLES[net])
        fates.append(Fate(array.title, f"{name} {shapes[name]}", done))
    classifier = _classifier(path, taken, settings["fc"], TITLES[net]) if net in TRUNKS else {}
    for array in taken.values():
        what = "the classifier's scores" if array.layer == "fc8" else f"not a layer of {TITLES[net]}"
        fates.append(Fate(array.title, None, f"dropped: {what}"))
    of_file = (file.framework, net, symbol, params, mean, fates)
    several = {f"{end}_data": each.mean for end, each in source.prepared.items()} if ends[1:] else None
    kept = {"classifier": classifier, "source": source, "told": told, "heads": heads, "means": several}
    return Converted(*of_file, **settings, numclass=numclass, **kept)


def _source(
    file: File, net: str, symbol: mx.sym.Symbol, rounding: bool, given: Given | None
) -> Tuple[mx.sym.Symbol, Source, List[str]]:
    """The symbol with the settings of a file of Caffe, the net as the file has it, and what is told of it."""
    taken, (layers, by) = file.taken, file.sources[0]
    outputs = {array.layer: array.values.size for name, array in taken.items() if name.endswith("_bias")}
    images = MODALITIES.get(net, ("",))
    if images[1:] and given is not None:
        raise FCNXSError(
            f"{given.by}: gives one mean, and the net takes the images {' and '.join(images)}; leave it out, "
            "or give the mean of each by the data layer of a --prototxt"
        )
    classes, channelwise = outputs.get(f"score{images[0]}"), False
    for suffix in suffixes(net) if net not in TRUNKS else ():
        count = outputs[f"score{suffix}"] if suffix else classes
        outputs.update({f"{layer}{suffix}": count for layer in OF_CLASSES})
        channelwise |= count > 1 and taken[f"bigscore{suffix}_weight"].values.shape[1:2] == (1,)
    outputs.update({f"score_fr{image}": classes for image in images if image})
    ours = Ours(net, TITLES[net], outputs, channelwise)
    whole = len(file.sources) > 1 or is_whole(layers)  # of a prototxt, or of the caffemodel
    symbol, described = describe(layers, by, whole, ours, file.others, symbol, rounding)
    told = described.told
    for others, where in file.sources[1:]:
        told = told + contradictions(layers, by, others, where)
    found = {}
    for image in images:
        scaling = described.scaling.get(image or "data", [])
        otherwise, whose = assumed(net, image, is_fcn_of_caffe(file))
        found[image] = prepared(file.sources, given, otherwise, scaling, file.others, image)
        told = told + found[image].told
        if (
            not found[image].start.said_by
            and is_fcn_of_caffe(file)
            and (whose or classes not in VOC_MEAN_CLASSES)
        ):
            count = "" if whose else f", and its net has {classes or 'other'} classes"
            told.append(
                f"{by}: says no mean{count}: {whose or 'VOC'}'s, RGB {found[image].mean}, was "
                "assumed; give the net's own with --mean R,G,B, --mean-file or --prototxt"
            )
    scaling = {node.name for nodes in described.scaling.values() for node in nodes}
    for i, fate in enumerate(file.fates):
        if fate.blob.partition("[")[0] in scaling:
            file.fates[i] = fate._replace(what="taken into the first convolution and the mean")
    return symbol, Source(described, found), told


def _shapes_of(symbol: mx.sym.Symbol, path: str | Path) -> Dict[str, Tuple[int, ...]]:
    """Shapes of a net's parameters, which do not depend on the size of the image."""
    try:
        images = Graph.of(symbol).image_shapes((4096, 4096))
        shapes, _, _ = symbol.infer_shape_partial(**images)  # which prints nothing when it fails
    except mx.MXNetError:
        raise FCNXSError(f"{path}: MXNet cannot infer the shapes of such a net") from None
    return dict(zip(symbol.list_arguments(), shapes))


def _classifier(path: str | Path, taken: Dict[str, NamedArray], fc: int, title: str) -> Params:
    """Parameters of fc8, if the file has both."""
    if not {"fc8_weight", "fc8_bias"} <= taken.keys():
        return {}
    classes = taken["fc8_bias"].values.size
    if not classes:
        raise FCNXSError(f"{path}: fc8 has no channels")
    shapes = {"fc8_weight": (classes, fc, 1, 1), "fc8_bias": (classes,)}
    return {name: _fitted(path, taken[name], shape, title)[0] for name, shape in shapes.items()}


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
    elif array.layer.partition("_")[0] in ("bigscore", "score2", "score4") and given == (
        shape[0],
        1,
        *shape[2:],
    ):
        values, done = values * np.eye(shape[0], dtype=np.float32)[..., None, None], "made dense"
    else:
        raise FCNXSError(
            f"{path}: {array.title} has the wrong shape for {array.parameter} of {title}, which needs {shape} "
            "to fit the file's other layers"
        )
    return mx.nd.array(values), ", ".join(filter(None, (done, array.done)))

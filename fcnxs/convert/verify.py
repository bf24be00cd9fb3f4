"""Compare converted weights with their source, which runs in its own framework: OpenCV, Gluon or PyTorch.

These runtimes read the file again and look up the arrays by their own names, so that a mistake of
`conversion.py` cannot repeat itself here.
"""

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import numpy as np

from ..agreement import Agreement, agreement_of
from ..checkpoint.checkpoint import Checkpoint
from ..compat import mxnet as mx
from ..data.images import preprocess
from ..errors import FCNXSError
from ..net import Net, outputs_of
from ..symbols.graph.layer_sizes import misfit
from ..symbols.graph.nodes import Graph
from ..symbols.graph.rewrite import scores_symbol, with_settings
from .arrays import IMAGENET_MEAN, IMAGENET_STD, TRUNKS, iterate_tensors, kind_of_file
from .caffe_layers import text_of
from .caffe_names import name_here
from .caffe_prototxt import FUSION, OF_CLASSES, VGG16_GROUPS, prototxt
from .conversion import Converted

# The one input size of a classifier with inner products, and the pad of its first convolution.
CLASSIFIERS = {"vgg16fc": (224, {"conv1_1": {"pad": (1, 1)}}), "alexnetfc": (227, {"conv1": {"pad": (0, 0)}})}

# Layers of timm, as torchvision names them; layers of torchvision, as Gluon does.
TIMM_NAMES = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}
GLUON_NAMES = {"classifier.0": "features.31", "classifier.3": "features.33", "classifier.6": "output"}

Tensors = Dict[str, np.ndarray]


@dataclass(frozen=True)
class Comparison(Agreement):
    """Agreement of the scores of one image in MXNet with those in another runtime.

    Args:
        runtime: name of the other runtime.
        shape: shape of the scores, (1, C, H, W).
        described_by: what describes the layers that OpenCV ran; "" if the description is ours.
    """

    runtime: str
    shape: Tuple[int, ...]
    described_by: str = ""


def compare(ours: np.ndarray, theirs: np.ndarray, runtime: str) -> Comparison:
    """Compare scores (1, C, H, W).

    Raises:
        FCNXSError: their shapes differ.
    """
    if ours.shape != theirs.shape:
        raise FCNXSError(
            f"the scores have shape {ours.shape} in MXNet, but {theirs.shape} in {runtime}: the checkpoint is "
            "another net than the file, do not use it"
        )
    return Comparison(**vars(agreement_of(theirs, ours)), runtime=runtime, shape=ours.shape)


def verify(source: str | Path, converted: Converted, checkpoint: Checkpoint, image: np.ndarray) -> Comparison:
    """The comparison of `verify_heads` of the head whose scores differ most; most nets have one.

    Args:
        image: RGB uint8 (H, W, 3).

    Raises:
        FCNXSError: as `verify_heads`.
    """
    found = verify_heads(source, converted, checkpoint, image).values()
    return max(found, key=lambda each: each.difference / (each.largest or 1))


def verify_heads(
    source: str | Path, converted: Converted, checkpoint: Checkpoint, image: np.ndarray
) -> Dict[str, Comparison]:
    """Run the source of a conversion, and the checkpoint made of it, on an image, and compare their scores.

    Returns the comparison of each head, by its name; that of a net with one head has the name "".

    A net of Caffe runs as the layers of its file, or of its prototxt, describe it, otherwise as ours do. An FCN
    runs on the image in its own size, up to the scores before the softmax. VGG-16 and AlexNet run as
    classifiers again: the image is resized to 224x224 or 227x227, the pads are the source's, and its fc8 gives
    the scores. If the file has no fc8, relu7 is compared. A net of several images gets this one, and mirrored
    ones for the others.

    Args:
        image: RGB uint8 (H, W, 3).

    Raises:
        FCNXSError: the image does not fit the net, OpenCV cannot run the file, or the shapes of the scores
            differ.
    """
    import cv2

    params = {**checkpoint.arg_params, **converted.classifier}
    source_net = converted.source
    if converted.net in CLASSIFIERS:
        side, pads = CLASSIFIERS[converted.net]
        image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        pads = source_net.described.settings if source_net else pads
        symbol = with_settings(checkpoint.symbol, pads)
        if converted.classifier and not (source_net and source_net.described.ends[0].name != "fc8"):
            channels = converted.classifier["fc8_bias"].size  # the whole image to (N, classes, 1, 1)
            symbol = mx.sym.Convolution(symbol, kernel=(1, 1), num_filter=channels, name="fc8")
    else:
        symbol = scores_symbol(checkpoint.symbol, several=converted.heads is not None)
    graph = Graph.of(symbol)
    for fault in filter(None, (misfit(graph, axis, image.shape[axis]) for axis in (0, 1))):
        size = f"{image.shape[1]}x{image.shape[0]}"
        raise FCNXSError(f"{source}: an image of {size} does not fit its net: {fault}")
    names = list(converted.means or {"data": None})
    images = [image, image[:, ::-1]][: len(names)]
    means = [checkpoint.meta.mean] if not converted.means else converted.means.values()
    inputs = {name: preprocess(each, mean) for name, each, mean in zip(names, images, means)}
    ours = outputs_of(Net(symbol, params, {}), inputs)
    if source_net:
        given = {}
        for (end, each), picture in zip(source_net.prepared.items(), images):
            start = each.start
            picture = preprocess(picture[..., ::-1] if start.bgr else picture, start.mean)
            given[end] = picture * np.float32(start.scale)
        theirs = run_opencv(source, converted, given)
        pairs = zip(converted.heads or ("",), ours, theirs)
        by = source_net.described.by
        return {head: replace(compare(*pair, "OpenCV"), described_by=by) for head, *pair in pairs}
    data = (image / 255 - IMAGENET_MEAN) / IMAGENET_STD  # preprocessing of these frameworks
    data = data.transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    if converted.framework == "torchvision" and importlib.util.find_spec("torch"):
        return {"": compare(ours[0], run_torch(source, converted, data), "PyTorch")}
    return {"": compare(ours[0], run_gluon(source, converted, data), "Gluon")}


def run_opencv(source: str | Path, converted: Converted, images: Dict[str, np.ndarray]) -> List[np.ndarray]:
    """Scores of each head of a caffemodel, in OpenCV's Caffe runtime.

    Args:
        images: what its data layer gives, (1, 3, H, W), by what ends the names of the image's trunk.

    Raises:
        FCNXSError: OpenCV does not run it.
    """
    import cv2

    described, size = converted.source.described, next(iter(images.values())).shape[2:]
    text, inputs = text_of(described.ends, *size)
    text = text if described.by else _our_text(converted, size)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.prototxt"
        file.write_text(_with_names_of(converted, text))
        try:
            caffe = cv2.dnn.readNetFromCaffe(str(file), str(source))
            caffe.enableWinograd(False)  # which is fast and rounds more
            for name, end in inputs.items():
                caffe.setInput(images[end], name)
            named = [end.layer.name for end in described.ends]
            found = [caffe.forward(name) for name in named] if named[1:] else [caffe.forward()]
        except cv2.error as error:
            raise FCNXSError(f"{source}: OpenCV cannot run this net: {error.err}") from None
    return [scores.reshape(*scores.shape, *(1, 1)[: 4 - scores.ndim]) for scores in found]


def _with_names_of(converted: Converted, text: str) -> str:
    """A prototxt whose layers with weights have the file's names, which may be those of the first release."""
    made = [
        (fate.blob.partition("[")[0], fate.parameter.split()[0]) for fate in converted.fates if fate.parameter
    ]
    theirs = {name.removesuffix("_weight"): layer for layer, name in made if name.endswith("_weight")}

    def renamed(match: re.Match) -> str:
        layer = match[1] if match[1] in theirs.values() else theirs.get(name_here(match[1]), match[1])
        return f'name: "{layer}"{match[2]}'

    return re.sub(r'name: "([^"]*)"(\s+type: "(?:Con|Decon)volution")', renamed, text)


def _our_text(converted: Converted, size: Tuple[int, int]) -> str:
    """Our description of a converted net, for an image of a size (height, width)."""
    params = {**converted.arg_params, **converted.classifier}
    outputs = {name.rpartition("_")[0]: array.shape[0] for name, array in params.items()}
    heads = {f"_{head}": count for head, count in converted.heads.items()} if converted.heads else {}
    for suffix, count in (heads or {"": converted.numclass}).items():
        outputs.update({f"{layer}{suffix}": count for layer in OF_CLASSES})
    outputs.update({f"score_fr{image}": converted.numclass for image in FUSION})
    channelwise = any("made dense" in fate.what for fate in converted.fates)
    return prototxt(TRUNKS.get(converted.net, converted.net), outputs, *size, channelwise)


def run_torch(source: str | Path, converted: Converted, data: np.ndarray) -> np.ndarray:
    """Scores of torchvision's or timm's VGG-16 for `data` (1, 3, 224, 224), normalised, in PyTorch."""
    import torch
    from torch import nn

    features = nn.Sequential()
    for inputs, outputs, pooled in _convolutions(converted):
        features.extend([nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()])
        features.extend([nn.MaxPool2d(2)] if pooled else [])
    fc, relu, drop = converted.fc, nn.ReLU(), nn.Dropout()
    layers = [nn.Linear(49 * outputs, fc), relu, drop, nn.Linear(fc, fc), relu, drop]
    layers += [nn.Linear(fc, converted.classifier["fc8_bias"].size)] if converted.classifier else []
    parts = {"features": features, "flatten": nn.Flatten(), "classifier": nn.Sequential(*layers)}
    net = nn.Sequential(OrderedDict(parts)).eval()
    tensors = _as_torchvision(dict(iterate_tensors(source, kind_of_file(source))))
    values = {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}
    net.load_state_dict(values, strict=False)
    with torch.no_grad():
        return net(torch.from_numpy(data)).numpy().reshape(1, -1, 1, 1)


def run_gluon(source: str | Path, converted: Converted, data: np.ndarray) -> np.ndarray:
    """Scores of Gluon's VGG-16 for `data` (1, 3, 224, 224), normalised, in Gluon's blocks.

    Weights of torchvision and timm are first given Gluon's names.
    """
    kind = kind_of_file(source)
    tensors = dict(iterate_tensors(source, kind))
    prefix = next((name[: -len("conv0_weight")] for name in tensors if name.endswith("conv0_weight")), "")
    net = _gluon_vgg16(converted, prefix.rpartition(":")[2] or "vgg_")
    with tempfile.TemporaryDirectory() as folder:
        file = str(source)
        if kind != "gluon":
            file = str(Path(folder) / "vgg16.params")
            renamed = _renamed(_as_torchvision(tensors), GLUON_NAMES)
            mx.nd.save(file, {name: mx.nd.array(values) for name, values in renamed.items()})
        settings = {"ignore_extra": not converted.classifier}
        if prefix:  # whole names, as exported
            net.collect_params().load(file, **settings)
        else:
            net.load_parameters(file, **settings)
    x = net.features(mx.nd.array(data))
    return (net.output(x) if converted.classifier else x).asnumpy().reshape(1, -1, 1, 1)


def _gluon_vgg16(converted: Converted, prefix: str) -> mx.gluon.Block:
    """VGG-16 in blocks that are named as those of Gluon's model zoo, with the widths of a conversion."""
    nn = mx.gluon.nn
    net = nn.Block(prefix=prefix)
    with net.name_scope():
        net.features = nn.Sequential(prefix="")
        with net.features.name_scope():
            for inputs, outputs, pooled in _convolutions(converted):
                net.features.add(nn.Conv2D(outputs, 3, padding=1, in_channels=inputs), nn.Activation("relu"))
                net.features.add(*([nn.MaxPool2D(strides=2)] if pooled else []))
            for width in (49 * outputs, converted.fc):
                net.features.add(nn.Dense(converted.fc, activation="relu", in_units=width), nn.Dropout(0.5))
        if converted.classifier:
            net.output = nn.Dense(converted.classifier["fc8_bias"].size, in_units=converted.fc)
    return net


def _convolutions(converted: Converted) -> Iterator[Tuple[int, int, bool]]:
    """Input and output channels of VGG-16's convolutions, and whether a pooling follows."""
    inputs = 3
    for stage, count in enumerate(VGG16_GROUPS.values(), 1):
        for i in range(1, count + 1):
            outputs = converted.arg_params[f"conv{stage}_{i}_bias"].size
            yield inputs, outputs, i == count
            inputs = outputs


def _as_torchvision(tensors: Tensors) -> Tensors:
    """Timm's tensors by torchvision's names; its fc6 and fc7 are convolutions, which become inner products."""
    renamed = _renamed(tensors, TIMM_NAMES)
    return {
        name: values.reshape(len(values), -1) if name.startswith("classifier") and values.ndim == 4 else values
        for name, values in renamed.items()
    }


def _renamed(tensors: Tensors, names: Dict[str, str]) -> Tensors:
    """Tensors with their layers renamed; other layers keep their names."""
    parts = [(name.rpartition("."), values) for name, values in tensors.items()]
    return {f"{names.get(layer, layer)}{dot}{kind}": values for (layer, dot, kind), values in parts}

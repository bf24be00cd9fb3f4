"""Run a file of weights in its own framework's runtime: OpenCV for Caffe, Gluon, or PyTorch.

These runtimes read the file again and look up the arrays by their own names, so that a mistake of
`conversion.py` cannot repeat itself here.
"""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Dict, Iterator, Tuple

import cv2
import numpy as np

from ..compat import mxnet as mx
from ..errors import FCNXSError
from .caffe_prototxt import VGG16_GROUPS, prototxt
from .conversion import Converted
from .weight_files import iterate_tensors, kind_of_file

# Layers of timm, as torchvision names them; layers of torchvision, as Gluon does.
TIMM_NAMES = {"pre_logits.fc1": "classifier.0", "pre_logits.fc2": "classifier.3", "head.fc": "classifier.6"}
GLUON_NAMES = {"classifier.0": "features.31", "classifier.3": "features.33", "classifier.6": "output"}

Tensors = Dict[str, np.ndarray]


def run_opencv(source: str | Path, converted: Converted, data: np.ndarray) -> np.ndarray:
    """Scores of a caffemodel for `data` (1, 3, H, W), BGR minus the mean, in OpenCV's Caffe runtime.

    Raises:
        FCNXSError: OpenCV does not run it.
    """
    params = {**converted.arg_params, **converted.classifier}
    outputs = {name.rpartition("_")[0]: array.shape[0] for name, array in params.items()}
    of_classes = ("score_fr", "upscore2", "upscore_pool4", "upscore", "upscore16", "upscore8")
    outputs.update(dict.fromkeys(of_classes, converted.numclass))
    channelwise = any("made dense" in fate.what for fate in converted.fates)
    net = "vgg16" if converted.net == "vgg16fc" else converted.net
    text = prototxt(net, outputs, *data.shape[2:], groups=converted.numclass if channelwise else 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.prototxt"
        file.write_text(text)
        try:
            caffe = cv2.dnn.readNetFromCaffe(str(file), str(source))
            caffe.enableWinograd(False)  # which is fast and rounds more
            caffe.setInput(data)
            scores = caffe.forward()
        except cv2.error as error:
            raise FCNXSError(f"{source}: OpenCV cannot run this net: {error.err}") from None
    return scores.reshape(*scores.shape, *(1, 1)[: 4 - scores.ndim])


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

"""Files of weights in runtimes that are not ours: OpenCV, Gluon, PyTorch. They find the arrays themselves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Dict

import cv2
import numpy as np

from ..compat import mxnet as mx
from ..errors import FCNXSError
from .caffe_prototxt import prototxt
from .weight_files import iterate_tensors, kind_of_file

if TYPE_CHECKING:
    import torch
    from mxnet.gluon import nn as gluon_nn

    from .conversion import Converted

STAGES = (2, 2, 3, 3, 3)  # convolutions of VGG-16 before each pooling

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
            raise FCNXSError(f"{source}: OpenCV does not run it: {error.err}") from None
    return scores.reshape(*scores.shape, *(1, 1)[: 4 - scores.ndim])


def run_torch(source: str | Path, converted: Converted, data: np.ndarray) -> np.ndarray:
    """Scores of torchvision's or timm's VGG-16 for `data` (1, 3, 224, 224), normalised, in PyTorch."""
    import torch

    tensors = dict(iterate_tensors(source, kind_of_file(source)))
    net = _torch_vgg16(converted, timm="pre_logits.fc1.weight" in tensors)
    net.load_state_dict(
        {name: torch.from_numpy(np.array(values)) for name, values in tensors.items()}, strict=False
    )
    x = torch.from_numpy(data)
    with torch.no_grad():
        for layers in net.values():
            x = layers(x)
    return x.numpy().reshape(1, -1, 1, 1)


def _torch_vgg16(converted: Converted, timm: bool) -> torch.nn.ModuleDict:
    """VGG-16 in modules that are named as torchvision's, or timm's, with the widths of a conversion."""
    from torch import nn

    features, inputs = nn.Sequential(), 3
    for stage, count in enumerate(STAGES, 1):
        for i in range(1, count + 1):
            outputs = converted.arg_params[f"conv{stage}_{i}_bias"].size
            features.extend([nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()])
            inputs = outputs
        features.append(nn.MaxPool2d(2))
    fc, relu, drop = converted.fc, nn.ReLU(), nn.Dropout()
    classes = converted.classifier["fc8_bias"].size if converted.classifier else None
    if timm:
        pre_logits = nn.Sequential()
        for name, layer in (("fc1", nn.Conv2d(inputs, fc, 7)), ("relu1", relu), ("fc2", nn.Conv2d(fc, fc, 1))):
            pre_logits.add_module(name, layer)
        pre_logits.add_module("relu2", relu)
        head = nn.Sequential()
        head.add_module("flatten", nn.Flatten())
        if classes:
            head.add_module("fc", nn.Linear(fc, classes))
        return nn.ModuleDict({"features": features, "pre_logits": pre_logits, "head": head}).eval()
    classifier = [nn.Linear(49 * inputs, fc), relu, drop, nn.Linear(fc, fc), relu, drop]
    classifier += [nn.Linear(fc, classes)] if classes else []
    return nn.ModuleDict(
        {"features": features, "flatten": nn.Flatten(), "classifier": nn.Sequential(*classifier)}
    ).eval()


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
            renamed = {_gluon_name(name): mx.nd.array(values) for name, values in tensors.items()}
            for name in ("features.31.weight", "features.33.weight"):
                renamed[name] = renamed[name].reshape((0, -1))  # timm's are those of convolutions
            mx.nd.save(file, renamed)
        settings = {"ignore_extra": not converted.classifier}
        if prefix:  # whole names, as exported
            net.collect_params().load(file, **settings)
        else:
            net.load_parameters(file, **settings)
    layers = [net.features, net.output] if converted.classifier else [net.features]
    x = mx.nd.array(data)
    for layer in layers:
        x = layer(x)
    return x.asnumpy().reshape(1, -1, 1, 1)


def _gluon_vgg16(converted: Converted, prefix: str) -> gluon_nn.Block:
    """VGG-16 in blocks that are named as those of Gluon's model zoo, with the widths of a conversion."""
    from mxnet.gluon import nn

    net = nn.Block(prefix=prefix)
    inputs = 3
    with net.name_scope():
        net.features = nn.Sequential(prefix="")
        with net.features.name_scope():
            for stage, count in enumerate(STAGES, 1):
                for i in range(1, count + 1):
                    outputs = converted.arg_params[f"conv{stage}_{i}_bias"].size
                    net.features.add(
                        nn.Conv2D(outputs, 3, padding=1, in_channels=inputs), nn.Activation("relu")
                    )
                    inputs = outputs
                net.features.add(nn.MaxPool2D(strides=2))
            for width in (49 * inputs, converted.fc):
                net.features.add(nn.Dense(converted.fc, activation="relu", in_units=width), nn.Dropout(0.5))
        if converted.classifier:
            net.output = nn.Dense(converted.classifier["fc8_bias"].size, in_units=converted.fc)
    return net


def _gluon_name(name: str) -> str:
    """Name in Gluon of a parameter of torchvision's or timm's."""
    for theirs, gluon in (
        *(("classifier.0.", "features.31."), ("classifier.3.", "features.33."), ("classifier.6.", "output.")),
        *(("pre_logits.fc1.", "features.31."), ("pre_logits.fc2.", "features.33."), ("head.fc.", "output.")),
    ):
        name = name.replace(theirs, gluon)
    return name

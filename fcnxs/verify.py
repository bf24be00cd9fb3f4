"""Converted weights against the source in a runtime that is not ours: OpenCV, Gluon or PyTorch."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Tuple

import cv2
import numpy as np

from .checkpoint import Checkpoint
from .compat import mxnet as mx
from .convert import Converted
from .data import preprocess
from .errors import FCNXSError
from .executors import Executors
from .export import scores_symbol
from .init import Params
from .prototxt import prototxt
from .sources import IMAGENET_MEAN, IMAGENET_STD, VGG16_CONVOLUTIONS, sequential_names
from .tensors import iterate_tensors, kind_of_file

TOLERANCE = 1e-5  # of a score, relative to the largest
AGREEMENT = 0.9999  # of the class maps, as a part of the pixels
CLASSIFIER_SIZE = 224  # the one input size of VGG-16 with inner products


@dataclass(frozen=True)
class Comparison:
    """Scores of one image in two runtimes.

    Args:
        runtime: name of the other one.
        shape: of the scores, (1, C, H, W).
        largest: absolute value among the other's scores.
        difference: largest of two scores.
        agreement: part of the pixels whose class is the same.
        ties: part of the pixels whose classes differ, but where the other's scores of both are within
            twice the tolerance.
    """

    runtime: str
    shape: Tuple[int, ...]
    largest: float
    difference: float
    agreement: float
    ties: float

    @property
    def equal(self) -> bool:
        """Whether both are within `TOLERANCE` and `AGREEMENT`, where ties agree."""
        return self.difference <= TOLERANCE * self.largest and self.agreement + self.ties >= AGREEMENT


def compare(ours: np.ndarray, theirs: np.ndarray, runtime: str) -> Comparison:
    """Compare scores (1, C, H, W).

    Raises:
        FCNXSError: their shapes differ.
    """
    if ours.shape != theirs.shape:
        raise FCNXSError(f"MXNet gives scores of shape {ours.shape}, {runtime} of {theirs.shape}")
    largest, difference = np.abs(theirs).max(), np.abs(ours.astype(np.float64) - theirs).max()
    same = ours.argmax(1) == theirs.argmax(1)
    of_ours = np.take_along_axis(theirs, ours.argmax(1)[:, np.newaxis], 1)[:, 0]
    tied = ~same & (theirs.max(1) - of_ours <= 2 * TOLERANCE * largest)
    return Comparison(
        runtime, ours.shape, float(largest), float(difference), float(same.mean()), float(tied.mean())
    )


def verify(source: str | Path, converted: Converted, checkpoint: Checkpoint, image: np.ndarray) -> Comparison:
    """Run the source of a conversion, and the checkpoint made of it, on an image.

    FCNs run on the image as it is and give the scores before the softmax. VGG-16 runs as the classifier that
    it was: on 224x224, to which the image is resized, with a pad of 1 and the source's fc8. It gives the
    classes' scores, or relu7 where the file has no fc8.

    Args:
        image: RGB uint8 (H, W, 3).

    Raises:
        FCNXSError: OpenCV cannot run the file, or the shapes of the scores differ.
    """
    params = {**checkpoint.arg_params, **converted.classifier}
    if converted.net == "vgg16fc":
        image = cv2.resize(image, (CLASSIFIER_SIZE, CLASSIFIER_SIZE), interpolation=cv2.INTER_AREA)
        symbol = _classifier(checkpoint.symbol, converted)
    else:
        symbol = scores_symbol(checkpoint.symbol)
    data = preprocess(image, checkpoint.meta.mean)
    ours = run_mxnet(symbol, params, data)
    if converted.framework == "caffe":
        return compare(ours, run_opencv(source, converted, data), "OpenCV")
    data = (image / 255 - IMAGENET_MEAN) / IMAGENET_STD  # as these frameworks' own preprocessing has it
    data = data.transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    kind = kind_of_file(source)
    tensors = dict(iterate_tensors(source, kind))
    layers = {names: tensors[key] for key, names in sequential_names(tensors).items()}
    if not converted.classifier:
        layers = {names: values for names, values in layers.items() if names[0] != "fc8"}
    if kind != "gluon" and importlib.util.find_spec("torch"):
        return compare(ours, _run_torch(layers, data), "PyTorch")
    return compare(ours, _run_gluon(layers, data), "Gluon")


def _classifier(trunk: mx.sym.Symbol, converted: Converted) -> mx.sym.Symbol:
    """The trunk with the classifier's pad and, if there is one, its fc8: 224x224 to (N, classes, 1, 1)."""
    graph = json.loads(trunk.tojson())
    (conv1_1,) = (node for node in graph["nodes"] if node["name"] == "conv1_1")
    conv1_1["attrs"]["pad"] = "(1, 1)"
    symbol = mx.sym.load_json(json.dumps(graph))
    if not converted.classifier:
        return symbol
    return mx.sym.Convolution(
        symbol, kernel=(1, 1), num_filter=converted.classifier["fc8_bias"].size, name="fc8"
    )


def run_mxnet(symbol: mx.sym.Symbol, params: Params, data: np.ndarray) -> np.ndarray:
    """Output of a net without label for `data` (1, 3, H, W)."""
    params = {name: array for name, array in params.items() if name in symbol.list_arguments()}
    executor = Executors(symbol, mx.cpu(), params, {}).get("data", data.shape)
    return executor.forward(is_train=False, data=mx.nd.array(data))[0].asnumpy()


def run_opencv(source: str | Path, converted: Converted, data: np.ndarray) -> np.ndarray:
    """Scores of a caffemodel for `data` (1, 3, H, W), RGB minus the mean, in OpenCV's Caffe runtime.

    Raises:
        FCNXSError: OpenCV does not run it.
    """
    outputs = {
        name.rpartition("_")[0]: array.shape[0]
        for name, array in {**converted.arg_params, **converted.classifier}.items()
    }
    scores = ("score_fr", "upscore2", "upscore_pool4", "upscore", "upscore16", "upscore8")
    outputs.update(dict.fromkeys(scores, converted.numclass))
    channelwise = any("made dense" in fate.what for fate in converted.fates)
    net = "vgg16" if converted.net == "vgg16fc" else converted.net
    text = prototxt(net, outputs, *data.shape[2:], groups=converted.numclass if channelwise else 1)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.prototxt"
        file.write_text(text)
        try:
            caffe = cv2.dnn.readNetFromCaffe(str(file), str(source))
            caffe.enableWinograd(False)  # which is fast and rounds more
            caffe.setInput(np.ascontiguousarray(data[:, ::-1]))
            scores = caffe.forward()
        except cv2.error as error:
            raise FCNXSError(f"{source}: OpenCV does not run it: {error.err}") from None
    return scores.reshape(*scores.shape, *(1, 1)[: 4 - scores.ndim])


Layers = Dict[Tuple[str, str], np.ndarray]


def _run_torch(layers: Layers, data: np.ndarray) -> np.ndarray:
    """VGG-16 of torchvision, in PyTorch's functions."""
    import torch
    from torch.nn import functional as F  # noqa: N812  (everybody's name for it)

    def weights(name: str) -> list:
        return [torch.from_numpy(np.ascontiguousarray(layers[name, kind])) for kind in ("weight", "bias")]

    with torch.no_grad():
        x = torch.from_numpy(data)
        for name in VGG16_CONVOLUTIONS:
            x = F.relu(F.conv2d(x, *weights(name), padding=1))
            x = F.max_pool2d(x, 2) if _ends_stage(name) else x
        x = x.flatten(1)
        for name in ("fc6", "fc7", "fc8"):
            if (name, "weight") in layers:
                weight, bias = weights(name)
                x = F.linear(x, weight.flatten(1), bias)
                x = x if name == "fc8" else F.relu(x)
    return x.numpy()[..., np.newaxis, np.newaxis]


def _run_gluon(layers: Layers, data: np.ndarray) -> np.ndarray:
    """VGG-16 of Gluon's model zoo, in Gluon's blocks."""
    from mxnet.gluon import nn

    net, named = nn.Sequential(), {}
    for name in VGG16_CONVOLUTIONS:
        named[name] = nn.Conv2D(len(layers[name, "bias"]), kernel_size=3, padding=1, activation="relu")
        net.add(named[name])
        if _ends_stage(name):
            net.add(nn.MaxPool2D(strides=2))
    for name in ("fc6", "fc7", "fc8"):
        if (name, "weight") in layers:
            named[name] = nn.Dense(len(layers[name, "bias"]), activation=None if name == "fc8" else "relu")
            net.add(named[name])
    net.initialize()
    net(mx.nd.array(data))  # which gives the parameters their shapes
    for (name, kind), values in layers.items():
        parameter = getattr(named[name], kind)
        parameter.set_data(mx.nd.array(values).reshape(parameter.shape))
    return net(mx.nd.array(data)).asnumpy()[..., np.newaxis, np.newaxis]


def _ends_stage(convolution: str) -> bool:
    """Whether a pooling follows: the last convolution of each stage."""
    return convolution in ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")

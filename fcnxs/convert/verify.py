"""Compare converted weights with their source, which runs in OpenCV, Gluon or PyTorch."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Tuple

import cv2
import numpy as np

from ..agreement import Agreement, agreement_of
from ..checkpoint.checkpoint import Checkpoint
from ..compat import mxnet as mx
from ..data.images import preprocess
from ..errors import FCNXSError
from ..net import Net, scores_of
from ..symbols.graph.rewrite import scores_symbol, with_pad
from .conversion import Converted
from .layer_names import IMAGENET_MEAN, IMAGENET_STD
from .other_runtimes import run_gluon, run_opencv, run_torch

CLASSIFIER_SIZE = 224  # the one input size of VGG-16 with inner products


@dataclass(frozen=True)
class Comparison(Agreement):
    """Agreement of the scores of one image in MXNet with those in another runtime.

    Args:
        runtime: name of the other runtime.
        shape: shape of the scores, (1, C, H, W).
    """

    runtime: str
    shape: Tuple[int, ...]


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
    """Run the source of a conversion, and the checkpoint made of it, on an image, and compare their scores.

    An FCN runs on the image in its own size, up to the scores before the softmax. VGG-16 runs as a classifier
    again: the image is resized to 224x224, conv1_1 has a pad of 1, and the source's fc8 gives the scores. If
    the file has no fc8, relu7 is compared.

    Args:
        image: RGB uint8 (H, W, 3).

    Raises:
        FCNXSError: OpenCV cannot run the file, or the shapes of the scores differ.
    """
    params = {**checkpoint.arg_params, **converted.classifier}
    if converted.net == "vgg16fc":
        image = cv2.resize(image, (CLASSIFIER_SIZE, CLASSIFIER_SIZE), interpolation=cv2.INTER_AREA)
        symbol = with_pad(checkpoint.symbol, 0, 1)  # of its first layer, conv1_1
        if converted.classifier:  # 224x224 to (N, classes, 1, 1)
            channels = converted.classifier["fc8_bias"].size
            symbol = mx.sym.Convolution(symbol, kernel=(1, 1), num_filter=channels, name="fc8")
    else:
        symbol = scores_symbol(checkpoint.symbol)
    data = preprocess(image, checkpoint.meta.mean)
    ours = scores_of(Net(symbol, params, {}), data)
    if converted.framework == "caffe":
        return compare(ours, run_opencv(source, converted, np.ascontiguousarray(data[:, ::-1])), "OpenCV")
    data = (image / 255 - IMAGENET_MEAN) / IMAGENET_STD  # preprocessing of these frameworks
    data = data.transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    if converted.framework == "torchvision" and importlib.util.find_spec("torch"):
        return compare(ours, run_torch(source, converted, data), "PyTorch")
    return compare(ours, run_gluon(source, converted, data), "Gluon")

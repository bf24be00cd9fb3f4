"""Nets of Caffe as strangers write them: prototxts made by hand here, whose layers a test can change."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from conftest import FC, WIDTH, as_checkpoint, photo
from google.protobuf import text_format

from fcnxs.convert.caffe_schema import CLASSES
from fcnxs.convert.verify import verify
from fcnxs.data.images import preprocess
from fcnxs.net import Net, scores_of
from fcnxs.predict import Segmenter
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.tools.benchmarks.parity import random_blobs

NUMBER = 7  # of classes
SIZES = ((61, 75), (33, 90))
CHANNELS = (4, 8, 16, 32, 32)  # of the five groups of convolutions
MEAN = (72.39, 82.91, 73.16)  # BGR
PYTHON = """layer { name: "data" type: "Python" top: "data" top: "label"
  python_param { module: "layers" layer: "%s" param_str: "%s" } }
"""
DATA = PYTHON % ("VOCSegDataLayer", f"{{'split': 'val', 'mean': {MEAN}}}")
LOSS = """layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 normalize: false } }
"""


def layer(name: str, kind: str, bottom: str, top: str = "", settings: str = "") -> str:
    bottoms = " ".join(f'bottom: "{each}"' for each in bottom.split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top or name}" {settings} }}\n'


def conv(name: str, bottom: str, channels: int, settings: str, kind: str = "Convolution") -> str:
    param = f'num_output: {channels} {settings} weight_filler {{ type: "xavier" }}'
    rates = "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 }"
    return layer(name, kind, bottom, "", f"{rates} convolution_param {{ {param} }}")


def relu(name: str) -> str:
    return layer(f"relu_of_{name}", "ReLU", name, name)


def crop(name: str, bottom: str, like: str, offset: int) -> str:
    return layer(name, "Crop", f"{bottom} {like}", "", f"crop_param {{ axis: 2 offset: {offset} }}")


def up(name: str, bottom: str, kernel: int, stride: int) -> str:
    return conv(
        name, bottom, NUMBER, f"bias_term: false kernel_size: {kernel} stride: {stride}", "Deconvolution"
    )


def trunk() -> str:
    """VGG-16, as in the authors' files, up to the dropout behind relu7."""
    text, last = "", "data"
    for group, (count, channels) in enumerate(zip((2, 2, 3, 3, 3), CHANNELS), 1):
        for i in range(1, count + 1):
            name, pad = f"conv{group}_{i}", 100 if group == i == 1 else 1
            text += conv(name, last, channels, f"kernel_size: 3 pad: {pad}") + relu(name)
            last = name
        text += layer(
            f"pool{group}", "Pooling", last, "", "pooling_param { pool: MAX kernel_size: 2 stride: 2 }"
        )
        last = f"pool{group}"
    for name, kernel in (("fc6", 7), ("fc7", 1)):
        text += conv(name, last, FC, f"kernel_size: {kernel} pad: 0") + relu(name)
        text += layer(f"drop_{name}", "Dropout", name, name)
        last = name
    return text


def net(name: str) -> str:
    """An FCN, without data and loss; names that count for nobody are others than the authors'."""
    text = trunk() + conv("score_fr", "fc7", NUMBER, "kernel_size: 1")
    if name == "fcn32s":
        return text + up("upscore", "score_fr", 64, 32) + crop("score", "upscore", "data", 19)
    text += up("upscore2", "score_fr", 4, 2) + conv("score_pool4", "pool4", NUMBER, "kernel_size: 1")
    text += crop("cropped", "score_pool4", "upscore2", 5) + layer("sum", "Eltwise", "upscore2 cropped")
    if name == "fcn16s":
        return text + up("upscore16", "sum", 32, 16) + crop("score", "upscore16", "data", 27)
    text += up("upscore_pool4", "sum", 4, 2) + conv("score_pool3", "pool3", NUMBER, "kernel_size: 1")
    text += crop("cropped3", "score_pool3", "upscore_pool4", 9)
    text += layer(
        "sum3", "Eltwise", "cropped3 upscore_pool4", "", "eltwise_param { operation: SUM coeff: 1 coeff: 1 }"
    )
    return text + up("upscore8", "sum3", 16, 8) + crop("score", "upscore8", "data", 31)


def changed(text: str, name: str, old: str, new: str) -> str:
    """A prototxt with another setting of one layer."""
    start = text.index(f'layer {{ name: "{name}" ')
    end = text.find("\nlayer {", start) + 1 or len(text)
    assert re.search(old, text[start:end]), (name, old)
    return text[:start] + re.sub(old, new, text[start:end], count=1) + text[end:]


def before(text: str, name: str, added: str) -> str:
    """A prototxt with a layer added before another one, whose input it changes in place."""
    return text.replace(f'layer {{ name: "{name}" ', f'{added}layer {{ name: "{name}" ')


def blobs_of(name: str, **more: list) -> dict:
    return {**random_blobs(name, WIDTH, FC, NUMBER), **more}


def snapshot(file: Path, text: str, blobs: dict, without: str = "") -> Path:
    """A caffemodel as Caffe writes it: every layer with its settings, and its blobs; fields can be left out."""
    message = text_format.Parse(text, CLASSES["NetParameter"](), allow_unknown_field=True)
    for each in message.layer or message.layers:
        for field, _ in each.ListFields():
            if without and re.search(without, field.name):
                each.ClearField(field.name)
        for array in blobs.get(each.name, []):
            blob = each.blobs.add(data=[np.ascontiguousarray(array, "<f4").tobytes()])
            blob.shape.dim.extend(array.shape)
    file.write_bytes(message.SerializeToString())
    return file


def scores(text: str, caffemodel: Path, data: np.ndarray) -> np.ndarray:
    """Scores of a stranger's layers, in OpenCV, for what its data layer gives, (1, 3, H, W)."""
    file = caffemodel.with_suffix(".opencv.prototxt")
    sizes = " ".join(f"input_dim: {size}" for size in data.shape)
    text = text.replace("round_mode: FLOOR", "ceil_mode: false")  # as OpenCV calls it
    file.write_text(f'input: "data" {sizes}\n{text}')
    run = cv2.dnn.readNetFromCaffe(str(file), str(caffemodel))
    run.enableWinograd(False)
    run.setInput(data.astype(np.float32))
    return run.forward("score")


def check(found, file, text, mean=MEAN, scale=1, order=-1):
    """Scores and classes are those of the stranger's layers for what its data layer gives; --verify agrees."""
    for size in SIZES:
        image = photo(*size)
        data = ((image[..., ::order] - np.array(mean)) * scale).transpose(2, 0, 1)[np.newaxis]
        expected = scores(text, file, data)
        symbol = scores_symbol(found.symbol)
        ours = scores_of(Net(symbol, found.arg_params, {}), preprocess(image, found.mean))
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    checkpoint = as_checkpoint(found, file)
    assert (Segmenter(checkpoint)(image) == expected[0].argmax(0)).mean() > 0.999
    result = verify(file, found, checkpoint, image)
    assert result.equal and re.search("net.caffemodel|val.prototxt", result.described_by)

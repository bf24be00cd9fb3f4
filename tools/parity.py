"""Random nets in Caffe's format, run in OpenCV and, converted, in MXNet: the table of `benchmark parity`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Iterator, Tuple

import numpy as np

from ..caffe import write_caffemodel
from ..checkpoint import Checkpoint, Meta
from ..convert import TITLES, read
from ..sources import CAFFE_NAMES, SCALES
from ..symbols import NETS
from ..verify import Comparison, verify

FCNS = tuple(net for net in TITLES if net != "vgg16fc")
# All remainders of 32 as heights or widths, landscape and portrait; then the smallest, and squares.
SIZES = (
    *((64 + i, 80 + i) if i % 2 else (80 + i, 64 + i) for i in range(16)),
    *((1, 1), (1, 50), (26, 26), (96, 96)),
)


def random_blobs(net: str, width: float, fc: int, numclass: int, seed: int = 0) -> dict:
    """Random layers of an FCN as Caffe has them; weights keep the size of activations."""
    symbol = NETS[net](numclass=numclass, width=width, fc=fc)
    shapes, _, _ = symbol.infer_shape(data=(1, 3, 64, 64))
    stride = {"fcn16s": "16", "fcn8s": "8", "fcn8s_atonce": "8"}.get(net, "")
    names = {name: caffe for caffe, name in CAFFE_NAMES.items()}
    names["bigscore"] = f"upscore{stride}"
    rng, blobs = np.random.default_rng(seed), {}
    for parameter, shape in zip(symbol.list_arguments(), shapes):
        layer, _, kind = parameter.rpartition("_")
        if kind in ("weight", "bias"):
            scale = 0.1 if kind == "bias" else (2 / np.prod(shape[1:])) ** 0.5
            values = rng.standard_normal(shape, np.float32) * np.float32(scale)
            scale_layer = layer.replace("score", "scale")
            if net == "fcn8s_atonce" and scale_layer in SCALES and kind == "weight":
                values /= SCALES[scale_layer]  # so that the skip counts
                blobs[scale_layer] = [np.full(shape[1], SCALES[scale_layer], np.float32)]
            blobs.setdefault(names.get(layer, layer), []).append(values)
    return blobs


def comparisons(
    net: str, sizes: Tuple[Tuple[int, int], ...], width: float, fc: int, numclass: int = 21
) -> Iterator[Comparison]:
    """Compare a random net with its conversion, on a random image of each size (H, W)."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"{net}.caffemodel"
        write_caffemodel(source, random_blobs(net, width, fc, numclass))
        converted = read(source)
        checkpoint = Checkpoint(converted.symbol, converted.arg_params, {}, Meta(mean=converted.mean), source)
        for size in sizes:
            image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
            yield verify(source, converted, checkpoint, image)

"""Random nets in the formats of other frameworks, run there and, converted, in MXNet: `benchmark parity`."""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path
from typing import Iterator, Tuple

import numpy as np

from ...checkpoint.checkpoint import Checkpoint
from ...checkpoint.meta import Meta
from ...compat import mxnet as mx
from ...convert.caffemodel import write_caffemodel
from ...convert.conversion import TITLES, read
from ...convert.layer_names import CAFFE_NAMES, SCALES, TORCHVISION
from ...convert.verify import Comparison, verify
from ...net import is_input
from ...symbols import NETS
from ..shared.text import table

FCNS = tuple(net for net in TITLES if net != "vgg16fc")
# Heights and widths (H, W) of all remainders of 32, landscape and portrait; then the smallest, and squares.
SIZES = (
    *((64 + i, 64 + (7 * i + 5) % 32) for i in range(32)),
    *((1, 1), (1, 50), (26, 26), (96, 96)),
)


def run(args: argparse.Namespace) -> int:
    """Print a row for each net, runtime and size; 1 if one is not equal."""
    sizes = SIZES if args.size == "all" else (tuple(int(side) for side in args.size.split("x")[::-1]),)
    rows, equal = [], True
    for net in (*FCNS, "vgg16"):
        for size, result in comparisons(net, sizes, args.width, args.fc, 1000 if net == "vgg16" else 21):
            equal = equal and result.equal
            shown = "x".join(map(str, size[::-1])) if net != "vgg16" else "224x224"
            relative, agreement = result.difference / result.largest, f"{100 * result.agreement:.4f}%"
            rows.append((TITLES.get(net, "VGG-16"), result.runtime, shown, f"{relative:.1e}", agreement))
    header = ("net", "runtime", "size", "largest difference / largest score", "same classes")
    print(table(header, rows))
    print("all equal" if equal else "NOT all equal")
    return 0 if equal else 1


def random_blobs(net: str, width: float, fc: int, numclass: int, seed: int = 0) -> dict:
    """Random layers of VGG-16, the classifier, or of an FCN, as Caffe has them.

    Weights keep the size of activations.
    """
    symbol = NETS[net](numclass=numclass, width=width, fc=fc)
    shapes, _, _ = symbol.infer_shape(data=(1, 3, 224, 224))
    names = {name: caffe for caffe, name in CAFFE_NAMES.items()}
    names["bigscore"] = {"fcn16s": "upscore16", "fcn8s": "upscore8", "fcn8s_atonce": "upscore8"}.get(
        net, "upscore"
    )
    rng, blobs = np.random.default_rng(seed), {}
    for parameter, shape in zip(symbol.list_arguments(), shapes):
        layer, _, kind = parameter.rpartition("_")
        if is_input(parameter):
            continue
        scale = 0.1 if kind == "bias" else (2 / np.prod(shape[1:])) ** 0.5
        values = rng.standard_normal(shape, np.float32) * np.float32(scale)
        if net == "vgg16" and layer.startswith("fc") and kind == "weight":
            values = values.reshape(shape[0], -1)  # inner products
        scale_layer = layer.replace("score", "scale")
        if net == "fcn8s_atonce" and scale_layer in SCALES and kind == "weight":
            values /= SCALES[scale_layer]  # so that the skip counts
            blobs[scale_layer] = [np.full(shape[1], SCALES[scale_layer], np.float32)]
        blobs.setdefault(names.get(layer, layer), []).append(values)
    return blobs


def comparisons(
    net: str, sizes: Tuple[Tuple[int, int], ...], width: float, fc: int, numclass: int = 21
) -> Iterator[Tuple[Tuple[int, int], Comparison]]:
    """Compare a random net with its conversion, on a random image of each size (H, W); VGG-16 of one.

    VGG-16 is compared in OpenCV, in Gluon and, where it is installed, in PyTorch.
    """
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for source in _write(net, Path(folder), random_blobs(net, width, fc, numclass)):
            converted = read(source)
            meta = Meta(mean=converted.mean)
            checkpoint = Checkpoint(converted.symbol, converted.arg_params, {}, meta, source)
            for size in sizes if net != "vgg16" else sizes[:1]:
                image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
                yield size, verify(source, converted, checkpoint, image)


def _write(net: str, folder: Path, blobs: dict) -> Iterator[Path]:
    """Write a net in each format that has it."""
    write_caffemodel(folder / "net.caffemodel", blobs, v1=True)
    yield folder / "net.caffemodel"
    if net == "vgg16":
        names = [f"{name}.{kind}" for name in TORCHVISION for kind in ("weight", "bias")]
        tensors = dict(zip(names, (array for arrays in blobs.values() for array in arrays)))
        if importlib.util.find_spec("torch"):
            from safetensors.numpy import save_file

            save_file(tensors, folder / "torchvision.safetensors")
            yield folder / "torchvision.safetensors"
        gluon = {"classifier.0": "features.31", "classifier.3": "features.33", "classifier.6": "output"}
        for name in list(tensors):
            layer, _, kind = name.rpartition(".")
            tensors[f"{gluon.get(layer, layer)}.{kind}"] = mx.nd.array(tensors.pop(name))
        mx.nd.save(str(folder / "gluon.params"), tensors)
        yield folder / "gluon.params"

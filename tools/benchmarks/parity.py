"""`fcnxs benchmark parity` and `convert`: random nets in the files of other frameworks, converted to MXNet."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Iterator, Sequence, Tuple

import numpy as np

from ...checkpoint import Checkpoint, Meta
from ...compat import mxnet as mx
from ...convert.arrays import GLUON, SCALES, TORCHVISION, TRUNKS
from ...convert.caffe_names import HEADS, SECOND
from ...convert.caffe_prototxt import UPSAMPLING
from ...convert.caffemodel import write_caffemodel
from ...convert.conversion import TITLES, read
from ...convert.verify import Comparison, verify
from ...errors import FCNXSError
from ...net import is_input
from ...symbols import NETS
from ...symbols.graph.nodes import Graph
from ...system import children
from ..shared.sizes import height_and_width
from ..shared.text import table
from .material import random_weights

FCNS = tuple(net for net in TITLES if net not in TRUNKS)
# Heights and widths (H, W) of all remainders of 32, landscape and portrait; then the smallest, and squares.
SIZES = (
    *((64 + i, 64 + (7 * i + 5) % 32) for i in range(32)),
    *((1, 1), (1, 50), (26, 26), (96, 96)),
)


def parity(args: argparse.Namespace) -> int:
    """Print a row for each net, runtime and size; 1 if one is not equal."""
    sizes = SIZES if args.image_size == "all" else (height_and_width(args.image_size),)
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


def convert(args: argparse.Namespace) -> int:
    """Convert in a process of its own; print its seconds and its peak of memory."""
    blobs = random_blobs("vgg16", args.width, args.fc, 1000)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "vgg16.caffemodel"
        write_caffemodel(source, blobs, v1=True)
        blobs.clear()
        megabytes = source.stat().st_size / 1e6
        code = (
            "import sys, time; began = time.time(); from fcnxs.tools.main import main; "
            f"code = main(['convert', {str(source)!r}, {str(Path(folder) / 'vgg16fc')!r}]); "
            "from fcnxs.tools.benchmarks.worker import memory; "
            "print(f'{time.time() - began:.1f} s, peak {memory()[1]:.2f} GB'); sys.exit(code)"
        )
        done = children.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise FCNXSError(f"fcnxs convert failed: {done.stderr.strip()}")
    print(f"fcnxs convert of {megabytes:.0f} MB: {done.stdout.splitlines()[-1]}")
    return 0


def random_blobs(net: str, width: float, fc: int, numclass: int, seed: int = 0) -> dict:
    """Random blobs (weight, bias) by Caffe's layers, of the classifier VGG-16 or of an FCN.

    The scale of the weights keeps activations about equally large from layer to layer.
    """
    heads = {head: numclass + i for i, head in enumerate(HEADS.get(net, ()))}  # of different sizes
    symbol = NETS[net](**({"heads": heads} if heads else {"numclass": numclass}), width=width, fc=fc)
    shapes, _, _ = symbol.infer_shape(**Graph.of(symbol).image_shapes((224, 224)))
    last = UPSAMPLING.get(net.removeprefix("siftflow_"), (None, ("upscore",)))[1][0]
    ends = ("", "_sem", "_geo", "color", "hha")
    names = {f"{ours}{end}": f"{caffe}{end}" for caffe, ours in SECOND.items() for end in ends}
    names.update({f"bigscore{end}": f"{last}{end}" for end in ends})
    named = {name: shape for name, shape in zip(symbol.list_arguments(), shapes) if not is_input(name)}
    blobs: dict = {}
    for parameter, values in random_weights(named, seed).items():
        layer, _, kind = parameter.rpartition("_")
        if net == "vgg16" and layer.startswith("fc") and kind == "weight":
            values = values.reshape(len(values), -1)  # inner products
        scale_layer = layer.replace("score", "scale")
        if net == "fcn8s_atonce" and scale_layer in SCALES and kind == "weight":
            values /= SCALES[scale_layer]  # so that the skip counts
            blobs[scale_layer] = [np.full(values.shape[1], SCALES[scale_layer], np.float32)]
        blobs.setdefault(names.get(layer, layer), []).append(values)
    return blobs


def comparisons(
    net: str, sizes: Tuple[Tuple[int, int], ...], width: float, fc: int, numclass: int = 21
) -> Iterator[Tuple[Tuple[int, int], Comparison]]:
    """Yield each size (H, W) and the comparison of a random net with its conversion on an image of that size.

    VGG-16 is compared at the first size alone, in OpenCV, in Gluon and, where it is installed, in PyTorch.
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
    """Write a net to a caffemodel, and VGG-16 to a file of every other framework; yield each file."""
    write_caffemodel(folder / "net.caffemodel", blobs, v1=True)
    yield folder / "net.caffemodel"
    if net == "vgg16":
        arrays = [array for layer in blobs.values() for array in layer]
        if importlib.util.find_spec("torch"):
            from safetensors.numpy import save_file

            save_file(dict(zip(_names(TORCHVISION), arrays)), folder / "torchvision.safetensors")
            yield folder / "torchvision.safetensors"
        mx.nd.save(str(folder / "gluon.params"), dict(zip(_names(GLUON), map(mx.nd.array, arrays))))
        yield folder / "gluon.params"


def _names(layers: Sequence[str]) -> Iterator[str]:
    return (f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias"))

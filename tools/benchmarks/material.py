"""What the benchmarks measure: an FCN-8s with random weights, and random images."""

from __future__ import annotations

import argparse
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Dict, NamedTuple, Tuple

import numpy as np

from ..shared.sizes import height_and_width

if TYPE_CHECKING:
    from ...checkpoint import Checkpoint
    from ...compat import mxnet as mx

CLASSES = 21
SHORTEST = 26  # pixels; the shortest side of an image that FCN-8s takes
SETTINGS = {"learning_rate": 1e-6, "momentum": 0.99, "wd": 5e-4}


class Inputs(NamedTuple):
    """Names of the net's inputs; a solver reads them from a data iterator."""

    data_name: str = "data"
    label_name: str = "softmax_label"


def image_shape(args: argparse.Namespace) -> Tuple[int, ...]:
    """Shape (1, 3, H, W) of an image of --image-size."""
    return (1, 3, *height_and_width(args.image_size, SHORTEST))


def net_and_weights(args: argparse.Namespace, **how: str) -> Tuple[mx.sym.Symbol, Dict[str, np.ndarray]]:
    """Symbol of FCN-8s, and random weights, float32; the last upsampling is bilinear, as in a trained net.

    Args:
        how: further arguments of the builder.
    """
    from ...symbols import get_fcn8s_symbol
    from ...symbols.interpolation import bilinear

    symbol = get_fcn8s_symbol(CLASSES, width=args.width, fc=args.fc, **how)
    shapes, _, _ = symbol.infer_shape(data=image_shape(args))
    named = dict(zip(symbol.list_arguments(), shapes))
    weights = random_weights({name: shape for name, shape in named.items() if name not in Inputs()})
    return symbol, {**weights, "bigscore_weight": bilinear(named["bigscore_weight"])}


def net_and_params(args: argparse.Namespace, ctx: mx.Context | None = None, **how: str) -> tuple:
    """The same, with the weights in MXNet's arrays."""
    from ...compat import mxnet as mx

    symbol, weights = net_and_weights(args, **how)
    return symbol, {name: mx.nd.array(weights.pop(name), ctx) for name in list(weights)}


def random_checkpoint(args: argparse.Namespace, **how: str) -> Checkpoint:
    """Checkpoint of the random net, which is on no disk."""
    from ...checkpoint import Checkpoint, Meta

    symbol, params = net_and_params(args, **how)
    return Checkpoint(symbol, params, {}, Meta(), Path("random weights"))


def random_image(shape: Tuple[int, ...], seed: int = 0) -> Dict[str, np.ndarray]:
    """Input (1, 3, H, W) and label (1, H, W), float32: classes, and 255 in 5% of the pixels."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, CLASSES, (1, *shape[2:])).astype(np.float32)
    label[rng.random(label.shape) < 0.05] = 255
    return {"data": rng.normal(0, 50, shape).astype(np.float32), "softmax_label": label}


def random_weights(shapes: Dict[str, tuple], seed: int = 0) -> Dict[str, np.ndarray]:
    """Random parameters of these shapes, float32, that keep the size of activations from layer to layer."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(shape, np.float32)
        * np.float32((2 / prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1)
        for name, shape in shapes.items()
    }


def photo(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth random image (H, W, 3), uint8, which takes as much of a JPEG as a photo does."""
    import cv2

    blocks = rng.integers(0, 256, (height // 6, width // 6, 3)).astype(np.uint8)
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_CUBIC)


def write_images(folder: Path, size: Tuple[int, int], count: int) -> None:
    """Write JPEGs 0.jpg, ... of a size (H, W), labels 0.png, ... with large areas, and their list, list.lst."""
    import cv2
    from PIL import Image

    rng, lines = np.random.default_rng(0), []
    for number in range(count):
        Image.fromarray(photo(rng, *size)).save(folder / f"{number}.jpg", quality=90)
        classes = rng.integers(0, CLASSES, (4, 5)).astype(np.uint8)
        label = cv2.resize(classes, size[::-1], interpolation=cv2.INTER_NEAREST)
        Image.fromarray(label).save(folder / f"{number}.png")
        lines.append(f"{number}\t{number}.jpg\t{number}.png\n")
    (folder / "list.lst").write_text("".join(lines))

"""Make the demo's VGG-16: train a narrow one to classify generated shapes, and write it as a caffemodel.

Example:
    python -m fcnxs.tools.pretrain vgg16_shapes.caffemodel
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

from ..compat import use_the_machine

use_the_machine()

from ..compat import mxnet as mx  # noqa: E402
from ..convert.arrays import VGG16_CONVOLUTIONS  # noqa: E402
from ..convert.caffemodel import write_caffemodel  # noqa: E402
from ..data.generated import CLASSES, picture  # noqa: E402
from ..data.images import preprocess  # noqa: E402
from ..symbols import get_vgg16_symbol  # noqa: E402
from ..symbols.graph.rewrite import scores_symbol  # noqa: E402

WIDTH, FC, SIZE, BATCH = 1 / 8, 256, 224, 8


def main(argv: List[str] | None = None) -> int:
    """Train, print the accuracy, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUTPUT.caffemodel")
    parser.add_argument(
        "--steps", type=int, default=2000, help=f"steps of {BATCH} pictures (default: %(default)s)"
    )
    parser.add_argument("--rate", type=float, default=1e-3, help="Adam's learning rate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    params = pretrain(args.steps, args.rate, args.seed)
    blobs = {}
    for layer in (*VGG16_CONVOLUTIONS, "fc6", "fc7", "fc8"):
        weight, bias = (params[f"{layer}_{kind}"].asnumpy() for kind in ("weight", "bias"))
        if layer == "conv1_1":
            weight = weight[:, ::-1]  # Caffe's nets take BGR
        if layer.startswith("fc"):
            weight = weight.reshape(len(bias), -1)  # (out, in): an inner product in Caffe
        blobs[layer] = [weight, bias]
    write_caffemodel(args.output, blobs)
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB")
    return 0


def pretrain(steps: int, rate: float, seed: int) -> Dict[str, mx.nd.NDArray]:
    """Parameters of a narrow VGG-16 that classifies shapes.

    A net of this depth learns nothing if it begins with hard pictures and dropout. So it begins with large
    shapes in the middle; dropout follows when it classifies shapes of any size and place.
    """
    rng = np.random.default_rng(seed)
    np.random.seed(seed)  # MXNet's initialisers draw from it
    mx.random.seed(seed)
    with_dropout = get_vgg16_symbol(len(CLASSES) - 1, width=WIDTH, fc=FC)
    without = mx.sym.SoftmaxOutput(scores_symbol(with_dropout), name="softmax")
    began, params, step = time.time(), None, 0
    for symbol, until, phase_rate in (
        (without, 0.6, rate),
        (with_dropout, 0.85, rate),
        (with_dropout, 1, rate / 5),
    ):
        module, right = _module(symbol, params, phase_rate), []
        while step < round(until * steps):
            images, kinds = _batch(rng, step / steps)
            module.forward(mx.io.DataBatch([mx.nd.array(images)], [mx.nd.array(kinds)]), is_train=True)
            right.append((module.get_outputs()[0].asnumpy().argmax(1) == kinds).mean())
            module.backward()
            module.update()
            step += 1
            if step % 50 == 0:
                print(f"step {step}: {np.mean(right[-50:]):.1%} right, {time.time() - began:.0f} s", flush=True)
        params, _ = module.get_params()
    return params


def _module(symbol: mx.sym.Symbol, params: Dict[str, mx.nd.NDArray] | None, rate: float) -> mx.mod.Module:
    module = mx.mod.Module(symbol)
    module.bind([("data", (BATCH, 3, SIZE, SIZE))], [("softmax_label", (BATCH,))])
    module.init_params(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2), arg_params=params)
    if params is None:
        params, _ = module.get_params()
        params["conv1_1_weight"] /= 60  # the input's standard deviation, so that activations begin around 1
        module.set_params(params, {})
    module.init_optimizer(optimizer="adam", optimizer_params={"learning_rate": rate})
    return module


def _batch(rng: np.random.Generator, progress: float) -> Tuple[np.ndarray, np.ndarray]:
    """Pictures (N, 3, SIZE, SIZE) of one shape each, and their kinds (N,).

    They get harder between 16% and 56% of the training's progress.
    """
    kinds = rng.integers(1, len(CLASSES), BATCH)
    hard = min(max(2.5 * progress - 0.4, 0), 1)
    look = {"radii": (0.3 - 0.14 * hard, 0.5 - 0.1 * hard), "spread": hard}
    images = [picture(rng, SIZE, SIZE, 1, int(kind), **look)[0] for kind in kinds]
    return np.concatenate([preprocess(image) for image in images]), kinds - 1


if __name__ == "__main__":
    sys.exit(main())

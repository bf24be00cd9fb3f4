"""Make the demo's VGG-16: train a narrow one to tell generated shapes, and write it as Caffe would.

Example:
    python -m fcnxs.tools.pretrain vgg16_shapes.caffemodel
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import List, Tuple

from ..compat import use_the_machine

WIDTH, FC, SIZE, BATCH = 1 / 8, 256, 224, 8


def main(argv: List[str] | None = None) -> int:
    """Train, print the share of shapes told rightly, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="OUTPUT.caffemodel")
    parser.add_argument("--steps", type=int, default=2000, help=f"of {BATCH} pictures (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=1e-3, help="Adam's learning rate (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    use_the_machine()

    import numpy as np

    from ..caffe import VGG16_CONVOLUTIONS, write_caffemodel
    from ..compat import mxnet as mx
    from ..data import preprocess
    from ..export import scores_symbol
    from ..shapes import CLASSES, picture
    from ..symbols import get_vgg16_symbol

    rng = np.random.default_rng(args.seed)
    np.random.seed(args.seed)
    mx.random.seed(args.seed)

    def batch(progress: float) -> Tuple[np.ndarray, np.ndarray]:
        """Pictures of one shape each: large and in the middle at first, of any size and anywhere in the end."""
        kinds = rng.integers(1, len(CLASSES), BATCH)
        hard = min(max(2.5 * progress - 0.4, 0), 1)  # from 0.16 to 0.56 of the way
        look = {"radii": (0.3 - 0.14 * hard, 0.5 - 0.1 * hard), "spread": hard}
        images = [picture(rng, SIZE, SIZE, 1, int(kind), **look)[0] for kind in kinds]
        return np.concatenate([preprocess(image) for image in images]), kinds - 1

    # Without dropout: a net this narrow has nothing to spare.
    scores = scores_symbol(get_vgg16_symbol(len(CLASSES) - 1, width=WIDTH, fc=FC))
    symbol = mx.sym.SoftmaxOutput(scores, name="softmax")
    module = mx.mod.Module(symbol)
    module.bind([("data", (BATCH, 3, SIZE, SIZE))], [("softmax_label", (BATCH,))])
    module.init_params(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    args_now, _ = module.get_params()
    args_now["conv1_1_weight"] /= 60  # the spread of the input: layers then begin with values around 1
    module.set_params(args_now, {})
    module.init_optimizer(optimizer="adam", optimizer_params={"learning_rate": args.rate})
    began, right = time.time(), []
    for step in range(1, args.steps + 1):
        if step == args.steps * 3 // 4:
            module._optimizer.set_learning_rate(args.rate / 5)
        images, kinds = batch(step / args.steps)
        module.forward(mx.io.DataBatch([mx.nd.array(images)], [mx.nd.array(kinds)]), is_train=True)
        right.append((module.get_outputs()[0].asnumpy().argmax(1) == kinds).mean())
        module.backward()
        module.update()
        if step % 50 == 0:
            print(f"step {step}: {np.mean(right[-50:]):.1%} right, {time.time() - began:.0f} s", flush=True)

    params = {name: array.asnumpy() for name, array in module.get_params()[0].items()}
    blobs = {}
    for layer in (*VGG16_CONVOLUTIONS, "fc6", "fc7", "fc8"):
        weight, bias = params[f"{layer}_weight"], params[f"{layer}_bias"]
        if layer == "conv1_1":
            weight = weight[:, ::-1]  # Caffe's nets take BGR
        if layer.startswith("fc"):
            weight = weight.reshape(len(bias), -1)  # Caffe's are inner products
        blobs[layer] = [weight, bias]
    write_caffemodel(args.output, blobs)
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

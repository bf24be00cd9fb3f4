"""What the processes of `fcnxs benchmark gpu` do in MXNet: exactness, several devices, speed and memory."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from functools import partial
from typing import Callable, Dict, Iterator, List, Sequence, Tuple

import numpy as np

from ....compat import mxnet as mx
from ....doctor.device import described
from ....finetune.run_log import VARIABLES, installed
from ....metric import SegmentationMetric
from ....predict.segmenter import Segmenter
from ....solver.solver import Solver
from ...shared import devices
from .. import material
from ..train import different_sizes, stepper, without_dropout
from ..worker import memory
from . import numpy_reference

EXACT_SIZE, IMAGES = "64x48", 3  # of the training steps that are compared with NumPy's
# Most error of a float32 step, relative to the CPU's: cuDNN may convolve by Winograd's F(4x4, 3x3), whose sums
# in float32 are 7 times (64 channels) to 16 times (512) less exact than direct ones, as measured in NumPy.
LESS_EXACT = 20
# Most error of a TF32 step, relative to the worst of NumPy's steps on operands that are cut to TF32: where an
# activation is near 0, or two are near the maximum, rounding decides, and moves gradients by a few percent.
OTHER_TIES = 2
SAME = 1e-5  # most difference of N devices from one: sums in another order, of terms that are the same
SIZES = 20  # different sizes of images
UNTIMED = 2
TF32_BITS = np.uint32(0xFFFFE000)  # of a float32: sign, 8 bits of exponent, 10 of mantissa

Arrays = Dict[str, np.ndarray]


class Seeded(dict):
    """A batch with the seed of its dropout."""

    seed = 0


def facts(args: argparse.Namespace) -> int:
    """Print the devices, the versions of what computes, and the variables."""
    print(described(devices.kind_and_numbers(args.device)[1]))
    for name, version in installed().items():
        print(f"{name} {version}")
    for name in sorted(os.environ):
        if name.startswith((*VARIABLES, "NVIDIA_", "LD_LIBRARY_PATH")):
            print(f"{name}={os.environ[name]}")
    return 0


def exact(args: argparse.Namespace, tf32: bool = False) -> int:
    """Compare the gradients of training steps with NumPy's in float64, by layers; 1 if they differ too much.

    Each of the images may have an activation so near 0 that rounding decides whether its gradient counts, so
    the best image of each is taken. Dropout drops nothing.

    Args:
        tf32: whether the GPU may round operands to TF32, as it does by default from compute capability 8.0 on.
    """
    small = argparse.Namespace(**{**vars(args), "image_size": EXACT_SIZE})
    symbol, weights = material.net_and_weights(small)
    symbol, gpu = without_dropout(symbol), devices.device(args.device)
    runs: Dict[str, Callable[[Arrays], Arrays]] = {
        "the CPU": lambda batch: gradients(symbol, weights, [mx.cpu()], [batch], trim=False),
        "the GPU, whole": lambda batch: gradients(symbol, weights, [gpu], [batch], trim=False),
        "the GPU, trimmed": lambda batch: gradients(symbol, weights, [gpu], [batch], trim=True),
    }
    if tf32:
        runs["NumPy with TF32's operands"] = lambda batch: reference(symbol, weights, batch, of_tf32)
    errors: Dict[str, List[float]] = {name: [] for name in runs}
    for seed in range(IMAGES):
        batch = material.random_image(material.image_shape(small), seed)
        expected = reference(symbol, weights, batch)
        for name, run in runs.items():
            error, layer = worst(run(batch), expected)
            errors[name].append(error)
            print(f"image {seed}, {name}: largest error {error:.2e}, of {layer}", flush=True)
    float32 = LESS_EXACT * min(errors["the CPU"])
    most = max(OTHER_TIES * max(errors["NumPy with TF32's operands"]), float32) if tf32 else float32
    found = np.max([np.min(each) for name, each in errors.items() if "GPU" in name])  # NaN stays
    print(f"error of the GPU's gradients, relative to the layer's: {found:.2e}; at most {most:.2e} is expected")
    if tf32:
        state = "on" if found > float32 else "off, or changes nothing"
        print(f"TF32 is {state}: the error of float32 is at most {float32:.2e}")
    return int(not found <= most)


def reference(
    symbol: mx.sym.Symbol, weights: Arrays, batch: Arrays, product: numpy_reference.Product = np.tensordot
) -> Arrays:
    """Gradients of the weights that are trained by NumPy, float64, in the weights' shapes."""
    gradients = numpy_reference.run(symbol.tojson(), {**weights, **batch}, product)[1]
    return {name: gradients[name] for name in weights if name != "bigscore_weight"}


def of_tf32(a: np.ndarray, b: np.ndarray, axes: object) -> np.ndarray:
    """Sums of products, float64, of operands that are cut to TF32, as tensor cores read a float32."""
    cut = (np.ascontiguousarray(each, np.float32).view(np.uint32) & TF32_BITS for each in (a, b))
    return np.tensordot(*(each.view(np.float32).astype(np.float64) for each in cut), axes)


def gradients(
    symbol: mx.sym.Symbol, weights: Arrays, where: Sequence[mx.Context], batches: Sequence[Arrays], trim: bool
) -> Arrays:
    """Mean gradients of the batches' images by a step of the solver, float32, in the weights' shapes."""
    params = {name: mx.nd.array(array, where[0]) for name, array in weights.items()}
    # After one step at rate 1 the momentum is the negative gradient.
    solver = Solver(symbol, where, arg_params=params, trim=trim, learning_rate=1.0, momentum=0.5)
    solver.step(batches, material.Inputs())
    momenta, _ = solver.replicas[-1].optimizer_state()
    return {name.rpartition(":")[0]: -array.asnumpy() for name, array in momenta.items()}


def worst(given: Arrays, expected: Arrays) -> Tuple[float, str]:
    """The largest error of a layer, weights and biases together, and the layer; NaN if there is one.

    An error is a norm, relative to that of what is expected.
    """
    squares: Dict[str, np.ndarray] = {}
    for name, gradient in given.items():
        parts = squares.setdefault(name.rpartition("_")[0], np.zeros(2))
        parts += [
            np.square(each, dtype=np.float64).sum() for each in (gradient - expected[name], expected[name])
        ]
    errors = {layer: float((error / norm) ** 0.5) for layer, (error, norm) in squares.items() if norm}
    layer = max(errors, key=lambda each: (np.isnan(errors[each]), errors[each]))
    return errors[layer], layer


def two(args: argparse.Namespace) -> int:
    """Compare a step of two GPUs with one that accumulates two images, with dropout, and time both."""
    symbol, weights = material.net_and_weights(args)
    gpus, batches = devices.devices(args.device)[:2], list(_batches(args))
    one, several = (gradients(symbol, weights, where, batches, trim=True) for where in (gpus[:1], gpus))
    error, layer = worst(several, one)
    print(f"largest difference of a gradient {error:.2e}, of {layer}; at most {SAME:g} is expected")
    for where in (gpus[:1], gpus):
        params = {name: mx.nd.array(array, where[0]) for name, array in weights.items()}
        solver = Solver(symbol, where, arg_params=params, kvstore="device", **material.SETTINGS)
        seconds = timed(partial(_step, solver, batches), args.steps)
        print(f"{', '.join(map(str, where))}: two images in {seconds}", flush=True)
    return int(not error <= SAME)


def _batches(args: argparse.Namespace) -> Iterator[Seeded]:
    for seed in range(2):
        batch = Seeded(material.random_image(material.image_shape(args), seed))
        batch.seed = seed
        yield batch


def _step(solver: Solver, batches: Sequence[Arrays]) -> None:
    solver.step(batches, material.Inputs(), SegmentationMetric(material.CLASSES))
    mx.nd.waitall()


def timed(run: Callable[[], object], turns: int) -> str:
    """Seconds of each turn after the first ones, and their median, in words."""
    seconds = []
    for _ in range(UNTIMED + turns):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    rest, before = seconds[UNTIMED:], ", ".join(f"{each:.2f}" for each in seconds[:UNTIMED])
    spread = f"{min(rest):.4f} to {max(rest):.4f}"
    return f"{statistics.median(rest):.4f} s (median of {turns}, {spread}; before {before})"


def train(args: argparse.Namespace, trim: bool) -> int:
    """Time the solver's step, and print the memory that it takes."""
    free = _free(args)
    step = stepper(args, trim=trim)
    batch = material.random_image(material.image_shape(args))
    print(f"a training step on one image of {args.image_size}: {timed(lambda: step(batch), args.steps)}")
    return _print_memory(args, free)


def infer(args: argparse.Namespace, trim: bool) -> int:
    """Time the Segmenter, print the memory that it takes, and how its probabilities differ from the CPU's."""
    free = _free(args)
    net = material.random_checkpoint(args)
    segmenter = Segmenter(net, ctx=devices.device(args.device), trim=trim)
    image = material.photo(np.random.default_rng(0), *material.image_shape(args)[2:])
    print(f"the class map of one image of {args.image_size}: {timed(lambda: segmenter(image), args.steps)}")
    _print_memory(args, free)
    ours, cpus = segmenter.probabilities(image), Segmenter(net, trim=trim).probabilities(image)
    same = (ours.argmax(0) == cpus.argmax(0)).mean()
    difference = np.abs(ours - cpus).max()
    print(f"largest difference of a probability from the CPU's {difference:.1e}, same class {same:.4%}")
    return int(not np.isfinite(ours).all())


def sizes(args: argparse.Namespace) -> int:
    """Time training steps on images of different sizes, first and second time, and print the memory."""
    free, step = _free(args), stepper(args)
    largest, count = material.image_shape(args)[2:], args.num_images or SIZES
    different = different_sizes(largest, count)
    for what, chosen in (("first", different), ("second", different), ("largest alone", [largest] * count)):
        began = time.perf_counter()
        for size in chosen:
            step(material.random_image((1, 3, *size)))
        print(f"{count} sizes, {what}: {(time.perf_counter() - began) / count:.4f} s an image", flush=True)
        _print_memory(args, free)
    return 0


def _free(args: argparse.Namespace) -> int:
    """Bytes of the GPU's memory that no process has; this one then has CUDA's own part."""
    return mx.context.gpu_memory_info(devices.device(args.device).device_id)[0]


def _print_memory(args: argparse.Namespace, free: int) -> int:
    """Print what MXNet has taken since `_free`: arrays, and memory that its pool keeps for others to come."""
    taken = (free - _free(args)) / 1e9
    print(f"{taken:.2f} GB of the GPU's memory, besides CUDA's own; peak of the process {memory()[1]:.2f} GB")
    return 0


PARTS: Dict[str, Callable[[argparse.Namespace], int]] = {
    **{"devices": facts, "exact": exact, "tf32": partial(exact, tf32=True), "two": two, "sizes": sizes},
    **{f"train-{name}": partial(train, trim=name == "trimmed") for name in ("whole", "trimmed")},
    **{f"infer-{name}": partial(infer, trim=name == "trimmed") for name in ("whole", "trimmed")},
}

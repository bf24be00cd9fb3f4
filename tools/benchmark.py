"""Measure speed, memory and fidelity at full size, on this machine.

What is compared runs in turns, in processes of their own that stay: all meet the machine in the same state, and
their memory is their own. Memory is what is resident; the peak is the largest it has been.

infer: one net and image at each of --sizes and --precision, on this project (trimmed and not), on the original
    graph as MXNet starts it and with all cores, and on each of OpenCV, ONNX Runtime, OpenVINO and PyTorch that
    is installed (pip install 'fcnxs[bench]'; PyTorch by itself). Medians, ratios to the fastest of the others,
    peaks, agreement of the classes, shares of the machine's matrix rate; also as PREFIX.json and PREFIX.png. Up
    to eleven processes at a time, of 1 to 2 GB each; --engines measures fewer. Exit code 1: one has failed.
train: a step of FCN-8s by this project's solver, by MXNet's bare forward, backward and update, and, if PyTorch
    is there, by PyTorch, after a check at a small size that it trains the same net. Three processes at a time,
    of 3.5 to 6 GB each. Medians, peaks, and their ratios.
mirror: a step of the solver with and without `mirror`, which keeps less and computes it again.
trim: a step of the solver on the whole canvas, and on what of it depends on the image.
loader: training on pictures in files; how long its steps wait for them, whole and augmented (at most 2%).
sizes: epochs over 50 images, each of its own size, the largest of --size; memory after each epoch, against that
    of the largest size alone.
evaluate: evaluation of 100 images, as `finetune` and as `evaluate` do it, against as many bare forward passes.
tiling: class maps of squares of --sides pixels, within 2 GB: seconds, and memory beyond weights and image.
segment: rate of `segment` on a folder against the bare net's (at least 95%), and its start-up.
convert: makes a caffemodel of Oxford's size (138 million random weights, 553 MB) in a temporary
    folder, and converts it. Seconds, and the peak of resident memory.
pooling: scores of FCN-8s with pooling that rounds down and up. Medians, and their ratio.
parity: random nets in Caffe's, Gluon's and torchvision's formats, run in OpenCV, Gluon and PyTorch (if it is
    there), and converted, in MXNet, on the CPU. A row for each; one that is not equal is exit code 1.

Examples:
    fcnxs benchmark infer --sizes 500x375 --precision fp32,int8 --engines fcnxs-trimmed,fcnxs,openvino
    fcnxs benchmark train
    fcnxs benchmark sizes --epochs 3 --width 0.25 --fc 1024
    fcnxs benchmark parity --width 0.0625 --fc 16 --size all
"""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path
from typing import List

from ..errors import FCNXSError
from .shared import options

# What is measured: the module and function of it, and those that one of its processes can be.
PARTS = {
    "infer": ("infer.measure", "infer"),
    "train": ("train", "train"),
    "mirror": ("train", "mirror"),
    "trim": ("train", "trim"),
    "loader": ("loader", "loader"),
    "sizes": ("sizes", "sizes"),
    "evaluate": ("evaluate", "evaluate"),
    "pooling": ("evaluate", "pooling"),
    "tiling": ("tiling", "tiling"),
    "segment": ("segment", "segment"),
    "convert": ("convert", "convert"),
    "parity": ("parity", "run"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs benchmark`."""
    parser.add_argument("what", choices=PARTS, help="what to measure")
    parser.add_argument(
        "--size",
        default="500x375",
        metavar="WxH",
        help="width x height of the image (default: %(default)s); of parity also `all`, 36 small sizes",
    )
    parser.add_argument("--width", type=float, default=1.0, help="of the net, relative to VGG-16 (default: 1)")
    parser.add_argument("--fc", type=int, default=4096, help="channels of fc6 and fc7 (default: 4096)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each kind (default: 5)")
    parser.add_argument(
        "--images",
        type=int,
        metavar="N",
        help="of sizes (default: 50), of evaluate (100); of infer, to calibrate int8 (8)",
    )
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="of sizes (default: 10)")
    parser.add_argument(
        "--sides", type=_sides, metavar="N,...", help="of tiling (default: 1024,2048,4096,8192)"
    )
    parser.add_argument(
        "--sizes", default="256x256,500x375", metavar="WxH,...", help="of infer (default: %(default)s)"
    )
    parser.add_argument(
        "--precision", default="fp32,bf16,int8", metavar="P,...", help="of infer (default: %(default)s)"
    )
    parser.add_argument(
        "--engines",
        metavar="NAME,...",
        help="of infer: fcnxs-trimmed, fcnxs, mxnet, mxnet-default, openvino, onnxruntime, opencv, torch, "
        "torch-channels-last or torch-compiled (default: all)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("benchmark-infer"),
        metavar="PREFIX",
        help="of infer (default: %(default)s)",
    )
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options.add_gpus(parser)


def _sides(text: str) -> List[int]:
    sides = [int(side) for side in text.split(",")]
    if min(sides) < 64:
        raise argparse.ArgumentTypeError("want 64 or more")
    return sides


def run(args: argparse.Namespace) -> int:
    """Run one measurement and print it."""
    if not (args.what == "parity" and args.size == "all"):
        if not re.fullmatch(r"\d+x\d+", args.size):
            raise FCNXSError(f"--size {args.size}: want width x height, such as 500x375")
        least = 1 if args.what == "parity" else 26
        if min(map(int, args.size.split("x"))) < least:
            raise FCNXSError(f"--size {args.size}: want {least}x{least} or more")
    for option in ("steps", "fc", "epochs", "images"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise FCNXSError(f"--{option} {value}: want 1 or more")
    if not (args.width > 0 and (args.width * 16).is_integer()):
        raise FCNXSError(f"--width {args.width}: want a multiple of 1/16")
    module, function = PARTS[args.what]
    found = importlib.import_module(f".benchmarks.{module}", __package__)
    return found.part(args) if args.part else getattr(found, function)(args)

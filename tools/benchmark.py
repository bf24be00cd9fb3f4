"""Measure speed, memory and fidelity at full size, on this machine.

Most measurements compare several means, each in a process of its own. The processes take turns, so that all
meet the machine in the same state. Memory is resident memory; a peak is its maximum so far.

infer: an image through FCN-8s at each of --image-sizes and --precision: on this project (trimmed and whole), on
    the original graph as MXNet starts it and with all cores, and on each of ncnn, MNN, OpenVINO, ONNX Runtime,
    OpenCV and PyTorch that is installed (pip install '.[bench]'; PyTorch by itself); where an engine reads
    files, also on our trimmed export in it. Medians, ratios to the fastest other engine, peaks, agreement of
    the classes, shares of the machine's matrix rate, and one table of all in Markdown; also as PREFIX.json and
    PREFIX.png. As many processes at a time as the memory holds, of 1 to 3 GB each. Exit code 1 if one has
    failed.
train: a step of FCN-8s by this project's solver, by MXNet's bare forward, backward and update, and by PyTorch
    if it is installed, after a check at a small size that it trains the same net. Three processes, of
    3.5 to 6 GB each. Medians, peaks, and their ratios.
recompute: a step of the solver that recomputes activations, against one that keeps them.
trim: a step of the solver on the part of the canvas that depends on the image, against one on the whole.
loader: the time that training steps wait for their images, from files, whole and augmented (at most 2%).
sizes: training on --num-images images of different sizes, up to --image-size; memory after each epoch, against
    that of --image-size alone (at most 1.15 times).
evaluate: evaluation of --num-images images as `finetune` and as `evaluate` do it, against bare forward passes.
tiling: class maps of squares with --sides, within 2 GB: seconds, and memory beyond weights and image.
segment: rate of `segment` on a folder against the bare net's (at least 95%), and its start-up.
convert: conversion of a random caffemodel of VGG-16's full size (138 million weights, 553 MB): seconds and
    peak.
pooling: forward passes of FCN-8s with pooling that rounds down (valid) and up (full).
tf32: scores of FCN-8s with the data and weights of each convolution rounded as GPUs of capability 8.0 and
    later do, against float32's, on the CPU: largest difference, and part of the pixels whose class changes.
parity: random nets in the formats of Caffe, Gluon and torchvision, run in OpenCV, Gluon and PyTorch (if it is
    installed), and converted, in MXNet, on the CPU. A row each; exit code 1 if one differs.
published: the authors' Caffe nets, for somebody who has their files in the folder --weights, by their own names
    (fcn8s-heavy-pascal.caffemodel, ...): converts each, compares its scores with OpenCV's, evaluates it on the
    images that the published scores are of, and prints our scores beside these. --data has the folder of each
    data set, which its content tells: VOC 2011 with the list seg11valid.txt; and, as `fcnxs evaluate` reads
    them, pascal_context (split val), siftflow and nyud (test). Exit code 1 if scores differ by more than 0.1
    points.
gpu: all that we would like to know of your GPU, in one file, benchmark-gpu.txt: doctor's findings, gradients of
    FCN-8s against NumPy's in float64, seconds and memory, two GPUs, a run that resumes on the CPU, the demo
    and, in a clone, the tests. Takes an hour or more; Ctrl-C leaves the file with what was done. --device
    gpu:0,1 names the GPUs (default: all that MXNet has code for). Exit code 1 if a step fails.

Examples:
    fcnxs benchmark gpu
    fcnxs benchmark infer --image-sizes 500x375 --precision fp32,int8 --engines fcnxs-trimmed,fcnxs,openvino
    fcnxs benchmark train --no-trim
    fcnxs benchmark sizes --epochs 3 --width 0.25 --fc 1024
    fcnxs benchmark published --weights caffemodels --data VOCdevkit/VOC2011 pascal_context siftflow nyud
    fcnxs benchmark parity --width 0.0625 --fc 16 --image-size all
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import List

from ..errors import FCNXSError
from .benchmarks.material import SHORTEST
from .shared import devices, options
from .shared.sizes import height_and_width

# Measurement: the module in benchmarks/ that has a function of its name.
MODULES = {
    "infer": "infer.measure",
    **dict.fromkeys(("train", "recompute", "trim", "loader", "sizes"), "train"),
    **dict.fromkeys(("evaluate", "pooling", "tiling", "segment"), "forward"),
    **dict.fromkeys(("convert", "parity"), "parity"),
    "tf32": "tf32",
    "published": "published",
    "gpu": "gpu.check",
}
FORMER = {"mirror": "recompute"}  # names of earlier versions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs benchmark`."""
    add = parser.add_argument
    add(
        "what", type=lambda name: FORMER.get(name, name), choices=MODULES, help="measurement to make; see above"
    )
    size = (
        "width x height of the image (default: %(default)s); parity also takes `all`, which is 36 small sizes"
    )
    options.add_renamed(parser, ["--image-size"], "--size", default="500x375", metavar="WxH", help=size)
    add("--width", type=float, default=1.0, help="width of the net, relative to VGG-16 (default: 1)")
    add("--fc", type=int, default=4096, help="number of channels of fc6 and fc7 (default: 4096)")
    add("--steps", type=int, default=5, help="number of timed turns of each process (default: 5)")
    images = "number of images for sizes (default: 50), evaluate (100), segment (60), int8's calibration (8)"
    options.add_renamed(parser, ["--num-images"], "--images", type=int, metavar="N", help=images)
    trim = (
        "train, recompute, sizes, loader, evaluate: compute the whole canvas (default: what the image changes)"
    )
    add("--no-trim", action="store_true", help=trim)
    add("--epochs", type=int, default=10, metavar="N", help="sizes: number of epochs (default: 10)")
    add(
        "--sides",
        type=_sides,
        metavar="N,...",
        help="tiling: sides of the square images, in pixels (default: 1024,2048,4096,8192)",
    )
    sizes = {
        "default": "256x256,500x375",
        "metavar": "WxH,...",
        "help": "infer: sizes of the image, width x height (default: %(default)s)",
    }
    options.add_renamed(parser, ["--image-sizes"], "--sizes", **sizes)
    precisions = "infer: precisions to measure (default: %(default)s)"
    add("--precision", default="fp32,bf16,int8", metavar="P,...", help=precisions)
    both, whole = "fcnxs, ncnn, mnn, openvino, onnxruntime, opencv", "mxnet, mxnet-default, torch"
    names = f"{both}, each also with -trimmed; {whole}, torch-channels-last, torch-compiled (default: all)"
    add("--engines", metavar="NAME,...", help=f"infer: some of {names}")
    output = "infer, gpu: write files whose names begin so (default: benchmark-infer, benchmark-gpu)"
    add("--output", type=Path, metavar="PREFIX", help=output)
    options.add_overwrite(parser)
    add("--weights", type=Path, metavar="DIR", help="published: folder of the authors' caffemodels")
    data = "published: folders of VOC 2011, PASCAL-Context, SIFT Flow and NYUDv2, one of each"
    add("--data", nargs="+", metavar="DIR", help=data)
    add("--part", help=argparse.SUPPRESS)
    text = "device to compute on: cpu, gpu, or gpu:1; for the measurement gpu, one or several GPUs"
    devices.add_device(parser, text, "cpu; for gpu all GPUs that MXNet has code for")


def _sides(text: str) -> List[int]:
    found = [int(side) for side in text.split(",")]
    if min(found) < 64:
        raise argparse.ArgumentTypeError("expected 64 or more")
    return found


def run(args: argparse.Namespace) -> int:
    """Run one measurement and print it."""
    if not (args.what == "parity" and args.image_size == "all"):
        height_and_width(args.image_size, least=1 if args.what == "parity" else SHORTEST)
    options.refuse_below(1, args, "steps", "fc", "epochs", "num_images")
    if not (args.width > 0 and (args.width * 16).is_integer()):
        raise FCNXSError(f"--width {args.width}: expected a multiple of 1/16")
    args.output = args.output or Path(f"benchmark-{args.what}")
    module = importlib.import_module(f".benchmarks.{MODULES[args.what]}", __package__)
    return module.part(args) if args.part else getattr(module, args.what)(args)

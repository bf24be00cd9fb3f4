"""Convert, train, evaluate, report and export in a few minutes, on generated pictures of shapes.

Makes labelled pictures in VOC layout; converts the narrow VGG-16 in Caffe's format that the package contains;
finetunes FCN-32s, FCN-16s and FCN-8s; evaluates FCN-8s on other pictures; writes a report; exports; and draws
comparison.png. Each step is a command of this package, which is printed. Three to four minutes on two cores.

Example:
    fcnxs demo --output shapes
"""

from __future__ import annotations

import argparse
import json
import shlex
import time
from pathlib import Path

from ..errors import FCNXSError

TRAIN, VAL, EPOCHS = 220, 30, (2, 2, 3)
STAGES = ("fcn32s", "fcn16s", "fcn8s")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs demo`."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("fcnxs-demo"),
        metavar="DIR",
        help="new folder (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo; print the scores of the stages and the files."""
    return demo(args.output, TRAIN, VAL, EPOCHS)


def demo(output: Path, train: int, val: int, epochs: tuple) -> int:
    """Run the demo with `train` and `val` pictures, and `epochs` for each stage."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FCNXSError(f"--output {output}: exists and is not empty; choose a new folder")

    from importlib.resources import files

    import cv2  # noqa: F401  (says what it lacks before anything is written)

    from ..data.generated import write_voc
    from .shared.text import summary_table

    began = time.time()
    data, vgg, runs = output / "pictures", output / "vgg16fc", output / "run"
    write_voc(data, {"train": train, "val": val})
    print(f"{train} pictures to train on and {val} others in {data}")
    last = [f"--prefix={runs / STAGES[-1]}", f"--epoch={epochs[-1]}"]
    _command("convert", str(files("fcnxs") / "vgg16_shapes.caffemodel"), str(vgg))
    _command(
        *("finetune", f"--data={data}", "--val-split=val", f"--classes={data / 'classes.txt'}"),
        *(f"--prefix={vgg}", "--epoch=0", f"--output={runs}", "--recipe=adam"),
        f"--epochs={','.join(map(str, epochs))}",
    )
    _command("evaluate", *last, f"--data={data}", f"--json={output / 'scores.json'}")
    _command("report", str(runs))
    _command("export", *last, f"--output={output / 'deploy' / STAGES[-1]}")
    _draw(output / "comparison.png", data, runs, epochs)

    print()
    print(summary_table(json.loads((runs / "summary.json").read_text())["stages"]))
    print(f"\n{time.time() - began:.0f} seconds. In {output}:")
    for path, what in (
        ("comparison.png", "image, truth and the three nets side by side"),
        ("run/", "checkpoints, metrics.jsonl, summary.json"),
        ("run/report.html", "the run on one page: curves, classes, best and worst images"),
        ("scores.json", "scores of FCN-8s, class by class"),
        ("deploy/", "FCN-8s as plain MXNet loads it"),
        ("pictures/", "the data, in VOC layout"),
        ("vgg16fc-*", "the narrow VGG-16, to finetune on images of your own"),
    ):
        print(f"  {path:<17}{what}")
    return 0


def _command(*arguments: str) -> None:
    """Print a command of this package, and run it."""
    from .main import parse

    print(f"\n$ fcnxs {shlex.join(arguments)}", flush=True)
    args = parse(list(arguments))
    code = args.run(args)
    if code:
        raise FCNXSError(f"fcnxs {arguments[0]} ended with exit code {code}")


def _draw(file: Path, data: Path, runs: Path, epochs: tuple) -> None:
    """Draw four pictures, their labels, and the class maps of each stage."""
    from PIL import Image

    from .. import checkpoint
    from ..data.images import read_image, read_label
    from ..data.samples import find_list, read_list
    from ..predict.segmenter import Segmenter
    from ..vis import colour, comparison

    pairs = read_list(*find_list(data, "val"))[:4]
    rows = [{"image": read_image(image)} for image, _ in pairs]
    sources = {name: checkpoint.load(runs / name, epoch) for name, epoch in zip(STAGES, epochs)}
    palette = sources["fcn8s"].meta.palette
    for row, (_, label) in zip(rows, pairs):
        row["truth"] = colour(read_label(label), palette)
    for name, source in sources.items():
        segmenter = Segmenter(source)
        for row in rows:
            row[f"FCN-{name[3:]}"] = colour(segmenter(row["image"]), palette)
    Image.fromarray(comparison(rows)).save(file)

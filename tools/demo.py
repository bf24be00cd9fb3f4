"""Convert, train, evaluate, report and export in a few minutes, on generated pictures of shapes.

The demo makes labelled pictures in VOC layout, converts the narrow VGG-16 in Caffe's format that the package
contains, finetunes FCN-32s, FCN-16s and FCN-8s, evaluates FCN-8s on other pictures, writes a report, exports,
and draws comparison.png. It prints each step with its number, and the command of this package that does it.
Three to four minutes on two cores.

In a folder where a demo was interrupted, it goes on from there, in the middle of the training too, and on
another device if --device says so. In a folder where a demo has ended, it shows the results again; to run it
anew, remove the folder. Other folders are refused unless they are empty.

With --device gpu, or gpu:0,1, it trains on these GPUs, and evaluates and draws on the first of them. The last
line then says what ran where; or which step failed, and what to send us.

Examples:
    fcnxs demo
    fcnxs demo --output shapes
    fcnxs demo --output on-gpu --device gpu
"""

from __future__ import annotations

import argparse
import shlex
import signal
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

from ..errors import FCNXSError, last_line
from ..system.files import write_json, written_whole
from ..system.json_files import COUNT, Number, Or, read_json
from .shared import devices
from .shared.printing import say, show
from .shared.signals import Ended

TRAIN, VAL, EPOCHS = 220, 30, (2, 2, 3)
STAGES = ("fcn32s", "fcn16s", "fcn8s")
RECORD = "demo.json"  # in the demo's folder: what it was asked for, how far it is, the devices if one is a GPU
FAILURE = "failure.txt"  # there: the step that failed on a GPU, with the whole error
SENT = (RECORD, FAILURE, "run/run.log", "run/metrics.jsonl")  # what tells us why a demo failed
# Colours of comparison.png: Okabe and Ito's, bright on black and distinct for the colour-blind too.
COLOURS = ((0, 0, 0), (213, 94, 0), (86, 180, 233), (240, 228, 66), (204, 121, 167))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs demo`."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("fcnxs-demo"),
        metavar="DIR",
        help="folder for the demo: a new one, or that of a demo to go on with (default: %(default)s)",
    )
    devices.add_devices(parser)


def run(args: argparse.Namespace) -> int:
    """Run the demo; print the scores of the stages and the files."""
    import cv2  # noqa: F401  (says what it lacks before anything is written)

    return demo(args.output, TRAIN, VAL, EPOCHS, args.device)


def demo(output: Path, train: int, val: int, epochs: tuple, device: str | None = None) -> int:
    """Run the demo, or the rest of it, with `train` and `val` pictures, and `epochs` for each stage."""
    here, on_gpu = _described(device), _on_gpu(device)
    record = _record(output, {"train": train, "val": val, "epochs": list(epochs)})
    ran = record["devices"] or ["the CPU"] * bool(record["done"])
    steps = _steps(output, train, val, epochs, (device, ran[-1:] not in ([], ["the CPU"])))
    ended, moves = record["done"] >= len(steps), ran[-1:] not in ([], [here])
    if ended:
        say(f"the demo in {output} has ended before; remove this folder to run it anew. Its results:")
    elif record["done"]:
        moved = f", the last on {ran[-1]}; the rest runs on {here}" if moves else ""
        say(f"going on with the demo in {output}: {record['done']} of {len(steps)} steps are done{moved}")
    if not ended and (on_gpu or record["devices"]):
        record["devices"] = ran if ran[-1:] == [here] else [*ran, here]
        say(f"computing on {here}. {_please(output, 'If this ends without a line on what ran where')}")
    _do(steps, output, record, device)
    _print_results(output, record)
    if on_gpu or record["devices"]:
        _print_where(output, record)
    return 0


def _do(
    steps: List[Tuple[str, Callable[[], None]]], output: Path, record: Dict[str, Any], device: str | None
) -> None:
    """Do the steps that are not done, and note each in the record.

    Raises:
        FCNXSError: a step failed.
        Ended: a signal asked for it.
    """
    for number, (title, step) in enumerate(steps[record["done"] :], record["done"] + 1):
        show(f"\nStep {number} of {len(steps)}: {title}")
        began = time.time()
        try:
            step()
            record["done"] = number
        except (KeyboardInterrupt, Ended) as end:
            on = f" --device {device}" if device is not None else ""
            again = f"`fcnxs demo --output {shlex.quote(str(output))}{on}` goes on from there"
            where = f" in step {number} of {len(steps)}; {again}"
            raise Ended(getattr(end, "number", signal.SIGINT), where) from None
        except Exception as error:
            if not _on_gpu(device):
                raise
            what = f"step {number} of {len(steps)} ({title}) failed on {record['devices'][-1]}"
            with suppress(OSError):  # a full disk may be the failure
                (output / FAILURE).write_text(f"{what}\n{traceback.format_exc()}", encoding="utf-8")
            raise FCNXSError(f"{what}: {last_line(error)}. {_please(output, 'To have it mended')}") from error
        finally:
            record["seconds"] += time.time() - began
            _write(output, record)


def _on_gpu(device: str | None) -> bool:
    return devices.kind_and_numbers(device)[0] == "gpu"


def _described(device: str | None) -> str:
    """The devices that --device names, in words; MXNet is not loaded for the CPU."""
    if not _on_gpu(device):
        return "the CPU"
    devices.devices(device)  # refuses what is no GPU
    from ..doctor.device import described

    return described(devices.kind_and_numbers(device)[1])


def _please(output: Path, when: str) -> str:
    """What to send us, and where it is."""
    files = f"what {output} has of {', '.join(SENT)}"
    return f"{when}, please send us {files}, and what `fcnxs doctor` prints, in an issue of this project"


def _record(output: Path, settings: Dict[str, Any]) -> Dict[str, Any]:
    """What is known of the demo in a folder; a new or an empty folder gets the record of one that begins.

    Raises:
        FCNXSError: the folder has other files than a demo's, or is that of another version's demo.
    """
    file = output / RECORD
    if file.is_file():
        way_out = f"remove {output}, or choose another --output"
        form = {"done": COUNT, "seconds": Number(float, 0), "devices": Or([str])}
        record = read_json(file, "the record of a demo", form, way_out)
        if {name: record.get(name) for name in settings} != settings:
            raise FCNXSError(f"{file}: a demo of another version; {way_out}")
        return record
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FCNXSError(f"--output {output}: exists and is not empty; choose a new folder")
    record = {**settings, "done": 0, "seconds": 0.0, "devices": None}
    _write(output, record)
    return record


def _write(output: Path, record: Dict[str, Any]) -> None:
    with written_whole(output / RECORD) as (part,):
        write_json(part, {name: value for name, value in record.items() if value is not None})


def _steps(
    output: Path, train: int, val: int, epochs: tuple, on: Tuple[str | None, bool]
) -> List[Tuple[str, Callable[[], None]]]:
    """Title and function of each step. A step that was interrupted can be done again.

    Args:
        on: --device, and whether the demo was on a GPU before.
    """
    device, was_on_gpu = on
    kind, numbers = devices.kind_and_numbers(device)
    first = f"{kind}:{numbers[0]}"  # evaluates, and draws
    train_on = [f"--device={device or 'cpu'}"] if device or was_on_gpu else []
    evaluate_on = [f"--device={first}"] if device else []
    data, vgg, runs = output / "pictures", output / "vgg16fc", output / "run"
    last = [f"--prefix={runs / STAGES[-1]}", f"--epoch={epochs[-1]}"]

    def make() -> None:
        from ..data.generated import write_voc

        write_voc(data, {"train": train, "val": val})
        say(f"{train} pictures to train on and {val} others in {data}")

    def convert() -> None:
        from importlib.resources import files

        _command("convert", str(files("fcnxs") / "vgg16_shapes.caffemodel"), str(vgg))

    def finetune() -> None:
        if (runs / "run.json").is_file():
            _command("finetune", f"--resume={runs}", *train_on)
            return
        _command(
            *("finetune", f"--data={data}", f"--prefix={vgg}", "--epoch=0", f"--output={runs}"),
            *("--recipe=adam", f"--epochs={','.join(map(str, epochs))}", *train_on),
        )

    def evaluate() -> None:
        _command("evaluate", *last, f"--data={data}", f"--json={output / 'scores.json'}", *evaluate_on)

    def export() -> None:
        _command("export", *last, f"--output={output / 'deploy' / STAGES[-1]}")

    return [
        ("make pictures", make),
        ("convert the narrow VGG-16", convert),
        ("train FCN-32s, FCN-16s and FCN-8s, which takes most of the time", finetune),
        ("evaluate FCN-8s", evaluate),
        ("write the report", lambda: _command("report", str(runs), *evaluate_on)),
        ("export FCN-8s", export),
        (
            "draw the three nets side by side",
            lambda: _draw(output / "comparison.png", data, runs, epochs, first),
        ),
    ]


def _print_results(output: Path, record: Dict[str, Any]) -> None:
    """Print the scores of the stages and the files."""
    from ..finetune.run_folder import SUMMARY, read_rows
    from .shared.text import summary_table

    rows = read_rows(output / "run")
    if not rows:
        raise FCNXSError(f"{output / 'run' / SUMMARY}: no such file; remove {output} to run the demo anew")
    show()
    show(summary_table(rows))
    show(f"\nThis took {record['seconds']:.0f} seconds. The results are in {output}:")
    for path, what in (
        ("comparison.png", "image, truth and the three nets side by side"),
        ("run/", "checkpoints, metrics.jsonl, summary.json"),
        ("run/report.html", "the run on one page: curves, classes, best and worst images"),
        ("scores.json", "scores of FCN-8s, class by class"),
        ("deploy/", "FCN-8s as plain MXNet loads it"),
        ("pictures/", "the data, in VOC layout"),
        ("vgg16fc-*", "the narrow VGG-16, to finetune on images of your own"),
    ):
        say(f"  {path:<17}{what}")


def _print_where(output: Path, record: Dict[str, Any]) -> None:
    """Print the last line of a demo that was given GPUs: what ran where, its scores and seconds."""
    from ..finetune.run_folder import read_rows

    scores = ", ".join(f"{row['mean_iu']:.4f}" for row in read_rows(output / "run"))
    where = ", then on ".join(record["devices"] or ["the CPU alone"])
    took = f"{record['seconds']:.0f} seconds"
    please = _please(output, "If these are far from the README's")
    say(f"all steps ran on {where}, in {took}; mean IU of FCN-32s, FCN-16s and FCN-8s: {scores}. {please}")


def _command(*arguments: str) -> None:
    """Print a command of this package, and run it."""
    from .main import parse

    say(f"$ fcnxs {shlex.join(arguments)}")
    args = parse(list(arguments))
    code = args.run(args)
    if code:
        raise FCNXSError(f"fcnxs {arguments[0]} ended with exit code {code}")


def _draw(file: Path, data: Path, runs: Path, epochs: tuple, device: str) -> None:
    """Draw four pictures, their labels, and the class maps of each stage, with a legend of the classes."""
    from PIL import Image

    from ..data.generated import CLASSES
    from ..data.images import read_image
    from ..data.labels import read_label
    from ..data.lists import find_list, read_list
    from ..predict.segmenter import Segmenter
    from ..vis import colour, comparison

    pairs = read_list(*find_list(data, "val"))[:4]
    rows = [{"image": read_image(image)} for image, _ in pairs]
    for row, (_, label) in zip(rows, pairs):
        row["truth"] = colour(read_label(label), COLOURS)
    for name, epoch in zip(STAGES, epochs):
        segmenter = Segmenter(runs / name, epoch, ctx=devices.device(device))
        for row in rows:
            row[f"FCN-{name[3:]}"] = colour(segmenter(row["image"]), COLOURS)
    Image.fromarray(comparison(rows, legend=list(zip(CLASSES, COLOURS)))).save(file)

"""`fcnxs benchmark gpu`: run all steps on somebody's GPU, and write one file with what we need to know."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List, Sequence

from .... import __version__
from ....doctor import facts
from ....doctor.gpus import ONNX, TF32_FROM, counted, runs_on, shown, why_none
from ....errors import FCNXSError
from ....system.files import written_whole
from ....system.own import refuse_strangers
from ...shared import devices, options
from ...shared.printing import say
from ...shared.signals import Ended
from .steps import Step

TITLE = "fcnxs benchmark gpu"  # the file begins with it
NOTE = "This file has names of folders and variables of your machine: look through it before you send it."
HOUR = 3600  # seconds
EXACT, DEFAULT = {"NVIDIA_TF32_OVERRIDE": "0"}, {"NVIDIA_TF32_OVERRIDE": None}  # TF32 off, and as NVIDIA has it


def gpu(args: argparse.Namespace) -> int:
    """Run the steps and write the file; 1 if a step has failed."""
    file = args.output.with_name(f"{args.output.name.removesuffix('.txt')}.txt")
    options.refuse_unwritable("--output", file.parent)
    refuse_strangers([file], args.overwrite, lambda there: there.read_bytes().startswith(TITLE.encode()))
    found = facts.gather(args.environment)
    with tempfile.TemporaryDirectory() as folder:
        return check(steps(args, found, Path(folder)), args, file)


def part(args: argparse.Namespace) -> int:
    """Be the process of one step."""
    if args.part == "resume":
        from .runs import resume

        return resume(args)
    from .parts import PARTS

    return PARTS[args.part](args)


def steps(args: argparse.Namespace, found: facts.Facts, root: Path) -> List[Step]:
    """All steps, those that this machine cannot do with the reason; they may write to the folder `root`.

    Raises:
        FCNXSError: MXNet sees no GPU that --device names, or has code for none.
    """
    gpus = _gpus(args.device, found)
    first, fcnxs = gpus[:1], [sys.executable, "-X", "faulthandler", "-m", "fcnxs"]
    capability = found.capabilities[int(first[0])] if found.capabilities else None
    old = f"no TF32 below {shown(TF32_FROM)}" if capability and capability < TF32_FROM else ""

    def one(name: str, title: str, on: Sequence[str] = first, skip: str = "", **how: object) -> Step:
        net = [
            f"--width={args.width}",
            f"--fc={args.fc}",
            f"--image-size={args.image_size}",
            f"--steps={args.steps}",
        ]
        net += [f"--num-images={args.num_images}"] if args.num_images else []
        words = [*fcnxs, "benchmark", "gpu", f"--part={name}", f"--device=gpu:{','.join(on)}", *net]
        return Step(name, title, words, skip=skip, **how)

    smi, tests = shutil.which("nvidia-smi"), _tests()
    pytest = "" if find_spec("pytest") else "no pytest; pip install '.[cu112,test]'"
    speed = [
        one(f"{what}-{how}", f"seconds and memory of {title}, {how}")
        for what, title in (("train", "a training step"), ("infer", "segmentation"))
        for how in ("whole", "trimmed")
    ]
    return [
        Step("doctor", "fcnxs doctor finds nothing wrong", [*fcnxs, "doctor"]),
        Step("nvidia-smi", "nvidia-smi", [smi or ""], 300, skip="" if smi else "it is not on the PATH"),
        one("devices", "devices, versions and variables", gpus),
        one("exact", "gradients as exact as the CPU's, without TF32", variables=EXACT),
        one("tf32", "gradients with TF32", skip=old, variables=DEFAULT),
        *speed,
        one("sizes", "training steps on images of different sizes"),
        one(
            "two",
            "two GPUs, against one that accumulates",
            gpus[:2],
            "" if gpus[1:] else "one GPU",
            variables=EXACT,
        ),
        one("resume", "a run interrupted, resumed on GPU and CPU, and exported", variables=EXACT),
        Step(
            "demo",
            "fcnxs demo on the GPU",
            [*fcnxs, "demo", f"--device=gpu:{','.join(first)}", f"--output={root / 'demo'}"],
            HOUR,
        ),
        Step(
            "tests",
            "the tests on the GPU",
            [sys.executable, "-X", "faulthandler", "-m", "pytest", "-rfE", str(tests)],
            4 * HOUR,
            {**EXACT, "FCNXS_TEST_CTX": f"gpu({','.join(first)})"},
            ("" if tests else "tests/ is not here; run this in a clone of the repository") or pytest,
        ),
    ]


def _gpus(given: str | None, found: facts.Facts) -> List[str]:
    """Numbers of the GPUs to check: those that --device names, or all that MXNet sees and has code for."""
    there = found.mxnet_gpus
    kinds = dict(enumerate(found.capabilities))
    good = [number for number in range(there) if runs_on(kinds.get(number))]
    kind, numbers = devices.kind_and_numbers(given or "gpu")
    if not there:
        raise FCNXSError(f"benchmark gpu: MXNet sees no GPU here: {why_none(found, numbers[0])}")
    if not good:
        names = ", ".join(shown(each) for each in found.capabilities)
        raise FCNXSError(f"benchmark gpu: MXNet has no code for the GPUs here, of capability {names}; {ONNX}")
    if given is None:
        return [str(number) for number in good]
    if kind == "cpu" or max(numbers) >= there:
        sees = f"MXNet sees {counted(there)}, with {devices.numbers(there)}"
        raise FCNXSError(f"--device {given}: {sees}")
    without = [number for number in numbers if number not in good]
    if without:
        way = f"it has code for --device gpu:{','.join(map(str, good))}"
        capability = shown(kinds[without[0]])
        raise FCNXSError(f"--device {given}: MXNet has no code for gpu:{without[0]}, of {capability}; {way}")
    return [str(number) for number in numbers]


def _tests() -> Path | None:
    """The folder of the tests: of a clone that is the current folder, or from which fcnxs runs."""
    for clone in (Path.cwd(), Path(__file__).parents[3]):
        if (clone / "tests" / "conftest.py").is_file() and (clone / "symbols").is_dir():
            return clone / "tests"
    return None


def check(todo: Sequence[Step], args: argparse.Namespace, file: Path) -> int:
    """Run the steps one after the other, write the file after each, and print a line for each.

    Returns:
        1 if a step has failed.

    Raises:
        Ended: a signal asked for it; the file has what was done until then.
    """
    began = datetime.now(timezone.utc)
    say(f"{len(todo)} steps; {file} has the results of those that are done")
    with tempfile.TemporaryDirectory() as folder:
        try:
            for step in todo:
                try:
                    step.run(args.environment, Path(folder))
                finally:
                    _write(file, todo, args, began)
                say(step.told())
        except (KeyboardInterrupt, Ended) as end:
            number = getattr(end, "number", signal.SIGINT)
            raise Ended(number, f" in step {step.name}; {file} has what was done until then") from None
    failed = [step.name for step in todo if step.result == "FAIL"]
    what = f"failed: {', '.join(failed)}" if failed else "nothing failed"
    say(f"wrote {file}: {what}. Please send us this file, in an issue of this project")
    return int(bool(failed))


def _write(file: Path, todo: Sequence[Step], args: argparse.Namespace, began: datetime) -> None:
    counts: Dict[str, int] = {}
    for step in todo:
        counts[step.result] = counts.get(step.result, 0) + 1
    summary = ", ".join(f"{count} {result}" for result, count in counts.items())
    head = [
        f"{TITLE}, fcnxs {__version__}, begun {began:%Y-%m-%d %H:%M:%S} UTC: {summary}",
        f"width {args.width:g}, fc {args.fc}, images of {args.image_size}",
        NOTE,
        "",
        "result   seconds  step",
        *(step.told() for step in todo),
        "",
    ]
    with written_whole(file) as (whole,):
        whole.write_text("\n".join([*head, *(step.section() for step in todo)]), encoding="utf-8")

"""`fcnxs benchmark infer`: one net and image on this project, MXNet, and every other engine that is here."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

from ....errors import FCNXSError
from ...shared import options
from ..material import sides
from ..worker import Answer, Worker, in_turns
from .engines import ENGINES, environment, missing, threads
from .machine import INSTRUCTIONS, processor
from .output import group_table, write
from .results import LeftOut, Report, make_row

IMAGES = 8  # to calibrate int8 with
CODE = "import sys; from fcnxs.tools.benchmarks.infer.process import main; sys.exit(main(*sys.argv[1:]))"

Answers = Dict[str, List[Answer]]


def infer(args: argparse.Namespace) -> int:
    """Measure, print a table for each size and precision, and write all of it; 1 if an engine has failed."""
    sizes, precisions = _chosen(args)
    args.images = args.images or IMAGES
    report = Report(processor().name, threads(), f"FCN-8s, width {args.width:g}, fc {args.fc}", args.steps)
    print(
        f"{report.net}; {report.processor}, {report.threads} threads; medians of {args.steps} passes, in turns"
    )
    planned = list(_planned(args, precisions, report))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        job = {"width": args.width, "fc": args.fc, "images": args.images, "size": sizes[0]}
        (root / "job.json").write_text(json.dumps(job))
        for size in sizes:
            (root / size).mkdir()
            _once(args, "images", root / size)
            _measure_size(args, size, root / size, planned, report)
    if not report.rows:
        raise FCNXSError("benchmark infer: no engine could be measured; the lines above say why")
    write(report, args.output, print)
    return 1 if any(each.failed for each in report.left_out) else 0


def _chosen(args: argparse.Namespace) -> Tuple[List[str], List[str]]:
    """Sizes and precisions to measure.

    Raises:
        FCNXSError: an option has something else than it takes.
    """
    if args.gpus:
        raise FCNXSError("--gpus: infer measures on the CPU; leave it out")
    sizes, precisions = args.sizes.split(","), args.precision.split(",")
    for size in sizes:
        sides("--sizes", size)
    for option, values, known in (
        ("--precision", precisions, INSTRUCTIONS),
        ("--engines", (args.engines or "").split(",") if args.engines else [], ENGINES),
    ):
        wrong = [value for value in values if value not in known]
        if wrong:
            raise FCNXSError(f"{option} {wrong[0]}: want some of {','.join(known)}")
    options.refuse_unwritable("--output", args.output.parent)
    return list(dict.fromkeys(sizes)), list(dict.fromkeys(precisions))


def _planned(
    args: argparse.Namespace, precisions: Sequence[str], report: Report
) -> Iterator[Tuple[str, List[str]]]:
    """Each precision that this processor has, and its engines that are installed; what is left out is told."""
    chosen = args.engines.split(",") if args.engines else list(ENGINES)
    for precision in precisions:
        lacking = processor().lacks(precision)
        if lacking:
            _leave_out(report, LeftOut("every engine", precision, f"{processor().name} has no {lacking}"))
            continue
        there = []
        for name in chosen:
            if precision in ENGINES[name].precisions:
                absent = missing(name, precision)
                if absent:
                    reason = (
                        f"{' and '.join(absent)} not installed (pip install 'fcnxs[bench]'; PyTorch by itself)"
                    )
                    _leave_out(report, LeftOut(name, precision, reason))
                else:
                    there.append(name)
        yield precision, there


def _measure_size(
    args: argparse.Namespace,
    size: str,
    folder: Path,
    planned: Sequence[Tuple[str, List[str]]],
    report: Report,
) -> None:
    """Rows of one size; those of one precision are measured together."""
    onnx_error = ""
    if any("onnx" in ENGINES[name].packages for _, names in planned for name in names):
        try:
            _once(args, "onnx_file", folder)
        except FCNXSError as error:
            onnx_error = f"no ONNX file: {error}"
    for precision, names in planned:
        for name in names:
            if onnx_error and "onnx" in ENGINES[name].packages:
                _leave_out(report, LeftOut(name, precision, onnx_error, size, failed=True))
        able = [name for name in names if not onnx_error or "onnx" not in ENGINES[name].packages]
        answers, failures = _in_turns(args, ["rate", *able], precision, folder)
        for name, reason in failures.items():
            _leave_out(report, LeftOut(name, precision, reason, size, failed=True))
        rates = answers.pop("rate", [])
        rows = [make_row(name, precision, size, each, folder) for name, each in answers.items()]
        report.add(rows, rates, folder)
        if rows:
            print(f"\n{size}, {precision}\n{group_table(report, rows)}", flush=True)


def _in_turns(
    args: argparse.Namespace, names: Sequence[str], precision: str, folder: Path
) -> Tuple[Answers, Dict[str, str]]:
    """Answers of each engine's timed passes, and the reasons of those that have none."""
    failures: Dict[str, str] = {}

    def workers() -> Iterator[Worker]:
        for name in names:
            lack = _lack_of_memory(folder)
            if lack:
                failures[name] = lack
            else:
                yield _worker(args, name, precision, folder)

    return in_turns(workers(), args.steps, failures=failures), failures


def _lack_of_memory(folder: Path) -> str:
    """What an engine may need and the machine has not, as words: its weights in several forms, and maps."""
    from ....system.memory import available_memory

    weights = (folder.parent / "weights.safetensors").stat().st_size
    width, height = map(int, folder.name.split("x"))
    needed = 5 * weights + 3 * 64 * 4 * (width + 200) * (height + 200)
    available = available_memory()
    if needed <= available:
        return ""
    return (
        f"{available / 1e9:.1f} GB of memory are left, and it may take {needed / 1e9:.1f}; "
        "measure fewer at a time with --engines"
    )


def _worker(args: argparse.Namespace, name: str, precision: str, folder: Path) -> Worker:
    command = [sys.executable, "-c", CODE, name, precision, str(folder)]
    return Worker(args, name, command, environment(name))


def _once(args: argparse.Namespace, name: str, folder: Path) -> None:
    with _worker(args, name, "fp32", folder) as worker:
        worker.ask()


def _leave_out(report: Report, what: LeftOut) -> None:
    report.left_out.append(what)
    print(f"left out: {what}", flush=True)

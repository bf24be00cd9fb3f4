"""`fcnxs benchmark infer`: one net and image on this project, on MXNet, and on the other engines installed.

A process prepares the files; then each engine has a process of its own, and those of one size and precision
take turns, as many at a time as the memory holds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from math import ceil
from pathlib import Path
from typing import Dict, Iterator, List, Sequence, Tuple

import numpy as np

from ....errors import FCNXSError
from ....system.memory import available_memory
from ...shared import options
from ...shared.devices import kind_and_numbers
from ...shared.sizes import height_and_width
from ..material import SHORTEST
from ..worker import Answer, Worker, in_turns
from .engines import ENGINES, INSTRUCTIONS, environment, missing, processor, threads
from .process import memory_needed
from .results import Measurements, group_table, make_row, refuse_to_replace, write

IMAGES = 8  # images to calibrate int8 with
CODE = "import sys; from fcnxs.tools.benchmarks.infer.process import main; sys.exit(main(*sys.argv[1:]))"


def infer(args: argparse.Namespace) -> int:
    """Measure, print a table for each size and precision, and write the files; 1 if an engine has failed."""
    sizes, precisions, engines = _chosen(args)
    net = f"FCN-8s, width {args.width:g}, fc {args.fc}"
    measured = Measurements(processor().name, threads(), net, args.steps)
    print(f"{net}; {measured.processor}, {threads()} threads; medians of {args.steps} passes, in turns")
    planned = list(_planned(engines, precisions, measured))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        job = {"width": args.width, "fc": args.fc, "images": args.num_images or IMAGES, "image_size": sizes[0]}
        (root / "job.json").write_text(json.dumps(job))
        for size in sizes:
            (root / size).mkdir()
            _once(args, "images", root / size)
            _measure_size(args, planned, root / size, measured)
    if not measured.rows:
        raise FCNXSError("benchmark infer: no engine could be measured; the lines above say why")
    write(measured, args.output)
    return int(any(each.failed for each in measured.left_out))


def _chosen(args: argparse.Namespace) -> List[List[str]]:
    """Sizes, precisions and engines to measure.

    Raises:
        FCNXSError: an option has a value that it does not take.
    """
    if kind_and_numbers(args.device)[0] == "gpu":
        raise FCNXSError(f"--device {args.device}: infer measures on the CPU; leave it out")
    sizes, precisions = args.image_sizes.split(","), args.precision.split(",")
    for size in sizes:
        height_and_width(size, SHORTEST, "--image-sizes")
    engines = args.engines.split(",") if args.engines else [*ENGINES]
    for option, values, known in (("--precision", precisions, INSTRUCTIONS), ("--engines", engines, ENGINES)):
        wrong = [value for value in values if value not in known]
        if wrong:
            raise FCNXSError(f"{option} {wrong[0]}: expected some of {','.join(known)}")
    options.refuse_unwritable("--output", args.output.parent)
    refuse_to_replace(args.output, args.overwrite)
    return [list(dict.fromkeys(each)) for each in (sizes, precisions, engines)]


def _planned(
    engines: Sequence[str], precisions: Sequence[str], measured: Measurements
) -> Iterator[Tuple[str, List[str]]]:
    """Each precision that this processor supports, with the engines that are installed."""
    for precision in precisions:
        lacking = processor().lacks(precision)
        if lacking:
            measured.leave_out("every engine", precision, f"{processor().name} has no {lacking}")
            continue
        absent = {name: missing(name, precision) for name in engines if precision in ENGINES[name].precisions}
        for name, packages in absent.items():
            if packages:
                cure = "(pip install '.[bench]'; PyTorch by itself)"
                measured.leave_out(name, precision, f"{' and '.join(packages)} not installed {cure}")
        yield precision, [name for name, packages in absent.items() if not packages]


def _measure_size(
    args: argparse.Namespace, planned: Sequence[Tuple[str, List[str]]], folder: Path, measured: Measurements
) -> None:
    """Measure the size that the folder is named after."""
    files = dict.fromkeys(ENGINES[name].file for _, names in planned for name in names)
    for file in filter(None, files):
        try:
            _once(args, file, folder)
        except FCNXSError as error:  # engines that need the file fail below
            measured.leave_out(f"the file {file}", "fp32", str(error), folder.name, failed=True)
    for precision, names in planned:
        failures: Dict[str, str] = {}
        answers: Dict[str, List[Answer]] = {"rate": []}
        for group in groups(names, folder):
            workers = (_worker(args, name, precision, folder) for name in ["rate", *group])
            for name, each in in_turns(workers, args.steps, failures=failures).items():
                answers.setdefault(name, []).extend(each)
        for name, reason in failures.items():
            measured.leave_out(name, precision, reason, folder.name, failed=True)
        rates = answers.pop("rate")
        rows = [make_row(name, precision, each, folder) for name, each in answers.items()]
        measured.add(rows, rates, folder)
        if rows:
            print(f"\n{folder.name}, {precision}\n{group_table(measured, rows)}", flush=True)


def groups(names: Sequence[str], folder: Path) -> List[List[str]]:
    """Engines that take turns, in groups that the memory holds, of about the same size."""
    loading, running = memory_needed(folder)
    most = max(1, int((available_memory() - loading) / running))
    return [[*map(str, group)] for group in np.array_split(names, ceil(len(names) / most) or 1)]


def _worker(args: argparse.Namespace, name: str, precision: str, folder: Path) -> Worker:
    command = [sys.executable, "-c", CODE, name, precision, str(folder)]
    return Worker(args, name, command, environment(name))


def _once(args: argparse.Namespace, name: str, folder: Path) -> None:
    with _worker(args, name, "fp32", folder) as worker:
        worker.ask()

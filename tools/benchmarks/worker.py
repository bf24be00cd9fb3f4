"""Processes that stay alive, do one thing each time they are asked, and answer with its time and their memory.

process 1   prepare  . do . . . do . . . do
process 2   prepare  . . . do . . . do . . . do     in turns, so that all meet the machine in the same state
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Callable, Dict, Iterable, List, NamedTuple, Sequence

from ...errors import FCNXSError
from ...system.children import ending_with_us

REST = 0.5  # seconds between turns, after which the threads of the process before no longer spin


class Answer(NamedTuple):
    """Time that a process took to do its work once, and its memory afterwards."""

    seconds: float
    resident: float  # GB
    peak: float  # GB


class Worker:
    """A process that runs `fcnxs benchmark WHAT --part PART` with the options in `args`, or another command."""

    def __init__(
        self,
        args: argparse.Namespace,
        part: str,
        command: Sequence[str] | None = None,
        environment: Dict[str, str] | None = None,
    ) -> None:
        self.name, self._errors = part, tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed on exit)
        self._process = subprocess.Popen(
            ending_with_us(command or _command(args, part)),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self) -> Answer:
        """Let the process do its work once.

        Raises:
            FCNXSError: the process has failed; the last line of its errors says why.
        """
        with suppress(BrokenPipeError):  # the process has failed: no line comes, see below
            print(file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if line:
            return Answer(*json.loads(line))
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines() or [f"exit code {code}"]
        raise FCNXSError(f"benchmark: the process {self.name!r} failed: {lines[-1].removeprefix('fcnxs: ')}")

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def _command(args: argparse.Namespace, part: str) -> List[str]:
    given = {name: getattr(args, name) for name in ("image_size", "width", "fc", "num_images", "device")}
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None]
    settings += ["--no-trim"] * args.no_trim
    return [sys.executable, "-m", "fcnxs", "benchmark", args.what, "--part", part, *settings]


def serve(do: Callable[[], object]) -> int:
    """Be such a process: call `do` for each line of standard input, and write the answer to standard output."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # prints of `do` are no answers
    for _ in sys.stdin:
        began = time.perf_counter()
        do()
        print(json.dumps(Answer(time.perf_counter() - began, *memory())), file=answers, flush=True)
    return 0


def in_turns(
    workers: Iterable[Worker], rounds: int, untimed: int = 2, failures: Dict[str, str] | None = None
) -> Dict[str, List[Answer]]:
    """Start each worker, ask it `untimed` times, then ask all in turns; returns the turns' answers by name.

    Args:
        failures: gets the reason of each worker that fails, by name; without it the first failure is raised.
    """
    answers: Dict[str, List[Answer]] = {}
    with ExitStack() as stack:

        def ask(worker: Worker) -> None:
            try:
                answers[worker.name].append(worker.ask())
            except FCNXSError as error:
                if failures is None:
                    raise
                failures[worker.name] = str(error).partition(" failed: ")[2]
                del answers[worker.name]

        started = []
        for worker in workers:
            started.append(stack.enter_context(worker))
            answers[worker.name] = []
            for _ in range(untimed):
                if worker.name in answers:
                    ask(worker)
        for worker in started * rounds:
            if worker.name in answers:
                time.sleep(REST)
                ask(worker)
    return {name: each[untimed:] for name, each in answers.items()}


def compare(
    args: argparse.Namespace,
    parts: Sequence[str],
    rounds: int | None = None,
    untimed: int = 2,
    images: int = 1,
) -> int:
    """Ask a process for each part in turns, and print its times, its peak, and their ratios to the first one's.

    Args:
        rounds: number of turns; None for --steps.
        images: number of images in each turn; times are those of one image.
    """
    answers = in_turns((Worker(args, part) for part in parts), rounds or args.steps, untimed)
    first: tuple = ()
    for name, each in answers.items():
        seconds, peak = [answer.seconds / images for answer in each], each[-1].peak
        median = statistics.median(seconds)
        first = first or (median, peak)
        print(
            f"{name:<9}{' '.join(f'{value:.2f}' for value in seconds)} s: median {median:.3f} s, "
            f"ratio {median / first[0]:.3f}; peak {peak:.2f} GB, ratio {peak / first[1]:.3f}"
        )
    print(f"FCN-8s, {args.image_size}, width {args.width:g}, seconds of an image; ratios to {parts[0]!r}")
    return 0


def memory() -> List[float]:
    """Resident memory of this process, and its peak since it began or since `forget_peak`, in GB."""
    status = Path("/proc/self/status").read_text()
    return [int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024 / 1e9 for name in ("VmRSS", "VmHWM")]


def forget_peak() -> None:
    """Let the peak of this process's memory begin anew, where the kernel permits it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")

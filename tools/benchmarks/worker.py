"""Processes that stay alive and do one thing each time they are asked, and what they share."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence

import numpy as np

from ...errors import FCNXSError

CLASSES = 21
SETTINGS = {"learning_rate": 1e-6, "momentum": 0.99, "wd": 5e-4}
REST = 0.5  # seconds between turns, in which the threads of the process before stop looking for work


class Answer(NamedTuple):
    """What doing it once took, and the memory of the process afterwards."""

    seconds: float
    resident: float  # GB
    peak: float  # GB


class Inputs(NamedTuple):
    """Names of the net's inputs, as a data iterator has them."""

    data_name: str = "data"
    label_name: str = "softmax_label"


class Worker:
    """A process `fcnxs benchmark WHAT --part PART`, with the options of this one, or of another command.

    Raises:
        FCNXSError: when asked, the process has failed; the last line of its errors says why.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        part: str,
        command: Sequence[str] | None = None,
        environment: Dict[str, str] | None = None,
    ) -> None:
        self.name, self._errors = part, tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed on exit)
        self._process = subprocess.Popen(
            command or _command(args, part),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def ask(self) -> Answer:
        """Let it do it once."""
        with suppress(BrokenPipeError):  # it has failed, and says why
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
    command = [sys.executable, "-m", "fcnxs", "benchmark", args.what, "--part", part, "--size", args.size]
    command += ["--width", str(args.width), "--fc", str(args.fc), "--steps", str(args.steps)]
    command += ["--images", str(args.images)] if args.images else []
    return command + (["--gpus", args.gpus] if args.gpus else [])


def serve(do: Callable[[], object]) -> int:
    """Be such a process: do it once for each line of standard input."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what is printed meanwhile is no answer
    for _ in sys.stdin:
        began = time.perf_counter()
        do()
        print(json.dumps(Answer(time.perf_counter() - began, *memory())), file=answers, flush=True)
    return 0


def in_turns(workers: Sequence[Worker], rounds: int, untimed: int = 2) -> Dict[str, List[Answer]]:
    """Ask each worker `untimed + rounds` times, in turns; the answers of the last rounds by name."""
    answers: Dict[str, List[Answer]] = {worker.name: [] for worker in workers}
    for _ in range(untimed + rounds):
        for worker in workers:
            time.sleep(REST)
            answers[worker.name].append(worker.ask())
    return {name: each[untimed:] for name, each in answers.items()}


def memory() -> List[float]:
    """Resident memory of this process and its peak so far, in GB; getrusage's peak begins with the parent's."""
    status = Path("/proc/self/status").read_text()
    return [int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024 / 1e9 for name in ("VmRSS", "VmHWM")]


def image_shape(args: argparse.Namespace) -> tuple:
    """Shape (1, 3, H, W) of an image of --size."""
    return (1, 3, *(int(side) for side in args.size.split("x")[::-1]))


def net_and_weights(args: argparse.Namespace) -> tuple:
    """Symbol of FCN-8s, and random weights in numpy; the last upsampling is bilinear, as training leaves it."""
    from ...symbols import get_fcn8s_symbol
    from ...symbols.interpolation import bilinear

    symbol = get_fcn8s_symbol(CLASSES, width=args.width, fc=args.fc)
    shapes, _, _ = symbol.infer_shape(data=image_shape(args))
    named = dict(zip(symbol.list_arguments(), shapes))
    weights = random_weights({name: shape for name, shape in named.items() if name not in Inputs()})
    return symbol, {**weights, "bigscore_weight": bilinear(named["bigscore_weight"])}


def random_image(shape: tuple, seed: int = 0) -> Dict[str, np.ndarray]:
    """Input (1, 3, H, W) and label (1, H, W), classes and a few 255, as a data iterator gives them."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, CLASSES, (1, *shape[2:])).astype(np.float32)
    label[rng.random(label.shape) < 0.05] = 255
    return {"data": rng.normal(0, 50, shape).astype(np.float32), "softmax_label": label}


def random_weights(shapes: Dict[str, tuple], seed: int = 0) -> Dict[str, np.ndarray]:
    """Random parameters of these shapes that keep the size of activations, float32."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.standard_normal(shape, np.float32)
        * np.float32((2 / prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1)
        for name, shape in shapes.items()
    }

"""run.log: the facts that are needed to repeat a run, and its events."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence, TextIO

from ..checkpoint import Meta, versions
from ..compat import mxnet as mx
from ..errors import FCNXSError, reason, shown
from ..score import Scores
from ..stages import Stage
from .listener import Listener

PACKAGES = ("gluoncv", "opencv-python", "pillow", "protobuf", "tensorboardX")
VARIABLES = (
    "CUDA_",
    "DMLC_",
    "DNNL_",
    "KMP_",
    "MALLOC_",
    "MXNET_",
    "NVIDIA_",
    "OMP_",
    "PS_",
)  # beginnings of their names


def facts(
    command: Sequence[str],
    devices: Sequence[mx.Context],
    seed: int,
    meta: Meta,
    data: Mapping[str, str],
    **more: object,
) -> Dict[str, object]:
    """Facts at the head of a log: command, versions, machine, data.

    Args:
        command: words of the command line.
        meta: metadata of the checkpoints; its source is the parent's file and sha256.
        data: fingerprint of each data set, by name.
        **more: further facts.
    """
    return {
        "command": shlex.join(command),
        "folder": os.getcwd(),
        "versions": installed(),
        "platform": platform.platform(),
        "processors": len(os.sched_getaffinity(0)),
        "variables": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(VARIABLES)},
        "mxnet features": [name for name, feature in mx.runtime.Features().items() if feature.enabled],
        "devices": ", ".join(map(str, devices)),
        "seed": seed,
        "parent": meta.source,
        "data": dict(data),
        "classes": meta.heads or meta.classes,
        "mean": meta.mean,
        **more,
    }


def installed() -> Dict[str, str]:
    """Versions of the packages that a run depends on."""
    found = versions()
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


class RunLog(Listener):
    """Append to a log file: a block of facts, then a line for each event, with its time (UTC).

        2024-05-01T10:00:00Z run begins: 1464 images to train on, 1449 to evaluate on
          seed: 0
        2024-05-01T11:30:00Z epoch: {"stage": "fcn32s", "epoch": 1, ...}

    A fact that is not one line of text is written as JSON. The last line says how the run ended; it is missing
    if the process was killed.

    Args:
        file: the log; its folder exists when the run begins.
        facts: facts on the machine and the run, by name, from the function `facts`.
        warnings: warnings of the data, written behind the facts.

    Raises:
        FCNXSError: the file cannot be written.
    """

    def __init__(self, file: Path, facts: Mapping[str, object], warnings: Sequence[str] = ()) -> None:
        self.file, self.facts, self.warnings = file, facts, tuple(warnings)
        self._lines: TextIO | None = None

    def begin(self, stages: Sequence[Stage], images: int, evaluated: int) -> None:
        """Write the numbers of images, the facts and the stages."""
        self._write(f"run begins: {images} images to train on, {evaluated} to evaluate on")
        for name, value in self.facts.items():
            line = isinstance(value, str) and value.isprintable()
            self._write(f"  {name}: {value if line else json.dumps(value)}", timed=False)
        for stage in stages:
            self._write(f"  stage: {json.dumps(asdict(stage))}", timed=False)
        for text in self.warnings:
            self.warning(text)

    def goes_on(self, stage: str, epoch: int, batches: int) -> None:
        """Write where the run resumes."""
        self._write(f"goes on with {stage}, epoch {epoch}, after {batches} batches")

    def weights(self, stage: Stage, account: str) -> None:
        """Write where the parameters of a stage come from."""
        self._write(f"weights of {stage.name}: {account}")

    def epoch(self, record: Dict[str, Any], result: Scores | Dict[str, Scores] | None) -> None:
        """Write the line of metrics.jsonl."""
        self._write(f"epoch: {json.dumps(record)}")

    def ended_early(self, stage: Stage, epoch: int, best: int) -> None:
        """Write why a stage has ended."""
        self._write(f"{stage.name} ends after epoch {epoch}: its mean IU has not risen since epoch {best}")

    def saved(self, file: Path) -> None:
        """Write the name of a checkpoint."""
        self._write(f"saved: {file}")

    def warning(self, text: str) -> None:
        """Write a warning."""
        self._write(f"warning: {text}")

    def close(self) -> None:
        """Write how the run ended: with the error that is being handled, or well."""
        if self._lines is None:
            return
        error = sys.exc_info()[1]
        end = "done" if error is None else f"{type(error).__name__}: {error}".rstrip(": ")
        with suppress(FCNXSError):  # the error that ends the run says more
            self._write(f"run ends: {end}")
        with suppress(OSError):
            self._lines.close()
        self._lines = None

    def _write(self, text: str, timed: bool = True) -> None:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ ") if timed else ""
        try:
            if self._lines is None:
                self._lines = open(  # noqa: SIM115  (open as long as the run)
                    self.file, "a", buffering=1, encoding="utf-8", errors="backslashreplace"
                )
            self._lines.write(now + shown(" ".join(text.splitlines())) + "\n")
        except OSError as error:
            raise FCNXSError(f"{self.file}: cannot write: {reason(error)}") from None

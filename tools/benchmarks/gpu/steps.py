"""A step of `fcnxs benchmark gpu`: a command in a process of its own, its limit of time and its result."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping

from ....errors import shown
from ....system.children import ending_with_us

MOST = 30_000  # characters of a step's output that are kept: of what is longer, the beginning and the end
PATIENCE = 1.0  # seconds for a process that was killed to go; one that waits for a driver may never
STOPPED, EXIT_CODE = "stopped by a signal", "exit code"  # how a process may end


@dataclass
class Step:
    """One step; once it has run its result, `pass`, `FAIL`, `stopped` or `skipped`, its seconds and output."""

    name: str
    title: str
    command: List[str] = field(default_factory=list)
    limit: float = 1800  # seconds
    variables: Mapping[str, str | None] = field(default_factory=dict)  # set for it, or unset (None)
    skip: str = ""  # why it does not run
    result: str = "not run"
    seconds: float = 0.0
    output: str = ""

    def run(self, environment: Mapping[str, str], folder: Path) -> None:
        """Run the command, whose output goes through a file in `folder`, and keep its result.

        Its process, and all that this one started, are killed at the limit, and if a signal ends this process.
        """
        if self.skip:
            self.result = "skipped"
            return
        merged: Dict[str, str | None] = {**environment, **self.variables}
        given = {name: value for name, value in merged.items() if value is not None}
        file, began, end = folder / f"{self.name}.txt", time.monotonic(), STOPPED
        with file.open("wb") as stream:
            # A file instead of a pipe, which a process that cannot be killed would keep open.
            process = subprocess.Popen(
                ending_with_us(self.command),
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            end = _end(process.wait(self.limit))
        except subprocess.TimeoutExpired:
            end = f"it took more than {self.limit:g} seconds, and was killed"
        finally:
            _kill(process)
            self.seconds = time.monotonic() - began
            self.result = {"": "pass", STOPPED: "stopped"}.get(end, "FAIL")
            self.output = _cut(file.read_text(encoding="utf-8", errors="replace")) + f"{end}\n" * bool(end)

    def told(self) -> str:
        """Result, seconds and title, in one line; for one that did not pass, the reason too."""
        took = f"{self.seconds:8.1f}" if self.result in ("pass", "FAIL") else " " * 8
        why = f": {self.skip or self._why()}" if self.result in ("skipped", "FAIL") else ""
        return shown(f"{self.result:<8}{took}  {self.title}{why}")

    def _why(self) -> str:
        """How the process ended; with an exit code, what it printed last too."""
        *before, end = self.output.strip().splitlines()[-2:]
        return f"{before[0]} ({end})" if before and end.startswith(EXIT_CODE) else end

    def section(self) -> str:
        """The step for the file: command, variables, and what it printed; "" for one that did not run."""
        if self.result in ("not run", "skipped"):
            return ""
        unset = (f"--unset={name}" for name, value in self.variables.items() if value is None)
        given = (f"{name}={value}" for name, value in self.variables.items() if value is not None)
        command = shlex.join([*(["env", *unset, *given] if self.variables else []), *self.command])
        lines = [shown(line) for line in self.output.rstrip().splitlines()]
        return "\n".join([f"=== {self.name}: {self.result}, {self.seconds:.1f} s", f"$ {command}", *lines, ""])


def _end(code: int) -> str:
    """Why a process failed, by its exit code; "" if it did not."""
    if code < 0:
        with suppress(ValueError):
            return f"ended by {signal.Signals(-code).name}"
    return f"{EXIT_CODE} {code}" if code else ""


def _kill(process: subprocess.Popen) -> None:
    """Kill what is left of the process and of those that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)


def _cut(text: str) -> str:
    if len(text) <= MOST:
        return text
    return (
        f"{text[: MOST // 3]}\n[... {len(text) - MOST} characters are left out ...]\n{text[-2 * MOST // 3 :]}"
    )

"""Signals that ask a command to end.

The first raises `Ended` in the main thread, so that clean-up runs, or is remembered by `Stopping`. But Python's
handlers run between two instructions of the main thread, which may be in MXNet, wait for a file that never
comes, or lose an exception that a callback of C raises. So a thread of its own (`watch`) hears of each signal,
through a pipe that the handler in C writes to, and ends the process if it has not ended GRACE seconds later, or
at the second signal.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from ...early import SIGNALS, end_now, said
from ...errors import shown
from ...launch import lifeline
from ...system import locks, mapped

GRACE = 3.0  # seconds from a signal, or from the end of what `Stopping` lets finish, to the end of the process
TICK = 0.5  # seconds between two looks at what has become of a signal


class Ended(BaseException):
    """A signal asked the process to end. Raised, so that clean-up runs."""

    def __init__(self, number: int, more: str = "") -> None:
        self.number, self.more = number, more

    def __str__(self) -> str:
        return said(self.number) + self.more


class Stopping:
    """Context in which a first signal is remembered, and has time; a second ends the process at once."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __enter__(self) -> Stopping:
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:  # as nohup and a shell's background jobs have it
                signal.signal(number, self._remember)
        _watched.patient = True
        return self

    def __exit__(self, *_: object) -> None:
        _watched.patient = False
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self) -> bool:
        """Whether a signal has come."""
        return self.number is not None

    def end(self, more: str) -> NoReturn:
        """Raise `Ended`, with `more` at the end of its message.

        In a job of several processes, the signal may have come to another process; then SIGTERM is assumed.
        """
        raise Ended(self.number or signal.SIGTERM, more)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and not _watched.watching:  # else the thread ends the process
            raise Ended(number)
        self.number = self.number or number


def raise_ended() -> None:
    """Let signals raise `Ended` from now on; those that are ignored stay so, and SIGINT of other programs."""
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if handler is end_now or (number != signal.SIGINT and handler is not signal.SIG_IGN):
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None = None) -> None:
    if not _watched.raised:  # else the thread is about to end the process
        _watched.raised = _watched.watching
        raise Ended(number)


def watch() -> None:
    """Have a thread end this process soon after a signal, whatever its main thread does."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    _watched.watching = mapped.caught = True
    threading.Thread(target=_watched.run, args=(reading,), daemon=True, name="fcnxs-signals").start()
    sys.unraisablehook = _watched.lost


def told() -> None:
    """Note that the signal's line is printed."""
    _watched.told = True


class _Watched:
    """The signals of this process, as `watch` hears of them."""

    def __init__(self) -> None:
        self.watching = self.raised = self.told = False
        self.patient = False  # whether a first signal may take its time
        self.first: int | None = None  # number of the first signal

    def run(self, reading: int) -> NoReturn:
        """End the process when it is time; `reading` is the pipe of the signals' numbers."""
        since = stuck = time.monotonic()
        while True:
            heard = os.read(reading, 64) if select.select([reading], [], [], TICK)[0] else b""
            if signal.SIGBUS in heard:
                _end_of_a_cut_file()
            for number in heard:
                if number in SIGNALS:
                    if self.first is not None:
                        self.end(number)
                    self.first = number
            now, waiting = time.monotonic(), _pending()
            since = since if self.first is not None and not self.patient else now
            stuck = stuck if waiting else now
            if now - min(since, stuck) > GRACE:
                self.end(self.first or waiting[0])

    def end(self, number: int) -> NoReturn:
        """End the process, its children, and what it was writing, unless that blocks."""
        lifeline.leave(128 + number)
        for child in multiprocessing.active_children():
            child.kill()
        removing = threading.Thread(target=locks.abandon, daemon=True)
        removing.start()
        removing.join(TICK)
        end_now(number, told=self.told)

    def lost(self, what: Any) -> None:  # noqa: ANN401  (sys.UnraisableHookArgs, which has no public name)
        """End the process if a signal's exception was raised where Python drops it, as in `__del__`."""
        if isinstance(what.exc_value, (Ended, KeyboardInterrupt)):
            self.end(getattr(what.exc_value, "number", signal.SIGINT))
        sys.__unraisablehook__(what)


def _end_of_a_cut_file() -> NoReturn:
    lifeline.leave(2)
    with suppress(OSError):
        os.write(2, f"fcnxs: {shown(mapped.message())}\n".encode(errors="backslashreplace"))
    locks.abandon()
    os._exit(2)


_watched = _Watched()


def _pending() -> list[int]:
    """Signals that wait: a main thread that a dead file system holds does not even run the handler in C."""
    waiting = 0
    with suppress(OSError, ValueError), open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith(("SigPnd:", "ShdPnd:")):
                waiting |= int(line.split()[1], 16)
    return [number for number in SIGNALS if waiting >> (number - 1) & 1]

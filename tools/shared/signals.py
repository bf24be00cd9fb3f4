"""Signals that ask a run to end, remembered until it has saved its state."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Ended(BaseException):
    """A signal asked the process to end. Raised, so that clean-up runs."""

    def __init__(self, number: int, more: str = "") -> None:
        self.number, self.more = number, more

    def __str__(self) -> str:
        word = "interrupted" if self.number == signal.SIGINT else f"ended by {signal.Signals(self.number).name}"
        return word + self.more


class Stopping:
    """Context in which a first signal is remembered, and a second ends the process at once."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __enter__(self) -> Stopping:
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:  # as nohup and a shell's background jobs have it
                signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
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
        if self.number is not None:
            raise Ended(number)
        self.number = number

"""What a process that is the command does before its imports, which take a second.

A signal ends it without a traceback, and closed standard streams are opened, as files would get their numbers.
`fcnxs/__init__.py` imports this first, and its import does it. A program that imports the package, and is not
the command, is left as it is.
"""

import _signal as signal  # `signal` loads enum, and `typing` more: milliseconds in which nothing is set yet
import os
import sys

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def end_now(number: int, frame: object = None, told: bool = False) -> None:
    """Print which signal it was, unless that is told, and end the process, without clean-up.

    The exit code is 128 + number.
    """
    try:
        os.write(2, b"" if told else f"fcnxs: {said(number)}\n".encode())
    finally:  # also if nobody reads it
        os._exit(128 + number)


def said(number: int) -> str:
    """Words for the end by a signal."""
    names = {signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
    return "interrupted" if number == signal.SIGINT else f"ended by {names.get(number, number)}"


def open_streams() -> None:
    """Open /dev/null in the place of each standard stream that is closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free
        if getattr(sys, name) is None:
            stream = open(number, "w" if number else "r", closefd=False)  # noqa: SIM115  (as long as the process)
            setattr(sys, name, stream)


def _is_command() -> bool:
    name = os.path.basename((getattr(sys, "argv", None) or [""])[0])
    if name != "-m":  # as it is while Python looks for the module
        return name == "fcnxs"
    try:
        with open("/proc/self/cmdline", "rb") as words:
            words = words.read().split(b"\0")
    except OSError:
        return False
    return (b"-m", b"fcnxs") in zip(words, words[1:])


if _is_command():
    for _number in SIGNALS:
        if signal.getsignal(_number) is not signal.SIG_IGN:  # as nohup and a shell's background jobs have it
            signal.signal(_number, end_now)
    open_streams()

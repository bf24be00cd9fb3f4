"""The end of a process that is the command: what it printed is written, or it says why not."""

from __future__ import annotations

import errno
import os
import signal
import sys
from contextlib import suppress

# Numbers of the errors of a standard stream, which name no file.
UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT, errno.EFBIG)


def failed(error: Exception) -> str:
    """Message on a standard output that cannot be written."""
    return f"the output cannot be written: {getattr(error, 'strerror', None) or error}"


def end(code: object, at_once: bool) -> int:
    """Write what is left of the output, and end the process, or return the exit code.

    Args:
        code: exit code, or what `SystemExit` has in its place: None, or a message.
        at_once: end without what Python does at its end, which waits for threads that read, and may print.
    """
    if isinstance(code, str):
        code = _told(code, 1)
    code = int(code or 0)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has ended, as `head` does
        _drop(sys.stdout)
        code = code or 128 + signal.SIGPIPE
    except (OSError, ValueError) as error:
        code = code or _told(f"fcnxs: {failed(error)}", 2)
        _drop(sys.stdout)
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    if at_once:
        os._exit(code)
    return code


def _told(line: str, code: int) -> int:
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)
    return code


def _drop(stream: object) -> None:
    """Have the rest of a stream's text written nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        stream.flush()

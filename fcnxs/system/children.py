"""Processes that end with the one that starts them, even if that one is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, List, Sequence

# The kernel kills the process when the thread that started it ends (PR_SET_PDEATHSIG, which exec keeps). The
# child asks for it itself: code between fork and exec in this process would run MXNet's handlers of fork.
ASK = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)


def ending_with_us(command: Sequence[str]) -> List[str]:
    """Command that runs another one until this thread ends."""
    return [sys.executable, "-I", "-S", "-c", ASK, str(os.getpid()), *command]


def run(command: Sequence[str], **settings: Any) -> subprocess.CompletedProcess:  # noqa: ANN401
    """Run such a command to its end, as `subprocess.run`."""
    return subprocess.run(ending_with_us(command), **settings)

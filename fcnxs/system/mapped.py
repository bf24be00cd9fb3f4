"""Files that are mapped into memory, and what is known of one that is cut meanwhile.

The kernel sends SIGBUS to who reads a page that is no longer there, and Python cannot go on from it. A command
sets `caught`, and then ends with a line about the file.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Dict

if TYPE_CHECKING:
    import numpy as np

caught = False  # whether the thread of `tools/shared/signals.py` ends this process by itself
_sizes: Dict[str, int] = {}  # bytes of each mapped file, when it was mapped


def mapped(file: str | Path) -> np.ndarray:
    """Bytes of a file, uint8 (its size,), read at their first use; writing to them does not change the file."""
    import numpy as np  # not before it is needed: `doctor` runs where NumPy does not

    content = np.memmap(file, np.uint8, "c")
    _sizes[os.path.abspath(file)] = content.size
    if caught and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGBUS, _again)  # here, since MXNet sets its own handler while it loads
    return content


def message() -> str:
    """What to say of SIGBUS: the mapped files that are shorter now, or that a disk may have failed."""
    short = [file for file, size in _sizes.items() if not os.path.isfile(file) or os.path.getsize(file) < size]
    if short:
        return f"{', '.join(short)}: was cut by another process while it was read"
    return f"{', '.join(_sizes) or 'a file'}: cannot be read any more; did a disk fail, or its mount end?"


def _again(number: int, frame: object) -> None:
    """Do nothing: the read is tried again, and again, until the thread that hears of it ends the process."""

"""Print for a terminal: names of files, classes and layers come from others, and could steer it.

All commands print by `say` and `show`. This module imports little, since `doctor` uses it.
"""

from __future__ import annotations

import sys
from typing import TextIO

from ...errors import shown


def say(line: object, stream: TextIO | None = None) -> None:
    """Print one line on stdout, or another stream; control characters, such as newlines, are escaped."""
    print(shown(line), file=stream or sys.stdout, flush=True)


def show(text: object = "") -> None:
    """Print text of several lines on stdout, such as a table; other control characters are escaped."""
    print("\n".join(map(shown, str(text).split("\n"))), flush=True)

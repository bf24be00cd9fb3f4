"""What a data set by name is."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, NamedTuple, Tuple

from .samples import Samples


class Kind(NamedTuple):
    """A data set: its folder in GluonCV, splits, files that must exist, where to get them, its reader."""

    home: str
    splits: Tuple[str, ...]
    wanted: str
    source: str
    open: Callable[[Path, str, int], Samples]

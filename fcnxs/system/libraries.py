"""Shared libraries of the system that MXNet and OpenCV need and no wheel brings."""

from __future__ import annotations

import ctypes
from typing import List, Sequence

# Each library, and the package of Debian and Ubuntu that has it.
PACKAGES = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libquadmath.so.0": "libquadmath0",
}


def missing() -> List[str]:
    """Those of the libraries that this system does not have; the others are loaded into this process."""
    return [library for library in PACKAGES if not _loads(library)]


def cure_of(libraries: Sequence[str]) -> str:
    """The command that installs libraries.

    >>> cure_of(["libGL.so.1", "libgomp.so.1"])
    'on Debian and Ubuntu: apt-get install libgl1 libgomp1'
    """
    return f"on Debian and Ubuntu: apt-get install {' '.join(PACKAGES[library] for library in libraries)}"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True

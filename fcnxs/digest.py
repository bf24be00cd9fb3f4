"""Checksums of files. Imports no MXNet, so that a thread can begin with a large file while that loads."""

from __future__ import annotations

import hashlib
import os


def sha256_of(file: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()

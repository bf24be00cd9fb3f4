"""Files written completely or not at all, and their checksums.

This module imports no MXNet, so that a thread can begin with a large file while MXNet loads.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Iterator, List

from ..errors import FCNXSError, last_line

BESIDE = ".fcnxs-"  # prefix of the temporary folders of files that are being written


@contextmanager
def written_whole(*files: Path) -> Iterator[List[Path]]:
    """Give a temporary path for each file, all of one folder; when the block succeeds, they move there.

    If the block fails or is interrupted, no file changes. The temporary paths have the files' names, in a
    folder beside them. They are flushed to disk and then renamed one after the other in the given order, so
    that once the last file is there, all are.

    Raises:
        FCNXSError: a file cannot be written.
    """
    folder = files[0].parent
    for file in files:
        if file.is_dir() or not file.name:
            raise FCNXSError(f"{file}: cannot write: it is a folder")
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=BESIDE, dir=folder) as beside:
            parts = [Path(beside) / file.name for file in files]
            yield parts
            for part in parts:
                _flush(part)
            for part, file in zip(parts, files):
                os.replace(part, file)
            _flush(folder)
        made = []
    except OSError as error:
        raise FCNXSError(f"{files[-1]}: cannot write: {last_line(error)}") from None
    finally:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


def read_text(file: Path, what: str) -> str:
    """Text of a file in UTF-8; `what` describes it in an error.

    Raises:
        FCNXSError: it cannot be read, or is not text.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not text" if isinstance(error, UnicodeDecodeError) else last_line(error)
        raise FCNXSError(f"{file}: cannot read {what}: {why}") from None


def write_json(file: Path, content: Any) -> None:  # noqa: ANN401  (whatever JSON takes)
    """Write indented JSON; NaN is refused."""
    file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def sha256_of(file: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

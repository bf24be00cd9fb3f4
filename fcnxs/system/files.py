"""Files written completely or not at all, and their checksums.

This module imports no MXNet, so that a thread can begin with a large file while MXNet loads.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Iterator, List

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
    """Text of a file in UTF-8, with or without a byte order mark; `what` describes it in an error.

    Raises:
        FCNXSError: it cannot be read, or is not text in UTF-8.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = None
    except OSError as error:
        raise FCNXSError(f"{file}: cannot read {what}: {last_line(error)}") from None
    if text is None or "\0" in text:  # UTF-16 has a zero in every ASCII letter, and UTF-32 three
        with file.open("rb") as stream:
            head = stream.read(64)
        wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head
        why = "it is UTF-16, or not text; save it as UTF-8" if wide else "it is not text in UTF-8; save it so"
        raise FCNXSError(f"{file}: cannot read {what}: {why}")
    return text


def files_below(folder: Path, note: Callable[[OSError], None], left_out: Path | None = None) -> Iterator[Path]:
    """Files in a folder and those below it, sorted by name in each folder; hidden ones are left out.

    Links to folders are followed, and each folder is visited once, as links may form a loop; one to a folder
    around this one is such a loop. A broken link counts as a file, which fails when it is read; a pipe, which
    could hang, does not.

    Args:
        note: called with the error of a folder that cannot be read.
        left_out: folder that is not visited.
    """
    seen = {*map(str, Path(folder).resolve().parents), left_out and os.path.realpath(left_out)}
    for at, folders, names in os.walk(folder, onerror=note, followlinks=True):
        real = os.path.realpath(at)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(at, name)
            if not name.startswith(".") and is_file(path):
                yield path


def is_file(path: Path) -> bool:
    """Whether to read this path: a file or a broken link (an error when read), but no pipe (may hang)."""
    return path.is_file() or not path.exists()


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

"""Files written completely or not at all, and their checksums.

This module imports no MXNet, so that a thread can begin with a large file while MXNet loads.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, List

from ..errors import FCNXSError, last_line
from . import locks

KINDS = {  # what a path can be besides a regular file
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
MOST_TEXT = 1 << 28  # bytes of a file of text


@contextmanager
def written_whole(*files: Path, prefix: Path | None = None) -> Iterator[List[Path]]:
    """Give a temporary path for each file, all of one folder; when the block succeeds, they move there.

    If the block fails or is interrupted, no file changes. The temporary paths have the files' names, in a
    folder beside them. They are flushed to disk and then renamed one after the other in the given order, so
    that once the last file is there, all are.

    Args:
        prefix: what is held against other processes (`locks.py`); None: the first file.

    Raises:
        FCNXSError: a file cannot be written, or another process writes it.
    """
    for file in files:
        kind = "a folder" if not file.name else kind_of(file)
        if kind:
            raise FCNXSError(f"{file}: cannot write: it is {kind}, not a file")
    try:
        with locks.folder_beside(prefix or files[0], files[-1]) as beside:
            parts = [beside / file.name for file in files]
            yield parts
            for part in parts:
                _flush(part)
            with locks.moving:
                for part, file in zip(parts, files):
                    os.replace(part, file)
            _flush(files[0].parent)
    except OSError as error:
        raise FCNXSError(f"{files[-1]}: cannot write: {last_line(error)}") from None


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """What a path leads to if that is no regular file, such as "a pipe"; None also if there is nothing."""
    try:
        return KINDS.get(stat.S_IFMT(os.stat(path).st_mode))
    except (OSError, ValueError):
        return None


def refuse_irregular(path: str | os.PathLike[str]) -> None:
    """Refuse to read what is there but is no regular file: opening a pipe or reading a device may never end.

    Raises:
        FCNXSError: the path is a folder, a pipe (as `<(...)` of a shell is), a socket or a device.
    """
    kind = kind_of(path)
    if kind:
        way_out = "" if kind == "a folder" else "; save its content to a file, and give that"
        raise FCNXSError(f"{path}: is {kind}, not a file{way_out}")


def real(path: str | os.PathLike[str]) -> Path:
    """Absolute path with links resolved as far as they lead; `Path.resolve` fails on a link to itself."""
    return Path(os.path.realpath(path))


def read_text(file: Path, what: str, most: int = MOST_TEXT, errors: str = "strict") -> str:
    """Text of a file in UTF-8, with or without a byte order mark; `what` describes it in an error.

    Args:
        errors: "replace" takes a file that is no text as well.

    Raises:
        FCNXSError: it cannot be read, has more than `most` bytes, or is not text in UTF-8.
    """
    refuse_irregular(file)
    try:
        size = file.stat().st_size
        if size > most:
            raise FCNXSError(
                f"{file}: cannot read {what}: it has {size:,} bytes, and at most {most:,} are read"
            )
        text = file.read_text(encoding="utf-8-sig", errors=errors)
    except UnicodeDecodeError:
        text = None
    except OSError as error:
        raise FCNXSError(f"{file}: cannot read {what}: {last_line(error)}") from None
    wide = errors == "strict" and text is not None and "\0" in text
    if text is None or wide:  # UTF-16 has a zero in every ASCII letter, and UTF-32 three
        with file.open("rb") as stream:
            head = stream.read(64)
        wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head
        why = "it is UTF-16, or not text; save it as UTF-8" if wide else "it is not text in UTF-8; save it so"
        raise FCNXSError(f"{file}: cannot read {what}: {why}")
    return text


def files_below(folder: Path, note: Callable[[OSError], None], left_out: Path | None = None) -> Iterator[Path]:
    """Files in a folder and those below it, sorted by name in each folder; hidden ones are left out.

    Links to folders are followed, and each folder is visited once, as links may form a loop; one to a folder
    around this one is such a loop. Everything else counts as a file; what is none is refused when it is read.

    Args:
        note: called with the error of a folder that cannot be read.
        left_out: folder that is not visited.
    """
    seen = {*map(str, real(folder).parents), left_out and os.path.realpath(left_out)}
    for at, folders, names in os.walk(folder, onerror=note, followlinks=True):
        place = os.path.realpath(at)
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(at, name)


def write_json(file: Path, content: Any) -> None:  # noqa: ANN401  (whatever JSON takes)
    """Write indented JSON; NaN is refused."""
    file.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def sha256_of(file: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    refuse_irregular(file)
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

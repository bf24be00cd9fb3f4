"""What `check` has seen of pairs, kept on disk, so that files that have not changed are not read again.

An entry belongs to a pair's files, to how they are read, and to the version of the code that read them. It
counts as long as the files' sizes, times, inodes and devices are the same. What cannot be kept is read again:
the file may be removed at any time, and a damaged or locked one is not used.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import time
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Sequence, Tuple

import numpy as np
import PIL

from .inspection import Seen, Size
from .records import Records
from .samples import Samples

try:
    import sqlite3
except ImportError:  # a Python that was built without it
    sqlite3 = None

FRESH = 2_000_000_000  # ns; a file that changed within this time may change again and have the same times
KEPT_AT_ONCE = 500  # entries


class Look(NamedTuple):
    """What is kept of a pair that was read, and whose sizes fit.

    Attributes:
        size: (H, W).
        pixels: number of pixels by value of the label, int64 (256,).
        left_out: pixels of each value that is read as 255.
        image: SHA-256 of the shape and pixels of the image.
        seen: the rest.
    """

    size: Size
    pixels: np.ndarray
    left_out: dict
    image: bytes
    seen: Seen


class Files(NamedTuple):
    """The files of a pair.

    Attributes:
        number: the pair's number in its data set.
        key: of their paths, and of how they are read.
        stamp: what is equal as long as they have not changed.
        changed: when the last one did, in ns since 1970.
    """

    number: int
    key: bytes
    stamp: str
    changed: int


def place() -> Path | None:
    """The file in the user's cache folder (XDG_CACHE_HOME, or ~/.cache); None if there is no such folder."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fcnxs" / "checked.sqlite3"
    except RuntimeError:  # no home
        return None


@cache
def _version() -> bytes:
    """Digest of the code that reads and looks at files; another version begins anew."""
    digest = hashlib.sha256(f"{PIL.__version__} {np.__version__}".encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.digest()


class Remembered:
    """The entries of the pairs of a data set.

    Args:
        file: the data base; None: nothing is remembered.
    """

    def __init__(self, samples: Samples, file: Path | None) -> None:
        self._samples, self._new = samples, []
        self._how = _how_read(samples)
        self._base = _opened(file) if self._how and file is not None else None

    def files(self, number: int) -> Files | None:
        """The files of a pair, to be asked for before they are read; None if nothing is kept of them."""
        sources = None if self._base is None else _sources(self._samples, number)
        if sources is None:
            return None
        files, part = sources
        text = "\0".join([self._how, part, *files]).encode("utf-8", "surrogateescape")
        try:
            stats = [os.stat(file) for file in files]
        except (OSError, ValueError):
            return None
        stamp = [(s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats]
        return Files(number, hashlib.sha256(text).digest(), json.dumps(stamp), max(max(s[3:]) for s in stamp))

    def recall(self, files: Files | None) -> Look | None:
        """What was seen of a pair if it is known, and its files have not changed since."""
        if files is None:
            return None
        try:
            query = "SELECT look FROM pairs WHERE files = ? AND stamp = ?"
            row = self._base.execute(query, (files.key, files.stamp)).fetchone()
            return _read(row[0], files.number) if row else None
        except (sqlite3.Error, ValueError, TypeError, AttributeError, IndexError, OverflowError):
            return None  # damaged, or not ours

    def keep(self, files: Files | None, look: Look | None) -> None:
        """Keep what was seen of a pair that fits, unless its files have just been written."""
        if files is None or look is None or files.changed > time.time_ns() - FRESH:
            return
        self._new.append((files.key, files.stamp, _written(look)))
        if len(self._new) >= KEPT_AT_ONCE:
            self._save()

    def _save(self) -> None:
        try:
            with self._base:
                self._base.executemany("INSERT OR REPLACE INTO pairs VALUES (?, ?, ?)", self._new)
        except sqlite3.Error:
            pass  # another process writes for long, or the disk is full
        self._new = []

    def __enter__(self) -> Remembered:
        """Itself."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Keep what is left, and close the file."""
        if self._base is not None:
            self._save()
            self._base.close()
            self._base = None


def _how_read(samples: Samples) -> str:
    """Text of everything but the files that decides what is seen; "" if that cannot be told."""
    try:
        reader = hashlib.sha256(pickle.dumps(samples.label_of)).hexdigest()
    except Exception:  # a function within another one; pickle's errors are of many types
        return ""
    folder = os.getcwd() if any(not image.is_absolute() for image in samples.images[:1]) else ""
    return repr(
        (reader, samples.exif, sorted(samples.allow), samples.max_pixels, samples.ignore, samples.kinds, folder)
    )


def _sources(samples: Samples, number: int) -> Tuple[Sequence[str], str] | None:
    """Files of a pair, and which part of them it is; None if the label is not of files of its own."""
    records: Records | None = getattr(samples, "records", None)
    if records is not None:
        return [str(records.file)], str(samples.labels[number])
    *images, label = samples.sources(number)
    files = [*images, *(label if isinstance(label, (list, tuple)) else [label])]
    return ([*map(str, files)], "") if all(isinstance(file, (str, os.PathLike)) for file in files) else None


def _opened(file: Path) -> Any:  # noqa: ANN401  (sqlite3.Connection, where there is sqlite3)
    """The data base, made anew if it is of another version or damaged; None if it cannot be used."""
    if sqlite3 is None:
        return None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _of_this_version(file)
        except sqlite3.OperationalError:  # locked, read-only, or the disk is full
            return None
        except sqlite3.DatabaseError:
            file.unlink()
            return _of_this_version(file)
    except (OSError, sqlite3.Error):
        return None


def _of_this_version(file: Path) -> Any:  # noqa: ANN401
    base = sqlite3.connect(file, timeout=1)
    try:
        with base:
            base.execute("CREATE TABLE IF NOT EXISTS version (digest BLOB)")
            if base.execute("SELECT digest FROM version").fetchall() != [(_version(),)]:
                base.execute("DELETE FROM version")
                base.execute("INSERT INTO version VALUES (?)", (_version(),))
                base.execute("DROP TABLE IF EXISTS pairs")
            base.execute("CREATE TABLE IF NOT EXISTS pairs (files BLOB PRIMARY KEY, stamp TEXT, look TEXT)")
    except sqlite3.Error:
        base.close()
        raise
    return base


def _written(look: Look) -> str:
    pixels = {value: int(look.pixels[value]) for value in look.seen.values.tolist()}
    _, _, colours, label, *rest = look.seen
    seen = [None if colours is None else colours.tolist(), label.hex(), *rest]
    return json.dumps([look.size, pixels, look.left_out, look.image.hex(), seen])


def _read(text: str, number: int) -> Look:
    size, counts, left_out, image, (colours, label, *turns, faults) = json.loads(text)
    pixels = np.zeros(256, np.int64)
    values = np.array([*map(int, counts)], np.uint8)
    pixels[values] = [*counts.values()]
    colours = None if colours is None else np.array(colours, np.int64)
    seen = Seen(number, values, colours, bytes.fromhex(label), *turns, tuple(map(tuple, faults)))
    return Look(tuple(size), pixels, {int(k): n for k, n in left_out.items()}, bytes.fromhex(image), seen)

"""Locks of files that are being written, and what commands that were killed while they wrote have left.

Files of one prefix are written by one process at a time: it holds a lock on `.fcnxs-KEY.lock` beside them, and
writes into folders `.fcnxs-KEY-*`. A process that ends, however it does, loses its locks. So a folder without
one is of a killed process, and the next one that writes here removes it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import tempfile
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Dict, Iterator, List, Set

from ..errors import FCNXSError, FCNXSWarning, last_line

BESIDE = ".fcnxs-"  # beginning of the names of locks, and of the folders of files that are being written
OLD = 86400  # seconds after which what another machine, or an earlier version, has left is removed

moving = threading.Lock()  # held while files move to their places
_guard = threading.RLock()
_held: Dict[Path, List[int]] = {}  # lock files of this process: descriptor, and how many blocks hold it
_swept: Set[Path] = set()  # folders that this process has swept
_folders: Set[Path] = set()  # folders that this process writes into


class HeldError(FCNXSError):
    """Another process writes these files; `who` says which one."""

    def __init__(self, name: object, who: str) -> None:
        super().__init__(f"{name}: {who} is writing there; wait for it, or choose another name")
        self.who = who


@contextmanager
def held(prefix: str | os.PathLike[str], alone: bool = False, named: object = None) -> Iterator[None]:
    """Hold the files of a prefix, or one file, for this process, in the block; readers are not kept off.

    The folder is made. Where the file system has no locks, a warning says so.

    Args:
        alone: refuse a second block of this process too; otherwise its blocks share the lock.
        named: what an error names; None: the prefix.

    Raises:
        HeldError: another process holds it; the message has its number, if it is known.
        FCNXSError: the folder cannot be written to.
    """
    named = prefix if named is None else named
    folder = Path(prefix).parent
    made = [parent for parent in (folder, *folder.parents) if not os.path.exists(parent)]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock_of(Path(prefix))
            _hold(lock, alone, named)
        except OSError as error:
            raise FCNXSError(f"{named}: cannot write: {last_line(error)}") from None
        try:
            yield
        finally:
            _release(lock)
    finally:
        for parent in made:
            with suppress(OSError):  # it has files now
                parent.rmdir()


@contextmanager
def folder_beside(prefix: Path, named: object) -> Iterator[Path]:
    """Hold a prefix, or a file, and give an empty folder beside it, which is removed at the end of the block.

    Raises:
        FCNXSError: as `held`.
        OSError: the folder cannot be made.
    """
    with held(prefix, named=named):
        folder = Path(tempfile.mkdtemp(prefix=f"{_lock_of(prefix).stem}-", dir=prefix.parent))
        _folders.add(folder)
        try:
            sweep(prefix.parent)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _folders.discard(folder)


def sweep(folder: Path, again: bool = False) -> None:
    """Remove what killed processes have left in a folder; only once in this process, unless `again`."""
    real = Path(os.path.realpath(folder))
    if real in _swept and not again:
        return
    _swept.add(real)
    with suppress(OSError):
        names = [entry.name for entry in os.scandir(real) if entry.name.startswith(BESIDE)]
        for lock in {real / f"{'-'.join(name.split('.lock')[0].split('-')[:2])}.lock" for name in names}:
            _sweep(lock)


def abandon() -> None:
    """Remove the folders and locks of this process, which is about to end; files that move get there first."""
    moving.acquire()
    for folder in list(_folders):
        shutil.rmtree(folder, ignore_errors=True)
    for lock in list(_held):
        with suppress(OSError):
            lock.unlink()


def _lock_of(prefix: Path) -> Path:
    """Lock of a prefix or a file; its name is short, whatever theirs is."""
    key = hashlib.sha256(os.fsencode(prefix.name)).hexdigest()[:16]
    return Path(os.path.realpath(prefix.parent)) / f"{BESIDE}{key}.lock"


def _hold(lock: Path, alone: bool, named: object) -> None:
    with _guard:
        if lock not in _held:
            ours = lock.exists() and _left_by_us(lock)  # without it, there is nothing to look for
            _held[lock] = [_acquired(lock, named), 0]
            if ours:
                _remove_folders(lock)
        elif alone:
            raise HeldError(named, f"process {os.getpid()}")
        _held[lock][1] += 1


def _release(lock: Path) -> None:
    with _guard:
        _held[lock][1] -= 1
        if _held[lock][1]:
            return
        descriptor, _ = _held.pop(lock)
        if descriptor >= 0:
            lock.unlink(missing_ok=True)
            os.close(descriptor)


def _acquired(lock: Path, named: object) -> int:
    """Descriptor of a lock that is now held; -1 where there are no locks."""
    while True:
        descriptor = _open(lock)
        try:
            locked = _lock(descriptor)
            if locked and _is(lock, descriptor):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{socket.gethostname()} {os.getpid()}".encode())
                return os.dup(descriptor)
        except BlockingIOError:
            raise HeldError(named, _holder(os.pread(descriptor, 300, 0).decode(errors="replace"))) from None
        finally:
            os.close(descriptor)
        if not locked:
            lock.unlink(missing_ok=True)
            what = f"{lock.parent}: this file system has no locks"
            warnings.warn(f"{what}: let no other process write {named}", FCNXSWarning)
            return -1


def _open(lock: Path) -> int:
    return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)


def _lock(descriptor: int) -> bool:
    """Lock an open file; False where there are no locks, BlockingIOError if another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _holder(text: str) -> str:
    """Words for the process that a lock's content names."""
    host, _, number = text.partition(" ")
    if not number.isdigit():  # it has not come to writing it
        return "another process"
    return f"process {number}" + (f" on {host}" if host != socket.gethostname() else "")


def _is(lock: Path, descriptor: int) -> bool:
    """Whether an open file is still the one of this name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(lock), os.fstat(descriptor))
    return False


def _sweep(lock: Path) -> None:
    """Remove a lock and its folders, unless a process holds it, or may do so on another machine."""
    with _guard:
        if lock in _held or not _left_by_us(lock):
            return
        descriptor = _open(lock)
        try:
            _lock(descriptor)  # without locks, what is left here is old
            if _is(lock, descriptor):
                _remove_folders(lock)
                lock.unlink()
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)


def _left_by_us(lock: Path) -> bool:
    """Whether a lock and its folders are of this machine, or old: others' locks may not be seen from here."""
    there = [lock] * lock.exists() + _folders_of(lock)
    if lock.exists() and lock.read_text(errors="replace").partition(" ")[0] == socket.gethostname():
        return True
    return time.time() - max(map(_changed, there), default=0) > OLD


def _folders_of(lock: Path) -> List[Path]:
    paths = [path for path in lock.parent.glob(f"{lock.stem}*") if path not in _folders]
    return [path for path in paths if path.is_dir() and not path.is_symlink()]


def _remove_folders(lock: Path) -> None:
    for folder in _folders_of(lock):
        shutil.rmtree(folder, ignore_errors=True)


def _changed(path: Path) -> float:
    """When something in a folder, or a file, changed last; seconds since 1970."""
    times = [path.lstat().st_mtime]
    with suppress(OSError):
        times += [each.lstat().st_mtime for each in path.iterdir()]
    return max(times)

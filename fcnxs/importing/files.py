"""The files of a source: names that others wrote stay below it, and work on many files is done by threads."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import closing
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Callable, Collection, Dict, Iterable, Iterator, List

from ..data.images import IMAGE_SUFFIXES
from ..errors import FCNXSError, cut
from ..system.files import files_below, real
from ..system.threads import default_workers, in_order
from .account import Account

SPLITS = {  # names of folders and lists that are splits, and the name that they get
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}

HEAD = 4096  # bytes by which a file is recognised


def below(root: Path, name: str, where: object) -> Path:
    """File in a folder by a name that a JSON, XML or CSV file gives; it need not exist.

    Args:
        name: path relative to the folder; backslashes separate folders as slashes do.
        where: what gives the name, for the message.

    Raises:
        FCNXSError: the name is empty or absolute, has `..`, or a link leads out of the folder.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    drive = PureWindowsPath(name).drive
    if not parts.name or parts.is_absolute() or drive or ".." in parts.parts or "\0" in name:
        raise FCNXSError(
            f"{where}: names the file {cut(name, 200)!r}; expected a relative path without '..', below {root}"
        )
    path = root / parts
    if real(root) not in real(path).parents:
        raise FCNXSError(f"{path}: is a link that leads out of {root}; copy the file into this folder")
    return path


def all_files(folder: Path) -> List[Path]:
    """Files in a folder and those below it, sorted; hidden files are left out.

    Raises:
        FCNXSError: a folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise FCNXSError(f"{error.filename}: cannot read this folder: {error.strerror}") from None

    return list(files_below(folder, fail))


def in_threads(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Results of `function(item)` in the order of the items, computed by as many threads as read images.

    After an error, or when the generator is closed, no call runs any more.
    """
    workers = default_workers()
    with closing(in_order(function, items, workers, 2 * workers, finish=True)) as futures:
        for future in futures:
            yield future.result()


def head_of(file: Path, suffix: str) -> bytes:
    """First bytes of a file with this suffix; none of what is no such file, or cannot be read."""
    if file.suffix.lower() != suffix or not file.is_file():
        return b""
    try:
        with file.open("rb") as stream:
            return stream.read(HEAD)
    except OSError:
        return b""


def unlisted(listed: Collection[Path], source: Path, account: Account, unread: Collection[Path] = ()) -> None:
    """Count images beside those that are listed, which nothing annotates.

    Args:
        unread: annotations that cannot be read, and are counted as such, without suffix; an image of this path
            is not counted again.
    """
    for folder in sorted({image.parent for image in listed}):
        for file in sorted(folder.iterdir()):
            is_image = file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
            if is_image and file not in listed and file.with_suffix("") not in unread:
                account.add("no annotation", os.path.relpath(file, source))


def by_name(folder: Path) -> Dict[str, List[str]]:
    """Paths of the images in a folder and those below it, relative to it, by their file names."""
    result: Dict[str, List[str]] = defaultdict(list)
    for file in all_files(folder):
        if file.suffix.lower() in IMAGE_SUFFIXES:
            result[file.name].append(file.relative_to(folder).as_posix())
    return result

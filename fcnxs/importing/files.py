"""The files of a source: names that others wrote stay below it, and work on many files is done by threads."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Callable, Iterable, Iterator, List

from ..errors import FCNXSError, cut
from ..system.files import files_below, real
from ..system.threads import default_workers, in_order

SPLITS = {  # names of folders and lists that are splits, and the name that they get
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


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

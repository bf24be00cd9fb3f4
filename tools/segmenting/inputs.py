"""What `fcnxs segment` reads: files, folders with all below them, patterns; and what it writes for each."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Iterator, List, NamedTuple, Tuple

from ...errors import FCNXSError

# What is taken of a folder. A file that is named is tried, whatever it is called.
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv")

Errors = List[Tuple[Path, FCNXSError]]


class Input(NamedTuple):
    """A file to segment, and its name in the folder of the results: with folders, without suffix."""

    file: Path
    name: str

    @property
    def is_video(self) -> bool:
        """Whether its suffix says that it is a video."""
        return self.file.suffix.lower() in VIDEOS

    def targets(self, folder: Path) -> Tuple[Path, Path]:
        """Files to write for it: class map or maps, and overlay."""
        maps, overlay = (".zip", "_overlay.mp4") if self.is_video else (".png", "_overlay.png")
        return folder / f"{self.name}{maps}", folder / f"{self.name}{overlay}"


def found(arguments: List[str], output: Path) -> Tuple[List[Input], Errors]:
    """Files that the arguments mean, each once, and folders that cannot be read, each with an error.

    An argument is the file or folder of that name; if there is none, a pattern. What lies in `output`, and so
    may be of an earlier call, is left out, unless an argument begins there.

    Raises:
        FCNXSError: a folder or pattern has no image and no video.
    """
    inputs: List[Input] = []
    errors: Errors = []
    for argument in arguments:
        base, pattern = _split(argument)
        if not base.is_dir():
            inputs.append(Input(base, base.stem))
            continue
        mine = None if base.resolve().is_relative_to(output.resolve()) else output.resolve()
        before = len(errors)
        files = list(_matches(base, pattern, mine, errors) if pattern else _below(base, mine, errors))
        if not files and len(errors) == before:
            where = "is of this pattern" if pattern else "in this folder"
            raise FCNXSError(f"{argument}: no image ({', '.join(IMAGES)}) and no video {where}")
        inputs += [Input(file, file.relative_to(base).with_suffix("").as_posix()) for file in files]
    return list(dict.fromkeys(inputs)), errors


def _split(argument: str) -> Tuple[Path, str]:
    """A file or folder and "", or the last folder that is there and the pattern of what is in it."""
    if not argument:
        raise FCNXSError("an empty name among the images; is a variable of the shell not set?")
    path = Path(argument)
    if not os.path.lexists(path):
        base = next((parent for parent in path.parents if parent.is_dir()), path)
        pattern = str(path.relative_to(base))
        if glob.has_magic(pattern):
            return base, pattern
    return path, ""


def _matches(base: Path, pattern: str, mine: Path | None, errors: Errors) -> Iterator[Path]:
    """Files of a pattern: by what is known of suffixes, unless it says one; and what is below its folders."""
    parts = Path(pattern)
    says_suffix = bool(parts.suffix) and not glob.has_magic(parts.suffix)
    for hit in sorted(glob.glob(os.path.join(glob.escape(str(base)), pattern), recursive=True)):
        path = Path(hit)
        if mine is not None and path.resolve().is_relative_to(mine):
            continue
        if not path.is_dir():
            if _is_file(path) and (says_suffix or path.suffix.lower() in (*IMAGES, *VIDEOS)):
                yield path
        elif "**" not in parts.parts:  # which gives what is below by itself
            yield from _below(path, mine, errors)


def _below(folder: Path, mine: Path | None, errors: Errors) -> Iterator[Path]:
    """Images and videos in a folder, by name, then in those below it; nothing hidden, nothing of `mine`."""

    def note(error: OSError) -> None:
        why = FCNXSError(f"{error.filename}: cannot read this folder: {error.strerror}")
        errors.append((Path(error.filename), why))

    seen = {None if mine is None else str(mine)}  # links may lead back
    for at, folders, names in os.walk(folder, onerror=note, followlinks=True):
        real = os.path.realpath(at)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(at, name)
            if path.suffix.lower() in (*IMAGES, *VIDEOS) and not name.startswith(".") and _is_file(path):
                yield path


def _is_file(path: Path) -> bool:
    """No pipe, which nobody may ever write to; a link to nothing, which is named when it cannot be read."""
    return path.is_file() or not path.exists()

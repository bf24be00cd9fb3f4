"""Find the files that `fcnxs segment` reads, from its arguments, and name the files that it writes for each."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Iterator, List, NamedTuple, Tuple

from ...data.images import IMAGE_SUFFIXES
from ...errors import FCNXSError
from ...system.files import files_below, real

# Suffixes of the files taken from a folder. A file named on the command line is tried whatever its suffix.
VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv")

Errors = List[Tuple[Path, FCNXSError]]


class Input(NamedTuple):
    """A file to segment.

    Attributes:
        file: path of the image or video.
        name: path of its results below the output folder, with subfolders and without suffix.
    """

    file: Path
    name: str

    @property
    def is_video(self) -> bool:
        """Whether the file has the suffix of a video."""
        return self.file.suffix.lower() in VIDEOS

    def targets(self, folder: Path) -> Tuple[Path, Path]:
        """Files to write into `folder`: the class map (for a video, a zip of them) and the overlay."""
        maps, overlay = (".zip", "_overlay.mp4") if self.is_video else (".png", "_overlay.png")
        return folder / f"{self.name}{maps}", folder / f"{self.name}{overlay}"


def found(arguments: List[str], output: Path) -> Tuple[List[Input], Errors]:
    """Files that the arguments name, each once, and folders that cannot be read, each with its error.

    An argument is read as a pattern only if no file or folder has that name. Files in `output` may be results
    of an earlier call; they are left out unless the argument itself lies there.

    Raises:
        FCNXSError: a folder or pattern has no image and no video.
    """
    inputs: List[Input] = []
    errors: Errors = []
    for argument in arguments:
        base, pattern = _split(argument)
        if not os.path.isdir(base):
            inputs.append(Input(base, base.stem))
            continue
        mine = None if real(base).is_relative_to(real(output)) else real(output)
        before = len(errors)
        files = list(_matches(base, pattern, mine, errors) if pattern else _below(base, mine, errors))
        if not files and len(errors) == before:
            where = "matches this pattern" if pattern else "in this folder"
            raise FCNXSError(f"{argument}: no image ({', '.join(IMAGE_SUFFIXES)}) and no video {where}")
        inputs += [Input(file, file.relative_to(base).with_suffix("").as_posix()) for file in files]
    return list(dict.fromkeys(inputs)), errors


def _split(argument: str) -> Tuple[Path, str]:
    """(file or folder, ""), or, for a pattern, (its last folder that exists, the pattern below it)."""
    if not argument:
        raise FCNXSError("one of the images has an empty name; is a shell variable in the command not set?")
    path = Path(argument)
    if not os.path.lexists(path):
        base = next((parent for parent in path.parents if os.path.isdir(parent)), path)
        pattern = str(path.relative_to(base))
        if glob.has_magic(pattern):
            return base, pattern
    return path, ""


def _matches(base: Path, pattern: str, mine: Path | None, errors: Errors) -> Iterator[Path]:
    """Files that match a pattern or lie below a matching folder; unless it has a suffix, images and videos."""
    parts = Path(pattern)
    says_suffix = bool(parts.suffix) and not glob.has_magic(parts.suffix)
    for hit in sorted(glob.glob(os.path.join(glob.escape(str(base)), pattern), recursive=True)):
        path = Path(hit)
        if mine is not None and real(path).is_relative_to(mine):
            continue
        if not path.is_dir():
            if says_suffix or path.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEOS):
                yield path
        elif "**" not in parts.parts:  # ** matches the files below by itself
            yield from _below(path, mine, errors)


def _below(folder: Path, mine: Path | None, errors: Errors) -> Iterator[Path]:
    """Images and videos in a folder and those below it, sorted by name; none hidden, none in `mine`."""

    def note(error: OSError) -> None:
        why = FCNXSError(f"{error.filename}: cannot read this folder: {error.strerror}")
        errors.append((Path(error.filename), why))

    for path in files_below(folder, note, mine):
        if path.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEOS):
            yield path

"""The mark that results carry, so that a file without it is replaced only with --overwrite."""

from __future__ import annotations

import os
import re
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterable, List, Tuple

from .. import __version__
from ..errors import FCNXSError
from .files import kind_of
from .json_files import read_json

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

SOFTWARE = f"fcnxs {__version__}"  # in a PNG's text chunk Software, a ZIP's comment, and a box of an MP4
PNG = b"\x89PNG\r\n\x1a\n"
BOX = re.compile(rb"\0\0\0.freefcnxs \d[^\0]*\Z", re.DOTALL)  # of an MP4, at its end
MAP = re.compile(r"\d{6}\.png")  # class map of a frame, in a ZIP
LONGEST = 1 << 16  # bytes of a chunk to read of a PNG

Rule = Callable[[Path], bool]  # tells whether a file is ours


def refuse_strangers(files: Iterable[Path], overwrite: bool, is_own: Rule) -> None:
    """Refuse to replace a file that is no result of ours; an empty one may be replaced.

    Args:
        files: files that will be written.
        overwrite: whether --overwrite was given.
        is_own: called with a file that exists.

    Raises:
        FCNXSError: a file is there and not ours, or it is no regular file.
    """
    for file in files:
        kind = kind_of(file)
        if kind:
            raise FCNXSError(f"{file}: cannot write: it is {kind}, not a file")
        if not overwrite and os.path.exists(file) and os.path.getsize(file) and not is_own(file):
            raise FCNXSError(
                f"{file}: is there already, and this command did not write it so; --overwrite replaces it, or "
                "choose another name or folder"
            )


def png_info() -> PngInfo:
    """The mark, as Pillow takes it: `image.save(file, format="PNG", pnginfo=png_info())`."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Software", SOFTWARE)
    return info


def mark_mp4(file: Path) -> None:
    """Append the mark to an MP4, as a box `free`, which players skip (ISO/IEC 14496-12, 8.1.2)."""
    with file.open("ab") as stream:
        stream.write(struct.pack(">I4s", 8 + len(SOFTWARE), b"free") + SOFTWARE.encode())


def is_marked(file: Path) -> bool:
    """Whether a PNG, ZIP or MP4 has the mark."""
    try:
        with file.open("rb") as stream:
            if stream.read(8) == PNG:
                return any(data.startswith(b"Software\0fcnxs ") for _, data in _chunks(file))
            stream.seek(-min(os.path.getsize(file), 100), os.SEEK_END)
            if BOX.search(stream.read()):
                return True
        with zipfile.ZipFile(file) as archive:
            return archive.comment.startswith(b"fcnxs ")
    except Exception:  # damaged archives raise errors of many types
        return False


def masks(palette: bytes) -> Rule:
    """Rule for class maps: the mark, or as earlier versions wrote them a palette PNG with just this palette.

    Args:
        palette: 256 colours, three bytes each.
    """
    return lambda file: is_marked(file) or _has_palette(file, palette)


def results(targets: Tuple[Path, Path], palette: bytes) -> Rule:
    """Rule for the class maps and the overlay of an image or a video.

    What earlier versions wrote has no mark: their class maps are known by the palette, and the overlay as the
    file beside them, for an image of the same size.
    """
    maps, overlay = targets

    def is_own(file: Path) -> bool:
        if is_marked(file):
            return True
        old = not is_marked(maps) and _has_palette(maps, palette)
        return old and (file == maps or overlay.suffix != ".png" or _size(maps) == _size(overlay))

    return is_own


def json_with(*keys: str) -> Rule:
    """Rule for a JSON file: an object that has these keys."""

    def is_own(file: Path) -> bool:
        try:
            return {*keys} <= read_json(file, "a result", dict).keys()
        except FCNXSError:
            return False

    return is_own


def _chunks(file: Path) -> List[Tuple[bytes, bytes]]:
    """Types and contents of a PNG's chunks before its pixels; none if it is no PNG."""
    found: List[Tuple[bytes, bytes]] = []
    with file.open("rb") as stream:
        if stream.read(8) != PNG:
            return found
        while len(head := stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"IDAT" or length > LONGEST:
                break
            found.append((kind, stream.read(length)))
            stream.seek(4, os.SEEK_CUR)  # the checksum
    return found


def _has_palette(file: Path, palette: bytes) -> bool:
    """Whether a PNG, or the first of a ZIP of a video's class maps, has just this palette."""
    try:
        if file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
                first = archive.open(names[0]).read(LONGEST) if names else b""
            return all(map(MAP.fullmatch, names)) and b"PLTE" + palette in first
        return (b"PLTE", palette) in _chunks(file)
    except Exception:  # damaged archives raise errors of many types
        return False


def _size(file: Path) -> bytes | None:
    """Width and height in a PNG's header."""
    try:
        return next((data[:8] for kind, data in _chunks(file) if kind == b"IHDR"), None)
    except OSError:
        return None

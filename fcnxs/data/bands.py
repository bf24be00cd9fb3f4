"""The bands of a TIFF: refuse those that Pillow cannot read, or of which it gives wrong or missing colours."""

from __future__ import annotations

from contextlib import suppress
from typing import BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from ..errors import FCNXSError

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of TIFF and of BigTIFF, little and big endian
BITS, COMPRESSION, PHOTOMETRIC, COUNT, PLANES, FORMAT = 258, 259, 262, 277, 284, 339  # tags
GREY, FLOAT, SEPARATE, NONE = (0, 1), 3, 2, 1  # values of them


def refuse_bands(file: BinaryIO, where: object) -> None:
    """Refuse a TIFF whose bands are not grey, or red, green and blue and perhaps alpha; leave the file at 0.

    Pillow takes the first band of grey ones in planes for the whole image, and garbles planes of 16 bits.

    Raises:
        FCNXSError: the file is such a TIFF; the message has its bands, and how to write others.
    """
    head = file.read(8)
    if head[:4] in MAGIC:
        tags = None
        with suppress(Exception):  # the errors of damaged files are of many types; to decode it tells them
            tags = ImageFileDirectory_v2(head + (file.read(8) if 43 in head[2:4] else b""))
            file.seek(tags.next)
            tags.load(file)
        if tags is not None:
            _refuse(tags, where)
    file.seek(0)


def _refuse(tags: ImageFileDirectory_v2, where: object) -> None:
    count, bits, form, kind = (_number(tags, tag) for tag in (COUNT, BITS, FORMAT, PHOTOMETRIC))
    what = f"a TIFF of {count} bands of {bits} bits{' (floating-point)' * (form == FLOAT)}"
    if count > 4 or (count > 2 and kind in GREY) or (count > 1 and (bits not in (8, 16) or form == FLOAT)):
        raise FCNXSError(
            f"{where}: {what}{', all grey' * (kind in GREY)}; only grey, or red, green and blue and perhaps "
            "alpha, of 8 or 16 bits, are read: write the three that are these colours, as `gdal_translate -b 1 "
            "-b 2 -b 3 -co PHOTOMETRIC=RGB` does (with -ot Byte -scale for 8 bits)"
        )
    planes, packed = _number(tags, PLANES) == SEPARATE, _number(tags, COMPRESSION) != NONE
    if (count == 2 and (bits == 16 or planes)) or (count > 2 and bits == 16 and planes and not packed):
        how = f" in planes{', not compressed' * (not packed)}" * planes
        raise FCNXSError(f"{where}: {what}{how}, which Pillow cannot read; save it as PNG")


def _number(tags: ImageFileDirectory_v2, tag: int) -> int:
    """Value of a tag, which is 1 where there is none; the largest, if each band has one."""
    value = tags.get(tag, 1)
    return max(value) if isinstance(value, tuple) else value

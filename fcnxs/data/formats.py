"""Formats of images that are opened, and names of those that are not."""

from __future__ import annotations

from contextlib import suppress

from PIL import Image

from ..conventions import PathLike

# The formats that are opened, whatever a file's suffix. Pillow reads 40 others; that of EPS starts Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
OTHERS = {  # names of formats that Pillow does not know, by how they begin
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"ftyphe": "HEIF",  # behind four bytes
}


def what_it_is(path: PathLike) -> str:
    """What a file is that is in none of the formats, and the way out; by its first bytes."""
    with open(path, "rb") as file:
        head = file.read(32)
    if not head:
        return "empty"
    Image.init()  # the readers of all formats, of which each knows the first bytes of its own
    known = [name for start, name in OTHERS.items() if start in (head[: len(start)], head[4 : 4 + len(start)])]
    for name, (_, accept) in Image.OPEN.items():
        with suppress(Exception):  # of a file of a few bytes
            known += [name] * bool(accept and accept(head[:16]) is True)
    known = [name for name in known if name != "CUR"]  # whose mark is that of many a TGA too
    if known and known[0] not in FORMATS:
        return f"an image in the format {known[0]}, which is not read; save it as JPEG or PNG"
    return "not an image of a known format (JPEG, PNG, BMP, GIF, TIFF, WebP or PPM), or damaged"

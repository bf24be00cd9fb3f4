"""Image files of about 4 kB made by hand: their headers say any size, and their pixels are missing or zero."""

import io
import struct
import zlib

from PIL import Image


def png(width, height):
    """W3C's PNG specification, 11.2."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(4_000_000))), (b"IEND", b""))
    parts = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg(width, height):
    """ITU-T T.81, B.2.2: the frame header of a small JPEG is changed."""
    file = io.BytesIO()
    Image.new("L", (16, 16)).save(file, "JPEG")
    content = bytearray(file.getvalue())
    start = content.index(b"\xff\xc0")
    content[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def bmp(width, height):
    """A BITMAPINFOHEADER."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 4054, 0, 0, 54) + header + bytes(4000)


def gif(width, height):
    """GIF 89a, 18 and 20."""
    return _gif((width, height), (width, height))


def gif_frame(width, height):
    """A first frame that is larger than the screen."""
    return _gif((9, 9), (width, height))


def _gif(screen, frame):
    start = b"GIF89a" + struct.pack("<HHBBB", *screen, 0, 0, 0)
    return start + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0x80) + bytes(6) + b"\x02\x02\x44\x01\x00;"


def tiff(width, height):
    """TIFF 6.0, section 8: one strip in LZW."""
    return _tiff({256: width, 257: height, 273: 8, 278: height, 279: 100})


def tiff_tile(width, height):
    """A small image, of which the one tile is large (section 15)."""
    return _tiff({256: 9, 257: 9, 322: width // 16 * 16, 323: height // 16 * 16, 324: 8, 325: 100})


def _tiff(tags):
    tags = sorted({258: 8, 259: 5, 262: 1, 277: 1, **tags}.items())
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 4008) + bytes(4000) + struct.pack("<H", len(tags)) + entries + bytes(4)


def webp(width, height):
    """RFC 9649, 2.7: the canvas of an animation of one small frame."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "WEBP", lossless=True)
    frame = bytes(6) + (15).to_bytes(3, "little") * 2 + bytes(4) + file.getvalue()[12:]
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + sides
    body += b"ANIM" + struct.pack("<IIH", 6, 0, 0) + b"ANMF" + struct.pack("<I", len(frame)) + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


def ppm(width, height):
    """Netpbm's, raw."""
    return f"P6 {width} {height} 255\n".encode() + bytes(4000)


ALL = (png, jpeg, bmp, gif, gif_frame, tiff, tiff_tile, webp, ppm)

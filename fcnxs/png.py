"""Writing a PNG by rows, as they come: Pillow wants the whole picture in memory."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO, Tuple

import numpy as np

from .conventions import Palette
from .vis import full_palette

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PALETTE, _RGB = 3, 2  # colour types
_NONE, _LEFT = 0, 1  # filters: a row as it is, or its differences from the pixel to the left


class PngRows:
    """A picture of 8 bits a channel that is given in bands of rows, from the top.

    Format: PNG specification (second edition), sections 5, 9 and 11.

    Args:
        file: open for writing bytes.
        size: rows and columns.
        palette: (R, G, B) of each class, for class maps; None for colour pictures.
    """

    def __init__(self, file: BinaryIO, size: Tuple[int, int], palette: Palette | None = None) -> None:
        self._file, self._packer = file, zlib.compressobj()
        self._filter = _LEFT if palette is None else _NONE
        file.write(_SIGNATURE)
        kind = _RGB if palette is None else _PALETTE
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], 8, kind, 0, 0, 0))
        if palette is not None:
            self._chunk(b"PLTE", np.asarray(full_palette(palette), np.uint8).tobytes())

    def write(self, band: np.ndarray) -> None:
        """Add rows: class numbers, uint8 (h, W), or RGB, uint8 (h, W, 3)."""
        rows = np.empty((len(band), 1 + band[0].size), np.uint8)  # each begins with its filter
        rows[:, 0] = self._filter
        rows[:, 1:] = band.reshape(len(band), -1)
        if self._filter == _LEFT:
            rows[:, 4:] -= band[:, :-1].reshape(len(band), -1)  # modulo 256
        self._chunk(b"IDAT", self._packer.compress(rows))

    def close(self) -> None:
        """Write the end; all rows have been given. The file stays open."""
        self._chunk(b"IDAT", self._packer.flush())
        self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, content: bytes) -> None:
        self._file.write(struct.pack(">I", len(content)) + kind + content)
        self._file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))

"""Scores and class maps of images of any size within a memory limit.

An image whose forward pass fits is computed as a whole (`forward.py`), a larger one in tiles (`tiling.py`).
Threads take turns, an image or a tile each: MXNet's executors share arrays, and an output is overwritten by the
next pass. A lock holds while a pass runs and its result is copied; never while a caller has the result.
"""

from __future__ import annotations

import threading
from math import prod
from typing import Iterator, Tuple

import numpy as np

from ..compat import mxnet as mx
from ..device_memory import free_memory, is_gpu
from ..errors import FCNXSError
from ..net import Net, check_size
from ..system.memory import available_memory
from .forward import Passes, peak_bytes
from .tiling import Read, Tiling, windows

SHARE = 0.8  # of the available memory is used if no limit is set

Bands = Iterator[Tuple[int, np.ndarray]]  # bands of an image from the top: first row, rows


class Bounded:
    """Forward passes of one net with fixed weights, at any size, within a memory limit, in any thread.

    Args:
        net: as for `Passes`, with `numclass` classes.
        trim: skip what the image cannot influence (`forward.trim`).
        limit: bytes to work in, besides the weights and the image; None: 80% of the available memory.

    Attributes:
        turn: lock that is held while a pass runs, and has to be held to change `limit`.
    """

    def __init__(self, net: Net, numclass: int, ctx: mx.Context, trim: bool, limit: float | None) -> None:
        self.passes, self.numclass, self.limit = Passes(net, ctx, trim), numclass, limit
        self.turn = threading.RLock()
        self.channels = self.passes.graph.image_shapes((1, 1))["data"][1]
        self._tiling: Tiling | None = None
        self._tiled: Tuple[object, ...] = ()  # the size and limits that it was planned for

    def check_size(self, size: Tuple[int, int], where: object) -> None:
        """Refuse a size (rows, columns) that is too small for the net; `where` names the image."""
        with self.turn:
            if not self.passes.has((1, self.channels, *size)):
                net, shape = self.passes.net, (1, self.channels, *size)
                check_size(net.symbol, "data", shape, where, self.passes.graph, memory=False)

    def fits(self, size: Tuple[int, int], taken: int = 0) -> bool:
        """Whether an image is computed as a whole if `taken` bytes of the limit are in use already."""
        shape = (1, self.channels, *size)
        with self.turn:
            if self.passes.has(shape):
                return True
            need = peak_bytes(self.passes.net.symbol, self.passes.graph, {"data": shape})
            if self.limit is None and need > self._available(taken):
                self.passes.release()  # what is kept for other sizes counted as used
            return need <= self._available(taken)

    def class_bands(self, size: Tuple[int, int], read: Read, where: object) -> Bands:
        """Class map of an image, uint8 (h, W) in each band; one band if the image is computed as a whole."""
        with self.turn:
            self.check_size(size, where)
            tiles = None if self.fits(size) else self._tiles(size, where)
            if tiles is None:
                data = read(((0, size[0] - 1), (0, size[1] - 1)))
                scores = self.passes.scores(data, where)
                whole = mx.nd.argmax(scores, axis=1)[0].astype("uint8").asnumpy()
        if tiles is None:
            yield 0, whole
        else:
            yield from tiles.class_maps(read)

    def scores(self, data: np.ndarray, where: object, taken: int = 0) -> np.ndarray:
        """Scores, float32 (C, H, W), of an input (1, 3, H, W), if `taken` bytes are in use already."""
        size = data.shape[2:]
        with self.turn:
            if self.fits(size, taken):
                scores = self.passes.scores(data, where)[0].asnumpy()
                return scores.astype(np.float32, copy=False)
            tiles = self._tiles(size, where, taken + self.bytes_of_scores(size))
        scores = np.empty((self.numclass, *size), np.float32)
        for row, band in tiles.bands(windows(data)):
            scores[:, row : row + band.shape[1]] = band
        return scores

    def bytes_of_scores(self, size: Tuple[int, int]) -> int:
        """Bytes of the scores of an image and of its input to the net."""
        return 4 * (self.numclass + self.channels) * prod(size)

    def room(self, taken: int, where: object) -> float:
        """Bytes left to work in besides `taken` for the scores, which are in the host's memory.

        Raises:
            FCNXSError: none is left.
        """
        available = SHARE * available_memory() if self.limit is None else self.limit
        if taken >= available:
            raise FCNXSError(
                f"{where}: scores of {self.numclass} classes for every pixel take {taken / 1e9:.3f} GB; "
                f"the limit is {available / 1e9:.3f} GB. Class maps need less; or cut the image up"
            )
        return self._available(taken)

    def _available(self, taken: int = 0) -> float:
        """Bytes to work in on the device, if `taken` bytes of the host's memory are in use already."""
        if self.limit is not None:
            return self.limit - taken
        ctx = self.passes.ctx
        return SHARE * free_memory(ctx) - (0 if is_gpu(ctx) else taken)

    def _tiles(self, size: Tuple[int, int], where: object, taken: int = 0) -> Tiling:
        self.passes.release()
        wanted = (*size, taken, self.limit)
        if self._tiling is None or self._tiled != wanted:
            room = self.room(taken, where) if taken else self._available()
            try:
                self._tiling = Tiling(
                    self.passes.net, tuple(size), room, self.passes.ctx, self.passes.graph, self.turn
                )
            except FCNXSError as error:
                beside = f", besides {taken / 1e9:.3f} GB of scores" if taken else ""
                raise FCNXSError(f"{where}: {error}{beside}") from None
            self._tiled = wanted
        return self._tiling

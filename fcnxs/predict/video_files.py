"""Videos, frame by frame, through OpenCV's FFmpeg. Their sound is left out."""

from __future__ import annotations

import io
import os
import zipfile
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Callable, Deque, Tuple

import cv2
import numpy as np

from ..conventions import MAX_PIXELS, Palette
from ..data.images import preprocess, refuse_large
from ..errors import FCNXSError, reason
from ..system.files import refuse_irregular, written_whole
from ..system.own import SOFTWARE, mark_mp4
from ..system.threads import in_order
from ..vis import overlay, save_mask
from .segmenter import Segmenter

CODEC = "mp4v"  # MPEG-4 part 2, which every OpenCV writes; the encoders of H.264 are in none of its wheels
# How the containers of videos begin, from the byte of this number on. Others are not opened: FFmpeg also reads
# lists of files and of addresses, which would be a stranger's way to other files and machines.
CONTAINERS = (
    (4, (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")),  # MP4, MOV, 3GP
    (0, (b"\x1a\x45\xdf\xa3", b"OggS", b"FLV", b"\x30\x26\xb2\x75")),  # Matroska and WebM, Ogg, FLV, WMV
    (8, (b"AVI ",)),
    (0, (b"\0\0\1\xba", b"\0\0\1\xb3", b"\x47")),  # MPEG: programme, video alone, transport
)
RATE = 25.0  # frames a second if a video has no rate
AHEAD = 2  # frames read in advance, and frames still being written


def segment_video(
    segmenter: Segmenter, video: VideoReader, targets: Tuple[Path, Path], palette: Palette, on_frame: Callable
) -> np.ndarray:
    """Write a video's class maps and its overlay; return the number of pixels of each class, int64 (256,).

    Args:
        targets: files to write: a ZIP of palette PNGs (000001.png and so on), and an .mp4 video.
        on_frame: called after each frame.

    Raises:
        FCNXSError: the video cannot be read to its end, its frames are too small for the net, or the results
            cannot be written. Neither file is then written.
    """
    if len(segmenter.mean) != 3:
        kinds = " and ".join(segmenter.images)
        raise FCNXSError(f"{video.file}: the net takes images of {kinds}, and a video has one")

    def read(_: int) -> Tuple[np.ndarray, np.ndarray] | None:
        frame = video.read()
        return None if frame is None else (frame, preprocess(frame, segmenter.mean))

    pending: Deque[Future] = deque()
    pixels, reading = np.zeros(256, np.int64), in_order(read, count(), 1, AHEAD)
    with written_whole(*targets) as parts, zipfile.ZipFile(parts[0], "w") as maps:
        maps.comment, film = SOFTWARE.encode(), VideoWriter(parts[1], video.rate)
        with film, ThreadPoolExecutor(1) as pool, closing(reading):
            for number, future in enumerate(reading, 1):
                if future.result() is None:
                    break
                frame, data = future.result()
                del future
                mask = segmenter.class_map(data, video.file)
                how = palette, segmenter.background
                pending.append(pool.submit(_write, maps, film, *how, number, frame, mask))
                pixels += np.bincount(mask.ravel(), minlength=256)
                if len(pending) > AHEAD:
                    pending.popleft().result()
                on_frame()
            for each in pending:
                each.result()
    return pixels


def _write(
    maps: zipfile.ZipFile,
    film: VideoWriter,
    palette: Palette,
    background: int | None,
    number: int,
    frame: np.ndarray,
    mask: np.ndarray,
) -> None:
    """Write a frame, RGB uint8 (H, W, 3), and its class map, uint8 (H, W)."""
    png = io.BytesIO()
    save_mask(png, mask, palette)
    maps.writestr(f"{number:06}.png", png.getvalue())
    film.write(overlay(frame, mask, palette, background=background))


class VideoReader:
    """Frames of a video in order, turned upright by its metadata.

    Attributes:
        rate: frames a second; the mean if the rate varies.
        count: number of frames by the video's header; None if the header has none.
        frames: number of frames read so far.

    Raises:
        FCNXSError: there is no such file, OpenCV cannot read it, or its frames are too large.
    """

    def __init__(self, file: Path, max_pixels: int = MAX_PIXELS) -> None:
        self.file, self._max_pixels = file, max_pixels
        refuse_irregular(file)
        try:
            with file.open("rb") as content:
                head = content.read(16)
        except OSError as error:
            raise FCNXSError(f"{file}: cannot read this video: {reason(error)}") from None
        known = any(head[start:].startswith(marks) for start, marks in CONTAINERS)
        self._capture = cv2.VideoCapture(*((_name(file), cv2.CAP_FFMPEG) if known else ()))
        if not self._capture.isOpened():
            why = "not a video of a known format and codec, or cut off" if head else "empty"
            raise FCNXSError(f"{file}: {why}")
        sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        refuse_large(tuple(int(self._capture.get(side)) for side in sides), file, max_pixels)
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        rate, count = self._capture.get(cv2.CAP_PROP_FPS), self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.rate = rate if 0 < rate <= 1000 else RATE  # some formats without a rate give their clock's
        self.count = int(count) if count > 0 else None
        self.frames, self._seconds = 0, 0.0

    def read(self) -> np.ndarray | None:
        """The next frame, RGB uint8 (H, W, 3); None after the last.

        Raises:
            FCNXSError: the video has no frame, or is cut off.
        """
        there, frame = self._capture.read()
        if there:
            refuse_large(frame.shape[1::-1], self.file, self._max_pixels)  # the first may be smaller
            self.frames += 1
            self._seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        if not self.frames:
            raise FCNXSError(f"{self.file}: no frame of this video can be read")
        # Too few both by count and by time: some formats only estimate the count if the rate varies.
        if self.count and max(self.frames, self._seconds * self.rate) < 0.99 * self.count - 1:
            raise FCNXSError(f"{self.file}: cut off: {self.frames} of {self.count} frames can be read")
        return None


class VideoWriter:
    """Writes frames to an .mp4 file, which ends with the block of the context manager.

    The codec needs an even width and height, so the last column or row of an odd size is written twice.

    Args:
        rate: frames a second.
    """

    def __init__(self, file: Path, rate: float) -> None:
        self._file, self._rate, self._frames = file, rate, 0
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, frame: np.ndarray) -> None:
        """Add a frame, RGB uint8 (H, W, 3), as large as the others.

        Raises:
            OSError: no video of this size can be written here.
        """
        height, width = frame.shape[:2]
        if height % 2 or width % 2:
            frame = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if self._writer is None:
            size, codec = frame.shape[1::-1], cv2.VideoWriter_fourcc(*CODEC)
            self._writer = cv2.VideoWriter(_name(self._file), cv2.CAP_FFMPEG, codec, self._rate, size)
            if not self._writer.isOpened():
                raise OSError(f"OpenCV cannot write a video of {width}x{height} pixels here")
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def __exit__(self, kind: object, *_: object) -> None:
        """End the file.

        Raises:
            OSError: it lacks frames; OpenCV does not report a full disk.
        """
        self.release()
        if kind is not None:
            return
        mark_mp4(self._file)
        there = cv2.VideoCapture(_name(self._file), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT)
        if there != self._frames:
            raise OSError("the file was not written completely; is the disk full?")

    def release(self) -> None:
        """Close the file, complete or not."""
        if self._writer is not None:
            self._writer.release()


def _name(file: Path) -> str:
    """Absolute path for OpenCV, which would take some relative names for URLs or patterns.

    Raises:
        FCNXSError: the path is not UTF-8.
    """
    path = os.path.abspath(file)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise FCNXSError(f"{file}: OpenCV opens only files whose names are UTF-8; rename it") from None
    return path

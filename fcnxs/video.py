"""Videos, frame by frame, through OpenCV's FFmpeg. Their sound is left out."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from .errors import FCNXSError, reason

CODEC = "mp4v"  # MPEG-4 part 2, which every OpenCV writes; the encoders of H.264 are in none of its wheels
RATE = 25.0  # frames a second of what does not say it


class VideoReader:
    """Frames of a video, in their order, upright as its metadata says.

    Attributes:
        rate: frames a second; of a video whose rate varies the mean.
        count: frames that it says it has; None if it does not.
        frames: how many have been read.

    Raises:
        FCNXSError: there is no such file, or not one that OpenCV can read.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            with file.open("rb") as content:
                empty = not content.read(1)
        except OSError as error:
            raise FCNXSError(f"{file}: cannot read this video: {reason(error)}") from None
        self._capture = cv2.VideoCapture(_name(file), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            why = "empty" if empty else "not a video of a known format and codec, or cut off"
            raise FCNXSError(f"{file}: {why}")
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        rate, count = self._capture.get(cv2.CAP_PROP_FPS), self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.rate = rate if 0 < rate <= 1000 else RATE  # some formats without a rate give their clock's
        self.count = int(count) if count > 0 else None
        self.frames, self._seconds = 0, 0.0

    def read(self) -> np.ndarray | None:
        """The next frame, RGB uint8 (H, W, 3); None after the last.

        Raises:
            FCNXSError: it has no frame, or ends before its time.
        """
        there, frame = self._capture.read()
        if there:
            self.frames += 1
            self._seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        if not self.frames:
            raise FCNXSError(f"{self.file}: no frame of this video can be read")
        if self._ends_early():
            raise FCNXSError(f"{self.file}: cut off: {self.frames} of {self.count} frames can be read")
        return None

    def _ends_early(self) -> bool:
        """By frames and by time: where the rate varies, some formats only estimate the first."""
        if self.count is None:
            return False
        most = 0.99 * self.count - 1
        return self.frames < most and self._seconds * self.rate < most


class VideoWriter:
    """Writes frames to an .mp4 file.

    Videos have an even width and height: a last odd column or row is there twice.

    Args:
        rate: frames a second.
    """

    def __init__(self, file: Path, rate: float) -> None:
        self._file, self._rate, self._frames = file, rate, 0
        self._writer: cv2.VideoWriter | None = None

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
                raise OSError(f"OpenCV does not write a video of {width}x{height} pixels here")
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self._frames += 1

    def close(self) -> None:
        """End the file.

        Raises:
            OSError: it does not have all frames: OpenCV does not tell of a disk that gets full.
        """
        self.release()
        there = cv2.VideoCapture(_name(self._file), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT)
        if there != self._frames:
            raise OSError("it was not written to its end; is the disk full?")

    def release(self) -> None:
        """Let go of the file, whole or not."""
        if self._writer is not None:
            self._writer.release()


def _name(file: Path) -> str:
    """A path as OpenCV takes it, which could mean nothing but a file.

    Raises:
        FCNXSError: it is not UTF-8.
    """
    path = os.path.abspath(file)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise FCNXSError(f"{file}: OpenCV takes names in UTF-8 alone; rename it") from None
    return path

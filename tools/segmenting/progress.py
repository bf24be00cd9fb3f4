"""What `fcnxs segment` shows while it works and when it has done: a bar on a terminal, lines in any case."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Callable, List, TextIO

from tqdm import tqdm

from ...errors import FCNXSError
from ..shared.progress import EARLIEST

BAR = "{desc} |{bar}| {n_fmt}/{total_fmt}, {rate_noinv_fmt}, left: {remaining}"


class SegmentProgress:
    """Lines on stdout for what is done, on stderr for what failed; on a terminal bars below them, on stderr.

    Args:
        total: files to segment.
        clock: seconds, from anywhere.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock, self._began = total, clock, clock()
        self._images = self._frames = 0
        self._failed: List[Path] = []
        self._bars = [self._bar("images", total, "images")]
        self._video = ""

    def video(self, file: Path, count: int | None) -> None:
        """A video has begun; `count` is how many frames it says it has."""
        self._bars.append(self._bar(file.name, count, "frames"))
        self._video, self._count, self._done = str(file), count, 0
        self._video_began = self._told = self._clock()

    def frame(self) -> None:
        """A frame of it is done. Where there is no bar, a line comes now and then."""
        self._done += 1
        self._bars[-1].update()
        now = self._clock()
        if self._bars[-1].disable and now - self._told >= EARLIEST:
            self._told, of = now, f"/{self._count}" if self._count else ""
            rate = self._done / (now - self._video_began)
            self._say(f"{self._video}: {self._done}{of} frames, {rate:.2f} frames/s")

    def done(self, line: str, frames: int | None = None) -> None:
        """An image, or with `frames` a video, is done; `line` says what came of it."""
        self._images += frames is None
        self._frames += frames or 0
        self._say(line)
        self._next()

    def failed(self, file: Path, error: FCNXSError) -> None:
        """A file could not be segmented."""
        self._failed.append(file)
        self._say(f"fcnxs: {error}", sys.stderr)
        self._next()

    def summary(self) -> bool:
        """Take the bars away; print how much was done, how fast, and what failed; whether nothing did."""
        self.close()
        seconds = self._clock() - self._began
        counts = {"image": self._images, "frame": self._frames}
        done = [f"{number} {what}{'s' * (number > 1)}" for what, number in counts.items() if number]
        if done:
            rate = (self._images + self._frames) / max(seconds, 1e-9)
            unit = "images" if self._images else "frames"
            print(f"{' and '.join(done)} in {seconds:.1f} s: {rate:.2f} {unit}/s", flush=True)
        if self._failed:
            print(f"fcnxs: {len(self._failed)} of {self._total} failed:", file=sys.stderr)
            for file in self._failed:
                print(f"  {file}", file=sys.stderr)
        return not self._failed

    def close(self) -> None:
        """Take the bars away."""
        while self._bars:
            self._bars.pop().close()

    def _next(self) -> None:
        while len(self._bars) > 1:
            self._bars.pop().close()
        self._bars[0].update()

    def _say(self, line: str, where: TextIO | None = None) -> None:
        """Print a line above the bars."""
        with tqdm.external_write_mode(file=where or sys.stdout):
            print(line, file=where or sys.stdout, flush=True)

    def _bar(self, title: str, total: int | None, unit: str) -> tqdm:
        return tqdm(
            total=total,
            desc=title,
            unit=f" {unit}",
            leave=False,
            bar_format=BAR if total else None,
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

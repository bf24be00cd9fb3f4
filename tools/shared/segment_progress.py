"""What `fcnxs segment` prints while it works: a line for each file, and bars on a terminal."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Callable, List, TextIO

from tqdm import tqdm

from ...errors import FCNXSError, shown
from .printing import say

BAR = "{desc} |{bar}| {n_fmt}/{total_fmt}, {rate_noinv_fmt}, left: {remaining}"
EARLIEST = 30  # seconds from one line about a video to the next


class SegmentProgress:
    """Print a line for each file, on stdout if it is done, on stderr if it failed; on a terminal also bars.

    Args:
        total: number of files to segment.
        clock: returns seconds.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock, self._began = total, clock, clock()
        self._images = self._frames = 0
        self._failed: List[Path] = []
        self._bars = [self._bar("images", total, "images")]
        self._video = ""

    def video(self, file: Path, count: int | None) -> None:
        """Call when a video begins. `count` is the number of frames in its header, None if that is unknown."""
        self._bars.append(self._bar(shown(file.name), count, "frames"))
        self._video, self._count, self._done = str(file), count, 0
        self._video_began = self._told = self._clock()

    def frame(self) -> None:
        """Call when a frame of the video is done. Moves the bar; without a bar, prints a line now and then."""
        self._done += 1
        self._bars[-1].update()
        now = self._clock()
        if self._bars[-1].disable and now - self._told >= EARLIEST:
            self._told, of = now, f"/{self._count}" if self._count else ""
            rate = self._done / (now - self._video_began)
            self._say(f"{self._video}: {self._done}{of} frames, {rate:.2f} frames/s")

    def done(self, line: str, frames: int | None = None) -> None:
        """Call when a file is done. `line` is printed; `frames` is the number of frames if it is a video."""
        self._images += frames is None
        self._frames += frames or 0
        self._say(line)
        self._next()

    def failed(self, file: Path, error: FCNXSError) -> None:
        """Call when a file cannot be segmented; prints the error."""
        self._failed.append(file)
        self._say(f"fcnxs: {error}", sys.stderr)
        self._next()

    def summary(self) -> bool:
        """Remove the bars, print the totals, the speed and all failures. Returns whether nothing failed."""
        self.close()
        seconds = self._clock() - self._began
        counts = {"image": self._images, "frame": self._frames}
        done = [f"{number} {what}{'s' * (number > 1)}" for what, number in counts.items() if number]
        if done:
            rate = (self._images + self._frames) / max(seconds, 1e-9)
            unit = "images" if self._images else "frames"
            say(f"{' and '.join(done)} in {seconds:.1f} s: {rate:.2f} {unit}/s")
        if self._failed:
            say(f"fcnxs: {len(self._failed)} of {self._total} failed:", sys.stderr)
            for file in self._failed:
                say(f"  {file}", sys.stderr)
        return not self._failed

    def close(self) -> None:
        """Remove the bars."""
        while self._bars:
            self._bars.pop().close()

    def _next(self) -> None:
        while len(self._bars) > 1:
            self._bars.pop().close()
        self._bars[0].update()

    def _say(self, line: str, where: TextIO | None = None) -> None:
        """Print a line above the bars."""
        with tqdm.external_write_mode(file=where or sys.stdout):
            say(line, where)

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

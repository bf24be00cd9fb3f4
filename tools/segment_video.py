"""A video through a net, frame by frame, in the memory of a few: threads read and write while it computes."""

from __future__ import annotations

import io
import zipfile
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Deque, List, Tuple

if TYPE_CHECKING:
    import numpy as np

    from ..conventions import Palette
    from ..predict import Segmenter
    from ..video import VideoReader

AHEAD = 2  # frames read before their turn, and frames still being written


def segment_video(
    segmenter: Segmenter, video: VideoReader, targets: Tuple[Path, Path], palette: Palette, on_frame: Callable
) -> np.ndarray:
    """Write a video's class maps, and the video with their overlay; how many pixels each class has (256,).

    Args:
        targets: a ZIP file of palette PNGs, 000001.png and so on, and an .mp4 file.
        on_frame: called after each frame.

    Raises:
        FCNXSError: the video cannot be read to its end, its frames are too small for the net, or the results
            cannot be written. Nothing is then.
    """
    import numpy as np

    from ..data.images import preprocess
    from ..system.files import written_whole
    from ..system.threads import in_order

    def read(_: int) -> Tuple[np.ndarray, np.ndarray] | None:
        frame = video.read()
        return None if frame is None else (frame, preprocess(frame, segmenter.mean))

    pending: Deque[Future] = deque()
    pixels = np.zeros(256, np.int64)
    with written_whole(*targets) as parts, _Results(parts, video.rate, palette) as results:
        with ThreadPoolExecutor(1) as pool, closing(in_order(read, count(), 1, AHEAD)) as reading:
            for number, future in enumerate(reading, 1):
                if future.result() is None:
                    break
                frame, data = future.result()
                del future
                mask = segmenter.class_map(data, video.file)
                pending.append(pool.submit(results.add, number, frame, mask))
                pixels += np.bincount(mask.ravel(), minlength=256)
                if len(pending) > AHEAD:
                    pending.popleft().result()
                on_frame()
            for each in pending:
                each.result()
        results.finish()
    return pixels


class _Results:
    """What is written of a video; within `with`, whose end lets go of the files, whole or not."""

    def __init__(self, parts: List[Path], rate: float, palette: Palette) -> None:
        from ..video import VideoWriter

        self._maps, self._overlay = zipfile.ZipFile(parts[0], "w"), VideoWriter(parts[1], rate)
        self._palette = palette

    def __enter__(self) -> _Results:
        return self

    def add(self, number: int, frame: np.ndarray, mask: np.ndarray) -> None:
        """Write a frame, RGB uint8 (H, W, 3), and its class map, uint8 (H, W)."""
        from ..vis import overlay, save_mask

        png = io.BytesIO()
        save_mask(png, mask, self._palette)
        self._maps.writestr(f"{number:06}.png", png.getvalue())
        self._overlay.write(overlay(frame, mask, self._palette))

    def finish(self) -> None:
        """Write the ends of the files, and see that the video has all frames."""
        self._overlay.close()

    def __exit__(self, *_: object) -> None:
        self._overlay.release()
        self._maps.close()

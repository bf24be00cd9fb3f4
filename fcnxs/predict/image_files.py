"""Images through a net: threads read and write while it computes."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Deque, Iterator, NamedTuple, Sequence, Tuple

import numpy as np
from PIL import Image

from ..conventions import Palette
from ..data.images import preprocess, read_image
from ..errors import FCNXSError
from ..system.files import written_whole
from ..system.memory import available_memory
from ..system.threads import in_order
from ..vis import overlay, save_mask
from .segmenter import Segmenter

AHEAD = 2  # images read before their turn, and images whose pictures are still being written
LARGE = 16_000_000  # pixels from which on an image is read, computed and written by itself
ROWS = 256  # of a large image whose overlay is made at a time
READING = 10  # bytes for each pixel while an image is read: Pillow's 4, and twice 3 when NumPy takes it

Targets = Tuple[Path, Path]  # of the mask and the overlay


def segmented(
    segmenter: Segmenter, files: Sequence[Tuple[Path, Targets]], palette: Palette
) -> Iterator[Future]:
    """For each image, in order: its pictures have been written when the Future of its pixels by class is done.

    Threads read and write while the net computes. What has begun to be written is whole when this ends, also by
    an interruption; the rest is not written.
    """
    pending: Deque[Future] = deque()
    with _any_size(), ThreadPoolExecutor(AHEAD, thread_name_prefix="fcnxs-write") as pool:
        reading = in_order(partial(_read, segmenter), [file for file, _ in files], AHEAD, AHEAD)
        try:
            with closing(reading):
                for (file, targets), image in zip(files, reading):
                    pending.append(_begun(segmenter, pool, file, image, targets, palette))
                    del image
                    while pending and (len(pending) > AHEAD or pending[0].done()):
                        yield pending.popleft()
            yield from pending
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Image(NamedTuple):
    """An image as the threads give it: RGB (H, W, 3), and the net's input; neither for a large one."""

    picture: np.ndarray | None
    data: np.ndarray | None


def _read(segmenter: Segmenter, file: Path) -> _Image:
    if _pixels(file) >= LARGE:
        return _Image(None, None)
    picture = read_image(file)
    return _Image(picture, preprocess(picture, segmenter.mean))


def _begun(
    segmenter: Segmenter,
    pool: ThreadPoolExecutor,
    file: Path,
    image: Future,
    targets: Targets,
    palette: Palette,
) -> Future:
    """Compute an image, and begin to write its pictures."""
    done: Future = Future()
    try:
        read = image.result()
        if read.picture is not None and segmenter.fits(read.picture.shape[:2], file):
            mask = segmenter.class_map(read.data, file)
            return pool.submit(_overlay_and_write, read.picture, mask, targets, palette)
        done.set_result(_by_itself(segmenter, file, targets, palette))
    except FCNXSError as error:
        done.set_exception(error)
    return done


def _overlay_and_write(picture: np.ndarray, mask: np.ndarray, targets: Targets, palette: Palette) -> np.ndarray:
    return _write(Image.fromarray(overlay(picture, mask, palette)), mask, targets, palette)


def _write(coloured: Image.Image, mask: np.ndarray, targets: Targets, palette: Palette) -> np.ndarray:
    """Write both pictures; how many pixels each class has."""
    with written_whole(*targets) as (mask_part, overlay_part):
        save_mask(mask_part, mask, palette)
        coloured.save(overlay_part, format="PNG")
    return np.asarray(Image.fromarray(mask).histogram())  # np.bincount would make 8 bytes of each pixel


def _by_itself(segmenter: Segmenter, file: Path, targets: Targets, palette: Palette) -> np.ndarray:
    """Read, compute and write a large image in the memory that reading it takes; its pixels by class."""
    _refuse_what_does_not_fit(file)
    picture = read_image(file)
    mask = np.empty(picture.shape[:2], np.uint8)
    for row, band in segmenter.bands(picture, file):
        mask[row : row + len(band)] = band
    del band
    coloured = Image.new("RGB", mask.shape[::-1])
    for row in range(0, len(mask), ROWS):
        rows = slice(row, row + ROWS)
        coloured.paste(Image.fromarray(overlay(picture[rows], mask[rows], palette)), (0, row))
    del picture
    return _write(coloured, mask, targets, palette)


def _pixels(file: Path) -> int:
    """Pixels that an image says it has; 0 where it cannot be read, of which reading it will tell."""
    try:
        with Image.open(file) as image:
            return image.width * image.height
    except Exception:  # of which decoders raise any on damage
        return 0


def _refuse_what_does_not_fit(file: Path) -> None:
    """In place of Pillow's own limit, 179 million pixels: what the memory holds, honest or not."""
    needed, there = READING * _pixels(file), available_memory()
    if needed > there:
        raise FCNXSError(
            f"{file}: reading its {_pixels(file) / 1e6:.0f} million pixels needs {needed / 1e9:.1f} GB, and "
            f"{there / 1e9:.1f} are available; cut it into several images"
        )


class _any_size:  # noqa: N801  (a context manager, used like a function)
    """Within it, Pillow reads images of any size."""

    def __enter__(self) -> None:
        self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None

    def __exit__(self, *_: object) -> None:
        Image.MAX_IMAGE_PIXELS = self._limit

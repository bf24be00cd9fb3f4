"""Segment image files: threads read the next images and write the last results while the net computes.

For each image a mask (palette PNG) and an overlay are written, both or none. Large images are handled one at a
time, so that no second one takes memory.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Deque, Iterator, Sequence, Tuple

import numpy as np
from PIL import Image

from ..conventions import Palette
from ..data.images import preprocess, size_of
from ..errors import FCNXSError
from ..system.files import written_whole
from ..system.memory import available_memory
from ..system.own import png_info
from ..system.threads import in_order
from ..vis import overlay, save_mask
from .inputs import Scene, picture_of
from .segmenter import Segmenter

AHEAD = 2  # images read in advance, and images whose results are still being written
LARGE = 16_000_000  # an image of this many pixels or more is read, computed and written alone
ROWS = 256  # rows of a large image that are overlaid at a time
READING = 10  # bytes a pixel while an image is read: Pillow's 4, and twice 3 for the conversion to NumPy

Targets = Tuple[Path, Path]  # files of the mask and the overlay


def segmented(
    segmenter: Segmenter, files: Sequence[Tuple[Path | Scene, Targets]], palette: Palette
) -> Iterator[Future]:
    """Segment files, or scenes of two; yield for each in order a Future of the pixels of each class (256,).

    A Future is done when both results of its image are written. When the generator ends, also by an
    interruption, each image has both results or none.
    """
    pending: Deque[Future] = deque()
    with ThreadPoolExecutor(AHEAD, thread_name_prefix="fcnxs-write") as pool:
        reading = in_order(partial(_read, segmenter), [scene for scene, _ in files], AHEAD, AHEAD)
        try:
            with closing(reading):
                for (scene, targets), image in zip(files, reading):
                    pending.append(_begun(segmenter, pool, scene, image, targets, palette))
                    del image
                    while pending and (len(pending) > AHEAD or pending[0].done()):
                        yield pending.popleft()
            yield from pending
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _read(segmenter: Segmenter, scene: Path | Scene) -> Tuple[np.ndarray, np.ndarray] | None:
    """Image, RGB (H, W, 3), and input of the net; None for a large image, which is read in its turn."""
    width, height = size_of(_first(scene), segmenter.max_pixels)
    if width * height >= LARGE:
        return None
    image = segmenter.read(scene)
    return picture_of(image), preprocess(image, segmenter.mean)


def _first(scene: Path | Scene) -> Path:
    return scene.color if isinstance(scene, Scene) else scene


def _begun(
    segmenter: Segmenter,
    pool: ThreadPoolExecutor,
    scene: Path | Scene,
    image: Future,
    targets: Targets,
    palette: Palette,
) -> Future:
    """Compute an image and start writing its results."""
    done: Future = Future()
    try:
        read, file = image.result(), _first(scene)
        if read is not None and segmenter.fits(read[0].shape[:2], file):
            mask = segmenter.class_map(read[1], file)
            return pool.submit(_overlay_and_write, segmenter.background, read[0], mask, targets, palette)
        done.set_result(_by_itself(segmenter, scene, targets, palette))
    except FCNXSError as error:
        done.set_exception(error)
    return done


def _overlay_and_write(
    background: int | None, picture: np.ndarray, mask: np.ndarray, targets: Targets, palette: Palette
) -> np.ndarray:
    coloured = Image.fromarray(overlay(picture, mask, palette, background=background))
    return _write(coloured, mask, targets, palette)


def _write(coloured: Image.Image, mask: np.ndarray, targets: Targets, palette: Palette) -> np.ndarray:
    """Write mask and overlay; return the number of pixels of each class (256,)."""
    with written_whole(*targets) as (mask_part, overlay_part):
        save_mask(mask_part, mask, palette)
        coloured.save(overlay_part, format="PNG", pnginfo=png_info())
    return np.asarray(Image.fromarray(mask).histogram())  # np.bincount would make 8 bytes of each pixel


def _by_itself(segmenter: Segmenter, scene: Path | Scene, targets: Targets, palette: Palette) -> np.ndarray:
    """Read, compute and write an image, if the memory holds it; return its number of pixels by class (256,)."""
    file = _first(scene)
    width, height = size_of(file, segmenter.max_pixels)
    needed, there = READING * width * height, available_memory()
    if needed > there:
        raise FCNXSError(
            f"{file}: reading its {width * height / 1e6:.0f} million pixels needs {needed / 1e9:.1f} GB, and "
            f"{there / 1e9:.1f} are available; cut it into several images"
        )
    picture = segmenter.read(scene)
    mask = np.empty(picture.shape[:2], np.uint8)
    for row, band in segmenter.bands(picture, file):
        mask[row : row + len(band)] = band
    del band
    coloured = Image.new("RGB", mask.shape[::-1])
    for row in range(0, len(mask), ROWS):
        rows = slice(row, row + ROWS)
        part = overlay(picture_of(picture[rows]), mask[rows], palette, background=segmenter.background)
        coloured.paste(Image.fromarray(part), (0, row))
    del picture
    return _write(coloured, mask, targets, palette)

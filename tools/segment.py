"""Segment images: a palette mask DIR/NAME.png and an overlay DIR/NAME_overlay.png for each.

IMAGE is a file, or a folder, of which the JPEGs and PNGs are taken, by name. Images that need more memory than
there is, or than --memory-limit, are computed in tiles, with the same result.

Examples:
    fcnxs segment --prefix run/fcn8s --epoch 19 cat.jpg street.jpg --output masks
    fcnxs segment --prefix run/fcn8s --epoch 19 aerial/ --output masks --memory-limit 2GB
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Deque, Iterable, Iterator, List, NamedTuple

from ..digest import sha256_of
from ..errors import FCNXSError
from . import options

if TYPE_CHECKING:
    import numpy as np

    from ..predict import Segmenter
    from ..vis import Palette

AHEAD = 2  # images read before their turn, and images whose pictures are still being written
LARGE = 16_000_000  # pixels from which on an image is read, computed and written by itself


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs segment`."""
    options.add_checkpoint(parser)
    parser.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="JPEG, PNG, ..., or a folder of them"
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for the pictures")
    parser.add_argument(
        "--memory-limit",
        metavar="SIZE",
        help="to work in beyond weights and image, e.g. 2GB (default: 80%% of what is available)",
    )
    parser.add_argument("--no-trim", action="store_true", help="compute the whole canvas; slower")
    options.add_gpus(parser)


def run(args: argparse.Namespace) -> int:
    """Segment every image; one that fails is named, and the others are done. Then the exit code is 1."""
    limit = memory_limit(args.memory_limit)
    files = found(args.images)
    written = [args.output / f"{file.stem}{end}.png" for file in files for end in ("", "_overlay")]
    options.refuse_clashes("--output", args.output, written, files)

    with ThreadPoolExecutor(1) as pool:  # the checksum of the parameters, while MXNet loads
        digest = pool.submit(sha256_of, f"{args.prefix}-{args.epoch:04d}.params")

        from .. import checkpoint
        from ..predict import Segmenter
        from ..vis import voc_palette

        ctx = options.device(args.gpus)
        source = checkpoint.load(args.prefix, args.epoch, mapped=True, digest=digest)
    segmenter = Segmenter(source, ctx, not args.no_trim, limit)
    options.tell_mean(args.prefix, source)
    palette, classes = source.meta.palette or voc_palette(segmenter.numclass), source.meta.classes
    del source
    failed = 0
    with closing(segmented(segmenter, files, args.output, palette)) as results:
        for file, result in zip(files, results):
            try:
                counts = result.result()
            except FCNXSError as error:
                print(f"fcnxs: {error}", file=sys.stderr)
                failed += 1
                continue
            print(f"{args.output / file.stem}.png: {', '.join(_shares(counts, classes))}", flush=True)
    if failed:
        print(f"fcnxs: {failed} of {len(files)} images failed", file=sys.stderr)
    return 1 if failed else 0


def memory_limit(text: str | None) -> float | None:
    """Bytes that --memory-limit says.

    Raises:
        FCNXSError: it is not a size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+) ?(MB|GB)", text.strip(), re.IGNORECASE)
    if not match or not float(match[1]):
        raise FCNXSError(f"--memory-limit {text}: want a size such as 2GB or 500MB")
    return float(match[1]) * {"MB": 1e6, "GB": 1e9}[match[2].upper()]


def found(images: Iterable[Path]) -> List[Path]:
    """Files of images: those given, and those in folders that are given.

    Raises:
        FCNXSError: a folder has none.
    """
    from ..data import IMAGE_SUFFIXES

    files = []
    for image in images:
        if image.is_dir():
            inside = sorted(file for file in image.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise FCNXSError(f"{image}: no image ({', '.join(IMAGE_SUFFIXES)}) in this folder")
            files += inside
        else:
            files.append(image)
    return files


def segmented(segmenter: Segmenter, files: List[Path], folder: Path, palette: Palette) -> Iterator[Future]:
    """For each image, in order: its pictures have been written when the Future of its pixels by class is done.

    Threads read and write while the net computes. What has begun to be written is whole when this ends, also by
    an interruption; the rest is not written.
    """
    from ..ahead import in_order

    pending: Deque[Future] = deque()
    with _any_size(), ThreadPoolExecutor(AHEAD, thread_name_prefix="fcnxs-write") as pool:
        reading = in_order(partial(_read, segmenter), files, AHEAD, AHEAD)
        try:
            with closing(reading):
                for file, image in zip(files, reading):
                    pending.append(_begun(segmenter, pool, file, image, folder, palette))
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
    from ..data import preprocess, read_image

    if _pixels(file) >= LARGE:
        return _Image(None, None)
    picture = read_image(file)
    return _Image(picture, preprocess(picture, segmenter.mean))


def _begun(
    segmenter: Segmenter, pool: ThreadPoolExecutor, file: Path, image: Future, folder: Path, palette: Palette
) -> Future:
    """Compute an image, and begin to write its pictures."""
    done: Future = Future()
    try:
        read = image.result()
        if read.picture is not None and segmenter.fits(read.picture.shape[:2], file):
            mask = segmenter.class_map(read.data, file)
            return pool.submit(_write, read.picture, mask, folder / f"{file.stem}.png", palette)
        done.set_result(_in_bands(segmenter, file, folder / f"{file.stem}.png", palette))
    except FCNXSError as error:
        done.set_exception(error)
    return done


def _write(picture: np.ndarray, mask: np.ndarray, target: Path, palette: Palette) -> np.ndarray:
    """Write both pictures; how many pixels each class has."""
    import numpy as np
    from PIL import Image

    from ..files import written_whole
    from ..vis import overlay, save_mask

    with written_whole(*_targets(target)) as (mask_part, overlay_part):
        save_mask(mask_part, mask, palette)
        Image.fromarray(overlay(picture, mask, palette)).save(overlay_part, format="PNG")
    return np.bincount(mask.ravel(), minlength=256)


def _in_bands(segmenter: Segmenter, file: Path, target: Path, palette: Palette) -> np.ndarray:
    """Compute and write an image by bands of rows; how many pixels each class has."""
    import numpy as np

    from ..data import read_image
    from ..files import written_whole
    from ..png import PngRows
    from ..vis import overlay

    _refuse_what_does_not_fit(file)
    picture, counts = read_image(file), np.zeros(256, np.int64)
    with (
        written_whole(*_targets(target)) as parts,
        open(parts[0], "wb") as first,
        open(parts[1], "wb") as second,
    ):
        pngs = PngRows(first, picture.shape[:2], palette), PngRows(second, picture.shape[:2])
        for row, band in segmenter.bands(picture, file):
            pngs[0].write(band)
            pngs[1].write(overlay(picture[row : row + len(band)], band, palette))
            counts += np.bincount(band.ravel(), minlength=256)
        for png in pngs:
            png.close()
    return counts


def _targets(target: Path) -> List[Path]:
    return [target, target.with_name(f"{target.stem}_overlay.png")]


def _pixels(file: Path) -> int:
    """Pixels that an image says it has; 0 where it cannot be read, of which reading it will tell."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.width * image.height
    except (OSError, SyntaxError, ValueError):
        return 0


def _refuse_what_does_not_fit(file: Path) -> None:
    """In place of Pillow's own limit, 179 million pixels: what the memory holds. It decodes to 4 bytes each."""
    from ..facts import available_memory

    needed, there = 8 * _pixels(file), available_memory()
    if needed > there:
        raise FCNXSError(
            f"{file}: reading its {_pixels(file) / 1e6:.0f} million pixels needs {needed / 1e9:.1f} GB, and "
            f"{there / 1e9:.1f} are available; cut it into several images"
        )


class _any_size:  # noqa: N801  (a context manager, used like a function)
    """Within it, Pillow reads images of any size."""

    def __enter__(self) -> None:
        from PIL import Image

        self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None

    def __exit__(self, *_: object) -> None:
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = self._limit


def _shares(counts: np.ndarray, classes: list | None) -> list:
    """The four largest classes with their shares of the pixels, and the share of the rest."""
    order = [int(number) for number in (-counts).argsort(kind="stable") if counts[number]]
    name = classes.__getitem__ if classes else "class {}".format
    shares = [f"{name(number)} {counts[number] / counts.sum():.0%}" for number in order[:4]]
    rest = counts[order[4:]].sum()
    return shares + [f"{len(order) - 4} more {rest / counts.sum():.0%}"] * bool(rest)

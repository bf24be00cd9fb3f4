"""Segment images and videos: class maps and overlays.

IMAGE is a file, a folder, or a pattern in quotes ('photos/**/*.jpg'); if a file or folder has just this name,
it is no pattern. In a folder and all folders below it, files with the suffix of an image or video are
taken, except hidden ones. A file named on the command line is tried whatever its suffix.

An image NAME.jpg gives DIR/NAME.png, a palette PNG of class numbers, and DIR/NAME_overlay.png.
A video NAME.mov gives DIR/NAME.zip, with a palette PNG for each frame (000001.png, ...), and
DIR/NAME_overlay.mp4 without sound, of the same size (made even) and frame rate (its mean if it varies).
Subfolders are repeated in DIR. If two results would have the same name, the command stops before it starts.

Images are rotated by their EXIF orientation, transparent pixels are white, 16-bit channels are cut to their
upper 8 bits. Images that need more memory than is available, or than --memory-limit, are computed in tiles,
with the same result. Files that cannot be segmented are reported at once and again at the end; the others are
segmented, and the exit code is 1.

Examples:
    fcnxs segment --prefix run/fcn8s --epoch 19 cat.jpg street.mp4 --output masks
    fcnxs segment --prefix run/fcn8s --epoch 19 aerial/ --output masks --memory-limit 2GB
"""

from __future__ import annotations

import argparse
import os
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Tuple

import numpy as np

from ..conventions import Palette
from ..errors import FCNXSError
from ..system.files import sha256_of
from .segmenting.inputs import Input, found
from .shared import options

if TYPE_CHECKING:
    from ..predict.segmenter import Segmenter
    from .segmenting.progress import SegmentProgress

# OpenCV and its FFmpeg print lines of their own about files that they cannot read; our errors name those files.
QUIET = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs segment`."""
    options.add_checkpoint(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image, video, folder, or pattern in quotes")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--memory-limit",
        metavar="SIZE",
        help="memory to use besides weights and image, e.g. 2GB (default: 80%% of the available memory)",
    )
    parser.add_argument(
        "--no-trim",
        action="store_true",
        help="compute the whole padded canvas; same result, slower",
    )
    options.add_gpus(parser)


def run(args: argparse.Namespace) -> int:
    """Segment all inputs, report those that fail, and return the exit code: 1 if any failed."""
    limit = memory_limit(args.memory_limit)
    inputs, unreadable = found(args.images, args.output)
    if not inputs:
        raise unreadable[0][1]
    written = [(target, each.file) for each in inputs for target in each.targets(args.output)]
    options.refuse_clashes("--output", args.output, written)
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)

    with ThreadPoolExecutor(1) as pool:  # computes the parameters' checksum while MXNet loads
        digest = pool.submit(sha256_of, f"{args.prefix}-{args.epoch:04d}.params")

        from .. import checkpoint
        from ..predict.segmenter import Segmenter
        from .segmenting.progress import SegmentProgress

        ctx = options.device(args.gpus)
        source = checkpoint.load(args.prefix, args.epoch, mapped=True, digest=digest)
    segmenter = Segmenter(source, ctx=ctx, trim=not args.no_trim, memory_limit=limit)
    options.tell_mean(args.prefix, source)
    del source
    with closing(SegmentProgress(len(inputs) + len(unreadable))) as progress:
        for folder, error in unreadable:
            progress.failed(folder, error)
        for each, result in _results(segmenter, inputs, args.output, segmenter.palette, progress):
            if isinstance(result, FCNXSError):
                progress.failed(each.file, result)
                continue
            pixels, frames = result
            what = [f"{frames} frames"] * (frames is not None) + _shares(pixels, segmenter.classes)
            progress.done(f"{each.targets(args.output)[0]}: {', '.join(what)}", frames)
        return 0 if progress.summary() else 1


def memory_limit(text: str | None) -> float | None:
    """Bytes that --memory-limit stands for; None if it is not given.

    Raises:
        FCNXSError: `text` is not a size such as 2GB.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+) ?(MB|GB)", text.strip(), re.IGNORECASE)
    if not match or not float(match[1]):
        raise FCNXSError(f"--memory-limit {text}: not a size; give one such as 2GB or 500MB")
    return float(match[1]) * {"MB": 1e6, "GB": 1e9}[match[2].upper()]


def _results(
    segmenter: Segmenter, inputs: List[Input], output: Path, palette: Palette, progress: SegmentProgress
) -> Iterator[Tuple[Input, Tuple[np.ndarray, int | None] | FCNXSError]]:
    """Write the results of each input in order; yield the input with its error, or two numbers.

    These are the number of pixels of each class (256,), and of the frames of a video.
    """
    from ..predict.image_files import segmented
    from ..predict.video_files import VideoReader, segment_video

    for are_videos, group in groupby(inputs, key=lambda each: each.is_video):
        some = list(group)
        if are_videos:
            for each in some:
                try:
                    video = VideoReader(each.file)
                    progress.video(each.file, video.count)
                    pixels = segment_video(segmenter, video, each.targets(output), palette, progress.frame)
                    result = pixels, video.frames
                except FCNXSError as error:
                    result = error
                yield each, result
            continue
        files = [(each.file, each.targets(output)) for each in some]
        with closing(segmented(segmenter, files, palette)) as futures:
            for each, future in zip(some, futures):
                error = future.exception()
                if error is not None and not isinstance(error, FCNXSError):
                    raise error
                yield each, error or (future.result(), None)


def _shares(counts: np.ndarray, classes: List[str]) -> List[str]:
    """The four largest classes with their shares of the pixels, and the share of the rest."""
    order = [int(number) for number in (-counts).argsort(kind="stable") if counts[number]]
    shares = [f"{classes[number]} {counts[number] / counts.sum():.0%}" for number in order[:4]]
    rest = counts[order[4:]].sum()
    return shares + [f"{len(order) - 4} more {rest / counts.sum():.0%}"] * bool(rest)

"""Segment images and videos: class maps and overlays.

IMAGE is a file, a folder with all that is below it, or a pattern in quotes ('photos/**/*.jpg'); a file or
folder of that very name comes before a pattern. Of a folder images and videos are taken, by their suffixes,
and nothing hidden; what is named is tried, whatever its suffix.

For an image NAME.jpg: DIR/NAME.png, a palette PNG of class numbers, and DIR/NAME_overlay.png.
For a video NAME.mov: DIR/NAME.zip, such a PNG for each frame (000001.png, ...), and DIR/NAME_overlay.mp4, of
the same size (made even) and the same rate (the mean, where it varies), without sound.
Folders below the one that is given are made in DIR too. Where two results would have one name, nothing begins.

Images are turned as their EXIF data says; what is transparent is white; of 16 bits a channel the upper 8 count.
Those that need more memory than there is, or than --memory-limit, are computed in tiles, with the same result.
What cannot be segmented is named, and again at the end; the rest is done, and the exit code is 1.

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

# OpenCV and its FFmpeg write lines of their own to stderr about what they cannot read, of which we say it.
QUIET = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs segment`."""
    options.add_checkpoint(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image, video, folder of them, or pattern")
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--memory-limit",
        metavar="SIZE",
        help="to work in beyond weights and image, e.g. 2GB (default: 80%% of what is available)",
    )
    parser.add_argument("--no-trim", action="store_true", help="compute the whole canvas; slower")
    options.add_gpus(parser)


def run(args: argparse.Namespace) -> int:
    """Segment everything; what fails is named, and the rest is done. Then the exit code is 1."""
    limit = memory_limit(args.memory_limit)
    inputs, unreadable = found(args.images, args.output)
    if not inputs:
        raise unreadable[0][1]
    written = [(target, each.file) for each in inputs for target in each.targets(args.output)]
    options.refuse_clashes("--output", args.output, written)
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)

    with ThreadPoolExecutor(1) as pool:  # the checksum of the parameters, while MXNet loads
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

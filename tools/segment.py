"""Segment images and videos: class maps and overlays.

IMAGE is a file, a folder, or a pattern in quotes ('photos/**/*.jpg'); if a file or folder has just this name,
it is no pattern. In a folder and all folders below it, files with the suffix of an image or video are
taken, except hidden ones. A file named on the command line is tried whatever its suffix.

An image NAME.jpg gives DIR/NAME.png, a palette PNG of class numbers, and DIR/NAME_overlay.png.
A video NAME.mov gives DIR/NAME.zip, with a palette PNG for each frame (000001.png, ...), and
DIR/NAME_overlay.mp4 without sound, of the same size (made even) and frame rate (its mean if it varies).
Subfolders are repeated in DIR. If two results would have the same name, the command stops before it starts.
A net with several heads gives the results of each in DIR/HEAD, unless --task names one.
A file in DIR that is no result of this command is kept, and its image is reported, unless --overwrite is given.

Images are turned by their EXIF orientation (--exif ignore does not; nor does a net that was trained so),
transparent pixels are white, 16-bit channels are cut to their upper 8 bits. Images that need more memory than
is available, or than --memory-limit, are computed in tiles, with the same result. Files that cannot be
segmented are reported at once and again at the end; the others are segmented, and the exit code is 1.

Examples:
    fcnxs segment --prefix run/fcn8s cat.jpg street.mp4 --output masks
    fcnxs segment --prefix run/fcn8s --epoch 19 aerial/ --output masks --memory-limit 2GB
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator, List, TextIO, Tuple

import numpy as np
from tqdm import tqdm

from ..errors import FCNXSError, shown
from ..system.files import sha256_of
from ..system.own import refuse_strangers, results
from ..vis import palette_bytes
from .shared import data_checks, devices, options
from .shared.inputs import Input, found
from .shared.printing import say

if TYPE_CHECKING:
    from ..predict.segmenter import Segmenter

# OpenCV and its FFmpeg print lines of their own about files that they cannot read; our errors name those files.
QUIET = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}
BAR = "{desc} |{bar}| {n_fmt}/{total_fmt}, {rate_noinv_fmt}, left: {remaining}"
EARLIEST = 30  # seconds from one line about a video to the next


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs segment`."""
    options.add_checkpoint(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image, video, folder, or pattern in quotes")
    parser.add_argument(
        "--output", required=True, type=Path, metavar="DIR", help="folder for the class maps and overlays"
    )
    parser.add_argument(
        "--memory-limit",
        metavar="SIZE",
        help="memory to use besides weights and image, e.g. 2GB (default: 80%% of the available memory)",
    )
    parser.add_argument(
        "--no-trim",
        action="store_true",
        help="compute the whole padded canvas, which is slower and gives the same result",
    )
    parser.add_argument(
        "--background",
        metavar="NAME",
        help="class that overlays leave clear, or none (default: the one named background; class 0, if the "
        "classes have no names)",
    )
    options.add_overwrite(parser)
    data_checks.add_exif(parser, "as the checkpoint's meta file says")
    data_checks.add_max_pixels(parser)
    devices.add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Segment all inputs, report those that fail, and return the exit code: 1 if any failed."""
    import cv2  # noqa: F401  (says what it lacks before anything is written)

    limit = memory_limit(args.memory_limit)
    inputs, unreadable = found(args.images, args.output)
    missing = [each.file for each in inputs if not os.path.lexists(each.file)]
    if not inputs:
        raise unreadable[0][1]
    if len(missing) == len(inputs) and not unreadable:
        more = f"; {len(missing) - 1} more are not there either" * (len(missing) > 1)
        raise FCNXSError(f"{missing[0]}: no such file{more}")
    written = [(target, each.file) for each in inputs for target in each.targets(args.output)]
    options.refuse_clashes("--output", args.output, written)
    options.choose_epoch(args)
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)

    with ThreadPoolExecutor(1) as pool:  # computes the parameters' checksum while MXNet loads
        digest = pool.submit(sha256_of, f"{args.prefix}-{args.epoch:04d}.params")

        from .. import checkpoint
        from ..heads import heads_of
        from ..predict.segmenter import Segmenter

        ctx = devices.device(args.device)
        how = {"pooling_convention": args.pooling_convention, "operators": args.operators}
        source = checkpoint.load(args.prefix, args.epoch, mapped=True, digest=digest, **how)
    how = {"trim": not args.no_trim, "memory_limit": limit}
    how.update({"exif": args.exif, "max_pixels": args.max_pixels, "background": args.background})
    options.tell_mean(args.prefix, source)
    code, tasks = 0, [args.task] if args.task else heads_of(source.symbol) or [None]
    for task in tasks:
        output = args.output / task if tasks[1:] else args.output
        code |= _segment(args, Segmenter(source, ctx=ctx, head=task, **how), output, inputs, unreadable)
    return code


def _segment(
    args: argparse.Namespace,
    segmenter: Segmenter,
    output: Path,
    inputs: List[Input],
    unreadable: List[Tuple[Path, FCNXSError]],
) -> int:
    """Segment all inputs into a folder, report those that fail, and return the exit code."""
    with closing(SegmentProgress(len(inputs) + len(unreadable))) as progress:
        for folder, error in unreadable:
            progress.failed(folder, error)
        free = list(_free(inputs, output, args.overwrite, palette_bytes(segmenter.palette), progress))
        for each, result in _results(segmenter, free, output, progress):
            if isinstance(result, FCNXSError):
                progress.failed(each.file, result)
                continue
            pixels, frames = result
            what = [f"{frames} frames"] * (frames is not None) + _shares(pixels, segmenter.classes)
            progress.done(f"{each.targets(output)[0]}: {', '.join(what)}", frames)
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


def _free(
    inputs: List[Input], output: Path, overwrite: bool, palette: bytes, progress: SegmentProgress
) -> Iterator[Input]:
    """Inputs whose results replace no file that is not ours; report the others, before the work begins."""
    for each in inputs:
        targets = each.targets(output)
        try:
            refuse_strangers(targets, overwrite, results(targets, palette))
            yield each
        except FCNXSError as error:
            progress.failed(each.file, error)


def _results(
    segmenter: Segmenter, inputs: List[Input], output: Path, progress: SegmentProgress
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
                    video = VideoReader(each.file, segmenter.max_pixels)
                    progress.video(each.file, video.count)
                    pixels = segment_video(
                        segmenter, video, each.targets(output), segmenter.palette, progress.frame
                    )
                    result = pixels, video.frames
                except FCNXSError as error:
                    result = error
                yield each, result
            continue
        files = [(each.file, each.targets(output)) for each in some]
        with closing(segmented(segmenter, files, segmenter.palette)) as futures:
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

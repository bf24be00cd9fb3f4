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
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, Tuple

import numpy as np

from ..errors import FCNXSError
from ..system.files import sha256_of
from ..system.own import refuse_strangers, results
from ..vis import palette_bytes
from .shared import data_checks, devices, options
from .shared.inputs import Input, found
from .shared.printing import say
from .shared.segment_progress import SegmentProgress

if TYPE_CHECKING:
    from ..predict.inputs import Scene
    from ..predict.segmenter import Segmenter

# OpenCV and its FFmpeg print lines of their own about files that they cannot read; our errors name those files.
QUIET = {"OPENCV_LOG_LEVEL": "SILENT", "OPENCV_FFMPEG_LOGLEVEL": "-8"}


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
    parser.add_argument(
        "--second",
        type=Path,
        metavar="FILE|DIR",
        help="for a net of two images, the HHA or depth image of IMAGE, or a folder of those of a folder, by "
        "the same names (default: in the folder hha or depth beside the folder images that IMAGE is in)",
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
    if args.second and not args.second.is_dir() and len(inputs) > 1:
        raise FCNXSError(f"--second {args.second}: is no folder, and there are {len(inputs)} images")
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
    if source.meta.images == ("hha",):
        say("the net takes HHA images: each IMAGE is read as one")
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
        for each, result in _results(segmenter, free, output, args.second, progress):
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


def _scene(image: Input, second: Path | None) -> Path | Scene:
    """An image, and by --second its further one: a file, or in a folder the one of the same name."""
    from ..data.scenes import named_as
    from ..predict.inputs import Scene

    if second is None:
        return image.file
    return Scene(image.file, named_as(second / image.name) if second.is_dir() else second)


def _results(
    segmenter: Segmenter, inputs: List[Input], output: Path, second: Path | None, progress: SegmentProgress
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
        files = [(_scene(each, second), each.targets(output)) for each in some]
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

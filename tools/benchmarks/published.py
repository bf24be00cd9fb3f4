"""`fcnxs benchmark published`: the authors' Caffe nets, converted and evaluated, beside their scores."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Tuple

from ...checkpoint import Checkpoint, Meta
from ...compat import mxnet as mx
from ...conventions import VOC_CLASSES
from ...convert.conversion import TITLES, Converted, read
from ...convert.verify import verify
from ...data.loader import Loader
from ...data.samples import Samples
from ...errors import FCNXSError
from ...predict.scoring import evaluate
from ...predict.segmenter import Segmenter
from ...score import NAMES, scores
from ..shared import data_checks, data_options, devices
from ..shared.printing import say, show
from ..shared.text import table

SPLIT, IMAGES = "seg11valid", 736  # VOC 2011's val without the images of SBD's train (FCN paper, footnote 7)
TOLERANCE = 0.1  # points between our scores and the published ones


class Published(NamedTuple):
    """Net of a file, and its scores on seg11valid in %, in the order of `NAMES`; None: not published."""

    net: str
    scores: Tuple[float | None, ...] | None = None


# Files: */caffemodel-url of shelhamer/fcn.berkeleyvision.org. Scores: README of wkentaro/fcn, with the original
# weights; those with the mean IU alone: README of the authors. The nets without scores are of other data sets.
FILES: Dict[str, Published] = {
    "fcn32s-heavy-pascal": Published("fcn32s", (90.48, 76.48, 63.63, 83.46)),
    "fcn16s-heavy-pascal": Published("fcn16s", (91.00, 78.07, 65.01, 84.26)),
    "fcn8s-heavy-pascal": Published("fcn8s", (91.22, 77.61, 65.51, 84.54)),
    "fcn8s-atonce-pascal": Published("fcn8s_atonce", (None, None, 65.4, None)),
    "fcn-alexnet-pascal": Published("fcn_alexnet", (None, None, 48.0, None)),
    **{f"pascalcontext-fcn{stride}s-heavy": Published(f"fcn{stride}s") for stride in (32, 16, 8)},
    **{f"siftflow-fcn{stride}s-heavy": Published(f"siftflow_fcn{stride}s") for stride in (32, 16, 8)},
    **{f"nyud-fcn32s-{kind}-heavy": Published("fcn32s") for kind in ("color", "hha")},
    "nyud-fcn32s-color-hha-heavy": Published("nyud_fcn32s_color_hha"),
}


def published(args: argparse.Namespace) -> int:
    """Print a row for each file; 1 if a net is not as it was published, or no file is there."""
    import cv2  # noqa: F401  (says what it lacks before the work begins)

    for option in ("weights", "data"):
        if getattr(args, option) is None:
            raise FCNXSError(f"published: needs --{option}; see fcnxs benchmark --help")
    samples, ctx = _samples(args.data), devices.device(args.device)
    rows, failed = [], not any(_file(args.weights, name).is_file() for name in FILES)
    for name, expected in FILES.items():
        file = _file(args.weights, name)
        cells, result = ("-",) * len(NAMES), "no such file"
        if file.is_file():
            say(f"{file.name} ...")
            try:
                cells, result = _row(file, expected, samples, ctx)
            except FCNXSError as error:
                result = f"FAIL: {error}"
        failed = failed or result.startswith("FAIL")
        rows.append((file.name, *cells, result))
    show(table(("file", "pixel acc.", "mean acc.", "mean IU", "f.w. IU", "result"), rows))
    say(f"scores in %, ours / published, on {len(samples)} images of {SPLIT}; pass: within {TOLERANCE} points")
    return int(failed)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.caffemodel"


def _samples(data: str) -> Samples:
    """The images that the published scores are of; a warning if their number differs."""
    try:
        samples = data_options.samples_of(data, SPLIT, None, SPLIT)
    except FCNXSError as error:
        raise FCNXSError(
            f"{error}. Put data/pascal/{SPLIT}.txt of shelhamer/fcn.berkeleyvision.org into VOC 2011's "
            "ImageSets/Segmentation"
        ) from None
    data_checks.checked(samples, VOC_CLASSES)
    if len(samples) != IMAGES:
        text = f"{data}: {SPLIT} has {len(samples)} images, and the published scores are of {IMAGES}"
        say(f"fcnxs: warning: {text}", sys.stderr)
    return samples


def _row(file: Path, expected: Published, samples: Samples, ctx: mx.Context) -> Tuple[Tuple[str, ...], str]:
    """Cells of the four scores, ours and published, and the result in words.

    Raises:
        FCNXSError: the file cannot be converted, or OpenCV cannot run it.
    """
    converted = read(file)
    net = Checkpoint(converted.symbol, converted.arg_params, {}, Meta(mean=converted.mean), file)
    image, _ = samples.read(0)
    compared = verify(file, converted, net, image)
    verified = f"scores differ from OpenCV's by {compared.difference / compared.largest:.1e} of the largest"
    fault = _other_net(converted, expected)
    if fault or not compared.equal:
        return ("-",) * len(NAMES), f"FAIL: {fault or verified}"
    if expected.scores is None:
        return ("-",) * len(NAMES), f"converted; {verified}; not evaluated, since it is of another data set"
    segmenter = Segmenter(net, ctx=ctx)
    data = Loader(samples, segmenter.mean, num_classes=segmenter.numclass)
    try:
        result = scores(evaluate(segmenter, data))
    finally:
        data.close()
    ours = [100 * getattr(result, name) for name in NAMES]
    pairs = [*zip(ours, expected.scores)]
    cells = tuple(f"{own:.2f}{'' if known is None else f' / {known:.2f}'}" for own, known in pairs)
    off: List[float] = [abs(own - known) for own, known in pairs if known is not None]
    passed = all(each <= TOLERANCE for each in off)  # NaN is not
    return cells, f"{'pass' if passed else f'FAIL: {max(off):.2f} points off'}; {verified}"


def _other_net(converted: Converted, expected: Published) -> str:
    """What the net of a file is if it is not the one of its name; "" if it is."""
    if converted.net != expected.net:
        return f"the file has {TITLES[converted.net]}, not {TITLES.get(expected.net, expected.net)}"
    if expected.scores is not None and converted.numclass != len(VOC_CLASSES):
        return f"the net has {converted.numclass} classes, not VOC's {len(VOC_CLASSES)}"
    return ""

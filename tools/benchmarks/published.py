"""`fcnxs benchmark published`: the authors' Caffe nets, converted and evaluated, beside their scores."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

from ...checkpoint import Checkpoint, Meta
from ...compat import mxnet as mx
from ...conventions import CONTEXT_CLASSES, NYUD_CLASSES, SIFTFLOW_CLASSES, VOC_CLASSES
from ...convert.conversion import TITLES, Converted, read
from ...convert.verify import verify
from ...data.datasets import named
from ...data.loader import Loader
from ...data.samples import Samples
from ...errors import FCNXSError
from ...predict.scoring import evaluate
from ...predict.segmenter import Segmenter
from ...score import NAMES, scores
from ..shared import data_checks, data_options, devices
from ..shared.printing import say, show
from ..shared.text import table

TOLERANCE = 0.1  # points between our scores and the published ones


class DataSet(NamedTuple):
    """Data that published scores are of.

    Args:
        title: its name in messages.
        within: path in its folder, by which the folder is recognised.
        split, images: split that the scores are of, and its number of images.
        names: name of the data set of each head in `datasets.NAMED`; "" for one head.
    """

    title: str
    within: str
    split: str
    images: int
    names: Dict[str, str]


# seg11valid is VOC 2011's val without the images of SBD's train (FCN paper, footnote 7).
DATA: Dict[str, DataSet] = {
    "context": DataSet("PASCAL-Context", "pascal-context", "val", 5105, {"": "pascal_context"}),
    "siftflow": DataSet("SIFT Flow", "SemanticLabels", "test", 200, {"sem": "siftflow", "geo": "siftflow_geo"}),
    "nyud": DataSet("NYUDv2", "segmentation", "test", 654, {"": "nyud"}),
    "voc": DataSet("VOC 2011", "ImageSets/Segmentation", "seg11valid", 736, {"": "voc"}),
}

CLASSES = {
    **{"voc": VOC_CLASSES, "pascal_context": CONTEXT_CLASSES, "nyud": NYUD_CLASSES},
    **{"siftflow": SIFTFLOW_CLASSES["sem"], "siftflow_geo": SIFTFLOW_CLASSES["geo"]},
}


class Published(NamedTuple):
    """What a file is.

    Args:
        net: its name in `fcnxs.symbols.NETS`.
        scores: published scores of each head ("" for one), in %, in the order of `NAMES`; None: not published.
        data: key of `DATA`.
        images: kinds of the net's images.
    """

    net: str
    scores: Dict[str, Tuple[float | None, ...]]
    data: str = "voc"
    images: Tuple[str, ...] = ("color",)


NONE, NO_CELLS = (None,) * len(NAMES), ("-",) * len(NAMES)

# Files: */caffemodel-url of shelhamer/fcn.berkeleyvision.org. Scores of VOC: README of wkentaro/fcn, with the
# original weights; those with the mean IU alone: README of the authors. The others: tables of NYUDv2, SIFT Flow
# and PASCAL-Context (59 classes) of the FCN paper's second version (PAMI 2016, arXiv 1605.06211, section 5).
FILES: Dict[str, Published] = {
    "fcn32s-heavy-pascal": Published("fcn32s", {"": (90.48, 76.48, 63.63, 83.46)}),
    "fcn16s-heavy-pascal": Published("fcn16s", {"": (91.00, 78.07, 65.01, 84.26)}),
    "fcn8s-heavy-pascal": Published("fcn8s", {"": (91.22, 77.61, 65.51, 84.54)}),
    "fcn8s-atonce-pascal": Published("fcn8s_atonce", {"": (None, None, 65.4, None)}),
    "fcn-alexnet-pascal": Published("fcn_alexnet", {"": (None, None, 48.0, None)}),
    "pascalcontext-fcn32s-heavy": Published("fcn32s", {"": (65.5, 49.1, 36.7, 50.9)}, "context"),
    "pascalcontext-fcn16s-heavy": Published("fcn16s", {"": (66.9, 51.3, 38.4, 52.3)}, "context"),
    "pascalcontext-fcn8s-heavy": Published("fcn8s", {"": (67.5, 52.3, 39.1, 53.0)}, "context"),
    "siftflow-fcn32s-heavy": Published("siftflow_fcn32s", {"sem": NONE, "geo": NONE}, "siftflow"),
    "siftflow-fcn16s-heavy": Published("siftflow_fcn16s", {"sem": NONE, "geo": NONE}, "siftflow"),
    "siftflow-fcn8s-heavy": Published(
        "siftflow_fcn8s", {"sem": (85.9, 53.9, 41.2, 77.2), "geo": (94.6, None, None, None)}, "siftflow"
    ),
    "nyud-fcn32s-color-heavy": Published("fcn32s", {"": (61.8, 44.7, 31.6, 46.0)}, "nyud"),
    "nyud-fcn32s-hha-heavy": Published("fcn32s", {"": (58.3, 35.7, 25.2, 41.7)}, "nyud", ("hha",)),
    "nyud-fcn32s-color-hha-heavy": Published(
        "nyud_fcn32s_color_hha", {"": (65.3, 44.0, 33.3, 48.6)}, "nyud", ("color", "hha")
    ),
}


def published(args: argparse.Namespace) -> int:
    """Print a row for each file and head; 1 if a net is not as it was published, or no file is there."""
    import cv2  # noqa: F401  (says what it lacks before the work begins)

    for option in ("weights", "data"):
        if getattr(args, option) is None:
            raise FCNXSError(f"published: needs --{option}; see fcnxs benchmark --help")
    samples, ctx = _samples_of(args.data), devices.device(args.device)
    rows, failed = [], not any(_file(args.weights, name).is_file() for name in FILES)
    for name, expected in FILES.items():
        file = _file(args.weights, name)
        results = {"": (NO_CELLS, "no such file")}
        if file.is_file():
            say(f"{file.name} ...")
            try:
                results = dict(_results(file, expected, samples, ctx))
            except FCNXSError as error:
                results = {"": (NO_CELLS, f"FAIL: {error}")}
        for head, (cells, result) in results.items():
            failed = failed or result.startswith("FAIL")
            rows.append((f"{file.name} {head}".strip(), *cells, result))
    show(table(("file", "pixel acc.", "mean acc.", "mean IU", "f.w. IU", "result"), rows))
    for key, heads in samples.items():
        count, data = len(next(iter(heads.values()))), DATA[key]
        say(f"{data.title}: {count} images of {data.split}")
    say(f"scores in %, ours / published; pass: within {TOLERANCE} points")
    return int(failed)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.caffemodel"


def _samples_of(folders: Sequence[str]) -> Dict[str, Dict[str, Samples]]:
    """The images that the published scores are of, by the keys of `DATA` and the heads of its nets.

    Prints a warning if their number is not that of the published scores.

    Raises:
        FCNXSError: two folders have the same data set, or one cannot be read.
    """
    found: Dict[str, Dict[str, Samples]] = {}
    for folder in folders:
        key = next((key for key, data in DATA.items() if Path(folder, data.within).exists()), "voc")
        data = DATA[key]
        if key in found:
            raise FCNXSError(f"--data {folder}: a second folder of {data.title}; give one")
        found[key] = {head: _samples(folder, data, name) for head, name in data.names.items()}
        count = len(next(iter(found[key].values())))
        if count != data.images:
            text = f"{folder}: {data.split} has {count} images, and the published scores are of {data.images}"
            say(f"fcnxs: warning: {text}", sys.stderr)
    return found


def _samples(folder: str, data: DataSet, name: str) -> Samples:
    if name != "voc":  # whose named data set is VOC 2012
        samples = named(name, folder, data.split)
        data_checks.checked(samples, samples.classes)
        return samples
    try:
        samples = data_options.samples_of(folder, data.split, None, data.split)
    except FCNXSError as error:
        raise FCNXSError(
            f"{error}. Put data/pascal/{data.split}.txt of shelhamer/fcn.berkeleyvision.org into VOC 2011's "
            "ImageSets/Segmentation"
        ) from None
    data_checks.checked(samples, VOC_CLASSES)
    return samples


def _results(
    file: Path, expected: Published, samples: Dict[str, Dict[str, Samples]], ctx: mx.Context
) -> Iterator[Tuple[str, Tuple[Tuple[str, ...], str]]]:
    """Yield each head, and its cells of the four scores, ours and published, and the result in words.

    Raises:
        FCNXSError: the file cannot be converted, or OpenCV cannot run it.
    """
    converted = read(file)
    for sentence in converted.told:
        say(f"  {sentence}")
    meta = Meta(mean=converted.mean, means=converted.means)
    net, own = Checkpoint(converted.symbol, converted.arg_params, {}, meta, file), samples.get(expected.data)
    image, _ = next(iter((own or next(iter(samples.values()))).values())).read(0)
    compared = verify(file, converted, net, image)
    verified = f"scores differ from OpenCV's by {compared.difference / compared.largest:.1e} of the largest"
    fault = _other_net(converted, expected)
    if fault or not compared.equal:
        yield "", (NO_CELLS, f"FAIL: {fault or verified}")
        return
    if own is None:
        missing = f"--data has no folder of {DATA[expected.data].title}"
        yield "", (NO_CELLS, f"converted; {verified}; not evaluated, since {missing}")
        return
    for head, known in expected.scores.items():
        ours = _scores(net, head, own[head].of_kinds(expected.images), ctx)
        pairs = [*zip(ours, known)]
        cells = tuple(f"{own:.2f}{'' if known is None else f' / {known:.2f}'}" for own, known in pairs)
        off: List[float] = [abs(own - known) for own, known in pairs if known is not None]
        passed = all(each <= TOLERANCE for each in off)  # NaN is not
        result = "pass" if passed else f"FAIL: {max(off):.2f} points off"
        yield head, (cells, f"{result if off else 'nothing published'}; {verified}")


def _scores(net: Checkpoint, head: str, samples: Samples, ctx: mx.Context) -> List[float]:
    """Scores in %, in the order of `NAMES`.

    Mean IU of SIFT Flow is over the classes of its test images, as the authors' data/sift-flow/README.md says;
    otherwise a class that is only predicted counts, with 0.
    """
    segmenter = Segmenter(net, ctx=ctx, head=head or None)
    data = Loader(samples, segmenter.mean, num_classes=segmenter.numclass)
    try:
        matrix = evaluate(segmenter, data)
    finally:
        data.close()
    result = scores(matrix)
    if head:
        there = result.class_iu[result.class_pixels > 0]
        result = replace(result, mean_iu=float(there.mean()) if there.size else float("nan"))
    return [100 * getattr(result, name) for name in NAMES]


def _other_net(converted: Converted, expected: Published) -> str:
    """What the net of a file is if it is not the one of its name; "" if it is."""
    if converted.net != expected.net:
        return f"the file has {TITLES[converted.net]}, not {TITLES.get(expected.net, expected.net)}"
    data = DATA[expected.data]
    for head, count in (converted.heads or {"": converted.numclass}).items():
        classes = len(CLASSES[data.names[head]])
        if count != classes:
            return f"the net has {count} classes, not {data.title}'s {classes}"
    return ""

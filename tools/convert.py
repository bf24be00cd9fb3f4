"""Convert weights of Caffe, Gluon, torchvision or timm to a checkpoint.

The content of SOURCE decides the net:
  Caffe       VGG-16 and AlexNet (CaffeNet), V1 and new format; FCN-32s, 16s, 8s, 8s-atonce and AlexNet, of
              any number of classes; FCNs with the heads sem and geo (SIFT Flow), and of colour and HHA images
              (NYUDv2)
  Gluon       VGG-16 of Gluon's and GluonCV's model zoo (.params)
  PyTorch     VGG-16 of torchvision (.pth, which needs PyTorch; .safetensors) and timm (.safetensors)

Writes PREFIX-symbol.json, PREFIX-0000.params and PREFIX-meta.json, for RGB images minus the meta file's
mean. Pads, strides, dilations, crops and the mean are those of a caffemodel's own layers or of --prototxt,
where these have them. VGG-16 and AlexNet become the trunks that finetuning starts from; an FCN is ready for
evaluate, segment and export.

Examples:
    fcnxs convert VGG_ILSVRC_16_layers.caffemodel vgg16fc
    fcnxs convert fcn8s-heavy-pascal.caffemodel fcn8s --verify photo.jpg
    fcnxs convert snapshot.caffemodel fcn32s --prototxt val.prototxt --mean 122.7,116.7,104.0
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, List, Sequence

from ..conventions import CONTEXT_CLASSES, NYUD_CLASSES, SIFTFLOW_CLASSES, VOC_CLASSES
from ..errors import FCNXSError
from ..system.files import real
from ..system.locks import held
from ..system.own import refuse_strangers
from .main import NegativeResult
from .shared import options
from .shared.printing import say, show

if TYPE_CHECKING:
    from ..convert.conversion import Converted
    from ..convert.verify import Comparison


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs convert`."""
    parser.add_argument("source", metavar="SOURCE", help="file with the weights")
    parser.add_argument("prefix", metavar="PREFIX", help="prefix of the files to write, such as vgg16fc")
    parser.add_argument(
        "--verify",
        metavar="IMAGE",
        help="run SOURCE on this image in OpenCV, Gluon or PyTorch, and compare; if the scores differ, "
        "the exit code is 1 and nothing is written",
    )
    parser.add_argument(
        "--prototxt",
        metavar="FILE",
        help="description of a caffemodel's layers (deploy, train or val), which counts instead of its own; "
        "--verify runs it",
    )
    options.add_overwrite(parser)
    mean = parser.add_mutually_exclusive_group()
    mean.add_argument(
        "--mean",
        metavar="R,G,B",
        type=_numbers,
        help="mean to subtract from images of 0 to 255 (default: the data layer's, or VOC's)",
    )
    mean.add_argument("--mean-file", metavar="FILE", help="mean in a file of Caffe's, .binaryproto")
    parser.add_argument(
        "--trunk",
        action="store_true",
        help="take only the layers of VGG-16 or AlexNet of an FCN, to finetune for other classes; SOURCE may "
        "then be a checkpoint of MXNet, PREFIX-NNNN.params",
    )
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="file with the names of an FCN's classes, one a line (default: the published net's of as many)",
    )
    parser.add_argument(
        "--pooling-convention",
        choices=("valid", "full"),
        help="round the sizes of pooled layers down or up (default: full, as Caffe, for FCNs and AlexNet; "
        "valid, as the original example, for VGG-16)",
    )


def _numbers(text: str) -> List[float]:
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected R,G,B, three numbers") from None


def run(args: argparse.Namespace) -> int:
    """Convert, compare if asked to, and print the fate of every array of the file."""
    with held(args.prefix):
        return _convert(args)


def _convert(args: argparse.Namespace) -> int:
    if args.verify:
        import cv2  # noqa: F401  (says what it lacks before anything is written)
    from .. import checkpoint
    from ..checkpoint.own import files_of
    from ..convert.conversion import TITLES, read
    from ..convert.verify import verify_heads
    from ..data.images import read_image
    from ..vis import default_palette

    classes = options.read_classes(args.classes) if args.classes else None
    image = read_image(args.verify) if args.verify else None
    written = [Path(f"{args.prefix}{end}") for end in ("-symbol.json", "-0000.params", "-meta.json")]
    if real(args.source) in map(real, written):
        raise FCNXSError(f"{args.source}: would be overwritten; choose another PREFIX")
    refuse_strangers(written, args.overwrite, files_of(written[-1], "conversion"))
    converted = read(args.source, args.trunk, args.pooling_convention, args.prototxt, args.mean, args.mean_file)
    for text in converted.told:
        say(f"fcnxs: warning: {text}", sys.stderr)
    if args.verify and converted.framework == "mxnet":
        raise FCNXSError(f"--verify: {args.source} is a checkpoint of MXNet, which no other runtime reads")
    if args.verify and (converted.numclass or converted.heads) and args.pooling_convention == "valid":
        raise FCNXSError("--verify compares with Caffe, which rounds up: leave out --pooling-convention valid")
    meta = checkpoint.Meta(mean=converted.mean, source=checkpoint.source_of(args.source), means=converted.means)
    starts = [each.start for each in converted.source.prepared.values()] if converted.source else []
    if len(starts) == 1 and not starts[0].bgr:
        meta = replace(meta, means={"hha": converted.mean})
    if classes and len(classes) != converted.numclass:
        title = TITLES[converted.net]
        has = f"has {converted.numclass}" if converted.numclass else f"is {title}, which has none of its own"
        has = f"has two heads, {' and '.join(converted.heads)}" if converted.heads else has
        raise FCNXSError(f"--classes {args.classes}: {len(classes)} classes, but {args.source} {has}")
    if converted.numclass:
        names = classes or _names(converted.numclass, VOC_CLASSES, CONTEXT_CLASSES, NYUD_CLASSES)
        meta = replace(meta, classes=names, palette=default_palette(names))
    if converted.heads:
        named = {head: _names(count, SIFTFLOW_CLASSES[head]) for head, count in converted.heads.items()}
        meta = replace(meta, heads=named)

    def check(prefix: Path) -> None:
        if image is not None:
            found = verify_heads(args.source, converted, checkpoint.load(prefix, 0), image)
            for head, comparison in found.items():
                named = f"head {head}: " if head else ""
                say(named + _text(comparison, trunk=converted.net == "vgg16fc"))
            if converted.source and not comparison.described_by:
                say(
                    f"the description of the layers that OpenCV ran is ours, of the published net, since "
                    f"{args.source} has none; --prototxt gives its own"
                )
            if not all(each.equal for each in found.values()):
                raise NegativeResult(
                    f"{args.source}: the converted net differs in its scores; nothing was written"
                )

    _print(converted)
    file = checkpoint.save(args.prefix, 0, converted.symbol, converted.arg_params, {}, meta, check=check)
    say(f"wrote {args.prefix}-symbol.json, {file}, {args.prefix}-meta.json")
    return 0


def _names(count: int, *published: Sequence[str]) -> List[str]:
    """The names of the published net that has as many classes, or numbers."""
    found = (list(names) for names in published if len(names) == count)
    return next(found, [f"class {number}" for number in range(count)])


def _print(converted: Converted) -> None:
    """Print the fate of every array, and the net."""
    from ..convert.conversion import TITLES
    from .shared.text import table

    rows = [(fate.blob, fate.parameter or "-", fate.what) for fate in converted.fates]
    show(table(("array of the file", "parameter of the net", "how it was converted"), rows))
    dropped = sum(fate.parameter is None for fate in converted.fates)
    counts = [f"{head} {classes}" for head, classes in (converted.heads or {}).items()]
    count = f", {converted.numclass or ' and '.join(counts)} classes" if converted.numclass or counts else ""
    say(f"{TITLES[converted.net]} of width {converted.width:g} and fc {converted.fc}{count}")
    say(f"{len(converted.arg_params)} parameters from {len(rows)} arrays of the file; {dropped} were dropped")
    means = converted.means or {"color": converted.mean}
    found = converted.source.prepared.values() if converted.source else ()
    starts = [each.start for each in found] or [None] * len(means)
    for start, (kind, mean) in zip(starts, means.items()):
        rgb = start.bgr if start else kind == "color"
        order = "RGB" if rgb else "depth" if kind == "depth" else "HHA"
        say(f"mean {order} {tuple(mean)}{f', of {start.said_by}' if start and start.said_by else ''}")


def _text(comparison: Comparison, trunk: bool) -> str:
    _, channels, height, width = comparison.shape
    if trunk:
        agreement = f"the largest score is {'the same' if comparison.agreement else 'another'}"
        agreement += " (the image in the size that the classifier takes, with the classifier's pads)"
    else:
        agreement = f"class maps of {width}x{height} agree on {100 * comparison.agreement:.4f}% of the pixels"
    source = f"the source by {comparison.described_by}" if comparison.described_by else "the source"
    return (
        f"{comparison.runtime} runs {source}, MXNet the result, {channels} channels: largest difference "
        f"{comparison.difference:.2e} (the largest score is {comparison.largest:.4g}); {agreement}"
    )

"""Write a checkpoint for deployment, and compare what was written with the checkpoint.

The format json is PREFIX-symbol.json, PREFIX-0000.params and PREFIX-meta.json, which plain MXNet loads, and
PREFIX-mxnet_compat.py, with which MXNet runs on today's NumPy and Python; onnx is PREFIX.onnx and PREFIX.json;
ncnn is PREFIX.param, PREFIX.bin and PREFIX-ncnn.json; mar is PREFIX.mar for multi-model-server, with
PREFIX.properties and PREFIX-server.sh, which starts it. The meta file has classes, palette, mean, the source's
hash, a description of input and output, and the comparison with the checkpoint.

The files' own runtime loads them in a new process, and runs them on generated pictures of several sizes, or on
the images of --calibrate. If the outputs differ from the checkpoint's, nothing is written, and the exit code
is 1. Files that are no export's, such as trained weights, are replaced only with --overwrite.

Examples:
    fcnxs export --prefix run/fcn8s --output deploy/fcn8s
    fcnxs export --prefix run/fcn8s --epoch last --output deploy/fcn8s --format onnx --raw-input --head argmax
    fcnxs export --prefix run/fcn8s --epoch 19 --output deploy/int8 --precision int8 --calibrate photos
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, List, Tuple

from ..data.images import IMAGE_SUFFIXES
from ..errors import FCNXSError
from ..score import Scores
from ..system.locks import held
from .main import NegativeResult
from .shared import data_checks, data_options, options
from .shared.printing import say, show
from .shared.sizes import height_and_width
from .shared.text import TITLES, table

if TYPE_CHECKING:
    from ..deploy.form import Form
    from ..deploy.write import Exported

DYNAMIC = "dynamic"  # of --image-size: any size
WHAT = {"softmax": "probability", "logits": "score", "argmax": ""}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs export`."""
    add = parser.add_argument
    options.add_checkpoint(parser)
    add(
        "--output",
        required=True,
        metavar="PREFIX",
        help="prefix of the files to write, such as deploy/fcn8s",
    )
    options.add_overwrite(parser)
    add(
        "--format",
        choices=("json", "onnx", "ncnn", "mar"),
        default="json",
        help="format of the files (default: json)",
    )
    add(
        "--head",
        choices=("softmax", "logits", "argmax"),
        help="output of the net: probabilities, scores, or the class map (default: softmax; for mar argmax)",
    )
    group = parser.add_mutually_exclusive_group()
    size = "width x height of the images that the net will take (default: dynamic, any size)"
    group.add_argument("--image-size", default=DYNAMIC, metavar="WxH|dynamic", help=size)
    group.add_argument("--size", dest="image_size", type=_former_size, help=argparse.SUPPRESS)
    add(
        "--raw-input",
        nargs="?",
        const="uint8",
        choices=("uint8", "float32"),
        help="let the net take RGB of 0 to 255 in this type (default: uint8) and subtract the mean itself",
    )
    add("--bgr", action="store_true", help="with --raw-input: the channels of the input are blue, green, red")
    add(
        "--trim",
        action="store_true",
        help="skip padding that no image influences; needs --image-size WxH",
    )
    _add_precision(parser)
    add(
        "--data",
        metavar="DIR|LST|NAME",
        help=f"labelled images to score on: {data_options.DATA_HELP}",
    )
    data_options.add_root_and_split(parser, "val")
    data_checks.add_ignore_label(parser, "as the run of the checkpoint, by its run.json")
    data_checks.add_allow(parser)
    data_checks.add_max_pixels(parser)


def _add_precision(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--precision",
        choices=("fp32", "bf16", "int8"),
        default="fp32",
        help="precision of the convolutions (default: fp32)",
    )
    add(
        "--calibrate",
        nargs="+",
        type=Path,
        metavar="IMAGE",
        help="images or folders to measure int8's ranges on; the first 16 are also used for the comparison",
    )
    add(
        "--calibration-mode",
        choices=("minmax", "entropy"),
        help="take int8's ranges from the extremes, or by the least loss of information (default: minmax)",
    )
    options.add_renamed(
        parser,
        ["--keep-layers"],
        "--keep",
        metavar="LAYERS",
        help="convolutions that stay in float32: names or patterns, with commas; `first` means "
        "the first one, `none` means none (default: first,score*)",
    )
    add(
        "--layer-loss",
        type=float,
        metavar="X",
        help="keep layers in float32 that alone change more than this fraction of the pixels (default: 0.01)",
    )
    add(
        "--min-agreement",
        type=float,
        metavar="X",
        help="fraction of the pixels that must keep their class (default: 0.99 for bf16, 0.97 for int8)",
    )


def run(args: argparse.Namespace) -> int:
    """Export and compare; return 1 if the outputs differ."""
    size = None if args.image_size == DYNAMIC else height_and_width(args.image_size, other=DYNAMIC)
    _refuse_alone(args)
    data_options.folder_here(vars(args))
    where = (args.data, args.split, args.root, "val")
    labels = args.task if args.data and args.task in data_options.heads_of_data(args.data) else ""
    samples = data_options.samples_of(*where, allow=args.allow, head=labels) if args.data else None
    files = _image_files(args.calibrate or [])
    if samples:
        data_options.tell_split(args.data, args.split)
    options.choose_epoch(args)

    import cv2  # noqa: F401  (says what it lacks before anything is written)

    from .. import checkpoint
    from ..checkpoint.source import one_head
    from ..data.images import read_image
    from ..deploy.compare import ExportMismatch, Picture
    from ..deploy.form import Form
    from ..deploy.own import refuse_to_replace
    from ..deploy.precision import KEEP
    from ..deploy.write import export
    from ..heads import check_one_head
    from ..net import net_of

    keep = KEEP
    if args.keep_layers is not None:
        keep = () if args.keep_layers == "none" else tuple(name for name in args.keep_layers.split(",") if name)
    head = args.head or ("argmax" if args.format == "mar" else "softmax")
    form = Form(args.format, head, size, args.precision, args.raw_input, args.bgr, args.trim, keep)
    refuse_to_replace(args.output, args.format, args.overwrite)
    how = {"pooling_convention": args.pooling_convention, "operators": args.operators}
    source = checkpoint.load(args.prefix, args.epoch, **how)
    source = one_head(source, args.task) if args.task else source
    options.tell_mean(args.prefix, source)
    limits = {"mode": args.calibration_mode, "least": args.min_agreement, "most_loss": args.layer_loss}
    given = {name: value for name, value in limits.items() if value is not None}
    if samples:
        check_one_head(
            source.symbol, source.params_file, "--data: exports are scored for one head; choose it (--task)"
        )
        numclass = net_of(source.arg_params, str(source.params_file)).numclass
        ignore = data_options.ignored(args.ignore_label, Path(args.prefix).parent)
        samples = samples.of_kinds(source.meta.images)
        samples = samples.reading(source.meta.exif, max_pixels=args.max_pixels, ignore=ignore)
        data_checks.checked(samples, source.meta.classes or options.default_classes(numclass))
    images = [Picture(str(file), read_image(file, source.meta.exif, args.max_pixels)) for file in files]
    try:
        with held(args.output):
            exported = export(source, args.output, form, images, samples=samples, **given)
    except ExportMismatch as error:
        raise NegativeResult(f"--output {args.output}: {error}; nothing was written") from None
    _print_exported(exported, form, args)
    return 0


def _former_size(text: str) -> str:
    """--image-size for --size of earlier versions, which was height x width; says which side is which."""
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        return text
    say(f"--size {text} is height x width; --image-size {width}x{height} means the same")
    return f"{width}x{height}"


def _refuse_alone(args: argparse.Namespace) -> None:
    """Refuse options without effect, and parts of the pixels that are not from 0 to 1."""
    lower, int8 = args.precision != "fp32", args.precision == "int8"
    for option, value, counts, need in (
        ("--calibration-mode", args.calibration_mode, int8, "--precision int8"),
        ("--layer-loss", args.layer_loss, lower, "--precision bf16 or int8"),
        ("--min-agreement", args.min_agreement, lower, "--precision bf16 or int8"),
        ("--split", args.split, args.data, "--data"),
        ("--root", args.root, args.data, "--data"),
        ("--ignore-label", (args.ignore_label or [None])[0], args.data, "--data"),
    ):
        if value is not None and not counts:
            raise FCNXSError(f"{option} {value}: has no effect without {need}")
    for option, value in (("--layer-loss", args.layer_loss), ("--min-agreement", args.min_agreement)):
        if value is not None and not 0 <= value <= 1:
            raise FCNXSError(f"{option} {value:g}: expected a fraction of the pixels, from 0 to 1")


def _image_files(paths: List[Path]) -> List[Path]:
    """Images of --calibrate; a folder stands for all images below it, sorted by name."""
    files: List[Path] = []
    for path in paths:
        if not path.exists():
            raise FCNXSError(f"--calibrate {path}: no such file or folder")
        found = [path]
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise FCNXSError(f"--calibrate {path}: no images in this folder ({', '.join(IMAGE_SUFFIXES)})")
        files += found
    return files


def _print_exported(exported: Exported, form: Form, args: argparse.Namespace) -> None:
    """Print the layers of a lower precision, the comparison, the scores, and the files."""
    if exported.layers or exported.kept:
        show(_layers_table(exported, form.precision))
        show()
    if form.trimmed and not exported.trimmed:
        show("--trim changed nothing: this net cannot be trimmed at this size, or would not be faster\n")
    show(_images_table(exported))
    show()
    runtime = {"onnx": "ONNX Runtime", "ncnn": "ncnn"}.get(form.format, "plain MXNet")
    largest = exported.largest_difference
    largest = "" if largest is None else f"largest difference of a {WHAT[form.head]} {largest:.1e}, "
    say(
        f"read again by {runtime} and compared with the checkpoint: {largest}"
        f"the same class at {exported.agreement:.4%} of the pixels"
    )
    if exported.scores:
        show(f"\nscores on {args.data}:")
        show(_scores_table(exported.scores, form))
        show()
    say("wrote " + ", ".join(f"{file} ({size / 1e6:.1f} MB)" for file, size in exported.files.items()))
    if form.precision == "int8":
        say("MXNet keeps the weights in float32 in the file, and quantizes them at the first pass")


def _layers_table(exported: Exported, precision: str) -> str:
    found = {loss.layer: loss for loss in exported.layers}
    kept = [name for name in exported.kept if name not in found]
    rows = [(name, "fp32", "-", "-") for name in kept]
    for name, loss in found.items():
        kind = "fp32, loses too much" if name in exported.kept else precision
        rows.append((name, kind, f"{loss.changed:.4%}", f"{loss.error:.1e}"))
    header = ("layer", "precision", f"pixels changed by it alone in {precision}", "largest error of a score")
    return table(header, rows, right=(2, 3))


def _images_table(exported: Exported) -> str:
    rows = [
        (
            each.where,
            "x".join(map(str, each.size)),
            "-" if each.difference is None else f"{each.difference:.1e}",
            f"{each.agreement:.4%}",
        )
        for each in exported.compared
    ]
    return table(("image", "H x W", "largest difference", "same class"), rows, right=(1, 2, 3))


def _scores_table(both: Tuple[Scores, Scores], form: Form) -> str:
    pairs = [(title, *(getattr(each, name) for each in both)) for name, title in TITLES.items()]
    rows = [(title, f"{a:.4f}", f"{b:.4f}", f"{b - a:+.4f}") for title, a, b in pairs]
    return table(("score", "checkpoint", f"{form.format} {form.precision}", "change"), rows, right=(1, 2, 3))

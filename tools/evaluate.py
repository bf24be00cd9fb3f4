"""Score a checkpoint on labelled images: pixel accuracy, mean accuracy, mean IU, frequency weighted IU.

With --dump, the class map of every image is written as the VOC server wants it: a palette PNG with the name
of the image. A split that has no labels at all, such as VOC's test, is then predicted and not scored.

Examples:
    fcnxs evaluate --prefix run/fcn8s --epoch 19 --data VOC2012 --split val --json scores.json
    fcnxs evaluate --prefix run/fcn8s --epoch 19 --data VOC2012 --split test --dump results/comp6_test_cls
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, List

from ..errors import FCNXSError
from ..score import NAMES, Scores, or_none, scores
from ..vis import save_mask, voc_palette
from . import options

if TYPE_CHECKING:
    import numpy as np


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs evaluate`."""
    options.add_checkpoint(parser)
    parser.add_argument("--data", required=True, metavar="DIR|LST", help="folder in VOC layout, or list")
    parser.add_argument("--split", help="of a folder (default: val)")
    parser.add_argument("--classes", metavar="FILE", help="names of the classes (default: the checkpoint's)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores there as well")
    parser.add_argument("--dump", type=Path, metavar="DIR", help="write each class map there, as a palette PNG")
    options.add_gpus(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate; print a table of the classes and the four scores."""
    if args.json and (args.json.is_dir() or not args.json.name):
        raise FCNXSError(f"--json {args.json}: is a folder; want the name of a file")
    data_list = options.list_of(args.data, args.split, "val", "--split")

    from .. import checkpoint
    from ..data import FileIter, preprocess, read_image, read_list
    from ..predict import Segmenter, evaluate

    pairs = read_list(*data_list, labels=not args.dump)
    labelled = any(label.is_file() for _, label in pairs)
    if args.json and not labelled:
        raise FCNXSError(f"--json {args.json}: none of the images has a label, so there are no scores")
    written = [args.dump / f"{image.stem}.png" for image, _ in pairs] if args.dump else []
    if args.dump:
        sources = [file for pair in pairs for file in pair] + [args.json] * bool(args.json)
        options.refuse_clashes("--dump", args.dump, written, sources)
        if labelled:
            read_list(*data_list)  # which names a label that is missing
    ctx = options.device(args.gpus)
    source = checkpoint.load(args.prefix, args.epoch)
    segmenter = Segmenter(source, ctx)
    classes = options.read_classes(args.classes) if args.classes else source.meta.classes
    classes = classes or options.default_classes(segmenter.numclass)
    if len(classes) != segmenter.numclass:
        raise FCNXSError(
            f"{args.classes or args.prefix + '-meta.json'}: {len(classes)} classes, but the net has "
            f"{segmenter.numclass}"
        )
    options.tell_mean(args.prefix, source)
    palette = source.meta.palette or voc_palette(segmenter.numclass)
    with checkpoint.written_whole(*written) if written else nullcontext([]) as parts:
        part_of = dict(zip((image for image, _ in pairs), parts))

        def dump(image: Path, class_map: np.ndarray) -> None:
            save_mask(part_of[image], class_map, palette)

        if labelled:
            data = FileIter(*data_list, rgb_mean=source.meta.mean, num_classes=segmenter.numclass)
            result = scores(evaluate(segmenter, data, dump if args.dump else None))
        else:
            for image, _ in pairs:
                dump(image, segmenter.class_map(preprocess(read_image(image), segmenter.mean), image))
    if written:
        print(f"wrote {len(written)} class maps to {args.dump}")
    if labelled:
        _report(args, result, classes, len(pairs))
    else:
        print(f"none of the {len(pairs)} images has a label: no scores")
    return 0


def _report(args: argparse.Namespace, result: Scores, classes: List[str], images: int) -> None:
    """Print the scores, and write them to --json."""
    from ..checkpoint import write_json, written_whole
    from .text import scores_table

    print(scores_table(result, classes))
    for name in NAMES:
        title = name.replace("_", " ").replace("iu", "IU")
        print(f"{title:<24}{getattr(result, name):.4f}")
    if args.json:
        content = {"prefix": args.prefix, "epoch": args.epoch, "images": images, **result.as_json()}
        with written_whole(args.json) as (part,):
            write_json(part, {**content, "per_class": _per_class(result, classes)})


def _per_class(result: Scores, classes: List[str]) -> List[dict]:
    """Scores of each class, as JSON has them."""
    columns = zip(classes, result.class_pixels, result.class_accuracy, result.class_iu)
    return [
        {"class": name, "pixels": int(pixels), "accuracy": or_none(accuracy), "iu": or_none(iu)}
        for name, pixels, accuracy, iu in columns
    ]

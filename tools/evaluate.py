"""Score a checkpoint on labelled images: pixel accuracy, mean accuracy, mean IU, frequency weighted IU.

Example:
    fcnxs evaluate --prefix run/fcn8s --epoch 19 --data VOC2012 --split val --json scores.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import FCNXSError
from . import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs evaluate`."""
    options.add_checkpoint(parser)
    parser.add_argument("--data", required=True, metavar="DIR|LST", help="folder in VOC layout, or list")
    parser.add_argument("--split", help="of a folder (default: val)")
    parser.add_argument("--classes", metavar="FILE", help="names of the classes (default: the checkpoint's)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores there as well")
    options.add_gpus(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate; print a table of the classes and the four scores."""
    if args.json and (args.json.is_dir() or not args.json.name):
        raise FCNXSError(f"--json {args.json}: is a folder; want the name of a file")
    data_list = options.list_of(args.data, args.split, "val", "--split")

    from .. import checkpoint
    from ..data import FileIter
    from ..predict import Segmenter, evaluate
    from ..score import NAMES, or_none, scores
    from .text import scores_table

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
    data = FileIter(*data_list, rgb_mean=source.meta.mean, num_classes=segmenter.numclass)
    result = scores(evaluate(segmenter, data))
    print(scores_table(result, classes))
    for name in NAMES:
        title = name.replace("_", " ").replace("iu", "IU")
        print(f"{title:<24}{getattr(result, name):.4f}")
    if args.json:
        per_class = [
            {"class": name, "pixels": int(pixels), "accuracy": or_none(accuracy), "iu": or_none(iu)}
            for name, pixels, accuracy, iu in zip(
                classes, result.class_pixels, result.class_accuracy, result.class_iu
            )
        ]
        content = {"prefix": args.prefix, "epoch": args.epoch, "images": len(data)}
        with checkpoint.written_whole(args.json) as (part,):
            checkpoint.write_json(part, {**content, **result.as_json(), "per_class": per_class})
    return 0

"""Score a checkpoint on labelled images: pixel accuracy, mean accuracy, mean IU, frequency weighted IU.

With --dump, the class map of every image is written as the VOC server wants it: a palette PNG with the name
of the image. A split that has no labels at all, such as VOC's test, is then predicted and not scored.

Examples:
    fcnxs evaluate --prefix run/fcn8s --epoch 19 --data VOC2012 --split val --json scores.json
    fcnxs evaluate --prefix run/fcn8s --epoch 19 --data VOC2012 --split test --dump results/comp6_test_cls
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Callable, List

from ..errors import FCNXSError
from ..score import Scores, or_none
from ..vis import Palette, save_mask, voc_palette
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
    from ..score import NAMES, scores
    from .text import scores_table

    pairs = read_list(*data_list, labels=not args.dump)
    labelled = any(label.is_file() for _, label in pairs)
    if args.json and not labelled:
        raise FCNXSError(f"--json {args.json}: none of the images has a label, so there are no scores")
    if args.dump:
        written = [args.dump / f"{image.stem}.png" for image, _ in pairs]
        options.refuse_clashes("--dump", args.dump, written, [file for pair in pairs for file in pair])
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
    dump = _dump_to(args.dump, source.meta.palette or voc_palette(segmenter.numclass)) if args.dump else None
    if not labelled:
        for image, _ in pairs:
            dump(image, segmenter.class_map(preprocess(read_image(image), segmenter.mean), image))
        print(f"none of the {len(pairs)} images has a label: no scores; wrote their class maps to {args.dump}")
        return 0
    data = FileIter(*data_list, rgb_mean=source.meta.mean, num_classes=segmenter.numclass)
    result = scores(evaluate(segmenter, data, dump))
    print(scores_table(result, classes))
    for name in NAMES:
        title = name.replace("_", " ").replace("iu", "IU")
        print(f"{title:<24}{getattr(result, name):.4f}")
    if args.dump:
        print(f"wrote {len(data)} class maps to {args.dump}")
    if args.json:
        content = {"prefix": args.prefix, "epoch": args.epoch, "images": len(data)}
        with checkpoint.written_whole(args.json) as (part,):
            checkpoint.write_json(
                part, {**content, **result.as_json(), "per_class": _per_class(result, classes)}
            )
    return 0


def _per_class(result: Scores, classes: List[str]) -> List[dict]:
    """Scores of each class, as JSON has them."""
    columns = zip(classes, result.class_pixels, result.class_accuracy, result.class_iu)
    return [
        {"class": name, "pixels": int(pixels), "accuracy": or_none(accuracy), "iu": or_none(iu)}
        for name, pixels, accuracy, iu in columns
    ]


def _dump_to(folder: Path, palette: Palette) -> Callable[[Path, np.ndarray], None]:
    """Writer of class maps: FOLDER/NAME.png for each image NAME."""
    from ..checkpoint import written_whole

    def dump(image: Path, class_map: np.ndarray) -> None:
        with written_whole(folder / f"{image.stem}.png") as (part,):
            save_mask(part, class_map, palette)

    return dump

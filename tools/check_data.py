"""Check every image and label of a data set: sizes, classes, and errors that would make training fail.

Checks the given split, and by default val along with train, or train along with val, if the data set has both.
Images that are in two splits are listed. The exit code is 1 if training would fail or the data is refused, 0
otherwise. finetune, evaluate, report and export refuse the same; --allow KIND passes what it names.
Of a folder with labels-HEAD/ and no labels/, and of siftflow, the labels of each head are checked.

Examples:
    fcnxs check-data VOC2012
    fcnxs check-data photos --num-classes 2 --bad bad.txt
    fcnxs check-data ade20k --root ~/data/ade --split val
"""

from __future__ import annotations

import argparse
import re
from itertools import combinations
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import numpy as np

from ..data.datasets import NAMED
from ..data.findings import across, overlap
from ..data.inspection import Finding, Inspection
from ..data.lists import fitting
from ..data.samples import Samples
from ..data.scenes import kinds_of
from ..system.files import written_whole
from ..system.own import refuse_strangers
from .shared import data_checks, data_options, options
from .shared.printing import say, show
from .shared.text import table

SHOWN = 20  # most lines printed of a list
LONG = 40  # most letters printed of a class name
RARE = 0.01  # a class with a smaller share of the labelled pixels is named as rare
BOTH = ("train", "val")  # splits that are checked together


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs check-data`."""
    add = parser.add_argument
    add("data", metavar="DIR|LST|NAME", help=data_options.DATA_HELP)
    data_options.add_root_and_split(parser, "train")
    add(
        "--also",
        nargs="+",
        default=[],
        metavar="SPLIT|LST",
        help="further splits or lists to check (default: val if the split is train, train if it is val)",
    )
    options.add_classes(parser, "the data set's, classes.txt in its folder, or VOC's 21")
    data_options.add_modality(parser, "color")
    data_checks.add_exif(parser, "apply")
    data_checks.add_ignore_label(parser, "none")
    data_checks.add_allow(parser)
    data_checks.add_max_pixels(parser)
    add(
        "--batch-size",
        type=int,
        default=1,
        metavar="N",
        help="number of images in a step of the training (default: 1)",
    )
    add(
        "--crop-size",
        type=int,
        metavar="N",
        help="the training will take crops of NxN pixels (default: whole images)",
    )
    add("--bad", type=Path, metavar="FILE", help="write the pairs that cannot be used to this file, one a line")
    options.add_overwrite(parser)
    add(
        "--fresh",
        action="store_true",
        help="read all files (default: not those that have not changed since a command has read them)",
    )
    add(
        "--workers",
        type=int,
        metavar="N",
        help="number of threads that read images (default: one a processor, up to 8)",
    )


def run(args: argparse.Namespace) -> int:
    """Check each split, with the labels of each head, and print the findings."""
    options.refuse_below(1, args, "batch_size", "crop_size", "workers")
    if args.bad:
        refuse_strangers([args.bad], args.overwrite, _is_bad)
    data_options.folder_here(vars(args))
    heads = data_options.heads_alone(args.data)
    if heads[1:]:
        data_options.refuse_one_head(
            args, f"{args.data} has labels of several", "classes", "num_classes", "ignore_label"
        )
    failing, bad = [], []
    for head in heads or [""]:
        if heads[1:]:
            show(f"head {head}:")
        inspections, between = _inspected(args, head)
        of_head = f" of the head {head}" if heads[1:] else ""
        failing += [f"{name}{of_head}" for name, found in inspections.items() if found.fails]
        failing += [f"what they share{of_head}"] * any(finding.refuses for finding in between)
        bad += [(name, found.files[i], text) for name, found in inspections.items() for i, text in found.bad]
    if args.bad:
        _write_bad(args.bad, [*dict.fromkeys(bad)])
    say(
        f"training would fail because of the errors in {', '.join(failing)}"
        if failing
        else "no error found that makes training fail"
    )
    return 1 if failing else 0


def _inspected(args: argparse.Namespace, head: str) -> Tuple[Dict[str, Inspection], List[Finding]]:
    """Check the splits with the labels of one head, and print what is found in each and in what they share."""
    parts = _parts(args, head)
    first = next(iter(parts.values()))
    classes = data_options.classes_of(options.class_names(args), first, head=head)
    if head and not classes:
        raise data_options.no_classes(first, head)
    if not classes:
        say("21 classes, by default VOC's (the data's classes.txt, --classes or --num-classes give others)")
        classes = options.default_classes(None)
    inspections: Dict[str, Inspection] = {}
    for name, samples in parts.items():
        # Other splits than the first are only evaluated on, one image at a time.
        how = {
            "fresh": args.fresh,
            "batch_size": 1 if inspections else args.batch_size,
            "crop_size": args.crop_size,
        }
        inspections[name] = data_checks.inspected(samples, classes, name, args.workers, **how)
        _tell(name, inspections[name], classes)
        show()
    between = [*across(inspections, args.allow or ())]
    _tell_overlaps(inspections, between)
    return inspections, between


def _parts(args: argparse.Namespace, head: str) -> Dict[str, Samples]:
    """Data sets to check, by split or list name, with the labels of a head; the requested one first."""
    data, root = args.data, args.root
    how = {"exif": args.exif, "max_pixels": args.max_pixels, "ignore": args.ignore_label}
    kinds = kinds_of(args.modality)

    def opened(*where: str | None, **options: str) -> Samples:
        named = data_options.samples_of(*where, default="train", need=0, allow=args.allow, head=head, **options)
        return named.of_kinds(kinds)

    first = opened(data, args.split, root, data_option="check-data").reading(**how)
    if data not in NAMED and not Path(data).is_dir():
        return {data: first, **{name: opened(name, None, None).reading(**how) for name in args.also}}
    splits = data_options.splits(data)
    split = args.split or ("train" if splits else data)
    both = [name for name in BOTH if split.lower() in BOTH and fitting(splits, name)]
    others = [name for name in dict.fromkeys(args.also or both) if name.lower() != split.lower()]
    return {
        split: first,
        **{name: opened(data, name, root, option="--also").reading(**how) for name in others},
    }


def _tell(name: str, found: Inspection, classes: List[str]) -> None:
    """Print one split's sizes, classes, and what is wrong."""
    say(f"{name}: {_count(len(found.files), 'image')}")
    if found.sizes:
        show(_sizes(found))
        total = max(1, int(found.pixels.sum()))
        names = [name if len(name) <= LONG else f"{name[: LONG - 3]}..." for name in classes]
        counts = [*zip(found.pixels.tolist(), found.of_good[1].tolist())]
        shares = [(i, names[i], n, f"{100 * n / total:.2f}%", images) for i, (n, images) in enumerate(counts)]
        show(f"\n{table(('', 'class', 'pixels', 'share', 'images'), shares, right=(3,))}")
        say(f"{100 * found.ignored_share:.2f}% of the pixels are {found.void}, and left out")
    say(f"fingerprint of the pixels {found.fingerprint}")
    _tell_rare(found, classes)
    for finding in reversed(found.findings):
        _tell_finding(finding)
    if found.bad:
        _list(
            f"error: {_count(len(found.bad), 'bad pair')} of {len(found.files)}",
            [text for _, text in found.bad],
        )


def _tell_rare(found: Inspection, classes: List[str]) -> None:
    """Print a hint on classes with little of the labelled pixels; classes without any are a finding."""
    shares = found.pixels / max(1, found.pixels.sum())
    rare = [i for i in np.argsort(shares, kind="stable") if 0 < shares[i] < RARE]
    if rare:
        _list(
            f"{_count(len(rare), 'class')} with less than {RARE:.0%} of the labelled pixels (`fcnxs finetune "
            "--class-weights auto` lets rare classes count more in training)",
            [
                f"{classes[i]}: {shares[i]:.3%}, in {found.of_good[1][i]} of {len(found.good)} images"
                for i in rare
            ],
        )


def _sizes(found: Inspection) -> str:
    """The sizes of images: the one there is, or a table of the most common ones."""
    common = found.sizes.most_common(SHOWN // 2)
    rows = [(f"{width}x{height}", count) for (height, width), count in common]
    if len(rows) == 1:
        return f"all {rows[0][0]}"
    rest = sum(found.sizes.values()) - sum(count for _, count in rows)
    rows += [("others", rest)] if rest else []
    heights, widths = zip(*found.sizes)
    spread = f"width {min(widths)} to {max(widths)}, height {min(heights)} to {max(heights)}"
    return f"{len(found.sizes)} sizes, {spread}\n\n{table(('size', 'images'), rows)}"


def _tell_finding(finding: Finding) -> None:
    say(f"{'error' if finding.refuses else 'warning'}: {finding.text}")


def _tell_overlaps(inspections: Dict[str, Inspection], between: Sequence[Finding]) -> None:
    """Print the findings about several splits, and all images that are in two of them."""
    for finding in between:
        _tell_finding(finding)
    for (one, first), (other, second) in combinations(inspections.items(), 2):
        lines = [f"{first.files[a]} is {second.files[b]}" for a, b in overlap(first, second)]
        if lines:
            _list(f"{_count(len(lines), 'image')} in both {one} and {other}", lines)
        else:
            say(f"no image is in both {one} and {other}")


def _list(title: str, lines: List[str]) -> None:
    """Print a title, the first lines of a list, and how many more there are."""
    say(f"{title}:")
    for line in lines[:SHOWN]:
        say(f"  {line}")
    if len(lines) > SHOWN:
        say(f"  and {len(lines) - SHOWN} more")


def _count(number: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{number} {what if number == 1 else plural}"


def _is_bad(file: Path) -> bool:
    """Whether each line of a file is that of a bad pair: a split, an image, and a text that names a file."""
    lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return all(re.fullmatch(r"[^\t]*\t[^\t]+\t[^\t]+: .*", line) for line in lines)


def _write_bad(file: Path, bad: Sequence[Tuple[str, str, str]]) -> None:
    lines = ["\t".join(pair) + "\n" for pair in bad]
    with written_whole(file) as (part,):
        Path(part).write_text("".join(lines), encoding="utf-8", errors="surrogateescape")
    say(f"wrote {_count(len(lines), 'bad pair')} to {file}")

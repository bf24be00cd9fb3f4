"""Options of the commands that read data sets: the data set, its split and its classes.

Every command finds two things in a data set by itself, and prints a line about each one that it takes: the file
classes.txt in its folder (`classes_of`), and its split `val` (`take_val`, `tell_split`). Options go before.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, Collection, Dict, List, Sequence

from ...conventions import IMAGE_MEANS
from ...data.authors_sets import SETS_OF_HEADS
from ...data.class_names import read_classes
from ...data.datasets import NAMED, named
from ...data.headed import HeadedSamples
from ...data.layouts import LABELS, heads_in, open_samples, splits_of
from ...data.lists import fitting
from ...data.samples import Samples
from ...errors import FCNXSError
from ...system.json_files import Number, Or, checked, told_of
from .data_checks import warn
from .printing import say

CLASSES = "classes.txt"  # in the folder of a data set: the names of its classes, one a line

DATA_HELP = (
    "folder in VOC layout; folder with images/ and labels/, or images/SPLIT/ and labels/SPLIT/; list (.lst); "
    "file of `fcnxs pack` (.rec); "
    f"or a data set by name: {', '.join(NAMED)} (unless there is a folder of this name here and no --root)"
)


def add_root_and_split(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --root and --split; `default` is the split if none is given."""
    parser.add_argument(
        "--root",
        metavar="DIR",
        help="root folder of a data set by name (default: below ~/.mxnet/datasets, as GluonCV)",
    )
    parser.add_argument("--split", help=f"split of a folder or of a data set by name (default: {default})")


def add_modality(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --modality, the kinds of images of a sample; `default` says what is read without it."""
    parser.add_argument(
        "--modality",
        metavar="KIND[,KIND]",
        default=default if default in IMAGE_MEANS else None,
        help="images of each sample: color, hha, color,hha or color,depth; those of HHA and depth lie in the "
        f"folders hha and depth beside images (default: {default})",
    )


def folder_here(options: Dict[str, Any], quiet: bool = False) -> None:
    """Take a folder of the working directory for --data or --val where it has the name of a data set.

    Changes the options and prints a line. With --root the data set of this name is meant.
    """
    for option in ("data", "val"):
        name = options.get(option)
        if name in NAMED and options.get("root") is None and Path(name).is_dir():
            options[option] = f"./{name}"
            if not quiet:
                usual = Path("~", ".mxnet", "datasets", NAMED[name].home)
                say(f"reading the folder ./{name} here; with --root {usual} the data set named {name} is read")


def samples_of(
    data: str,
    split: str | None,
    root: str | None,
    default: str,
    need: int = 2,
    option: str = "--split",
    data_option: str = "--data",
    allow: Collection[str] | None = None,
    head: str = "",
) -> Samples:
    """Open the data set that the options name.

    Args:
        data: folder, list, or name of a data set.
        split: split to read; None stands for `default`.
        root: root folder of a data set by name; None for its usual place.
        default: split to read if none is given.
        need: files of each pair that must exist: 2, 1 (the image) or 0.
        option: option that gave `split`, for messages.
        data_option: option that gave `data`, for messages.
        allow: kinds of findings of --allow.
        head: head of a net whose labels are read.

    Raises:
        FCNXSError: there is no such data set or split, it has no labels of this head, or a file is missing.
    """
    if data in NAMED:
        sets = SETS_OF_HEADS.get(data, {})
        if head and head not in sets:
            has = f"those of {' and '.join(sets)}" if sets else "labels of one kind"
            raise FCNXSError(f"{data_option} {data}: has no labels of the head {head}; it has {has}")
        try:
            return named(sets.get(head, data), root, split or default, need).reading(allow=allow)
        except FCNXSError as error:
            here = f"; the folder here is ./{data}" if Path(data).exists() else ""
            raise FCNXSError(f"{data_option} {data}: {error}{here}") from None
    if root is not None:
        raise FCNXSError(f"--root {root}: goes with a data set by name ({', '.join(NAMED)})")
    path = Path(data)
    if split is not None and not path.is_dir():
        raise FCNXSError(f"{option} {split}: {data} is no folder or name of a data set; a list has no splits")
    if not path.exists() and path.suffix != ".lst":
        raise FCNXSError(
            f"{data_option} {data}: no such folder or list, and no data set by name ({', '.join(NAMED)})"
        )
    return open_samples(data, split, default, need, allow or (), head).reading(allow=allow)


def headed_samples(heads: Sequence[str], data: str, *where: Any, **how: Any) -> Samples:  # noqa: ANN401
    """Open a data set with the labels of these heads; none: as `samples_of`, whose arguments follow."""
    if not heads:
        return samples_of(data, *where, **how)
    return HeadedSamples({head: samples_of(data, *where, **how, head=head) for head in heads})


def heads_of_data(data: str) -> List[str]:
    """Names of the heads of nets that a data set has labels for; none for most."""
    return [*SETS_OF_HEADS.get(data, {})] if data in NAMED else heads_in(data)


def heads_alone(data: str) -> List[str]:
    """As `heads_of_data`; none of a folder that also has labels/, which nets of one head read."""
    return [] if data not in NAMED and Path(data, LABELS).is_dir() else heads_of_data(data)


def refuse_one_head(args: argparse.Namespace, several: str, *names: str) -> None:
    """Refuse options that go with nets of one head; `several` says what has several, for the message.

    Raises:
        FCNXSError: one of the options is given.
    """
    for name in names:
        value = getattr(args, name)
        if value is not None:
            option, value = f"--{name.replace('_', '-')}", value[0] if isinstance(value, list) else value
            how = "the folder's classes-HEAD.txt name the classes, and labels of 255 are ignored"
            raise FCNXSError(f"{option} {value}: goes with nets of one head, and {several}; {how}")


def no_classes(samples: Samples, head: str) -> FCNXSError:
    """Error of a data set whose head's classes have no names."""
    file = samples.root / classes_file(head)
    return FCNXSError(f"{file}: no such file; it should name the classes of the head {head}, one a line")


def splits(data: str) -> Sequence[str]:
    """Names of the splits of a data set by name or of a folder; none if it is a list."""
    return NAMED[data].splits if data in NAMED else splits_of(data)


def tell_split(data: str, split: str | None, default: str = "val") -> None:
    """Print which split is read where none was asked for, if the data set has splits."""
    if split is None and fitting(splits(data), default):
        say(f"reading the split {default} of {data} (--split names another)")


def take_val(args: argparse.Namespace) -> bool:
    """Whether training is to be evaluated on the split val without being told; if so, --val-split is set to it.

    That is so if the data set has this split, trains on its split train, and no option is on evaluation.
    """
    told = args.no_val or args.val or args.val_split or args.split not in (None, "train")
    if told or not fitting(splits(args.data), "val"):
        return False
    args.val_split = args.given["val_split"] = "val"
    return True


def classes_of(
    given: List[str] | None,
    samples: Samples,
    numclass: int | None = None,
    quiet: bool = False,
    any_number: bool = False,
    head: str = "",
) -> List[str] | None:
    """Class names from the options, else those of a data set by name, else from classes.txt in its folder.

    Those of a head of a net with several stand in classes-HEAD.txt.

    A file with another number of names than the net is left out, and so is one that is not a list of names
    where the net's classes are known; a line says so.

    Args:
        given: names from --classes or --num-classes.
        numclass: classes of the net; None if it can have any number of them.
        quiet: print nothing.
        any_number: names of another number than the net's count too.

    Returns:
        the names; None if there are none.

    Raises:
        FCNXSError: the file is not a list of names, and the net can have any number of classes.
    """
    names, file = given or samples.classes, samples.root / classes_file(head)
    if names or not os.path.lexists(file):
        return names
    try:
        names = read_classes(file)
        if numclass not in (None, len(names)) and not any_number:
            raise FCNXSError(f"{file} names {len(names)} classes, but the net has {numclass}")
    except FCNXSError as error:
        if numclass is None:
            raise FCNXSError(f"{error} (--classes or --num-classes set this file aside)") from None
        said, names = f"{error}; this file is not used", None
    else:
        said = f"class names from {file}{'' if head else ' (--classes names another file)'}"
    if not quiet:
        say(said)
    return names


def classes_file(head: str = "") -> str:
    """Name of the file of class names in a data set's folder."""
    return f"classes-{head}.txt" if head else CLASSES


def ignored(given: List[int] | None, folder: Path) -> List[int]:
    """Values of --ignore-label if given, else those of the run in this folder, if any, which a line tells."""
    if given is not None:
        return given
    from ...finetune.run_folder import PLAN, read_plan

    file, form = folder / PLAN, {"ignore_label": Or([Number(int)], [])}
    try:
        plan = read_plan(folder, "--ignore-label says which values of the labels are ignored") or {}
        with told_of(file, "the record of a run"):
            values = checked(plan.get("options", {}), form, "options")["ignore_label"]
    except FCNXSError as error:
        warn([f"{error}"])
        return []
    if values:
        numbers = ", ".join(map(str, values))
        say(f"ignoring the value {numbers} of the labels, as {file} says (--ignore-label gives others)")
    return values


def validation_samples(args: argparse.Namespace, heads: Sequence[str] = ()) -> Samples | None:
    """Data set to evaluate on, None if --val and --val-split are not given; its files may be missing."""
    if not args.val and not args.val_split:
        return None
    root = None if args.val and args.val not in NAMED and Path(args.val).exists() else args.root
    data, option = (args.val, "--val") if args.val else (args.data, "--data")
    return headed_samples(heads, data, args.val_split, root, "val", 0, "--val-split", option, args.allow)

"""Options that several commands share, and functions that check and read them."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Sequence, Tuple

from ...conventions import MOST_CLASSES, VOC_CLASSES, PathLike
from ...data.class_names import read_classes as class_names_of
from ...epoch_choice import choose
from ...errors import FCNXSError
from ...system.files import real
from .printing import say

if TYPE_CHECKING:
    from ...checkpoint.checkpoint import Checkpoint


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add --prefix and --epoch, the checkpoint to use."""
    parser.add_argument("--prefix", required=True, help="prefix of the checkpoint, e.g. RUN/fcn8s")
    parser.add_argument(
        "--epoch",
        type=_epoch,
        metavar="N|best|last",
        help="epoch of the checkpoint (default: the best by mean IU, or the last if none was evaluated)",
    )
    parser.add_argument(
        "--pooling-convention",
        choices=("valid", "full"),
        help="round the sizes of pooled layers down or up in a checkpoint of 2016 that does not say it "
        "(default: full, and a line says so)",
    )
    parser.add_argument(
        "--task",
        metavar="HEAD",
        help="head of a net with several, such as sem or geo of SIFT Flow's nets (default of segment and "
        "export: all)",
    )
    add_operators(parser)


def add_operators(parser: argparse.ArgumentParser) -> None:
    """Add --allow-operator, for graphs with operators that files may not have."""
    parser.add_argument(
        "--allow-operator",
        action="append",
        default=[],
        metavar="NAME",
        dest="operators",
        help="let the net have this operator, by MXNet's name, which is not among the usual ones; some "
        "operators run code that the file gives, so only if you trust the file (may be given several times)",
    )


def _epoch(text: str) -> int | str:
    if text in ("best", "last"):
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number, best or last") from None


def choose_epoch(args: argparse.Namespace) -> None:
    """Set --prefix and --epoch to the files that they stand for, and print which these are if it was open."""
    args.prefix, args.epoch, note = choose(args.prefix, args.epoch)
    if note:
        say(note)


def add_renamed(parser: argparse.ArgumentParser, names: Sequence[str], former: str, **how: Any) -> None:  # noqa: ANN401
    """Add an option, and its name in earlier versions, which --help does not show; only one can be given.

    Args:
        parser: parser of a command.
        names: names of the option.
        former: its former name.
        how: settings of `add_argument`.
    """
    group = parser.add_mutually_exclusive_group(required=how.pop("required", False))
    dest = group.add_argument(*names, **how).dest
    group.add_argument(former, **{**how, "dest": dest, "default": None, "help": argparse.SUPPRESS})


def add_classes(parser: argparse.ArgumentParser, default: str) -> None:
    """--classes and --num-classes; `default` says whose classes are taken without them."""
    parser.add_argument(
        "--classes", metavar="FILE", help=f"file with the names of the classes, one a line (default: {default})"
    )
    number = "number of classes, if they have no names"
    parser.add_argument("--num-classes", type=int, metavar="N", help=number)


def refuse_below(least: int, args: argparse.Namespace, *names: str) -> None:
    """Refuse options whose numbers are too small; one that was not given is None.

    Raises:
        FCNXSError: a number is below `least`.
    """
    for name in names:
        value = getattr(args, name)
        if value is not None and value < least:
            raise FCNXSError(f"--{name.replace('_', '-')} {value}: expected {least} or more")


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Add --overwrite, without which only results of this command are replaced (`system/own.py`)."""
    text = "replace existing files, even if this command did not write them"
    parser.add_argument("--overwrite", action="store_true", help=text)


def class_names(args: argparse.Namespace) -> List[str] | None:
    """Names of the classes by --classes or --num-classes; None if neither is given.

    Raises:
        FCNXSError: both are given, or the value is not valid.
    """
    if args.num_classes is None:
        return read_classes(args.classes) if args.classes else None
    if args.classes:
        raise FCNXSError("--classes and --num-classes: give only one of them")
    if not 2 <= args.num_classes <= MOST_CLASSES:
        raise FCNXSError(f"--num-classes {args.num_classes}: expected 2 to {MOST_CLASSES}")
    return [f"class {number}" for number in range(args.num_classes)]


def read_classes(file: PathLike) -> List[str]:
    """Class names from the file that --classes names.

    Raises:
        FCNXSError: it is no list of names.
    """
    try:
        return class_names_of(file)
    except FCNXSError as error:
        raise FCNXSError(f"--classes {error}") from None


def default_classes(numclass: int | None) -> List[str]:
    """Default class names: PASCAL VOC's for 21 classes or if the number is unknown, else `class 0`, ..."""
    if numclass not in (None, len(VOC_CLASSES)):
        return [f"class {number}" for number in range(numclass)]
    return list(VOC_CLASSES)


def refuse_clashes(
    option: str, folder: Path, written: Sequence[Tuple[Path, Path]], others: Iterable[Path] = ()
) -> None:
    """Refuse to write two pictures to one file, or over a file that is read.

    Args:
        option: option that names the folder, for messages.
        folder: folder to write to.
        written: pairs of a file to write and the image that it is made from.
        others: further files that are read.

    Raises:
        FCNXSError: two files to write are the same, one is read, or the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise FCNXSError(f"{option} {folder}: is a file; give a folder")
    made_of: Dict[Path, Path] = {}
    for name, image in written:
        if name in made_of:
            raise FCNXSError(
                f"{made_of[name]} and {image} would both be written to {name}; use different folders"
            )
        made_of[name] = image
    over = {*map(real, (*made_of.values(), *others))} & {*map(real, made_of)}
    if over:
        raise FCNXSError(f"{option} {folder}: would overwrite {over.pop()}; choose another folder")


def refuse_unwritable(option: str, folder: Path) -> None:
    """Refuse a folder in which nothing can be written.

    Raises:
        FCNXSError: the folder, or if it is missing its closest existing parent, is a file or not writable.
    """
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise FCNXSError(f"{option} {folder}: cannot write in {there}")


def tell_mean(prefix: str, source: Checkpoint) -> None:
    """Print a note if a checkpoint has no meta file, so that the original example's mean is used."""
    if not source.meta_found:
        mean = ", ".join(map(str, source.meta.mean))
        say(f"{prefix}-meta.json is missing: using the original example's mean, RGB ({mean})")

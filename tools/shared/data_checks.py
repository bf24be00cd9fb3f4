"""Options for reading and checking data sets, and the check that all commands share.

check-data prints all findings. finetune, evaluate, report and export end with the first that refuses the data,
and print the others as warnings.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, Iterable, List, Sequence

from tqdm import tqdm

from ...conventions import MAX_PIXELS
from ...data.check import check
from ...data.findings import KINDS
from ...data.images import EXIF
from ...data.inspection import Finding, Inspection
from ...data.remembered import place
from ...data.samples import Samples
from ...errors import FCNXSError, shown
from .printing import say


def add_allow(parser: argparse.ArgumentParser) -> None:
    """Add --allow, for the checks of a data set."""
    parser.add_argument(
        "--allow",
        type=_kinds,
        action=_Extend,
        metavar="KIND,...",
        help="take data that would be refused, with a warning; "
        + "; ".join(f"{kind}: {what}" for kind, what in KINDS.items()),
    )


class _Extend(argparse.Action):
    """Add the values to those that the option had before on the command line."""

    def __call__(self, parser: object, namespace: argparse.Namespace, values: List[str], *_: object) -> None:
        """Set the option to the list of both."""
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, [*(before if isinstance(before, list) else []), *values])


def _kinds(text: str) -> List[str]:
    kinds = text.split(",")
    for kind in kinds:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{kind!r}: expected some of {', '.join(KINDS)}, with commas")
    return kinds


def add_ignore_label(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --ignore-label; `default` says what is done without it."""
    parser.add_argument(
        "--ignore-label",
        type=int,
        action="append",
        metavar="N",
        help="read this value of the labels as 255, which is ignored; the others keep their meaning (may be "
        f"given several times; 255 alone ignores nothing else; default: {default})",
    )


def add_exif(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --exif; `default` says what is done without it."""
    parser.add_argument(
        "--exif",
        choices=EXIF,
        help="turn images as their EXIF orientation says, as viewers do (apply), or take the pixels as they "
        f"are stored (ignore) (default: {default})",
    )


def add_max_pixels(parser: argparse.ArgumentParser) -> None:
    """Add --max-pixels, the limit of every image, label and frame."""
    parser.add_argument(
        "--max-pixels",
        type=_pixels,
        default=MAX_PIXELS,
        metavar="N",
        help="refuse images, labels and videos with more pixels; the header says how many, before they are "
        f"decoded (default: {MAX_PIXELS:,})",
    )


def _pixels(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of pixels, 1 or more")
    return int(text)


def inspected(
    samples: Samples,
    classes: Sequence[str],
    title: str,
    workers: int | None = None,
    quiet: bool = False,
    fresh: bool = False,
    **settings: Any,  # noqa: ANN401  (of `check`)
) -> Inspection:
    """What `data.check.check` finds, with a bar on a terminal; `settings` are its further arguments.

    Args:
        fresh: read all files, also those that have not changed since they were read.
    """
    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=len(samples), desc=shown(title), unit="image", leave=False, disable=hidden) as bar:
        settings = {"names": classes, "file": None if fresh else place(), **settings}
        return check(samples, len(classes), workers=workers, on_progress=bar.update, **settings)


def accepted(findings: Sequence[Finding], option: str) -> List[str]:
    """Texts of the findings, which are all warnings; `option` gave the data, for messages.

    Raises:
        FCNXSError: a finding refuses the data.
    """
    for finding in findings:
        if finding.refuses:
            raise FCNXSError(f"{option}: {finding.text}")
    return [finding.text for finding in findings]


def warn(texts: Iterable[str]) -> None:
    """Print warnings on stderr."""
    for text in texts:
        say(f"fcnxs: warning: {text}", sys.stderr)


def checked(samples: Samples, classes: Sequence[str], option: str = "--data") -> None:
    """Check data to score a net on, before the work begins; print warnings.

    Raises:
        FCNXSError: a pair is bad, or the data set is refused.
    """
    found = inspected(samples, classes, "checking the data", smallest=(1, 1))
    refuse_bad(found, "`fcnxs check-data` lists them")
    warn(accepted(found.findings, option))


def refuse_bad(found: Inspection, way_out: str) -> None:
    """Raise an error that names the first bad pair, if there is one."""
    if found.bad:
        raise FCNXSError(f"{found.bad[0][1]} ({len(found.bad)} of {len(found.files)} pairs are bad: {way_out})")

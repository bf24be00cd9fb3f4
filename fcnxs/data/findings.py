"""What is wrong with a data set: each finding has a kind, names a file, and says how to mend it.

A finding refuses the data set, or only warns. A refusal of a kind that the data set allows becomes a warning.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Dict, List, Sequence, Tuple

from . import rules
from .inspection import Finding, Inspection

KINDS = {
    "lossy": "labels saved as JPEG, or with another loss",
    "rescaled": "labels whose values change when they are read",
    "colours": "a number that has different colours in the palettes of different labels",
    "masks": "labels of 0 and 255 alone, whose figure is ignored",
    "void": "labels that are 255 everywhere",
    "repeated": "an image that a data set has twice",
    "overlap": "an image in training and in validation",
    "splits": "folders of splits, of which none was chosen",
}


def findings(
    found: Inspection, names: Sequence[str] | None, allow: Sequence[str], exif: str, one_size: int
) -> List[Finding]:
    """Findings of one data set; those that refuse it come first.

    Args:
        names: names of the classes, or None.
        allow: kinds that do not refuse the data set.
        exif: how images were read, "apply" or "ignore".
        one_size: images of a batch, which need one size; 1 if they need not.
    """
    fitting = [seen for seen in found.seen if seen.fits]
    refused = [*rules.sizes(found, one_size), *rules.values(found, fitting), *rules.repeated(found)]
    refused += rules.colours(found, fitting)
    warnings = [*rules.faults(found), *rules.masks(found, fitting), *rules.turned(found, exif)]
    warnings += [*rules.mixed(found, fitting), *rules.absent(found, names), *rules.empty(found)]
    warnings += [*rules.copies(found, fitting), *rules.left_out(found, names)]
    result = _refused(refused, allow) + [Finding(kind, text, False) for kind, text in warnings]
    return sorted(result, key=lambda each: not each.refuses)


def across(parts: Dict[str, Inspection], allow: Sequence[str]) -> List[Finding]:
    """Findings about several data sets together, the first of which is trained on, the others evaluated on.

    They are: an image in two of them, and numbers that have other colours in one than in the other.
    """
    (first, found), *others = parts.items()
    result = []
    for name, other in others:
        both = overlap(found, other)
        if both:
            count, (one, twin) = len({number for _, number in both}), both[0]
            text = (
                f"{other.files[twin]}: is in {name}, and in {first} as {found.files[one]}; {count} of the "
                f"{len(other.files)} images of {name} are in both, and scores on {name} would be of images "
                "trained on: remove them from one"
            )
            result.append(("overlap", text))
        each = [list(rules.palettes(part, part.seen)) for part in (found, other)]
        if not any(map(rules.differing, each)):  # or each part's own findings say it
            result += [("colours", text) for text in rules.differing([*each[0], *each[1]])]
    return _refused(result, allow)


def overlap(a: Inspection, b: Inspection) -> List[Tuple[int, int]]:
    """Pairs (number in `a`, number in `b`) of the same image: same file without suffix, or same pixels."""
    numbers: Dict[object, List[int]] = defaultdict(list)
    for number, keys in enumerate(zip(b.places, b.hashes)):
        for key in {*keys} - {b""}:
            numbers[key].append(number)
    found = [
        (one, other)
        for one, keys in enumerate(zip(a.places, a.hashes))
        for key in {*keys} - {b""}
        for other in numbers[key]
    ]
    return sorted(set(found))


def _refused(found: Sequence[Tuple[str, str]], allow: Sequence[str]) -> List[Finding]:
    """Findings of these kinds and texts that refuse the data set, unless their kind is allowed."""
    return [
        Finding(
            kind,
            text if not kind or kind in allow else f"{text} (--allow {kind} passes this)",
            kind not in allow,
        )
        for kind, text in found
    ]

"""Set images aside for evaluation: whole files, or whole groups of files."""

from __future__ import annotations

import hashlib
import re
from typing import Dict, List, Sequence

from ..errors import FCNXSError, cut
from .account import Account, counted
from .found import Sample


def own(samples: Sequence[Sample], account: Account) -> List[Sample]:
    """The samples with the source's own splits; there are none without a split train."""
    splits = {sample.split for sample in samples if sample.split}
    if "train" not in splits:
        if splits:
            account.note(f"the source has {', '.join(sorted(splits))}, but no train: all images are one split")
        return [sample._replace(split=None) for sample in samples]
    for sample in samples:
        account.add("no split", sample.name, sample.split is None)
    return [sample for sample in samples if sample.split]


def divided(
    samples: Sequence[Sample], fraction: float | None, seed: int = 0, group: str | None = None
) -> List[Sample]:
    """The samples of `own`, of which some are set aside as val.

    Images, or groups of them, are put in an order that depends on the seed and their names alone, and go to val
    as long as that brings it nearer to its share; it gets the smallest group at least. So images that are added
    later move few of the others.

    Args:
        fraction: share of the images that val gets; None: the source's own splits stay, or there are none.
        seed: another number gives another division.
        group: regular expression that is searched in each image's path in the source; images for which it, or
            its first group in parentheses, matches the same text stay together. None: each image is one group.

    Raises:
        FCNXSError: the source has a split val of its own, the expression does not match, or train or val would
            be empty.
    """
    if fraction is None:
        if group is not None:
            raise FCNXSError("--group: goes with --val-fraction")
        return list(samples)
    if not 0 < fraction < 1:
        raise FCNXSError(f"--val-fraction {fraction:g}: expected a number between 0 and 1")
    if "val" in {sample.split for sample in samples}:
        raise FCNXSError("--val-fraction: the source has a split val of its own; leave this option out")
    free = [sample for sample in samples if sample.split in (None, "train")]
    groups: Dict[str, List[Sample]] = {}
    pattern = _pattern(group)
    for sample in free:
        groups.setdefault(_group_of(sample.name, pattern), []).append(sample)
    wanted, val = fraction * len(free), 0
    order = sorted(
        groups, key=lambda name: hashlib.sha256(f"{seed} {name}".encode(errors="surrogateescape")).digest()
    )
    chosen = set()
    for name in order:
        if abs(val + len(groups[name]) - wanted) < abs(val - wanted):
            chosen.add(name)
            val += len(groups[name])
    if not chosen and len(order) > 1:
        chosen = {min(order, key=lambda name: len(groups[name]))}
    if not 0 < len(chosen) < len(order):
        raise FCNXSError(
            f"--val-fraction {fraction:g}: leaves train or val empty ({counted(len(free), 'image')}, "
            f"{counted(len(order), 'group')})"
        )
    in_val = {id(sample) for name in chosen for sample in groups[name]}
    return [
        sample if sample.split == "test" else sample._replace(split="val" if id(sample) in in_val else "train")
        for sample in samples
    ]


def _pattern(group: str | None) -> re.Pattern[str] | None:
    try:
        return None if group is None else re.compile(group)
    except re.error as error:
        raise FCNXSError(f"--group {cut(group)}: not a regular expression: {error}") from None


def _group_of(name: str, pattern: re.Pattern[str] | None) -> str:
    if pattern is None:
        return name
    match = pattern.search(name)
    if match is None:
        raise FCNXSError(f"--group {cut(pattern.pattern)}: does not match the image {name}")
    return (match[1] or "") if pattern.groups else match[0]

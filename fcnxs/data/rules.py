"""The rules of `findings.py`, each of which yields the kinds and texts of its findings on a data set."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Dict, Iterator, List, Sequence, Tuple

import numpy as np

from ..conventions import IGNORE_LABEL
from .inspection import Inspection, Seen

TURNS = {2: "mirrors {}", 3: "turns {} by 180 degrees", 4: "mirrors {}"}  # others turn by 90 degrees
SHOWN = 10  # most classes that a finding names
Texts = Iterator[Tuple[str, str]]  # kind and text


def sizes(found: Inspection, one_size: int) -> Texts:
    """A batch needs images of one size."""
    if one_size > 1 and len(found.sizes) > 1:
        (height, width), (other_height, other_width), *more = found.sizes
        yield (
            "",
            f"batches of {one_size} images need images of one size, but there are {width}x{height}, "
            f"{other_width}x{other_height}{', ...' if more else ''}: cut them alike (--crop-size), or "
            f"take one at a time and sum their gradients (--accumulate {one_size})",
        )


def values(found: Inspection, fitting: List[Seen]) -> Texts:
    """Labels that leave nothing to learn."""
    values = {*np.concatenate([seen.values for seen in fitting]).tolist()} if fitting else set()
    if values == {IGNORE_LABEL}:
        yield (
            "void",
            f"{found.labels[fitting[0].number]}: every pixel of the labels is {found.void} and so ignored: "
            "nothing can be learned",
        )
    elif values == {0, IGNORE_LABEL}:
        yield (
            "masks",
            f"{found.labels[fitting[0].number]}: the labels have only the values 0 and {found.void}: "
            f"{found.void} means that a pixel is ignored; if it marks objects, write 1 instead",
        )


def masks(found: Inspection, fitting: List[Seen]) -> Texts:
    """Some labels mark their figure by 255, others by a class."""
    masks = [seen.number for seen in fitting if seen.values.tolist() == [0, IGNORE_LABEL]]
    others = [seen for seen in fitting if np.any((seen.values > 0) & (seen.values < IGNORE_LABEL))]
    if masks and others:
        values = ", ".join(map(str, others[0].values[:SHOWN].tolist()))
        yield (
            "masks",
            f"{found.labels[masks[0]]}: has only the values 0 and {found.void}, as {len(masks)} of "
            f"{len(found.files)} labels, while {len(others)} have classes, such as "
            f"{found.labels[others[0].number]} ({values}): {found.void} is ignored; if it marks objects, write "
            "their class instead",
        )


def repeated(found: Inspection) -> Texts:
    """Images that are the same file, or links to it, or differ in their suffix alone."""
    numbers: Dict[object, List[int]] = defaultdict(list)
    for number, place in enumerate(found.places):
        numbers[place].append(number)
    twice = [same for same in numbers.values() if len(same) > 1]
    if twice:
        first = twice[0]
        names = " and ".join(dict.fromkeys(found.files[number] for number in first))
        yield (
            "repeated",
            f"{names}: the data set has this image {len(first)} times; {len(twice)} of its {len(numbers)} "
            "images occur more than once: name each once",
        )


def palettes(found: Inspection, seen: Sequence[Seen]) -> Iterator[Tuple[str, Dict[int, int]]]:
    """Names of the labels that have a palette, and the colour of each of their values."""
    for each in seen:
        if each.colours is not None:
            yield found.labels[each.number], dict(zip(each.values.tolist(), each.colours.tolist()))


def colours(found: Inspection, fitting: List[Seen]) -> Texts:
    """Numbers with different colours in different labels, as tools write that make a palette for each file."""
    for text in differing(list(palettes(found, fitting))):
        yield "colours", text


def differing(palettes: List[Tuple[str, Dict[int, int]]]) -> List[str]:
    """Text on files in whose palettes a number has another colour than in most; empty if there is none."""
    counts: Dict[int, Counter[int]] = defaultdict(Counter)
    for _, colours in palettes:
        for value, colour in colours.items():
            counts[value][colour] += 1
    usual = {value: counter.most_common(1)[0][0] for value, counter in counts.items()}
    odd = [
        (file, value, colour)
        for file, colours in palettes
        for value, colour in colours.items()
        if colour != usual[value]
    ]
    if not odd:
        return []
    file, value, colour = odd[0]
    other = next(name for name, colours in palettes if colours.get(value) == usual[value])
    return [
        f"{file}: {value} has the colour {_rgb(colour)}, but {_rgb(usual[value])} in {other}; the palettes of "
        f"{len({each[0] for each in odd})} of {len(palettes)} labels differ from the others: one number may "
        "mean several classes; save all labels with one palette"
    ]


def _rgb(colour: int) -> Tuple[int, int, int]:
    return colour % 256, colour // 256 % 256, colour // 65536


def faults(found: Inspection) -> Texts:
    """Faults of labels that were allowed."""
    files: Dict[Tuple[str, str], List[str]] = defaultdict(list)
    for seen in found.seen:
        for fault in seen.faults:
            files[fault].append(found.labels[seen.number])
    for (kind, text), names in files.items():
        yield kind, f"{names[0]}: {text}; {len(names)} of {len(found.files)} labels are so"


def turned(found: Inspection, exif: str) -> Texts:
    """Images that EXIF turns although the label may be drawn on the pixels as they are stored."""
    own = [seen for seen in found.seen if seen.label_turn > 1]
    alone = [seen for seen in found.seen if seen.turn > 1 and seen.label_turn == 1 and seen.fits_otherwise]
    either, other = ([seen for seen in alone if seen.fits == fits] for fits in (True, False))
    if exif == "apply" and (either or other):
        how = Counter(TURNS.get(seen.turn, "turns {} by 90 degrees") for seen in either)
        said = [f"{way.format(count)}, whose labels fit them unturned too" for way, count in how.items()]
        said += [f"turns {len(other)}, whose labels fit them only unturned"] * bool(other)
        yield (
            "exif",
            f"{found.files[(either or other)[0].number]}: of {len(found.files)} images, EXIF "
            f"{', and '.join(said)}: if the labels were drawn on the pixels as they are stored, --exif ignore "
            "reads the images so",
        )
    elif exif == "ignore" and other:
        yield (
            "exif",
            f"{found.files[other[0].number]}: {len(other)} of {len(found.files)} images fit their labels only "
            "when EXIF turns them (--exif apply)",
        )
    if own and exif == "apply":
        yield (
            "exif",
            f"{found.labels[own[0].number]}: {len(own)} of {len(found.files)} labels have an EXIF orientation "
            "of their own, by which they are turned too (--exif ignore turns neither)",
        )


def mixed(found: Inspection, fitting: List[Seen]) -> Texts:
    """Some labels have a palette, others are grey."""
    palettes = [seen for seen in fitting if seen.colours is not None]
    if 0 < len(palettes) < len(fitting):
        grey = next(seen for seen in fitting if seen.colours is None)
        yield (
            "mixed",
            f"{found.labels[grey.number]}: is grey, as are {len(fitting) - len(palettes)} labels, while "
            f"{len(palettes)} have a palette, such as {found.labels[palettes[0].number]}: see that a "
            "number means the same class in both",
        )


def absent(found: Inspection, names: Sequence[str] | None) -> Texts:
    """Classes without a pixel; 255 may stand for one of them."""
    absent = found.absent if found.sizes else []
    if absent:
        shown = ", ".join(str(names[i]) if names else str(i) for i in absent[:SHOWN])
        more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
        count = "1 class" if len(absent) == 1 else f"{len(absent)} classes"
        void = (
            f"; {100 * found.ignored_share:.2f}% of the pixels are {found.void} and so ignored: if "
            f"{found.void} stands for a class, write its number"
        )
        yield "absent", f"no pixel of {count}: {shown}{more}{void if found.ignored else ''}"


def empty(found: Inspection) -> Texts:
    """Labels that are 255 everywhere."""
    if found.empty:
        count = f"{len(found.empty)} of {len(found.files)} labels"
        yield "empty", f"{found.labels[found.empty[0]]}: {found.void} everywhere in the label, as in {count}"


def left_out(found: Inspection, names: Sequence[str] | None) -> Texts:
    """Values to leave out that are classes, or that no label has."""
    for value, pixels in found.left_out.items():
        if 0 <= value < len(found.pixels):
            name = f" ({names[value]})" if names else ""
            share = pixels / max(1, found.ignored + int(found.pixels.sum()))
            yield (
                "ignore",
                f"--ignore-label {value}: leaves out class {value}{name} of the {len(found.pixels)} classes, "
                f"{pixels:,} pixels, {100 * share:.2f}% of all; the other classes keep their numbers, and the "
                "net has an output for this one that nothing trains: if it is no class, `fcnxs import-data "
                f"--ignore {value}` writes labels without it",
            )
        elif not pixels and found.sizes:
            yield "ignore", f"--ignore-label {value}: no label of {len(found.files)} has this value"


def copies(found: Inspection, fitting: List[Seen]) -> Texts:
    """Files of different names with the same pixels."""
    same: Dict[bytes, List[Seen]] = defaultdict(list)
    for seen in fitting:
        same[found.hashes[seen.number]].append(seen)
    copies = [each for each in same.values() if len({found.places[seen.number] for seen in each}) > 1]
    if copies:
        first, second, *_ = (found.files[seen.number] for seen in copies[0])
        differ = sum(len({seen.label for seen in each}) > 1 for each in copies)
        yield (
            "copies",
            f"{second}: has the same pixels as {first}; {sum(map(len, copies)) - len(copies)} of "
            f"{len(found.files)} images are such copies, {differ} with different labels",
        )

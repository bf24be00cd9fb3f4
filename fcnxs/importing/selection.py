"""Choose among the classes of a source: leave some out, merge some, keep only some, and number them anew.

First the classes of `ignore` are removed, then those of `merge` become one each, then `keep` chooses. The
others become background, which is class 0, or are ignored. Without `keep` the source's order
stays; a merged class stands where the first of its classes stood.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..conventions import IGNORE_LABEL
from ..errors import FCNXSError, cut
from ..vis import default_palette
from .found import BACKGROUND, Class, Found, refuse_name

SHOWN = 40  # names that a message lists


class Selection(NamedTuple):
    """The classes of the result.

    Attributes:
        names: their names.
        palette: colour (R, G, B) of each.
        table: number of each position in the source's classes, uint8 (256,); 255 for ignored ones.
    """

    names: List[str]
    palette: List[List[int]]
    table: np.ndarray


def select(
    found: Found,
    ignore: Sequence[str] = (),
    merge: Sequence[str] = (),
    keep: Sequence[str] = (),
    rest: str = BACKGROUND,
) -> Selection:
    """The classes after --ignore, --merge and --keep-classes.

    Args:
        ignore: names, or the source's numbers, of classes whose pixels are ignored.
        merge: texts such as "car,bus=vehicle": the first classes become the last one, which may be new.
        keep: names to keep, in this order; none: all.
        rest: "background" or "ignore": what becomes of the pixels of classes that `keep` leaves out.

    Raises:
        FCNXSError: a name is none of the source's, is used twice, or fewer than two classes remain.
    """
    classes = found.classes
    goes: Dict[str, str | None] = {
        each.name: each.name for each in classes
    }  # name: its new name, None if ignored
    for each in ignore:
        name = _named(each, found)
        if name is not None:
            goes[name] = None
    merged = [(*_merged(text), f"--merge {cut(text)}") for text in merge]
    for parts, new, option in merged:
        for part in parts:
            _known(part, classes, option)
            if goes[part] != part or any(part == other != new for _, other, _ in merged):
                raise FCNXSError(f"{option}: {cut(part, 80)!r} is ignored or merged elsewhere")
            goes[part] = new
    order = [name for name in dict.fromkeys(goes[each.name] for each in classes) if name is not None]
    if keep:
        order, goes = _kept(order, goes, keep, rest)
    if len(order) < 2:
        raise FCNXSError(
            f"{found.said_by}: {len(order)} class remains ({', '.join(order)}); training needs two"
        )
    for name in order:
        refuse_name(name, "--merge")
    numbers = {name: number for number, name in enumerate(order)}
    table = np.full(256, IGNORE_LABEL, np.uint8)
    for position, each in enumerate(classes):
        table[position] = IGNORE_LABEL if goes[each.name] is None else numbers[goes[each.name]]
    return Selection(order, _palette(order, classes, goes), table)


def _kept(
    order: List[str], goes: Dict[str, str | None], keep: Sequence[str], rest: str
) -> Tuple[List[str], Dict[str, str | None]]:
    """The names to keep, and where every class goes."""
    for name in keep:
        _known(name, [Class(each, None, 0) for each in order], "--keep-classes")
    twice = next((name for name in keep if [*keep].count(name) > 1), None)
    if twice is not None:
        raise FCNXSError(f"--keep-classes: names {cut(twice, 80)!r} twice")
    if rest != BACKGROUND:
        return [*keep], {name: new if new in keep else None for name, new in goes.items()}
    ground = next((name for name in order if name.lower() == BACKGROUND), BACKGROUND)
    chosen = [ground, *(name for name in keep if name != ground)]
    return chosen, {name: new if new in chosen or new is None else ground for name, new in goes.items()}


def _named(text: str, found: Found) -> str | None:
    """Name of a class given by its name or number; None for a number whose pixels are ignored already.

    Raises:
        FCNXSError: there is no such class.
    """
    by_number = {each.number: each.name for each in found.classes}
    if text.isascii() and text.isdigit() and text not in by_number.values():
        number = int(text) if len(text) < 9 else -1
        if number in by_number:
            return by_number[number]
        if number in found.void or number == IGNORE_LABEL:
            return None
    return _known(text, found.classes, "--ignore")


def _known(name: str, classes: Sequence[Class], option: str) -> str:
    """The name, if a class has it.

    Raises:
        FCNXSError: none has it; the message lists them.
    """
    names = [each.name for each in classes]
    if name in names:
        return name
    near = get_close_matches(name.lower(), [each.lower() for each in names], n=1, cutoff=0.7)
    meant = f"; did you mean {names[[each.lower() for each in names].index(near[0])]!r}?" if near else ""
    shown = ", ".join(cut(f"{each.number} {each.name}", 80) for each in classes[:SHOWN])
    raise FCNXSError(
        f"{option}: no class is {cut(name, 80)!r}{meant} (there are {shown}{', ...' * (len(names) > SHOWN)})"
    )


def _merged(text: str) -> Tuple[List[str], str]:
    """Classes and the new name of a text such as "car,bus=vehicle"."""
    left, mark, new = text.rpartition("=")
    parts = [each.strip() for each in left.split(",")]
    if not mark or not all(parts) or not new.strip():
        raise FCNXSError(
            f"--merge {cut(text)}: expected names and their new name, such as car,bus,truck=vehicle"
        )
    return parts, new.strip()


def _palette(order: Sequence[str], classes: Sequence[Class], goes: Dict[str, str | None]) -> List[List[int]]:
    """Colours of the source, if each class has one and no two have the same; else VOC's."""
    own: Dict[str, Tuple[int, int, int]] = {}
    for each in sorted(
        classes, key=lambda each: each.name != goes[each.name]
    ):  # those that keep their name first
        if each.colour is not None and goes[each.name] is not None:
            own.setdefault(goes[each.name], each.colour)
    own.setdefault(BACKGROUND, (0, 0, 0))
    colours = [own.get(name) for name in order]
    whole = None not in colours and len({*colours}) == len(order)
    return [*map(list, colours)] if whole else default_palette(order)

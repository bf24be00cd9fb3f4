"""Read the names of classes from a file with a name in each line, and the colours that an import kept of them.

What is another kind of file than a list of names is refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Sequence

from ..conventions import IGNORE_LABEL, Palette, PathLike
from ..errors import FCNXSError
from ..system.files import read_text
from ..system.json_files import read_json

IMPORT = "import.json"  # beside classes.txt in a folder that `fcnxs import-data` wrote
FORM = {"classes": [{"name": str, "colour": str}]}
COLOUR = re.compile("#[0-9a-f]{6}")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", ":": "colons", "|": "bars"}
HEADERS = ("class", "classes", "class_name", "class name", "name", "names", "label", "labels", "category", "id")


def read_classes(file: PathLike) -> List[str]:
    """Names of classes, in the order of the labels' numbers, from a file in UTF-8; empty lines do not count.

    Raises:
        FCNXSError: the file cannot be read, is a table (CSV, or names behind numbers), has a heading, names a
            class twice, or does not name 2 to 255 classes.
    """
    lines = read_text(Path(file), "it").splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    names = [name for _, name in numbered]
    other = _other_kind(names)
    if other:
        raise FCNXSError(
            f"{file}: {other}; expected the names of the classes alone, a line each, from class 0 on"
        )
    first: Dict[str, int] = {}
    for number, name in numbered:
        if name in first:
            raise FCNXSError(
                f"{file}, line {number}: {name!r} is the name in line {first[name]} too; expected 2 to "
                f"{IGNORE_LABEL} different names, a line each"
            )
        first[name] = number
    if not 2 <= len(names) <= IGNORE_LABEL:
        raise FCNXSError(f"{file}: expected 2 to {IGNORE_LABEL} different names, a line each; has {len(names)}")
    return names


def imported_palette(folder: Path, classes: Sequence[str]) -> Palette | None:
    """Colours (R, G, B) of these classes in the folder's import.json; None if there is none, or it has others.

    Raises:
        FCNXSError: the file cannot be read, or is another one of this name.
    """
    if not (folder / IMPORT).exists():
        return None
    found = read_json(folder / IMPORT, "the account of an import", FORM)["classes"]
    if [each["name"] for each in found] != [*classes]:
        return None
    for each in found:
        if not COLOUR.fullmatch(each["colour"]):
            raise FCNXSError(f"{folder / IMPORT}: {each['colour']!r:.40} is no colour; expected one as #804080")
    return [[*bytes.fromhex(each["colour"][1:])] for each in found]


def _other_kind(names: List[str]) -> str | None:
    """What a file with these lines is instead of a list of names; None if it is one."""
    if not names:
        return None
    if names[0][0] in "[{<":
        return f"begins with {names[0]!r:.40}, as JSON or XML does"
    for mark, called in SEPARATORS.items():
        counts = {name.count(mark) for name in names if not name.startswith("#")}
        if len(names) > 1 and len(counts) == 1 and counts != {0}:
            return f"is a table of {counts.pop() + 1} columns, separated by {called} ({names[0]!r:.40})"
    for start in (0, 1):
        if all(re.match(rf"{number}[\s.)=-]+\S", name) for number, name in enumerate(names, start)):
            return f"has a number before each name ({names[0]!r:.40})"
    if names[0].strip("#\"' ").lower() in HEADERS:
        return f"begins with the heading {names[0]!r}"
    return None

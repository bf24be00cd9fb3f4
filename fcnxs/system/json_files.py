"""JSON that others may have written: parsed within limits, and checked against a form, both in one place.

    RECORD = {"stage": str, "epoch": Number(int, 1), "mean_iu": Null(Number(float, 0, 1))}
    read_json(Path("record.json"), "the scores of an epoch", RECORD)

A form is

- `str`, `bool` or `dict`: a value of this type;
- `Number(int, 1, 9)`: a number, here a whole one from 1 to 9; it is finite in any case;
- a set of texts: one of these;
- `[form]`: a list of such values; `(form, form)`: a list of so many; `{str: form}`: an object of such values;
- `{"key": form, ...}`: an object with these keys, and perhaps with others, which are kept as they are;
- `Null(form)`: such a value, or null;
- `Or(form, default)`: such a value, or the default, which also stands for null and for no value.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from math import inf, isfinite
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, Iterator, List, NamedTuple

from ..errors import FCNXSError
from .files import read_text

MOST_JSON = 1 << 26  # bytes; parsed, it takes up to twenty times as much memory
DEEPEST = 64  # levels of objects and lists; ours have 6
MOST_DIGITS = 40  # of a whole number
UNFIT = re.compile("[\\0\ud800-\udc7f\udd00-\udfff]")  # between them lie the bytes of names that are not UTF-8

NAMES = {str: "a text", bool: "true or false", dict: "an object"}


class Number(NamedTuple):
    """A finite number of a kind, float (which takes whole ones too) or int, from `least` to `most`."""

    kind: type = float
    least: float = -inf
    most: float = inf


class Null(NamedTuple):
    """A value of the form, or null."""

    form: Any


class Or(NamedTuple):
    """A value of the form, or the default, which also stands for null and for no value."""

    form: Any
    default: Any = None


COUNT = Number(int, 0, 2**53)
BYTE = Number(int, 0, 255)


def read_json(
    file: Path,
    what: str,
    form: Any = dict,  # noqa: ANN401
    way_out: str = "",
    most: int = MOST_JSON,
) -> Any:  # noqa: ANN401
    """Content of a JSON file that has this form. `what` describes it in an error, which `way_out` ends.

    Args:
        most: largest size of the file, in bytes.

    Raises:
        FCNXSError: the file cannot be read, is not JSON, or has another form; the message names the key.
    """
    with told_of(file, what, way_out):
        return checked(parse_json(read_text(file, what, most)), form)


@contextmanager
def told_of(file: object, what: str, way_out: str = "") -> Iterator[None]:
    """Raise FCNXSError for a ValueError of the block: it names the file, what it should be, and the way out."""
    try:
        yield
    except FCNXSError:
        raise
    except ValueError as error:
        raise FCNXSError(f"{file}: not {what}, or damaged: {error}{way_out and '; '}{way_out}") from None


def parse_json(text: str) -> Any:  # noqa: ANN401  (whatever JSON has)
    """Value of a JSON text.

    Raises:
        ValueError: the text is not JSON, or it is nested too deeply, has a number that is not finite or of too
            many digits, or a text that no file could hold.
    """
    try:
        content = json.loads(text, parse_int=_whole, parse_constant=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level, depth = [content], 0
    while level:
        inner: List[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += [*value, *value.values()]
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, str):
                if UNFIT.search(value):
                    raise ValueError(f"it has the text {shortened(value)}, with a character that no text has")
            elif isinstance(value, float) and not isfinite(value):
                raise ValueError("it has a number that is too large")
        level, depth = inner, depth + 1
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
    return content


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it has a number of {len(text)} digits")
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"it has {text}, which is no number of JSON") from None


def checked(value: Any, form: Any, key: str = "") -> Any:  # noqa: ANN401
    """The value, with defaults where there is none.

    >>> checked({"epoch": 3}, {"epoch": Number(int, 1), "best": Or(float)})
    {'epoch': 3, 'best': None}

    Args:
        key: where the value stands, such as `rows[2].epoch`; "" for the whole.

    Raises:
        ValueError: it has another form; the message begins with the key.
    """
    if isinstance(form, Or):
        return form.default if value in (None, form.default) else checked(value, form.form, key)
    if isinstance(form, Null):
        return None if value is None else checked(value, form.form, key)
    if isinstance(form, dict) and isinstance(value, dict):
        if str in form:
            return {name: checked(each, form[str], _inside(key, name)) for name, each in value.items()}
        missing = [name for name, each in form.items() if name not in value and not isinstance(each, Or)]
        if missing:
            raise ValueError(f"it lacks {_inside(key, missing[0])}")
        return {**value, **{name: checked(value.get(name), form[name], _inside(key, name)) for name in form}}
    if isinstance(form, list) and isinstance(value, list):
        return [checked(each, form[0], f"{key}[{i}]") for i, each in enumerate(value)]
    if isinstance(form, tuple) and not isinstance(form, Number) and isinstance(value, list):
        if len(value) == len(form):
            return [checked(*each, f"{key}[{i}]") for i, each in enumerate(zip(value, form))]
    elif _fits(value, form):
        huge = isinstance(form, Number) and form.kind is float and abs(value) > 2**53
        return float(value) if huge else value  # NumPy cannot test a larger whole number of Python
    raise ValueError(f"{key}{key and ': '}expected {_said(form)}, not {shortened(value)}")


def _fits(value: Any, form: Any) -> bool:  # noqa: ANN401
    """Whether a value has a form that has no parts."""
    if isinstance(form, Number):
        kinds = int if form.kind is int else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and form.least <= value <= form.most
    if isinstance(form, (set, frozenset)):
        return isinstance(value, str) and value in form
    return isinstance(form, type) and isinstance(value, form)


def _inside(key: str, name: str) -> str:
    """Key of a value in the object that stands at `key`; a long or odd name is shown short."""
    name = name if name.isidentifier() and len(name) < 40 else shortened(name)
    return f"{key}.{name}" if key else name


def _said(form: Any) -> str:  # noqa: ANN401
    """A form in words."""
    if isinstance(form, (Null, Or)):
        return f"{_said(form.form)} or null"
    if isinstance(form, Number):
        ends = [f" from {form.least:,}" * isfinite(form.least), f" to {form.most:,}" * isfinite(form.most)]
        return f"a {'whole' if form.kind is int else 'finite'} number{''.join(ends)}"
    if isinstance(form, (set, frozenset)):
        return " or ".join(sorted(form))
    if isinstance(form, tuple):
        kinds = [*map(_said, form)]
        alike = len({*kinds}) == 1
        return f"a list of {len(form)}, each {kinds[0]}" if alike else f"a list of {' and '.join(kinds)}"
    if isinstance(form, list):
        return f"a list, each {_said(form[0])}"
    return NAMES[dict if isinstance(form, dict) else form]

"""The project's one error type, and helpers for its messages."""

from __future__ import annotations

import shlex
from numbers import Real
from typing import Any, Tuple

LARGEST_MEAN = 65535  # of images of 0 to 255; what a net scales or shifts first may be taken into the mean


class FCNXSError(ValueError):
    """Wrong input. The message names the file, layer or option, the wrong value, and how to correct it.

    It is one line, in which control characters of names are escaped.
    """

    def __init__(self, *message: object) -> None:
        super().__init__(*map(shown, message))


class FCNXSWarning(UserWarning):
    """Something that may be wrong, or was assumed, and how to say otherwise. Commands print it as a line."""

    def __init__(self, *message: object) -> None:
        super().__init__(*map(shown, message))


def cut(text: object, most: int = 400) -> str:
    """Text for a message, with dots for what is longer: a list of a stranger's may have names without end."""
    text = str(text)
    return text if len(text) <= most else f"{text[:most]}..."


def shown(text: object) -> str:
    r"""Text for a terminal or a page, in which what cannot be seen is escaped.

    Names of files, classes and layers come from others, and may contain codes that steer a terminal, newlines,
    or Unicode's marks of another direction.

    >>> print(shown("a\x1b[31mb\u202e é"))
    a\x1b[31mb\u202e é
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def quoted(path: object) -> str:
    """Path for a command that a message has, with quotes where a shell needs them."""
    return shlex.quote(str(path))


def reason(error: Exception) -> str:
    """Text of an error without the file's path, for messages that name the file already."""
    return getattr(error, "strerror", None) or str(error)


def last_line(error: Exception) -> str:
    """Last line of an error's text; MXNet's errors have the message there, after a stack trace."""
    lines = [line.strip() for line in reason(error).splitlines() if line.strip()]
    return lines[-1].replace("Error: ", "") if lines else type(error).__name__


def finite_mean(mean: Any, where: object, channels: int = 3) -> Tuple[float, ...]:  # noqa: ANN401
    """Mean of the channels, (R, G, B), as floats; raise an error that names `where` unless it is plausible."""
    values = [] if isinstance(mean, (str, bytes)) or not hasattr(mean, "__iter__") else list(mean)
    numbers = all(isinstance(value, Real) and not isinstance(value, bool) for value in values)
    if (
        len(values) != channels or not numbers or not all(abs(value) <= LARGEST_MEAN for value in values)
    ):  # nor NaN
        raise FCNXSError(
            f"{where}: expected {'three' if channels == 3 else channels} finite numbers, at most "
            f"{LARGEST_MEAN} for images of 0 to 255, not {mean!r:.80}"
        )
    return tuple(map(float, values))


def printable(name: str | bytes) -> str:
    """Name of a layer from an untrusted file, cut to 200 characters and escaped, for a message."""
    text = name.decode(errors="backslashreplace") if isinstance(name, bytes) else name
    return text[:200].encode("unicode_escape").decode()

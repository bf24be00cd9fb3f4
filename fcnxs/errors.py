"""The project's one error type, and what its messages are made of."""

from __future__ import annotations


class FCNXSError(ValueError):
    """A mistake in what the caller gave: its message names the file, layer or option and the way out."""


def reason(error: Exception) -> str:
    """What went wrong, without the path: the message around it names the file already."""
    return getattr(error, "strerror", None) or str(error)


def last_line(error: Exception) -> str:
    """Last line of an error's text. MXNet's errors begin with a stack trace and end with the message."""
    lines = [line.strip() for line in reason(error).splitlines() if line.strip()]
    return lines[-1].replace("Error: ", "") if lines else type(error).__name__


def printable(name: str | bytes) -> str:
    """Name of a layer in a stranger's file, escaped and cut to 200 characters for a message."""
    text = name.decode(errors="backslashreplace") if isinstance(name, bytes) else name
    return text[:200].encode("unicode_escape").decode()

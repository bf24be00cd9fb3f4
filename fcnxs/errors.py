"""The project's one error type."""


class FCNXSError(ValueError):
    """A mistake in what the caller gave: its message names the file, layer or option and the way out."""

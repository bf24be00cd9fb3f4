"""The path of `join` and `leave` for scripts that take part in a job."""

from .launch.lifeline import join, leave  # noqa: F401

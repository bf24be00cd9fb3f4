"""The path of `Replica` in earlier versions."""

from .solver.replica import Replica  # noqa: F401

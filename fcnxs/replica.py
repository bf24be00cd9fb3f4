"""The path of `Replica` in earlier versions."""

from .solver.replica import Replica as Replica

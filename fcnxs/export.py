"""The path of `scores_symbol` in earlier versions."""

from .symbols.graph.edits import scores_symbol  # noqa: F401

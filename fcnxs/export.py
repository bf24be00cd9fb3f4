"""The path of `scores_symbol` in earlier versions."""

from .symbols.graph.rewrite import scores_symbol as scores_symbol

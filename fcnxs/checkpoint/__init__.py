"""Checkpoints: PREFIX-symbol.json, PREFIX-NNNN.params in MXNet's format, and PREFIX-meta.json.

Begin with `checkpoint.py`, which loads and saves all three files; `meta.py` is about the last one.
`params_file.py` reads and writes files of parameters, damaged ones without a crash. `source.py` finds the
checkpoint that a user means.

This room may import `symbols`, `system` and the single files beside it.
"""

from ..epoch_choice import epochs_of
from .checkpoint import Checkpoint, load, load_symbol, read_symbol, save
from .meta import Meta, meta_of, source_of, versions

__all__ = [
    "Checkpoint",
    "Meta",
    "epochs_of",
    "load",
    "load_symbol",
    "meta_of",
    "read_symbol",
    "save",
    "source_of",
    "versions",
]

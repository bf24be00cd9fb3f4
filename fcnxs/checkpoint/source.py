"""What functions take as a checkpoint: the prefix of its files, a Checkpoint, or a function that gives one."""

from __future__ import annotations

import os
from copy import copy
from typing import Callable, Collection, Union

from ..conventions import PathLike
from ..epoch_choice import choose
from ..errors import FCNXSError
from .checkpoint import Checkpoint, load

Source = Union[PathLike, Checkpoint, Callable[[], Checkpoint]]


def checkpoint_of(
    source: Source,
    epoch: int | str | None = None,
    pooling_convention: str | None = None,
    **how: bool | Collection[str],
) -> Checkpoint:
    """Checkpoint that a user means; that of a prefix is loaded, and of one in memory the arrays are shared.

    Args:
        source: prefix of a checkpoint's files, such as "run/fcn8s"; a Checkpoint; or a function that returns
            one, such as the method `checkpoint` of a Gluon net.
        epoch: epoch of a prefix: a number, "best" or "last". None: the best by mean IU if the run had
            validation data, else the last.
        pooling_convention: of a prefix, as for `load`.
        **how: further arguments of `load`.

    Raises:
        FCNXSError: `source` is none of these; an epoch or a convention comes with a Checkpoint; or as `load`.
    """
    if isinstance(source, (str, os.PathLike)):
        prefix, number, _ = choose(source, epoch)
        return load(prefix, number, pooling_convention=pooling_convention, **how)
    if not isinstance(source, Checkpoint) and not callable(source):
        raise FCNXSError(f"a {type(source).__name__}: expected the prefix of a checkpoint, or a Checkpoint")
    if epoch is not None:
        raise FCNXSError(f"epoch {epoch}: give an epoch only with a prefix; a Checkpoint already has one")
    if pooling_convention is not None:
        raise FCNXSError(f"pooling_convention {pooling_convention}: give it where the Checkpoint is loaded")
    return copy(source) if isinstance(source, Checkpoint) else source()

"""What functions take as a checkpoint: the prefix of its files, a Checkpoint, or a function that gives one."""

from __future__ import annotations

import os
from copy import copy
from dataclasses import replace
from typing import Callable, Collection, Union

from ..conventions import PathLike
from ..epoch_choice import choose
from ..errors import FCNXSError
from ..heads import check_image, check_one_head, net_of_head, without_head
from ..vis import default_palette
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


def one_head(source: Checkpoint, head: str | None = None) -> Checkpoint:
    """The checkpoint of one head of a net, with the names of a net of one; a net of one head as it is.

    Args:
        head: name of the head; None if the net has one.

    Raises:
        FCNXSError: the net has no such head, or several and `head` is None; or its input is not one RGB image.
    """
    file = source.params_file
    check_image(source.symbol, file)
    if head is None:
        check_one_head(source.symbol, file, "choose one of them (--task)")
        return source
    try:
        symbol = net_of_head(source.symbol, head)
    except FCNXSError as error:
        raise FCNXSError(f"{file}: {error}") from None
    wanted = {*symbol.list_arguments()}
    params = {without_head(name, head): array for name, array in source.arg_params.items()}
    params = {name: array for name, array in params.items() if name in wanted}
    names = (source.meta.heads or {}).get(head)
    meta = replace(source.meta, classes=names, palette=names and default_palette(names), heads=None)
    return replace(source, symbol=symbol, arg_params=params, meta=meta)

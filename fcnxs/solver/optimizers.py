"""The optimizer of one device's copy of a net."""

from __future__ import annotations

import copy
from typing import Any, Dict

from ..compat import mxnet as mx
from ..errors import FCNXSError


def optimizer_of(
    optimizer: str | mx.optimizer.Optimizer,
    settings: Dict[str, Any],
    lr_mult: Dict[str, float] | None,
    wd_mult: Dict[str, float] | None,
    shared: bool,
) -> mx.optimizer.Optimizer:
    """Optimizer of one device: one of a name, or the one given.

    Args:
        settings: arguments of an optimizer that is given by name.
        lr_mult, wd_mult: factors of single parameters' learning rate and weight decay.
        shared: several devices take the one given: this one gets a copy.

    Raises:
        FCNXSError: there are settings for an optimizer that was made already.
    """
    if isinstance(optimizer, str):
        optimizer = mx.optimizer.create(optimizer, **settings)
    elif settings:
        kind = type(optimizer).__name__
        raise FCNXSError(
            f"{', '.join(settings)}: goes with an optimizer that is given by name; this {kind} was made "
            f"already: set it there, as {kind}({next(iter(settings))}=...)"
        )
    elif shared:
        optimizer = copy.deepcopy(optimizer)
    if lr_mult:
        optimizer.set_lr_mult(lr_mult)
    if wd_mult:
        optimizer.set_wd_mult(wd_mult)
    return optimizer

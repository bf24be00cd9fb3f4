"""The callbacks of `Solver.fit`, which are those of MXNet's `Module.fit`."""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Union

from ..compat import mxnet as mx

Callbacks = Union[Callable, List[Callable], None]


class BatchEndParam(NamedTuple):
    """Argument of a batch_end_callback: epoch, batches so far in it, and the metric."""

    epoch: int
    nbatch: int
    eval_metric: mx.metric.EvalMetric


def call(callbacks: Callbacks, *args: object) -> None:
    """Call a callback, or each of a list, with these arguments."""
    for callback in callbacks if isinstance(callbacks, list) else [callbacks] if callbacks else []:
        callback(*args)

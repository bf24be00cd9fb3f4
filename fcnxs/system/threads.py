"""Work done in advance by threads, with its results in order."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Callable, Deque, Generator, Iterable, TypeVar

Item = TypeVar("Item")
LOOK = 0.2  # seconds between two questions whether to stop


class StalledError(Exception):
    """The process was asked to stop while it waited for a file, which may never come."""


def result_of(future: Future, should_stop: Callable[[], bool] | None = None) -> Any:  # noqa: ANN401
    """Result of a Future, waited for; `should_stop` is asked meanwhile.

    Raises:
        StalledError: it said so before the result was there.
    """
    while should_stop is not None and not wait([future], LOOK).done:
        if should_stop():
            raise StalledError
    try:
        return future.result()
    finally:
        del future  # its error holds this frame, which would hold the caller until garbage is collected


def default_workers() -> int:
    """Default number of threads that read images: one for each processor, at most 8."""
    return min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def in_order(
    function: Callable[[Item], Any], items: Iterable[Item], workers: int, ahead: int, finish: bool = False
) -> Generator[Future, None, None]:
    """Yield Futures of `function(item)` in the order of the items; threads start them in advance.

    At most `ahead` futures wait to be taken. The threads start when the first future is asked for. They end
    after the last item, or when the generator is closed or garbage-collected, which cancels pending calls.
    With `finish`, closing it waits for the calls that run.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fcnxs-read")
    pending: Deque[Future] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ahead:
                yield pending.popleft()
        pool.shutdown(wait=False)  # each thread ends when nothing is left to do
        while pending:
            yield pending.popleft()
    finally:  # no waiting by default: the garbage collector may run this in one of the threads
        pool.shutdown(wait=finish, cancel_futures=True)

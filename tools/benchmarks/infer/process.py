"""A process of `fcnxs benchmark infer`: it runs one engine, or prepares the files for all of them."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Callable, Tuple

import numpy as np

from ....compat import use_the_machine
from ..worker import forget_peak, serve
from .engines import ENGINES, PREPARATIONS

Step = Callable[[], object]


def main(engine: str, precision: str, folder: str) -> int:
    """Be an engine's process; its first pass writes ENGINE-PRECISION.npy, the class map, and .json, facts."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # prints of an engine are no answers
    try:
        run, facts = _make(engine, precision, Path(folder))
        target = Path(folder) / f"{engine}-{precision}"
        scores = run()
        if isinstance(scores, np.ndarray):
            np.save(target.with_suffix(".npy"), scores.argmax(1).astype(np.uint8))
        target.with_suffix(".json").write_text(json.dumps(facts))
        del scores
        forget_the_making()
        sys.stdout = answers
        return serve(run)
    except Exception as error:  # engines raise errors of any type; the last line of ours is reported
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
        print(f"{type(error).__name__}: {lines[-1]}", file=sys.stderr, flush=True)
        os._exit(1)  # nothing may be printed after that line


def forget_the_making() -> None:
    """Free the memory that loading and converting took, and let the peak begin anew."""
    gc.collect()
    with suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    forget_peak()


def _make(engine: str, precision: str, folder: Path) -> Tuple[Step, dict]:
    """Work of the process, and facts: the version, and the number of operations if the engine counts them."""
    if engine not in ENGINES or ENGINES[engine].kind == "ours":
        use_the_machine()
    if engine in PREPARATIONS:
        from . import prepare

        return lambda: getattr(prepare, engine)(folder), {}
    if engine == "rate":
        from .machine import multiply

        run, operations = multiply(precision)
        return run, {"operations": operations}
    if ENGINES[engine].kind == "other":
        from . import peers as makers
    else:
        from . import ours as makers
    run = getattr(makers, ENGINES[engine].maker)(folder, precision)
    version = sys.modules[ENGINES[engine].packages[-1]].__version__.partition("-")[0]
    return run, {"version": version, "operations": getattr(run, "operations", None)}

"""A process of `fcnxs benchmark infer`: it runs one engine, or prepares the files for all of them."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Tuple

import numpy as np

from ....compat import use_the_machine
from ....errors import FCNXSError
from ....system.memory import available_memory
from ..worker import forget_peak, serve
from .engines import ENGINES, PREPARATIONS, Step


def main(engine: str, precision: str, folder: str) -> int:
    """Be an engine's process; after the first pass, facts about the engine are in ENGINE-PRECISION.json."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # prints of an engine are no answers
    try:
        run, facts = _make(engine, precision, Path(folder))
        Path(folder, f"{engine}-{precision}.json").write_text(json.dumps(facts))
        forget_the_making()
        sys.stdout = answers
        return serve(run)
    except Exception as error:  # engines raise errors of any type; the last line of ours is reported
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
        kind = "" if isinstance(error, FCNXSError) else f"{type(error).__name__}: "
        print(f"{kind}{lines[-1]}", file=sys.stderr, flush=True)
        os._exit(1)  # nothing may be printed after that line


def forget_the_making() -> None:
    """Free the memory that loading and converting took, and let the peak begin anew."""
    gc.collect()
    with suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
    forget_peak()


def _make(engine: str, precision: str, folder: Path) -> Tuple[Step, dict]:
    """Work of the process, done once, and facts: version, number of operations, agreement of the classes."""
    if engine not in ENGINES or ENGINES[engine].kind == "ours":
        use_the_machine()
    if engine in ENGINES and ENGINES[engine].kind in ("other", "export"):
        from . import peers as makers
    else:
        from . import ours as makers
    if engine in PREPARATIONS:
        makers.images(folder) if engine == "images" else makers.net_file(folder / engine)
        return lambda: None, {}
    _refuse_without_memory(folder)
    if engine == "rate":
        run, operations = makers.multiply(precision)
        run()
        return run, {"operations": operations}
    run = getattr(makers, ENGINES[engine].maker)(folder / ENGINES[engine].file, precision)
    same = run().argmax(1) == np.load(folder / "classes.npy")
    counted = json.loads((folder / f"{'trimmed' if 'trimmed' in engine else 'whole'}.json").read_text())
    package = sys.modules[ENGINES[engine].packages[-1]]
    version = package.__version__ if hasattr(package, "__version__") else package.version()
    return run, {"version": version.partition("-")[0], "agreement": float(np.mean(same)), **counted}


def memory_needed(folder: Path) -> Tuple[int, int]:
    """Bytes that an engine may need while it loads, with its weights in several forms, and afterwards."""
    weights = (folder.parent / "weights.safetensors").stat().st_size
    width, height = map(int, folder.name.split("x"))
    maps = 3 * 64 * 4 * (width + 200) * (height + 200)
    return 5 * weights + maps, 5 * weights // 2 + maps


def _refuse_without_memory(folder: Path) -> None:
    needed, _ = memory_needed(folder)
    available = available_memory()
    if needed > available:
        raise FCNXSError(
            f"{available / 1e9:.1f} GB of memory are left, and the engine may take {needed / 1e9:.1f}; "
            "measure fewer at a time with --engines"
        )

"""The processor: its name, its instructions, and a product of matrices to measure its rate with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable, NamedTuple, Tuple

# Instructions for a precision, one of which is needed: without them it is emulated, and slower than float32.
INSTRUCTIONS = {
    "fp32": (),
    "bf16": ("avx512_bf16", "amx_bf16"),
    "int8": ("avx512_vnni", "avx_vnni", "amx_int8"),
}
SIDE = 3072  # side of the matrices


class Processor(NamedTuple):
    """A processor as /proc/cpuinfo describes it."""

    name: str
    flags: frozenset

    def lacks(self, precision: str) -> str:
        """Instructions that a precision needs and the processor lacks, e.g. "AMX_INT8"; "" if it has them."""
        wanted = INSTRUCTIONS[precision]
        return "" if not wanted or self.flags.intersection(wanted) else " or ".join(map(str.upper, wanted))


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Processor:
    """The processor of this machine; without flags where /proc/cpuinfo has none, as on ARM."""
    text = cpuinfo.read_text()
    name, flags = (re.search(rf"^{key}\s*:\s*(.+)$", text, re.MULTILINE) for key in ("model name", "flags"))
    return Processor(name[1] if name else "unknown", frozenset(flags[1].split() if flags else ()))


def multiply(precision: str, side: int = SIDE) -> Tuple[Callable[[], object], int]:
    """Function that multiplies two square matrices by oneDNN, and the number of its operations."""
    import numpy as np

    from ....compat import mxnet as mx

    rng = np.random.default_rng(0)
    if precision == "int8":
        left = mx.nd.array(rng.integers(0, 255, (side, side)), dtype="uint8")
        right = mx.nd.array(rng.integers(-127, 127, (side, side)), dtype="int8")
        low, high = mx.nd.array([-1.0]), mx.nd.array([1.0])
        ranges = (None, low, high, low, high)
        layer: Callable = mx.nd.contrib.quantized_fully_connected
    else:
        left, right = (mx.nd.array(rng.standard_normal((side, side), np.float32)) for _ in range(2))
        ranges, layer = (), mx.nd.FullyConnected
        if precision == "bf16":
            left, right = (
                mx.nd.amp_cast(each, dtype=np.dtype([("bfloat16", np.uint16)])) for each in (left, right)
            )

    def run() -> None:
        layer(left, right, *ranges, no_bias=True, num_hidden=side)
        mx.nd.waitall()

    return run, 2 * side**3

"""Variables of MXNet 1.9.1 that break a net or end the process: commands leave them out."""

from __future__ import annotations

import os
import re
from typing import Iterator, Mapping, Tuple

# Beginnings of the names whose values are numbers. MXNet ends the process for another value, most often by a
# C++ exception that nothing catches.
NUMBERS = re.compile(
    r"OMP_NUM_THREADS|MXNET_(BACKWARD|CPU|CUDNN_AUTOTUNE|DISABLE|ELIMINATE|ENABLE|ENFORCE|EXEC|INFER|KVSTORE|MEM|MKLDNN|MP|OMP|OUTPUT|PROFILER|QUANTIZATION"
    r"|RNN|SAFE|STORAGE|SUBGRAPH_VERBOSE|TUNING|USE_(?!OPERATOR_TUNING)|VERBOSE|ENGINE_INFO|GPU_(?!MEM_POOL_TYPE))"
)
COUNTS = re.compile(
    r".*_(NTHREADS|THREADS|COPY|SIZE|NUM|CAP|OPT|MIRROR|BN|RELU|SUM|FWD|BWD)"
)  # not true, false
WORDS = {  # names whose values are words, and those that MXNet knows
    "MXNET_ENGINE_TYPE": ("NaiveEngine", "ThreadedEngine", "ThreadedEnginePerDevice"),
    "MXNET_GPU_MEM_POOL_TYPE": ("Naive", "Round", "Unpooled"),
    "MXNET_SUBGRAPH_BACKEND": ("MKLDNN", "MKLDNN_QUANTIZE", "NONE", "default"),
}
MIRROR = "MXNET_BACKWARD_DO_MIRROR"


def breaking(environment: Mapping[str, str]) -> Iterator[Tuple[str, str]]:
    """Yield the names of variables that break a net, and what they do."""
    for name, value in sorted(environment.items()):
        effect = _effect(name, value) if value else None
        if effect:
            yield name, effect


def _effect(name: str, value: str) -> str | None:
    if name in WORDS:
        return None if value in WORDS[name] else f"MXNet knows {', '.join(WORDS[name])} there, and fails"
    if not NUMBERS.match(name):
        return None
    number = {"true": "1", "false": "0"}.get(value.lower(), value)
    if not re.fullmatch(r"\d{1,9}", number) or (number != value and COUNTS.fullmatch(name)):
        return "MXNet takes a whole number there, and ends the process"
    if name.endswith(("_NTHREADS", "_COPY")) and not int(number):
        return "MXNet needs 1 or more there, and ends the process"
    if name == MIRROR and int(number):
        return "training fails at the crops; `fcnxs finetune --recompute` saves memory"
    return None


def leave_out(environment: Mapping[str, str]) -> Iterator[str]:
    """Remove these variables from this process's environment, before MXNet loads; yield a line about each."""
    for name, effect in list(breaking(environment)):
        if os.environ.pop(name, None) is not None:
            yield f"{name} is {environment[name]!r}: {effect}; it is left out"

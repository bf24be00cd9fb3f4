"""The rule on NVIDIA GPUs: whether the installed MXNet has code for them and sees them, and the cure."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from itertools import takewhile
from typing import Dict, Iterable, Iterator, List, Tuple

from ..compat import CUDA_VARIABLES, GPU_INSTALL
from ..system.libraries import DRIVER
from .facts import Facts, Gpu
from .packages import to_pip, two_wheels, wheels

# Compute capabilities of the code in MXNet's GPU wheels. They have no PTX, so nothing is compiled for others.
CODE_FOR = ((5, 0), (6, 0), (7, 0), (8, 0), (8, 6))
# Oldest driver for CUDA 11 and cuDNN 8.9, from each compute capability on, by NVIDIA's support matrix.
OLDEST_DRIVERS = {(5, 0): (450, 80), (8, 6): (455,), (8, 9): (520,)}
TF32_FROM = (8, 0)  # compute capability from which cuDNN and cuBLAS round float32 factors to TF32
FUSION, NOT_COMPILED_FOR = "MXNET_USE_FUSION", (8, 9)  # the compiler of CUDA 11.2 does not know this capability
# Variables for GPUs of which another value breaks what is promised: what it does.
DIFFERENT = {
    FUSION: "MXNet compiles operators for the GPU at run time, which fails on 8.9",
    **dict.fromkeys(
        ("MXNET_CUDNN_AUTOTUNE_DEFAULT", "MXNET_ENFORCE_DETERMINISM", "MXNET_GPU_PARALLEL_RAND_COPY"),
        "two trainings on a GPU differ, and a resumed one from one that was not interrupted",
    ),
}
ONNX = "a trained net runs on this GPU by ONNX (fcnxs export --format onnx)"
RESTART = "restart the machine, or the container with --gpus all, if the driver was upgraded"


def runs_on(capability: Tuple[int, int] | None) -> bool:
    """Whether MXNet's GPU wheels have code for a GPU of this compute capability (major, minor).

    A GPU runs code for its own major number whose minor number is its own or lower. None, unknown, counts as
    having code: a driver that does not tell the capability is older than the GPUs that are too new.
    """
    return capability is None or any(
        major == capability[0] and minor <= capability[1] for major, minor in CODE_FOR
    )


def has_tf32(capability: Tuple[int, int] | None) -> bool:
    """Whether MXNet's convolutions on a GPU round float32 factors to TF32 (10 bits of mantissa).

    They then add in float32. MXNet 1.9.1 sets CUDNN_DEFAULT_MATH for them
    (src/operator/nn/cudnn/cudnn_algoreg-inl.h), which allows that to cuDNN 8; only NVIDIA's own variable,
    NVIDIA_TF32_OVERRIDE=0, forbids it. MXNET_CUDA_ALLOW_TENSOR_CORE is about float16.
    """
    return (capability or (0, 0)) >= TF32_FROM and runs_on(capability)


def capability_of(number: int) -> Tuple[int, int] | None:
    """Compute capability of `mx.gpu(number)`, by the CUDA that MXNet loaded; None if there is none to ask."""
    from ..compat import mxnet as mx

    ask = getattr(ctypes.CDLL(mx.libinfo.find_lib_path()[0]), "cudaDeviceGetAttribute", None)
    value, found = ctypes.c_int(), []
    for attribute in (75, 76):  # cudaDevAttrComputeCapabilityMajor and Minor
        if ask is None or ask(ctypes.byref(value), attribute, number) != 0:
            return None
        found.append(value.value)
    return found[0], found[1]


def visible(facts: Facts) -> Dict[int, Gpu]:
    """GPUs that CUDA shows, by their numbers in nvidia-smi, in the order of the numbers that `--device` takes.

    CUDA_VISIBLE_DEVICES selects them. Where MXNet sees them, CUDA has told it their compute capabilities.
    """
    there = dict(enumerate(facts.gpus))
    named = facts.environment.get("CUDA_VISIBLE_DEVICES", "GPU-")
    if not named.startswith(("GPU-", "MIG-")):  # these name what nvidia-smi -L lists
        entries = [entry.strip() for entry in named.split(",")]
        good = takewhile(lambda entry: entry.isdecimal() and int(entry) in there, entries)  # as CUDA does
        there = {int(entry): there[int(entry)] for entry in good}
    seen, left = {}, dict(there)
    for capability in facts.capabilities:
        fits = {capability, None} if capability else {gpu.capability for gpu in left.values()}
        same = (n for n, gpu in left.items() if gpu.capability in fits)
        number = next(same, len(facts.gpus) + len(seen))  # a number of none, if nvidia-smi shows no such GPU
        gpu = left.pop(number, Gpu("a GPU", None, "", ""))
        seen[number] = replace(gpu, capability=capability or gpu.capability)
    return seen or there


def usable(facts: Facts) -> List[Gpu]:
    """GPUs of the machine that MXNet's GPU wheels have code for, whether they are visible or not."""
    known = {**dict(enumerate(facts.gpus)), **visible(facts)}
    return [gpu for gpu in known.values() if runs_on(gpu.capability)]


def needed_driver(gpu: Gpu) -> str:
    """The oldest driver for a GPU, e.g. `450.80`, if the one that it has is older; else ""."""
    own, oldest = _version(gpu.driver), _oldest_driver(gpu)
    return ".".join(map(str, oldest)) if own and own < oldest else ""


def why_none(facts: Facts, number: int) -> str:
    """Why MXNet sees no GPU where `mx.gpu(number)` is asked for, in words for one line."""
    for what, cure in two_wheels(facts, gpu=bool(usable(facts))):
        return f"{what}: {cure}"
    if facts.features.get("CUDA", True):
        return "`fcnxs doctor` says why"
    cpu = "this MXNet is for the CPU alone"
    if facts.nvidia_error:
        return f"{cpu}, and nvidia-smi fails: {facts.nvidia_error} (`fcnxs doctor` says what to do)"
    there = list(visible(facts).values())
    good = {n: gpu for n, gpu in enumerate(there) if runs_on(gpu.capability)}
    without = [f"{gpu.name} ({shown(gpu.capability)})" for gpu in there if not runs_on(gpu.capability)]
    if not good:
        return cpu + "".join(f", and no other has code for {name}" for name in without)
    other, gpu = next(iter(good.items()))
    if number in good:
        gpu, why = good[number], f"there is a GPU, {good[number].name}, and {cpu}"
    else:
        why = f"{cpu}, and one for GPUs has code for --device gpu:{other}, {gpu.name}"
        why += f", but none for {', '.join(without)}" if without else ""
    need = needed_driver(gpu)
    why += f"; the driver {gpu.driver} is too old as well, install {need} or later" if need else ""
    return f"{why} (`fcnxs doctor` says what to install)"


def shown(capability: Tuple[int, int] | None) -> str:
    """A compute capability as text, e.g. `8.6`."""
    return "unknown compute capability" if capability is None else ".".join(map(str, capability))


def counted(gpus: int) -> str:
    """A number of GPUs as text."""
    return f"{gpus} GPU{'s' * (gpus != 1)}"


def rule(facts: Facts) -> Iterator[Tuple[str, str]]:
    """What is wrong with the GPUs, each with its cure."""
    here, good = wheels(facts), usable(facts)
    wheel = next((name for name in here if name.startswith("mxnet-cu")), None)
    if facts.nvidia_error:
        yield f"nvidia-smi fails: {facts.nvidia_error}", f"install a current driver of NVIDIA's, or {RESTART}"
    if good and here and not wheel:
        cure = f"pip uninstall -y {' '.join(here)}, then {GPU_INSTALL}"
        yield f"there is a GPU, {good[0].name}, and this MXNet is for the CPU alone", cure
    old = max((gpu for gpu in good if needed_driver(gpu)), key=_oldest_driver, default=None)
    if old:
        what = f"NVIDIA's driver {old.driver} is older than CUDA 11 and cuDNN 8 need for {old.name}"
        yield f"{what} ({shown(old.capability)})", f"install {needed_driver(old)} or later"
    if wheel and len(here) == 1:
        yield from _without_code(facts, wheel)
        if not old:
            yield from _not_seen(facts, wheel, good)
        yield from _variables(facts)


def _without_code(facts: Facts, wheel: str) -> Iterator[Tuple[str, str]]:
    """GPUs that are too new or too old, by the numbers that `--device` takes."""
    there = visible(facts)
    good = [number for number, gpu in enumerate(there.values()) if runs_on(gpu.capability)]
    keep = ",".join(str(of_smi) for of_smi, gpu in there.items() if runs_on(gpu.capability))
    cure = (
        f"either give --device gpu:{_listed(good)}, or export CUDA_VISIBLE_DEVICES={keep}, which hides "
        f"this one, and then give --device gpu:{_listed(range(len(good)))}"
    )
    hidden = [(n, gpu.name) for n, gpu in enumerate(facts.gpus) if n not in there and runs_on(gpu.capability)]
    if not good and hidden:
        cure = f"export CUDA_VISIBLE_DEVICES={hidden[0][0]}, which shows {hidden[0][1]} as --device gpu:0"
    elif not good:
        cure = f"train on another GPU, or {for_cpu(facts)}; {ONNX}"
    for number, gpu in enumerate(there.values()):
        if not runs_on(gpu.capability):
            yield f"{wheel} has no code for GPU {number}, {gpu.name} ({shown(gpu.capability)})", cure


def _not_seen(facts: Facts, wheel: str, good: List[Gpu]) -> Iterator[Tuple[str, str]]:
    if not facts.gpus and not facts.nvidia_error and DRIVER not in facts.missing_libraries:
        cure = f"install NVIDIA's driver (in a container: --gpus all), or {for_cpu(facts)}"
        yield f"{wheel} is installed, and there is no nvidia-smi that shows a GPU", cure
    named = facts.environment.get("CUDA_VISIBLE_DEVICES")
    expected = len(facts.gpus) if named is None else min(len(facts.gpus), len(named.split(",")))
    if not good or not facts.features or facts.mxnet_gpus >= expected:
        return
    newest = max(OLDEST_DRIVERS.values())
    cure = RESTART
    if named is not None:
        cure = f"unset CUDA_VISIBLE_DEVICES (it is {named!r})"
    elif any(gpu.mig for gpu in facts.gpus):
        cure = (
            "in MIG mode CUDA shows one instance of all: export CUDA_VISIBLE_DEVICES=MIG-... with a name that "
            "nvidia-smi -L lists (nvidia-smi mig -cgi creates instances), or nvidia-smi -mig 0 as root ends it"
        )
    elif any(gpu.capability is None and () < _version(gpu.driver) < newest for gpu in good):
        least = ".".join(map(str, newest))
        cure = f"install driver {least} or later if the GPU is of 8.9 (it is {good[0].driver}), else {RESTART}"
    why = f" ({facts.cuda_error})" if facts.cuda_error else ""
    yield f"nvidia-smi shows {counted(len(facts.gpus))}, MXNet sees {facts.mxnet_gpus}{why}", cure


def _variables(facts: Facts) -> Iterator[Tuple[str, str]]:
    compiled = any(gpu.capability == NOT_COMPILED_FOR for gpu in visible(facts).values())
    for name, effect in DIFFERENT.items():
        value = facts.environment.get(name, CUDA_VARIABLES[name])
        if value != CUDA_VARIABLES[name] and (name != FUSION or compiled):
            what = f"{name} is {value!r} where the commands set {CUDA_VARIABLES[name]}: {effect}"
            yield what, f"unset {name}"


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _oldest_driver(gpu: Gpu) -> Tuple[int, ...]:
    fits = [driver for since, driver in OLDEST_DRIVERS.items() if since <= (gpu.capability or (5, 0))]
    return max(fits, default=())


def _version(driver: str) -> Tuple[int, ...]:
    """First two numbers of a driver's version; () for `[N/A]`."""
    return tuple(map(int, re.findall(r"\d+", driver)[:2]))


def for_cpu(facts: Facts) -> str:
    """How to replace the installed MXNet by that for the CPU."""
    installed, new = " ".join(wheels(facts)), to_pip(facts, "mxnet")
    return f"for the CPU pip uninstall -y {installed}, then pip install --no-deps {new}"

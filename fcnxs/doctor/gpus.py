"""The rule on NVIDIA GPUs: whether the installed MXNet has code for them and sees them, and the cure."""

from __future__ import annotations

import ctypes
import re
from typing import Iterator, List, Mapping, Tuple

from ..compat import CUDA_VARIABLES, GPU_INSTALL
from ..system.libraries import DRIVER
from .facts import Facts, Gpu, nvidia_smi
from .packages import to_pip, wheels

# Compute capabilities of the code in MXNet's GPU wheels. They have no PTX, so nothing is compiled for others.
CODE_FOR = ((5, 0), (6, 0), (7, 0), (8, 0), (8, 6))
OLDEST_DRIVER = (450, 80)  # for CUDA 11 and cuDNN 8.9, by NVIDIA's support matrix
TF32_FROM = (8, 0)  # compute capability from which cuDNN and cuBLAS round float32 factors to TF32
# Variables for GPUs of which another value breaks what is promised: what it does.
DIFFERENT = {
    "MXNET_USE_FUSION": "MXNet compiles operators for the GPU at run time, which fails on 8.9",
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


def rounds_to_tf32(capability: Tuple[int, int] | None, environment: Mapping[str, str]) -> bool:
    """Whether convolutions on a GPU round float32 factors to TF32 (10 bits of mantissa), then add in float32.

    MXNet 1.9.1 sets CUDNN_DEFAULT_MATH for them (src/operator/nn/cudnn/cudnn_algoreg-inl.h), which allows that
    to cuDNN 8; only NVIDIA's own variable forbids it. MXNET_CUDA_ALLOW_TENSOR_CORE is about float16.
    """
    return (capability or (0, 0)) >= TF32_FROM and environment.get("NVIDIA_TF32_OVERRIDE") != "0"


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


def why_none() -> str:
    """Why MXNet, which is loaded, sees no GPU: it is the one for the CPU, or what `fcnxs doctor` finds."""
    from ..compat import mxnet as mx

    if mx.runtime.Features().is_enabled("CUDA"):
        return "`fcnxs doctor` says why"
    gpus, _ = nvidia_smi()
    usable = [gpu.name for gpu in gpus if runs_on(gpu.capability)]
    if usable:
        there = f"there is a GPU, {usable[0]}, and this MXNet is for the CPU alone"
        return f"{there} (`fcnxs doctor` says what to install)"
    too_new = "".join(f", and no other has code for {gpu.name} ({shown(gpu.capability)})" for gpu in gpus)
    return f"this MXNet is for the CPU alone{too_new}"


def shown(capability: Tuple[int, int] | None) -> str:
    """A compute capability as text, e.g. `8.6`."""
    return "unknown compute capability" if capability is None else ".".join(map(str, capability))


def rule(facts: Facts) -> Iterator[Tuple[str, str]]:
    """What is wrong with the GPUs, each with its cure."""
    wheel = next((name for name in wheels(facts) if name.startswith("mxnet-cu")), None)
    usable = [gpu for gpu in facts.gpus if runs_on(gpu.capability)]
    if facts.nvidia_error:
        yield f"nvidia-smi fails: {facts.nvidia_error}", f"install a current driver of NVIDIA's, or {RESTART}"
    if usable and wheels(facts) and not wheel:
        cure = f"pip uninstall -y {' '.join(wheels(facts))}, then {GPU_INSTALL}"
        yield f"there is a GPU, {usable[0].name}, and this MXNet is for the CPU alone", cure
    if usable and _is_old(usable[0].driver):
        what = f"NVIDIA's driver {usable[0].driver} is older than CUDA 11 and cuDNN 8 need"
        yield what, f"install {'.'.join(map(str, OLDEST_DRIVER))} or later"
    if wheel:
        yield from _without_code(facts, wheel)
        yield from _not_seen(facts, wheel, usable)
        for name, effect in DIFFERENT.items():
            value = facts.environment.get(name, CUDA_VARIABLES[name])
            if value != CUDA_VARIABLES[name]:
                yield (
                    f"{name} is {value!r} where the commands set {CUDA_VARIABLES[name]}: {effect}",
                    f"unset {name}",
                )


def _without_code(facts: Facts, wheel: str) -> Iterator[Tuple[str, str]]:
    """GPUs that are too new or too old, by the numbers that `--device` takes."""
    entries = facts.environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
    visible = _visible(facts.gpus, entries)
    if facts.capabilities:  # MXNet's own view; names from nvidia-smi, if it shows the same
        names = {gpu.capability: gpu.name for gpu in facts.gpus}
        visible = [(names.get(capability, "a GPU"), capability) for capability in facts.capabilities]
    good = [number for number, (_, capability) in enumerate(visible) if runs_on(capability)]
    hide = ",".join(entries[number] if len(entries) == len(visible) > 1 else str(number) for number in good)
    for number, (name, capability) in enumerate(visible):
        if not runs_on(capability):
            give = f"give --device gpu:{','.join(map(str, good))}"
            cure = f"{give}; export CUDA_VISIBLE_DEVICES={hide} hides this one"
            if not good:
                cure = f"train on another GPU, or {for_cpu(facts)}; {ONNX}"
            yield f"{wheel} has no code for GPU {number}, {name} ({shown(capability)})", cure


def _not_seen(facts: Facts, wheel: str, usable: List[Gpu]) -> Iterator[Tuple[str, str]]:
    if not facts.gpus and not facts.nvidia_error and DRIVER not in facts.missing_libraries:
        cure = f"install NVIDIA's driver (in a container: --gpus all), or {for_cpu(facts)}"
        yield f"{wheel} is installed, and there is no nvidia-smi that shows a GPU", cure
    named = facts.environment.get("CUDA_VISIBLE_DEVICES")
    expected = len(facts.gpus) if named is None else min(len(facts.gpus), len(named.split(",")))
    if not usable or not facts.features or facts.mxnet_gpus >= expected or _is_old(usable[0].driver):
        return
    cure = RESTART
    if named is not None:
        cure = f"unset CUDA_VISIBLE_DEVICES (it is {named!r})"
    elif any(gpu.mig for gpu in facts.gpus):
        cure = (
            "in MIG mode CUDA shows one instance of all: export CUDA_VISIBLE_DEVICES=MIG-... with a name that "
            "nvidia-smi -L lists (nvidia-smi mig -cgi creates instances), or nvidia-smi -mig 0 as root ends it"
        )
    why = f" ({facts.cuda_error})" if facts.cuda_error else ""
    yield f"nvidia-smi shows {len(facts.gpus)} GPUs, MXNet sees {facts.mxnet_gpus}{why}", cure


def _visible(gpus: List[Gpu], entries: List[str]) -> List[Tuple[str, Tuple[int, int] | None]]:
    """Name and capability of the GPUs that CUDA_VISIBLE_DEVICES leaves, if it numbers them, else of all."""
    if all(entry.strip().isdecimal() for entry in entries):
        gpus = [gpus[int(entry)] for entry in entries if int(entry) < len(gpus)]
    return [(gpu.name, gpu.capability) for gpu in gpus]


def _is_old(driver: str) -> bool:
    return tuple(map(int, re.findall(r"\d+", driver)[:2])) < OLDEST_DRIVER


def for_cpu(facts: Facts) -> str:
    """How to replace the installed MXNet by that for the CPU."""
    installed, new = " ".join(wheels(facts)), to_pip(facts, "mxnet")
    return f"for the CPU pip uninstall -y {installed}, then pip install --no-deps {new}"

"""Show what this machine and its Python have, each error, and its cure.

Works even if MXNet, NumPy or OpenCV cannot be imported. Exit code: 0 without errors, else 1.

Example:
    fcnxs doctor
"""

from __future__ import annotations

import argparse
from typing import Iterator, List, Tuple

from ..doctor import facts, rules

# Packages that are shown where they are installed.
EXTRAS = ("torch", "tensorboardx", "onnx", "onnxruntime", "openvino", "scikit-learn", "opencv-python-headless")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`fcnxs doctor` has no options."""


def run(args: argparse.Namespace) -> int:
    """Print the facts, and a line for each error; returns 1 if there is one."""
    found = facts.gather(args.environment)
    rows = [row for part in (_software, _features, _gpus, _machine) for row in part(found)]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name.ljust(width)}  {value}")
    wrong = rules.findings(found)
    print()
    print(*report(wrong), sep="\n")
    return int(bool(wrong))


def report(wrong: List[rules.Finding]) -> List[str]:
    """A line for each error, with its cure."""
    if not wrong:
        return ["Nothing is wrong."]
    return [f"WRONG: {finding.what}. CURE: {finding.cure}" for finding in wrong]


def _software(found: facts.Facts) -> Iterator[Tuple[str, str]]:
    yield "Python", f"{'.'.join(map(str, found.python))}, {found.executable}"
    names = [name for name in rules.required(found) if name not in ("python", "mxnet")]
    for name in (*(rules.wheels(found) or ["mxnet"]), *names):
        version = found.packages.get(name, "not installed")
        yield name, version + (", cannot be imported" if name in found.broken else "")
    if not found.requires:
        yield "fcnxs", "runs from its folder, not installed by pip: versions are not checked"
    there = (f"{name} {found.packages[name]}" for name in EXTRAS if name in found.packages)
    yield "optional", ", ".join(there) or "none"
    yield "graphviz", found.dot or "no dot on the PATH: `explain --png` needs it"


def _features(found: facts.Facts) -> Iterator[Tuple[str, str]]:
    if not found.features:
        return
    yield "features", " ".join(name for name, enabled in found.features.items() if enabled)
    yield "parameter server", "yes" if found.features.get("DIST_KVSTORE") else "no"
    without = "no" if not found.features.get("CUDNN") else "yes"
    yield "cuDNN", f"yes, {found.cudnn}" if found.cudnn else without


def _gpus(found: facts.Facts) -> Iterator[Tuple[str, str]]:
    if not found.gpus:
        yield "GPUs", "none"
    for number, gpu in enumerate(found.gpus):
        code = "the GPU wheels have" if rules.runs_on(gpu.capability) else "no wheel has"
        capability = ".".join(map(str, gpu.capability))
        yield (
            f"GPU {number}",
            f"{gpu.name}, {capability} ({code} code for it), {gpu.memory}, driver {gpu.driver}",
        )


def _machine(found: facts.Facts) -> Iterator[Tuple[str, str]]:
    plain = max(1, found.processors // 2)
    omp = found.environment.get("OMP_NUM_THREADS")
    threads = (
        f"OMP_NUM_THREADS is {omp}" if omp else f"these commands use {found.processors}, plain MXNet {plain}"
    )
    yield "threads", f"{found.processors} processors; {threads}"
    if found.quota:
        yield "processor time", f"that of {found.quota:g} processors"
    fits = "enough" if found.available >= rules.TRAINING else "too little"
    need = f"{fits} for a training step at full width, {rules.TRAINING / 1e9:g} GB"
    yield "memory", f"{found.memory / 1e9:.1f} GB, {found.available / 1e9:.1f} GB available: {need}"
    yield "/dev/shm", f"{found.shm / 1e9:.1f} GB free"
    yield "disk", f"{found.disk / 1e9:.1f} GB free here{'' if found.writable else '; this folder is read-only'}"

"""Show what this machine and its Python have, each error, and its cure.

Works even if MXNet, NumPy or OpenCV cannot be imported. Exit code: 0 without errors, else 1.
With --link-cuda it only links the CUDA libraries that pip installed beside MXNet's, where MXNet finds them.

Example:
    fcnxs doctor
"""

from __future__ import annotations

import argparse
import re
import shlex
from typing import Iterator, List, Tuple

from ..doctor import facts, gpus, links, packages, rules
from ..system import libraries
from .shared.printing import say, show

# Packages that are shown where they are installed.
EXTRAS = (
    "torch",
    "tensorboardx",
    "onnx",
    "onnxruntime",
    "ncnn",
    "openvino",
    "scikit-learn",
    "opencv-python-headless",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --link-cuda."""
    text = "link the CUDA libraries that pip installed into MXNet's folder, so that MXNet finds them"
    parser.add_argument("--link-cuda", action="store_true", help=text)


def run(args: argparse.Namespace) -> int:
    """Print the facts, and a line for each error; returns 1 if there is one."""
    if args.link_cuda:
        return link_cuda()
    found = facts.gather(args.environment)
    rows = [row for part in (_software, _features, _gpus, _machine) for row in part(found)]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name.ljust(width)}  {value}")
    wrong = rules.findings(found)
    show()
    for line in report(wrong):
        say(line)
    if any(re.search(r"\b(pip|fcnxs) ", finding.cure) for finding in wrong):
        python = shlex.quote(found.executable)
        say(f"In a CURE, pip and fcnxs are those of this Python: {python} -m pip, and {python} -m fcnxs.")
    return int(bool(wrong))


def link_cuda() -> int:
    """Make the links, print them and what is still missing; returns 1 if that is more than the driver."""
    done = links.link_cuda()
    for what, names in (("linked", done.made), ("not replaced, since it is no link of ours", done.kept)):
        if names:
            say(f"{what}: {', '.join(names)}")
    say(f"{len(done.made) + len(done.there)} links to CUDA's libraries are in {done.folder}")
    missing = [name for name, found in libraries.needs(done.folder / "libmxnet.so").items() if not found]
    for names, cure in libraries.cures(missing, libraries.installed()):
        say(f"missing: {', '.join(names)}. CURE: {cure}")
    return int(bool({*missing} - {libraries.DRIVER}))


def report(wrong: List[rules.Finding]) -> List[str]:
    """A line for each error, with its cure."""
    if not wrong:
        return ["Nothing is wrong."]
    return [f"WRONG: {finding.what}. CURE: {finding.cure}" for finding in wrong]


def _software(found: facts.Facts) -> Iterator[Tuple[str, str]]:
    yield "Python", f"{'.'.join(map(str, found.python))}, {found.executable}"
    names = [name for name in packages.required(found) if name not in ("python", "mxnet")]
    for name in (*(packages.wheels(found) or ["mxnet"]), *names):
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
        yield "GPUs", "none that nvidia-smi shows" if found.mxnet_gpus else "none"
    there = gpus.visible(found)
    numbers = {of_smi: number for number, of_smi in enumerate(there)}  # that --device takes
    named = "CUDA_VISIBLE_DEVICES" in found.environment
    hidden = "CUDA_VISIBLE_DEVICES hides it" if named else "MXNet does not see it"
    for of_smi, gpu in {**dict(enumerate(found.gpus)), **there}.items():
        code = "the GPU wheels have code for it"
        if gpu.capability is None:
            code = "its nvidia-smi does not tell it; the README says for which GPUs MXNet has code"
        elif not gpus.runs_on(gpu.capability):
            code = "no wheel has code for it: train on the CPU, deploy with ONNX"
        told = [
            f"{gpu.name}, {gpus.shown(gpu.capability)} ({code})",
            gpu.memory,
            gpu.driver and f"driver {gpu.driver}",
        ]
        told += ["in MIG mode"] * gpu.mig + [f"number {of_smi} of nvidia-smi"] * (numbers.get(of_smi) != of_smi)
        told += [hidden] * (of_smi not in numbers)
        yield f"GPU {numbers.get(of_smi, '-')}", ", ".join(filter(None, told))
    rounding = [f"GPU {n}" for n, gpu in enumerate(there.values()) if gpus.has_tf32(gpu.capability)]
    if rounding and found.environment.get("NVIDIA_TF32_OVERRIDE") == "0":
        yield "TF32", f"off: NVIDIA_TF32_OVERRIDE=0 keeps float32 as it is on {', '.join(rounding)}"
    elif rounding:
        text = "convolutions round float32 to TF32, 10 bits of mantissa; NVIDIA_TF32_OVERRIDE=0 prevents it"
        yield "TF32", f"on: on {', '.join(rounding)} {text}"
    fusion = found.environment.get(gpus.FUSION, "0")
    if there and fusion != "0":
        yield gpus.FUSION, f"{fusion}, where the commands set 0: MXNet compiles operators at run time"


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

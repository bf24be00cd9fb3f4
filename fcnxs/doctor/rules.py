"""Rules that find errors in the facts that `facts.gather` collects, each with its cure.

The bounds of versions are setup.py's, as the installed distribution has them.
"""

from __future__ import annotations

import re
import shlex
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

from ..compat import INSTALL_HINT, MALLOC_PARAMETERS, MXNET_VARIABLES
from ..system.libraries import cure_of
from .facts import MODULES, TOO_LONG, Facts

# Compute capabilities of the code in MXNet's GPU wheels. They have no PTX, so nothing is compiled for others.
CODE_FOR = ((5, 0), (6, 0), (7, 0), (8, 0), (8, 6))
WAIT = "run fcnxs doctor again when it is not"
CUDA = {"mxnet-cu112": "11.2", "mxnet-cu117": "11.7"}
TRAINING = 3.6e9  # bytes of memory for a training step of FCN-8s, full width, 500x375
CHECKPOINTS = 2e9  # bytes on disk for a few checkpoints (0.54e9 each) and the optimizer's state
SHARED = 16e6  # bytes in /dev/shm for semaphores and queues

# Variables that make MXNet slow, or different from what these commands rely on: value -> its effect.
HARMFUL = {
    "MXNET_ENGINE_TYPE": {"NaiveEngine": "MXNet does one thing at a time"},
    "MXNET_MKLDNN_ENABLED": {"0": "MXNet computes convolutions without oneDNN, many times slower"},
    "MXNET_PROFILER_AUTOSTART": {"1": "MXNet's profiler keeps a record of every operator in memory"},
    "MXNET_EXEC_VERBOSE_LOGGING": {"1": "MXNet prints lines for every executor"},
    "MXNET_SAFE_ACCUMULATION": {"1": "sums are rounded in another way"},
}


class Finding(NamedTuple):
    """An error of the machine or its Python, and its cure."""

    what: str
    cure: str


def findings(facts: Facts) -> List[Finding]:
    """All errors, the gravest first."""
    rules = (_python, _libraries, _mxnet, _packages, _gpus, _threads, _variables, _room)
    return [Finding(*finding) for rule in rules for finding in rule(facts)]


def runs_on(capability: Tuple[int, int]) -> bool:
    """Whether MXNet's GPU wheels have code for a GPU of this compute capability (major, minor).

    A GPU runs code for its own major number whose minor number is its own or lower.
    """
    return any(major == capability[0] and minor <= capability[1] for major, minor in CODE_FOR)


def wheels(facts: Facts) -> List[str]:
    """Names of the installed wheels of MXNet, e.g. ["mxnet-cu112"]; two of them overwrite each other."""
    return sorted(name for name in facts.packages if re.fullmatch(r"mxnet(-(cu\d+|mkl|native))?(mkl)?", name))


def required(facts: Facts) -> Dict[str, Any]:
    """Packages that fcnxs requires on this Python, with a SpecifierSet each; also "python" and "mxnet".

    Without an installation by pip, or without `packaging`, these are a few packages, and None for their bounds.
    """
    if not facts.requires or "packaging" not in facts.packages:
        return dict.fromkeys(MODULES)
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    found = {"python": SpecifierSet(facts.requires_python)}
    extra = "numpy2" if int(facts.packages.get("numpy", "1").split(".")[0]) >= 2 else "cpu"
    setting = {"python_version": ".".join(map(str, facts.python[:2])), "extra": extra}
    for requirement in map(Requirement, facts.requires):
        # Beside NumPy 2 no extra names MXNet, since pip installs it without its bounds; it is the same MXNet.
        given = {"python_version": "3.12", "extra": "cpu"} if requirement.name == "mxnet" else setting
        if requirement.marker is None or requirement.marker.evaluate(given):
            found[requirement.name] = requirement.specifier & found.get(requirement.name, SpecifierSet())
    return found


def _pip(facts: Facts, name: str, package: str = "") -> str:
    """What to give to pip for a version that fcnxs requires of `name`, by default for `name` itself."""
    bounds = sorted(map(str, required(facts).get(name) or ()), reverse=True)  # lower bound first
    return shlex.quote(f"{package or name}{','.join(bounds)}")


def _python(facts: Facts) -> Iterator[Tuple[str, str]]:
    bounds, version = required(facts).get("python"), ".".join(map(str, facts.python))
    if bounds and version not in bounds:
        what = f"Python {version} is not one of the versions that fcnxs supports, {facts.requires_python}"
        yield what, "make a virtual environment with Python 3.11"


def _libraries(facts: Facts) -> Iterator[Tuple[str, str]]:
    if facts.missing_libraries:
        yield f"this system has no {', '.join(facts.missing_libraries)}", cure_of(facts.missing_libraries)


def _lacks_library(facts: Facts, error: str) -> bool:
    return any(library in error for library in facts.missing_libraries)


def _mxnet(facts: Facts) -> Iterator[Tuple[str, str]]:
    here = wheels(facts)
    if not here:
        yield "MXNet is not installed", INSTALL_HINT.partition("; ")[2]
        return
    if len(here) > 1:
        again = f"pip install --no-deps {_pip(facts, 'mxnet', here[0])}, or another of them"
        yield f"{' and '.join(here)} overwrite each other", f"pip uninstall -y {' '.join(here)}, then {again}"
    bounds = required(facts).get("mxnet")
    for name in here:
        if bounds and facts.packages[name] not in bounds:
            what = f"{name} is {facts.packages[name]}, not {str(bounds).lstrip('=')}"
            yield what, f"pip install --no-deps {_pip(facts, 'mxnet', name)}"
    error = facts.broken.get("mxnet")
    if error and not _lacks_library(facts, error) and "numpy" not in facts.broken and "numpy" in facts.packages:
        yield f"MXNet cannot be imported: {error}", _import_cure(facts, error, here[0])
    if facts.features and not facts.features.get("DIST_KVSTORE"):
        cure = f"pip install --no-deps {_pip(facts, 'mxnet', here[0])}"
        yield "this MXNet has no parameter server, which jobs of several machines need", cure


def _import_cure(facts: Facts, error: str, wheel: str) -> str:
    library = re.search(r"lib[\w.+-]+\.so[.\d]*", error)
    if library and wheel in CUDA:
        return (
            f"the wheel needs CUDA {CUDA[wheel]} and cuDNN 8: put their folder on LD_LIBRARY_PATH, "
            f"or pip uninstall -y {wheel} and pip install --no-deps {_pip(facts, 'mxnet')}"
        )
    if library and "libmxnet" not in library[0]:
        return (
            f"install the system's package with {library[0]} (on Debian, apt-file search {library[0]} names it)"
        )
    if TOO_LONG in error:
        return WAIT
    again = f"pip install --force-reinstall --no-deps {_pip(facts, 'mxnet', wheel)}"
    return f"{again}; if a line below is about numpy, cure that first"


def _packages(facts: Facts) -> Iterator[Tuple[str, str]]:
    have = facts.packages
    if facts.requires and "packaging" not in have:
        yield "packaging is not installed, so versions cannot be checked", "pip install packaging"
    for name, bounds in required(facts).items():
        if name in ("python", "mxnet"):
            continue
        if name not in have:
            yield f"{name} is not installed", f"pip install {_pip(facts, name)}, which fcnxs requires"
        elif bounds and not bounds.contains(have[name], prereleases=True):
            yield f"{name} {have[name]} is not what fcnxs requires", f"pip install {_pip(facts, name)}"
    if "opencv-python" in have and "opencv-python-headless" in have:
        names, again = ("opencv-python", "opencv-python-headless"), _pip(facts, "opencv-python")
        cure = f"pip uninstall -y {' '.join(names)}, then pip install {again}"
        yield f"{' and '.join(names)} overwrite each other", cure
    for name, error in facts.broken.items():
        if name == "gluoncv" and "mxnet" in facts.broken or name == "mxnet":
            continue  # the same cause
        if not _lacks_library(facts, error):
            cure = f"pip install --force-reinstall --no-deps {name}{f'=={have[name]}' if name in have else ''}"
            cure = WAIT if TOO_LONG in error else cure
            yield f"{name} cannot be imported: {error}", cure


def _gpus(facts: Facts) -> Iterator[Tuple[str, str]]:
    cuda = next((name for name in wheels(facts) if name.startswith("mxnet-cu")), None)
    cpu = f"pip uninstall -y {cuda}, then pip install --no-deps {_pip(facts, 'mxnet')}"
    usable = [gpu for gpu in facts.gpus if runs_on(gpu.capability)]
    if facts.nvidia_error:
        cure = "install a current driver of NVIDIA's, or restart after its upgrade"
        yield f"nvidia-smi fails: {facts.nvidia_error}", cure
    if usable and wheels(facts) and not cuda:
        wheel = _pip(facts, "mxnet", "mxnet-cu117")
        cure = f"pip uninstall -y {' '.join(wheels(facts))}, then pip install --no-deps {wheel}"
        yield f"there is a GPU, {usable[0].name}, and this MXNet is for the CPU alone", cure
    if not cuda:
        return
    for number, gpu in enumerate(facts.gpus):
        if not runs_on(gpu.capability):
            capability = ".".join(map(str, gpu.capability))
            yield f"{cuda} has no code for GPU {number}, {gpu.name} ({capability})", f"use the CPU: {cpu}"
    if not facts.gpus and not facts.nvidia_error:
        cure = f"install NVIDIA's driver (in a container: --gpus all), or {cpu}"
        yield f"{cuda} is installed, and there is no nvidia-smi that shows a GPU", cure
    if usable and facts.features and facts.mxnet_gpus < len(facts.gpus):
        if "CUDA_VISIBLE_DEVICES" in facts.environment:
            cure = f"unset CUDA_VISIBLE_DEVICES (it is {facts.environment['CUDA_VISIBLE_DEVICES']!r})"
        else:
            cure = f"a driver for CUDA {CUDA.get(cuda, '11')} or later (this one is {facts.gpus[0].driver})"
        yield f"nvidia-smi shows {len(facts.gpus)} GPUs, MXNet sees {facts.mxnet_gpus}", cure


def _threads(facts: Facts) -> Iterator[Tuple[str, str]]:
    may = facts.processors if facts.quota is None else max(1, min(facts.processors, round(facts.quota)))
    for name in ("OMP_NUM_THREADS", "MXNET_OMP_MAX_THREADS", "OMP_THREAD_LIMIT"):
        value = facts.environment.get(name)
        if value is None:
            if name == "OMP_NUM_THREADS" and may < facts.processors:
                what = f"{facts.processors} processors are seen, and the container's limit is {facts.quota:g}"
                yield what, f"export OMP_NUM_THREADS={may}"
        elif not re.fullmatch(r"[1-9]\d*(,\d+)*", value.strip()):
            yield f"{name} is {value!r}, no number of threads", f"unset {name}"
        elif 2 * int(value.split(",")[0]) < may:
            yield f"{name} is {value}, and there are {may} processors", f"unset {name}"
        elif int(value.split(",")[0]) > may and name == "OMP_NUM_THREADS":
            yield f"{name} is {value}, and there are only {may} processors", f"unset {name}, or make it {may}"


def _variables(facts: Facts) -> Iterator[Tuple[str, str]]:
    have = facts.environment
    wanted = {**MXNET_VARIABLES, **{name: str(value) for name, (_, value) in MALLOC_PARAMETERS.items()}}
    for name, value in wanted.items():
        if name in have and have[name] != value:
            what = "memory may grow with every new image size" if "VERBOSE" not in name else "MXNet prints more"
            yield f"{name} is {have[name]!r} where the commands rely on {value}: {what}", f"unset {name}"
    for name, values in HARMFUL.items():
        if have.get(name) in values:
            yield f"{name} is {have[name]!r}: {values[have[name]]}", f"unset {name}"
    if "DMLC_ROLE" in have:
        yield f"DMLC_ROLE is {have['DMLC_ROLE']!r} outside of a job: MXNet may wait for one", "unset DMLC_ROLE"


def _room(facts: Facts) -> Iterator[Tuple[str, str]]:
    step = f"a training step at full width takes {TRAINING / 1e9:g} GB"
    if facts.memory < TRAINING:
        cure = "train narrower nets, or raise the container's limit or take a larger machine"
        yield f"there are {facts.memory / 1e9:.1f} GB of memory, and {step}", cure
    elif facts.available < TRAINING:
        yield f"{facts.available / 1e9:.1f} GB of memory are free, and {step}", "end what takes the rest"
    if facts.disk < CHECKPOINTS:
        what = f"{facts.disk / 1e9:.1f} GB are free in the current folder; checkpoints take 0.54 GB each"
        yield what, "make room, or write elsewhere"
    if facts.shm < SHARED:
        what = f"/dev/shm has {facts.shm / 1e6:.0f} MB: processes that load data cannot talk to each other"
        yield what, "mount it (docker run --shm-size=1g), or empty it"

"""Rules that find errors in the facts that `facts.gather` collects, each with its cure.

The bounds of versions are setup.py's, as the installed distribution has them.
"""

from __future__ import annotations

import re
from typing import Iterator, List, NamedTuple, Tuple

from ..compat import CPU_INSTALL, INSTALL_HINT, MALLOC_PARAMETERS, MXNET_VARIABLES
from ..system.libraries import DRIVER, cures, of_cuda
from ..system.variables import breaking
from . import gpus
from .facts import TOO_LONG, Facts
from .packages import required, to_pip, two_wheels, wheels

WAIT = "run fcnxs doctor again when it is not"
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
    rules = (_python, _two_wheels, _libraries, _mxnet, _packages, gpus.rule, _threads, _variables, _room)
    return [Finding(*finding) for rule in rules for finding in rule(facts)]


def _python(facts: Facts) -> Iterator[Tuple[str, str]]:
    bounds, version = required(facts).get("python"), ".".join(map(str, facts.python))
    if bounds and version not in bounds:
        what = f"Python {version} is not one of the versions that fcnxs supports, {facts.requires_python}"
        yield what, "make a virtual environment with Python 3.11"


def _two_wheels(facts: Facts) -> Iterator[Tuple[str, str]]:
    yield from two_wheels(facts, gpu=bool(gpus.usable(facts)))


def _libraries(facts: Facts) -> Iterator[Tuple[str, str]]:
    missing = facts.missing_libraries
    if len(wheels(facts)) > 1 or (facts.gpus and not gpus.usable(facts)):
        missing = [name for name in missing if not of_cuda(name)]  # they serve no GPU, or come later
    for names, cure in cures(missing, facts.cuda_libraries):
        alone = DRIVER in names and not facts.gpus and not facts.nvidia_error  # a machine without a GPU
        yield f"this system has no {', '.join(names)}", cure + (f", or {gpus.for_cpu(facts)}" if alone else "")


def _lacks_library(facts: Facts, error: str) -> bool:
    """Whether an error is one of the missing libraries, of which the loader names the first alone."""
    return any(library in error for library in facts.missing_libraries)


def _mxnet(facts: Facts) -> Iterator[Tuple[str, str]]:
    here = wheels(facts)
    if not here:
        serves = not facts.gpus or gpus.usable(facts)  # whether MXNet for GPUs does
        yield "MXNet is not installed", INSTALL_HINT.partition("; ")[2] if serves else CPU_INSTALL
        return
    bounds = required(facts).get("mxnet")
    for name in here:
        if bounds and facts.packages[name] not in bounds:
            what = f"{name} is {facts.packages[name]}, not {str(bounds).lstrip('=')}"
            yield what, f"pip install --no-deps {to_pip(facts, 'mxnet', name)}"
    if len(here) > 1:
        return  # what is loaded is a mixture of both
    error = facts.broken.get("mxnet")
    if error and not _lacks_library(facts, error) and "numpy" not in facts.broken and "numpy" in facts.packages:
        yield f"MXNet cannot be imported: {error}", _import_cure(facts, error, here[0])
    if facts.features and not facts.features.get("DIST_KVSTORE"):
        cure = f"pip install --no-deps {to_pip(facts, 'mxnet', here[0])}"
        yield "this MXNet has no parameter server, which jobs of several machines need", cure


def _import_cure(facts: Facts, error: str, wheel: str) -> str:
    library = re.search(r"(lib\S+\.so[.\d]*): cannot open shared object", error)
    if library:  # which the loader did not name before
        return next(cures([library[1]], facts.cuda_libraries))[1]
    if TOO_LONG in error:
        return WAIT
    again = f"pip install --force-reinstall --no-deps {to_pip(facts, 'mxnet', wheel)}"
    return f"{again}; if a line below is about numpy, cure that first"


def _packages(facts: Facts) -> Iterator[Tuple[str, str]]:
    have = facts.packages
    if facts.requires and "packaging" not in have:
        yield "packaging is not installed, so versions cannot be checked", "pip install packaging"
    for name, bounds in required(facts).items():
        if name in ("python", "mxnet"):
            continue
        if name not in have:
            yield f"{name} is not installed", f"pip install {to_pip(facts, name)}, which fcnxs requires"
        elif bounds and not bounds.contains(have[name], prereleases=True):
            yield f"{name} {have[name]} is not what fcnxs requires", f"pip install {to_pip(facts, name)}"
    if "opencv-python" in have and "opencv-python-headless" in have:
        names, again = ("opencv-python", "opencv-python-headless"), to_pip(facts, "opencv-python")
        cure = f"pip uninstall -y {' '.join(names)}, then pip install {again}"
        yield f"{' and '.join(names)} overwrite each other", cure
    for name, error in facts.broken.items():
        if name == "gluoncv" and "mxnet" in facts.broken or name == "mxnet":
            continue  # the same cause
        if not _lacks_library(facts, error):
            cure = f"pip install --force-reinstall --no-deps {name}{f'=={have[name]}' if name in have else ''}"
            cure = WAIT if TOO_LONG in error else cure
            yield f"{name} cannot be imported: {error}", cure


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
    for name, effect in breaking({x: value for x, value in have.items() if x != "OMP_NUM_THREADS"}):
        yield f"{name} is {have[name]!r}: {effect}", f"unset {name}"
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

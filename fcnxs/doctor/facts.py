"""Facts about a machine and its Python, for `fcnxs doctor`, even if MXNet, NumPy or OpenCV cannot be imported.

Each import and nvidia-smi run in processes of their own, since they may crash.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Dict, List, Mapping, Tuple

from ..system import children, libraries
from ..system.memory import memory, processor_quota
from ..system.variables import breaking

MODULES = {"numpy": "numpy", "opencv-python": "cv2", "pillow": "PIL.Image"}

WHEEL = re.compile(r"mxnet(-(cu\d+|mkl|native))?(mkl)?")  # names of MXNet's
TOO_LONG = "is the machine busy?"
TIMEOUT = 300  # seconds for each process; on a busy machine the first import of MXNet takes minutes
FIELDS = ("name", "compute_cap", "memory.total", "driver_version", "mig.mode.current")  # of nvidia-smi

# Prints MXNet's features, GPUs and cuDNN, then imports GluonCV, which needs MXNet. The functions of libraries
# that MXNet is linked to, such as cuDNN, are found through MXNet's own library.
MXNET = """
import ctypes, importlib.util, json, os, fcnxs
os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
import mxnet as mx
from fcnxs.doctor.gpus import capability_of
features = {name: feature.enabled for name, feature in mx.runtime.Features().items()}
gpus, error = 0, ""
try:
    gpus = mx.context.num_gpus()
except mx.MXNetError as failure:
    error = str(failure).strip().splitlines()[-1]
capabilities = [capability_of(number) for number in range(gpus)]
version = getattr(ctypes.CDLL(mx.libinfo.find_lib_path()[0]), "cudnnGetVersion", None)
cudnn = version and version()
of_cuda = {"mxnet_gpus": gpus, "capabilities": capabilities, "cuda_error": error, "cudnn": cudnn}
print(json.dumps({"features": features, **of_cuda}), flush=True)
if importlib.util.find_spec("gluoncv"):
    from fcnxs.compat import gluoncv
"""


@dataclass
class Gpu:
    """A GPU as nvidia-smi shows it."""

    name: str
    capability: Tuple[int, int] | None  # None where nvidia-smi does not tell it
    memory: str  # with its unit
    driver: str
    mig: bool = False  # divided into instances


@dataclass
class Facts:
    """A machine and its Python; sizes in bytes."""

    python: Tuple[int, int, int] = (3, 11, 0)
    executable: str = ""
    packages: Dict[str, str] = field(default_factory=dict)  # versions by name, in lower case with "-"
    requires_python: str = ""  # setup.py's python_requires; "" where fcnxs runs without having been installed
    requires: List[str] = field(default_factory=list)  # setup.py's requirements, e.g. "numpy<2; extra == 'cpu'"
    broken: Dict[str, str] = field(default_factory=dict)  # package that is installed but not importable: why
    missing_libraries: List[str] = field(default_factory=list)  # that MXNet and OpenCV need: libGL.so.1, ...
    cuda_libraries: List[str] = field(default_factory=list)  # of CUDA, in installed packages of NVIDIA
    features: Dict[str, bool] = field(default_factory=dict)  # MXNet's
    cudnn: int | None = None  # version, e.g. 8500; None without cuDNN
    mxnet_gpus: int = 0  # GPUs that MXNet sees
    capabilities: List[Tuple[int, int] | None] = field(default_factory=list)  # theirs
    cuda_error: str = ""  # why MXNet cannot count the GPUs; "" if it can
    gpus: List[Gpu] = field(default_factory=list)  # GPUs that nvidia-smi shows
    nvidia_error: str = ""  # why nvidia-smi failed; "" if it did not, or is not there
    processors: int = 1  # processors that this process may run on
    quota: float | None = None  # the control group's limit of processor time, in processors; None without one
    environment: Dict[str, str] = field(default_factory=dict)
    memory: int = 0  # the machine's, or the control group's limit if that is lower
    available: int = 0  # of this memory
    shm: int = 0  # free in /dev/shm; 0 if it does not exist
    disk: int = 0  # free in the current folder
    writable: bool = True  # whether files can be written in the current folder
    dot: str | None = None  # path of graphviz's program


def gather(environment: Mapping[str, str]) -> Facts:
    """Facts about this machine and this Python; takes a few seconds.

    Args:
        environment: variables that this process was started with.
    """
    installed = _packages()
    codes = {name: f"import {module}" for name, module in MODULES.items() if name in installed}
    if any(name.startswith("mxnet") for name in installed):
        codes["mxnet"] = MXNET
    with ThreadPoolExecutor() as pool:
        results = dict(zip(codes, pool.map(lambda code: _python(code, environment), codes.values())))
    facts = Facts(
        python=sys.version_info[:3],
        executable=sys.executable,
        packages=installed,
        broken={name: error for name, (_, error) in results.items() if error},
        processors=len(os.sched_getaffinity(0)),
        environment=dict(environment),
        missing_libraries=libraries.missing(),
        cuda_libraries=list(libraries.installed()),
        writable=os.access(".", os.W_OK),
        dot=shutil.which("dot"),
    )
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        facts.requires = importlib.metadata.requires("fcnxs") or []
        facts.requires_python = importlib.metadata.metadata("fcnxs")["Requires-Python"]
    with contextlib.suppress(KeyError, TypeError):  # no MXNet, or nothing printed
        told = json.loads(re.search(r"^\{.*\}$", results["mxnet"][0], re.MULTILINE)[0])
        told["capabilities"] = [each and tuple(each) for each in told["capabilities"]]
        vars(facts).update(told)
        facts.broken["gluoncv"] = facts.broken.pop("mxnet")  # MXNet has printed: an error is GluonCV's
    facts.gpus, facts.nvidia_error = nvidia_smi()
    facts.memory, facts.available = memory()
    facts.quota = processor_quota()
    for name, folder in (("shm", "/dev/shm"), ("disk", ".")):
        with contextlib.suppress(OSError):
            setattr(facts, name, shutil.disk_usage(folder).free)
    return facts


def quick() -> Facts:
    """The facts that take no process of Python: installed packages, variables, and what nvidia-smi shows."""
    gpus, error = nvidia_smi()
    return Facts(packages=_packages(), environment=dict(os.environ), gpus=gpus, nvidia_error=error)


def nvidia_smi() -> Tuple[List[Gpu], str]:
    """GPUs that nvidia-smi shows, and why it failed, or "". Without nvidia-smi: no GPUs and no error."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], ""
    fields = list(FIELDS)
    while True:
        query = [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
        output, error = _run(query, dict(os.environ))
        unknown = re.search(r'Field "(.+?)" is not a valid field', output + error)  # to an older nvidia-smi
        if unknown is None or unknown[1] not in fields:
            break
        fields.remove(unknown[1])
    if "No devices were found" in output + error:
        return [], ""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if error:  # its text is on stdout, the cause first
        return [], (lines or [error])[0]
    gpus = []
    for line in lines:
        values = [part.strip() for part in line.rsplit(",", len(fields) - 1)]
        if len(values) < len(fields):
            return gpus, f"unexpected line: {line}"
        gpus.append(_gpu(dict(zip(fields, values))))
    return gpus, ""


def _gpu(told: Mapping[str, str]) -> Gpu:
    """A GPU by the fields of nvidia-smi, each of which may be missing, `[N/A]` or `[Not Supported]`."""
    number = re.fullmatch(r"(\d+)\.(\d+)", told.get("compute_cap", ""))
    capability = (int(number[1]), int(number[2])) if number else None
    mig = told.get("mig.mode.current") == "Enabled"
    return Gpu(told["name"], capability, told["memory.total"], told["driver_version"], mig)


def _packages() -> Dict[str, str]:
    """Versions of the installed packages, by name; of two of one name, the one that is imported.

    Of MXNet's wheels those of one folder, where they overwrite each other; that folder hides any other one.
    """
    found: Dict[str, str] = {}
    folder = None
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        if WHEEL.fullmatch(name):
            folder = folder or distribution.locate_file("")
            if distribution.locate_file("") != folder:
                continue
        found.setdefault(name, distribution.version)
    return found


def _python(code: str, environment: Mapping[str, str]) -> Tuple[str, str]:
    """Output and error of Python code, without variables that break MXNet or make it a server."""
    broken = dict(breaking(environment))
    clean = {x: value for x, value in environment.items() if not x.startswith("DMLC_") and x not in broken}
    return _run([sys.executable, "-c", code], clean)


def _run(command: List[str], environment: Dict[str, str]) -> Tuple[str, str]:
    """Output of a command, and the last line of its errors, or "" if it succeeded."""
    try:
        result = children.run(
            command, env=environment, capture_output=True, encoding="utf-8", errors="replace", timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return "", f"it takes more than {TIMEOUT} seconds; {TOO_LONG}"
    except OSError as error:
        return "", str(error)
    if result.returncode == 0:
        return result.stdout, ""
    if result.returncode < 0:
        return result.stdout, f"it ends by {signal.Signals(-result.returncode).name}"
    lines = (result.stderr.strip() or result.stdout.strip() or f"exit code {result.returncode}").splitlines()
    return result.stdout, lines[-1]

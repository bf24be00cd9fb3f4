"""What a machine and its Python have, for `fcnxs doctor`, even if MXNet, NumPy or OpenCV cannot be imported.

What may crash runs in a process of its own: every import, and nvidia-smi.
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

from ..system.memory import memory, processor_quota

REQUIRED = ("numpy", "opencv-python", "gluoncv", "pillow", "tqdm", "protobuf", "safetensors")
OPTIONAL = (
    "torch",
    "tensorboardX",
    "onnx",
    "onnxruntime",
    "openvino",
    "scikit-learn",
    "opencv-python-headless",
)
MODULES = {"numpy": "numpy", "opencv-python": "cv2", "pillow": "PIL.Image"}

# Prints what MXNet knows of itself, then imports GluonCV, which needs it. A library that MXNet is linked to
# gives its functions through MXNet's.
MXNET = """
import ctypes, importlib.util, json, fcnxs
import mxnet as mx
features = {name: feature.enabled for name, feature in mx.runtime.Features().items()}
try:
    gpus = mx.context.num_gpus()
except mx.MXNetError:
    gpus = 0
version = getattr(ctypes.CDLL(mx.libinfo.find_lib_path()[0]), "cudnnGetVersion", None)
print(json.dumps({"features": features, "gpus": gpus, "cudnn": version and version()}), flush=True)
if importlib.util.find_spec("gluoncv"):
    from fcnxs.compat import gluoncv
"""


@dataclass
class Gpu:
    """A GPU as nvidia-smi shows it."""

    name: str
    capability: Tuple[int, int]
    memory: str  # with its unit
    driver: str


@dataclass
class Facts:
    """What has been found; sizes in bytes, None where unknown."""

    python: Tuple[int, int, int] = (3, 11, 0)
    executable: str = ""
    packages: Dict[str, str] = field(
        default_factory=dict
    )  # of REQUIRED, OPTIONAL, setuptools, all mxnet*: version
    broken: Dict[str, str] = field(default_factory=dict)  # package that is installed but not importable: why
    features: Dict[str, bool] = field(default_factory=dict)  # of MXNet
    cudnn: int | None = None  # e.g. 8500
    mxnet_gpus: int = 0  # that MXNet sees
    gpus: List[Gpu] = field(default_factory=list)  # that nvidia-smi shows
    nvidia_error: str = ""  # why nvidia-smi has failed, where there is one
    processors: int = 1  # that this process may run on
    quota: float | None = None  # processors' worth of time that its control group may use
    environment: Dict[str, str] = field(default_factory=dict)
    memory: int = 0  # in all, or its control group's limit
    available: int = 0
    shm: int = 0  # free in /dev/shm; 0: it is not there
    disk: int = 0  # free in the current folder
    writable: bool = True  # the current folder
    dot: str | None = None  # graphviz's program


def gather(environment: Mapping[str, str]) -> Facts:
    """Facts about this machine and this Python, in a few seconds.

    Args:
        environment: as this process was started with.
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
        writable=os.access(".", os.W_OK),
        dot=shutil.which("dot"),
    )
    with contextlib.suppress(KeyError, TypeError):  # no MXNet, or nothing printed
        told = json.loads(re.search(r"^\{.*\}$", results["mxnet"][0], re.MULTILINE)[0])
        facts.features, facts.mxnet_gpus, facts.cudnn = told["features"], told["gpus"], told["cudnn"]
        facts.broken["gluoncv"] = facts.broken.pop("mxnet")  # MXNet has come so far, if there is an error
    facts.gpus, facts.nvidia_error = nvidia_smi()
    facts.memory, facts.available = memory()
    facts.quota = processor_quota()
    for name, folder in (("shm", "/dev/shm"), ("disk", ".")):
        with contextlib.suppress(OSError):
            setattr(facts, name, shutil.disk_usage(folder).free)
    return facts


def nvidia_smi() -> Tuple[List[Gpu], str]:
    """GPUs of this machine, and why nvidia-smi has failed if it has; neither where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], ""
    query = [program, "--query-gpu=name,compute_cap,memory.total,driver_version", "--format=csv,noheader"]
    output, error = _run(query, dict(os.environ))
    if "No devices were found" in output + error:
        return [], ""
    if error:
        return [], error
    gpus = []
    for line in output.splitlines():
        fields = [part.strip() for part in line.split(",")]
        try:
            major, minor = map(int, fields[1].split("."))
            gpus.append(Gpu(fields[0], (major, minor), *fields[2:4]))
        except (ValueError, TypeError, IndexError):
            return gpus, f"unexpected line: {line.strip()}"
    return gpus, ""


def _packages() -> Dict[str, str]:
    """Versions of the packages that matter."""
    wanted = {name.lower() for name in (*REQUIRED, *OPTIONAL, "setuptools")}
    found = {}
    for distribution in importlib.metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        if name in wanted or name.startswith("mxnet"):
            found.setdefault(name, distribution.version)
    return found


def _python(code: str, environment: Mapping[str, str]) -> Tuple[str, str]:
    """Output of some Python, and its error. With DMLC_ROLE set, `import mxnet` would wait for a job."""
    clean = {name: value for name, value in environment.items() if not name.startswith("DMLC_")}
    return _run([sys.executable, "-c", code], clean)


def _run(command: List[str], environment: Dict[str, str]) -> Tuple[str, str]:
    """Output of a command, and the last line of its errors if it has failed."""
    try:
        result = subprocess.run(
            command, env=environment, capture_output=True, encoding="utf-8", errors="replace", timeout=120
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    if result.returncode == 0:
        return result.stdout, ""
    if result.returncode < 0:
        return result.stdout, f"it ends by {signal.Signals(-result.returncode).name}"
    lines = (result.stderr.strip() or result.stdout.strip() or f"exit code {result.returncode}").splitlines()
    return result.stdout, lines[-1]

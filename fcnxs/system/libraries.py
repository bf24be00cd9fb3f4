"""Shared libraries that MXNet and OpenCV need: which are missing, what brings each, and what is installed."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import subprocess
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Tuple

# Each library of the system, and the package of Debian and Ubuntu that has it.
PACKAGES = {
    "libGL.so.1": "libgl1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libquadmath.so.0": "libquadmath0",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
}
# Each library of CUDA 11, up to its `.so`, and what pip installs for it. MXNet's wheels bring none of them.
CUDA = {
    "libcudart": "nvidia-cuda-runtime-cu11",
    "libnvrtc": "nvidia-cuda-nvrtc-cu11",
    "libnvToolsExt": "nvidia-nvtx-cu11",
    "libcudnn": "nvidia-cudnn-cu11<9",
    "libcublas": "nvidia-cublas-cu11",
    "libcufft": "nvidia-cufft-cu11",
    "libcurand": "nvidia-curand-cu11",
    "libcusolver": "nvidia-cusolver-cu11",
    "libcusparse": "nvidia-cusparse-cu11",
    "libnccl": "nvidia-nccl-cu11",
}
DRIVER = "libcuda.so.1"
DRIVER_CURE = (
    "NVIDIA's driver brings it (in a container: docker run --gpus all, "
    "with NVIDIA_DRIVER_CAPABILITIES=compute,utility)"
)
LINK = "fcnxs doctor --link-cuda"
LOADER = "/lib64/ld-linux-x86-64.so.2"  # where every x86-64 program expects it


def of_mxnet() -> Path | None:
    """MXNet's own library, of the installed package; None without one. MXNet is not imported."""
    return next(_files("mxnet", "libmxnet.so"), None)


def needs(file: Path) -> Dict[str, bool]:
    """Names of the libraries that a library needs, also through others, and whether the loader finds each.

    The loader itself tells them, without running any code of theirs; nothing for a file that is no library.
    """
    try:
        result = subprocess.run(
            [LOADER, str(file)],
            env={**os.environ, "LD_TRACE_LOADED_OBJECTS": "1"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    except OSError:
        return {}
    rows = (line.strip().partition(" => ") for line in result.stdout.splitlines())
    return {name: found != "not found" for name, arrow, found in rows if arrow}


def missing() -> List[str]:
    """Libraries that the installed MXNet and OpenCV need and the loader does not find."""
    files = [*_files("mxnet", "libmxnet.so"), *_files("cv2", "cv2*.so")]
    return list({name: None for file in files for name, found in needs(file).items() if not found})


def installed() -> Dict[str, Path]:
    """CUDA's libraries in the installed packages of NVIDIA, by file name; of two, that of the first folder."""
    names = {package.partition("<")[0] for package in CUDA.values()}
    found: Dict[str, Path] = {}
    for distribution in importlib.metadata.distributions():
        if (distribution.metadata["Name"] or "").lower().replace("_", "-") in names:
            for file in distribution.files or ():
                if _package_of(file.name):
                    found.setdefault(file.name, Path(str(distribution.locate_file(file))))
    return {name: file for name, file in found.items() if file.is_file()}


def cures(libraries: Iterable[str], have: Iterable[str]) -> Iterator[Tuple[List[str], str]]:
    """Missing libraries in groups, each with its cure: of apt, of pip, of the driver, and others.

    Args:
        libraries: missing ones.
        have: names of those that NVIDIA's packages have, so that only links are missing.

    >>> list(cures(["libGL.so.1", "libgomp.so.1"], []))
    [(['libGL.so.1', 'libgomp.so.1'], 'on Debian and Ubuntu: apt-get install libgl1 libgomp1')]
    """
    left = list(libraries)
    groups = {
        "apt": [name for name in left if name in PACKAGES],
        "pip": [name for name in left if _package_of(name)],
        "driver": [name for name in left if name == DRIVER],
    }
    groups["other"] = [name for name in left if not any(name in group for group in groups.values())]
    absent = {_package_of(name): None for name in groups["pip"] if name not in set(have)}
    get = f"pip install {' '.join(map(shlex.quote, absent))}, then " if absent else ""
    packages = {PACKAGES[name]: None for name in groups["apt"]}
    search = "install the system's package that has it: on Debian, apt-file search NAME finds it"
    texts = {
        "apt": f"on Debian and Ubuntu: apt-get install {' '.join(packages)}",
        "pip": f"{get}{LINK}",
        "driver": DRIVER_CURE,
        "other": search,
    }
    yield from ((names, texts[kind]) for kind, names in groups.items() if names)


def of_cuda(library: str) -> bool:
    """Whether a library is one of CUDA's, or the driver's."""
    return library == DRIVER or bool(_package_of(library))


def _files(module: str, pattern: str) -> Iterator[Path]:
    """Files in the folder of an installed package, which is not imported."""
    spec = PathFinder.find_spec(module)
    for folder in (spec and spec.submodule_search_locations) or ():
        yield from sorted(Path(folder).glob(pattern))


def _package_of(library: str) -> str:
    """What pip installs for a library of CUDA, or a part such as libcudnn_ops_infer.so.8; "" for others."""
    return next(
        (package for name, package in CUDA.items() if library.startswith(name) and ".so." in library), ""
    )

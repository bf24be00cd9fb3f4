"""Make MXNet 1.9.1 importable on today's Python and NumPy, and let it use the machine.

MXNet was written for NumPy < 1.24 and Python < 3.12. It needs

- `numpy.bool` and `numpy.int`, aliases of the built-ins that NumPy 1.24 removed;
- `distutils.version`, which Python 3.12 removed and setuptools still carries.

`import fcnxs` supplies both and imports no MXNet. The modules of this package take MXNet from here,
`from .compat import mxnet as mx`: MXNet loads with the first of them, or the error says what to install.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.abc
import importlib.util
import os
import sys
from types import ModuleType

INSTALL_HINT = (
    "MXNet is not installed; choose one: pip install 'fcnxs[cpu]' (any machine), "
    "'fcnxs[cu112]' or 'fcnxs[cu117]' (NVIDIA GPUs)"
)

# Read by MXNet when it loads. The first keeps temporary space from growing with every new input
# size, the second MXNet's cache of oneDNN primitives, the third oneDNN's own, in which those of several
# sizes have room (an FCN-8s has about a hundred); the last stops a line on stderr for every executor.
MXNET_VARIABLES = {
    "MXNET_CPU_TEMP_COPY": "1",
    "MXNET_MKLDNN_CACHE_NUM": "1",
    "DNNL_PRIMITIVE_CACHE_CAPACITY": "256",
    "MXNET_SUBGRAPH_VERBOSE": "0",
}

# Read by glibc before Python starts, so set through mallopt(3) here: variable -> (parameter, value).
MALLOC_PARAMETERS = {"MALLOC_ARENA_MAX": (-8, 1), "MALLOC_TRIM_THRESHOLD_": (-1, 1_000_000)}


def make_mxnet_importable() -> None:
    """Supply the NumPy aliases and the `distutils` that MXNet 1.9.1 imports.

    Where NumPy or setuptools cannot be imported, MXNet cannot be either, and its own import says why:
    `import fcnxs` works, for the command that tells what is wrong.
    """
    try:
        import numpy as np
    except ImportError:
        return
    for alias, builtin in (("bool", bool), ("int", int)):
        if alias not in np.__dict__ and np.lib.NumpyVersion(np.__version__) >= "1.24.0":
            setattr(np, alias, builtin)
    if importlib.util.find_spec("distutils") is None:
        with contextlib.suppress(ImportError):
            import setuptools  # noqa: F401  (importing it registers its own distutils)


def use_the_machine(devices: int = 1) -> None:
    """Let MXNet use every processor this process may run on, and keep its memory from growing.

    Must run before MXNet loads. What is set in the environment already wins. Commands call it; the
    library does not change its process.

    Args:
        devices: `mx.cpu(0)` to `mx.cpu(devices - 1)` that will work at once, and share the processors.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // devices)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    for variable, value in MXNET_VARIABLES.items():
        os.environ.setdefault(variable, value)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    for variable, (parameter, value) in MALLOC_PARAMETERS.items():
        if variable not in os.environ and mallopt is not None:
            mallopt(parameter, value)


def __getattr__(name: str) -> ModuleType:
    """Give `fcnxs.compat.mxnet` and `fcnxs.compat.gluoncv`, imported now.

    Raises:
        ModuleNotFoundError: MXNet is not installed; the message says which extras install it.
    """
    if name == "gluoncv":
        return _import_gluoncv()
    if name != "mxnet":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    finder = _Without("sklearn", "scipy.stats")  # They take a second to import, and nothing here needs them.
    sys.meta_path.insert(0, finder)
    try:
        import mxnet
    except ModuleNotFoundError as error:
        if error.name != "mxnet":
            raise
        raise ModuleNotFoundError(INSTALL_HINT, name="mxnet") from None
    finally:
        sys.meta_path.remove(finder)
    if mxnet.contrib.quantization.stats is None:
        mxnet.contrib.quantization.stats = object()  # Entropy calibration checks for it and never uses it.
    return mxnet


class _Without(importlib.abc.MetaPathFinder):
    """Finder that makes the import of modules fail."""

    def __init__(self, *hidden: str) -> None:
        self._hidden = hidden

    def find_spec(self, name: str, *_: object) -> None:
        if name in self._hidden:
            raise ModuleNotFoundError(f"{name} is hidden by fcnxs", name=name)


def _import_gluoncv() -> ModuleType:
    """GluonCV 0.10.5, without what its import does to others.

    It refuses to load where PyTorch 2 is installed, of which nothing is needed here: PyTorch is hidden
    while it loads. And it tells Pillow to take images that are cut off for whole ones, for everybody.
    """
    from PIL import ImageFile

    truncated, torch, finder = (
        ImageFile.LOAD_TRUNCATED_IMAGES,
        sys.modules.pop("torch", None),
        _Without("torch"),
    )
    sys.meta_path.insert(0, finder)
    try:
        import gluoncv
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = truncated
        sys.meta_path.remove(finder)
        if torch is not None:
            sys.modules["torch"] = torch
    return gluoncv

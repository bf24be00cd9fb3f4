"""Import MXNet and GluonCV at their first use, and let MXNet use the machine.

The modules of this package take MXNet from here, `from .compat import mxnet as mx`: MXNet loads with the first
of them, or the error says what to install. `import fcnxs` loads `mxnet_compat.py`, which MXNet needs on today's
Python and NumPy, and no MXNet.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Iterator

GPU_INSTALL = (
    "pip install --no-deps mxnet-cu112==1.9.1, pip install '.[cu112]' in the folder of fcnxs, and "
    "fcnxs doctor --link-cuda"
)
CPU_INSTALL = "pip install --no-deps mxnet==1.9.1"
INSTALL_HINT = (
    f"MXNet is not installed; choose one: {CPU_INSTALL} (any machine), or for NVIDIA GPUs {GPU_INSTALL}"
)

# MXNet reads these when it loads. The first keeps temporary space from growing with every new input size. The
# second limits MXNet's cache of oneDNN primitives, the third oneDNN's own cache, which then holds several sizes
# (an FCN-8s has about a hundred primitives). The last suppresses a line on stderr for every executor.
MXNET_VARIABLES = {
    "MXNET_CPU_TEMP_COPY": "1",
    "MXNET_MKLDNN_CACHE_NUM": "1",
    "DNNL_PRIMITIVE_CACHE_CAPACITY": "256",
    "MXNET_SUBGRAPH_VERBOSE": "0",
}
# The same for NVIDIA GPUs. Sources: apache/mxnet 1.9.1 src/, the files in brackets.
CUDA_VARIABLES = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # CUDA numbers GPUs as nvidia-smi does, and so does `--device`
    # MXNet does not fuse pointwise operators: it would compile them at run time, for which CUDA's compiler must
    # know the GPU, and the driver be as new as the compiler (operator/fusion/fused_op.cu).
    "MXNET_USE_FUSION": "0",
    # cuDNN's algorithms depend on the GPU and the sizes alone, not on measurements, which take seconds at every
    # new image size (operator/nn/cudnn/cudnn_convolution-inl.h, CuDNNAlgoSetter).
    "MXNET_CUDNN_AUTOTUNE_DEFAULT": "0",
    # They add in the same order each time (AlgoFinalSelect there; cudnn_pooling-inl.h).
    "MXNET_ENFORCE_DETERMINISM": "1",
    # Of several generators each dropout would get the next when it is bound, and in a resumed run another one
    # (resource.cc, ResourceParallelRandom).
    "MXNET_GPU_PARALLEL_RAND_COPY": "1",
    # Freed arrays are kept by sizes in powers of 2 up to 16 MB and in steps of 16 MB from there, not of 2 MB:
    # images of many sizes reuse them: the layers of a full-width FCN-8s take 21% more, and fifty sizes keep 2.1
    # times what the largest takes, not 9.1 times (counted by storage/pooled_storage_manager.h).
    "MXNET_GPU_MEM_POOL_TYPE": "Round",
}

# glibc reads these before Python starts, so mallopt(3) sets them here: variable -> (parameter, value).
MALLOC_PARAMETERS = {"MALLOC_ARENA_MAX": (-8, 1), "MALLOC_TRIM_THRESHOLD_": (-1, 1_000_000)}


def use_the_machine(devices: int = 1) -> None:
    """Let MXNet use every processor this process may run on, and keep its memory from growing.

    On a GPU two trainings are then the same, and operators are not compiled at run time (`CUDA_VARIABLES`).
    Call it before MXNet loads. Variables that are set in the environment keep their values. Commands call it;
    the library itself changes no settings of the process.

    Args:
        devices: number of CPU devices, `mx.cpu(0)` and up, that work at once and share the processors.
    """
    threads = max(1, len(os.sched_getaffinity(0)) // devices)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    for variable, value in {**MXNET_VARIABLES, **CUDA_VARIABLES}.items():
        os.environ.setdefault(variable, value)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    for variable, (parameter, value) in MALLOC_PARAMETERS.items():
        if variable not in os.environ and mallopt is not None:
            mallopt(parameter, value)


def __getattr__(name: str) -> ModuleType:
    """Import MXNet or GluonCV at the first use of `fcnxs.compat.mxnet` or `fcnxs.compat.gluoncv`.

    Raises:
        ModuleNotFoundError: MXNet is not installed; the message says which extras install it.
    """
    if name == "gluoncv":
        return _import_gluoncv()
    if name != "mxnet":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        # SciPy's statistics and sklearn take a second to import, and nothing here needs them.
        with hidden("sklearn", "scipy.stats"), _without_setuptools():
            import mxnet
        if mxnet.__file__ is None:  # a folder of links that pip leaves when it removes MXNet
            raise ModuleNotFoundError(name="mxnet")
    except ModuleNotFoundError as error:
        if error.name != "mxnet":
            raise
        raise ModuleNotFoundError(INSTALL_HINT, name="mxnet") from None
    if mxnet.contrib.quantization.stats is None:
        mxnet.contrib.quantization.stats = object()  # Entropy calibration checks for it and never uses it.
    return mxnet


@contextlib.contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Make the import of modules fail in the block, by a finder: SciPy stumbles over None in `sys.modules`."""

    def find_spec(name: str, *_: object) -> None:
        if name in names:
            raise ModuleNotFoundError(f"{name} is hidden by fcnxs", name=name)

    before = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    finder = SimpleNamespace(find_spec=find_spec)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        sys.modules.update(before)


@contextlib.contextmanager
def _without_setuptools() -> Iterator[None]:
    """Let `import distutils` in the block give Python's own, up to Python 3.11; MXNet compares versions by it.

    Where setuptools is installed, it gives its own copy, and loads all of itself, which takes half a second.
    """
    if sys.version_info >= (3, 12) or "distutils" in sys.modules:
        yield
        return
    finders = [each for each in sys.meta_path if type(each).__name__ == "DistutilsMetaFinder"]
    for finder in finders:
        sys.meta_path.remove(finder)
    try:
        yield
    finally:
        sys.meta_path[:0] = finders
        for name in [name for name in sys.modules if name.partition(".")[0] == "distutils"]:
            del sys.modules[name]  # setuptools warns if it finds Python's own


def _import_gluoncv() -> ModuleType:
    """GluonCV 0.10.5, without the side effects of its import.

    GluonCV refuses to load if PyTorch 2 is installed, which is not needed here, so PyTorch is hidden meanwhile.
    It also makes Pillow accept truncated images in the whole process; the setting is restored.
    """
    from PIL import ImageFile

    truncated = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with hidden("torch"):
            import gluoncv
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = truncated
    return gluoncv

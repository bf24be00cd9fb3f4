"""What is known of the GPUs that a program computes on: name, capability, driver, CUDA and cuDNN."""

from __future__ import annotations

import ctypes
from typing import Iterable, Iterator

from ..compat import mxnet as mx
from .facts import nvidia_smi
from .gpus import capability_of, shown

PROPERTIES = 4096  # bytes; cudaDeviceProp of CUDA 11 has 736, of which the first 256 are the name


def described(gpus: Iterable[int]) -> str:
    """GPUs by their numbers, in words: `gpu(0), Tesla T4 (7.5); driver 535.129.03, CUDA 11.2, cuDNN 8.5.0`.

    What the libraries do not tell is left out. Takes the time of one `nvidia-smi`.
    """
    return "; ".join([", ".join(map(_named, gpus)), *filter(None, [", ".join(_versions())])])


def _named(number: int) -> str:
    room, capability = ctypes.create_string_buffer(PROPERTIES), capability_of(number)
    ask = _function("cudaGetDeviceProperties")
    known = ask is not None and ask(room, number) == 0
    name = f", {room.value.decode(errors='replace')}" if known else ""
    return f"gpu({number}){name}" + (f" ({shown(capability)})" if capability else "")


def _versions() -> Iterator[str]:
    """Versions of the driver, and of CUDA and cuDNN as MXNet loaded them."""
    drivers = {gpu.driver for gpu in nvidia_smi()[0]}
    if drivers:
        yield f"driver {drivers.pop()}"
    ask, version = _function("cudaRuntimeGetVersion"), ctypes.c_int()
    if ask is not None and ask(ctypes.byref(version)) == 0:  # 11020 is 11.2
        yield f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
    ask = _function("cudnnGetVersion")
    if ask is not None:  # 8500 is 8.5.0
        ask.restype = ctypes.c_size_t
        number = ask()
        yield f"cuDNN {number // 1000}.{number % 1000 // 100}.{number % 100}"


def _function(name: str) -> ctypes._CFuncPtr | None:
    """Function of a library that MXNet is linked to, found through MXNet's own; None without it."""
    return getattr(ctypes.CDLL(mx.libinfo.find_lib_path()[0]), name, None)

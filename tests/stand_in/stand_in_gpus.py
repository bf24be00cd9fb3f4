"""GPUs that are CPU devices: `mx.gpu(i)` computes on MXNet's CPU device 101 + i, on a machine without a GPU.

MXNet's Python hands devices to its C library, and gets them back, in few functions. They are wrapped here, so
that all Python code sees `gpu(i)`, and the library its CPU's device. As with real GPUs,

- a file says which device each array was on, and loading puts it there again, or fails without that device;
- an operator takes no arrays of different devices, and those that oneDNN alone has do not run;
- there are as many GPUs as were asked for.

What depends on CUDA cannot be seen: the order of sums, cuDNN's choices, time, memory. Random numbers come from
the CPU's generators. With `FCNXS_STAND_IN_GPUS=2` and this folder in PYTHONPATH, every process that imports
MXNet has two such GPUs (`sitecustomize.py`).

Sources: apache/mxnet 1.9.1 include/mxnet/c_api.h; src/ndarray/ndarray.cc, NDArray::Save and Load.
"""

from __future__ import annotations

import ctypes
import struct
from contextlib import contextmanager, suppress
from functools import partial
from math import prod
from pathlib import Path

CPU, GPU = 1, 2  # MXNet's numbers of the kinds of devices
FIRST = 101  # the CPU's device that stands for gpu(0), far from those that a test uses as such
FREE, TOTAL = 6 << 30, 8 << 30  # bytes of each GPU's memory
# Bytes of a value, by MXNet's number of its type.
SIZES = {0: 4, 1: 8, 2: 2, 3: 1, 4: 4, 5: 1, 6: 8, 7: 1, 12: 2}
# Functions of the C library that take a device: where its kind is among their arguments, its number follows.
TAKE_A_DEVICE = {
    **{"MXNDArrayCreateEx": 2, "MXNDArrayCreateEx64": 2, "MXStorageEmptyCache": 0, "MXRandomSeedContext": 1},
    **{"MXExecutorSimpleBindEx": 1, "MXExecutorSimpleBindEx64": 1},
    **{"MXExecutorBindEX": 1, "MXExecutorReshapeEx": 2},
}


@contextmanager
def installed(mx, count: int):
    """In the block, and in this process, MXNet `mx` has `count` GPUs, which are CPU devices."""
    lib, before = mx.base._LIB, []

    def replace(owner, name, function) -> None:
        before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, partial(function, getattr(owner, name)))

    def existing(number: int) -> int:
        if 0 <= number < count:
            return number
        raise mx.MXNetError(f"Check failed: e == cudaSuccess: CUDA: invalid device ordinal (gpu({number}))")

    def with_cpu(place, real, *args):
        kind, number = (int(getattr(each, "value", each)) for each in args[place : place + 2])
        if kind == GPU:
            device = ctypes.c_int(CPU), ctypes.c_int(FIRST + existing(number))
            args = *args[:place], *device, *args[place + 2 :]
            if "Bind" in real.__name__:
                refuse_onednn(args[0])
        return real(*args)

    def refuse_onednn(symbol) -> None:
        text = ctypes.c_char_p()
        lib.MXSymbolPrint(symbol, ctypes.byref(text))
        if b"Op:_sg_mkldnn" in text.value:
            raise mx.MXNetError("Operator _sg_mkldnn_conv is not implemented for GPU.")

    def context(real, handle, kind, number) -> int:
        result = real(handle, kind, number)
        if kind._obj.value == CPU and number._obj.value >= FIRST:
            kind._obj.value, number._obj.value = GPU, number._obj.value - FIRST
        return result

    def device_of(handle) -> tuple:
        kind, number = ctypes.c_int(), ctypes.c_int()
        lib.MXNDArrayGetContext(ctypes.c_void_p(handle), ctypes.byref(kind), ctypes.byref(number))
        return (
            (GPU, number.value) if kind.value == GPU else (CPU, 0)
        )  # on the CPU's devices all kernels are equal

    def updater_of_a_store(real, updater):
        """A KVStore of the CPU's has its weights on cpu(0); one of GPUs copies them first to where it adds."""

        def update(*args) -> None:
            stores.append(updater)
            try:
                updater(*args)
            finally:
                stores.pop()

        return real(update)

    def refuse_mixed(arrays, what: str) -> None:
        if stores:
            return
        found = {device_of(handle) for handle in arrays if handle}
        if len(found) > 1:
            raise mx.MXNetError(f"{what} is given arrays of different devices: {sorted(found)}")

    def invoke(real, op, count, inputs, outputs, out, parameters, keys, values, *rest) -> int:
        given = [out._obj[i] for i in range(outputs._obj.value)] if out._obj else []
        if op.value not in copying:
            refuse_mixed([*inputs[: count.value], *given], "an operator")
        for i in range(parameters.value):
            if values[i].startswith(b"gpu("):
                values[i] = f"cpu({FIRST + existing(int(values[i][4:-1]))})".encode()
        return real(op, count, inputs, outputs, out, parameters, keys, values, *rest)

    def invoke_cached(real, op, count, inputs, *rest) -> int:
        refuse_mixed(inputs[: count.value], "a hybridized block")
        return real(op, count, inputs, *rest)

    def how_many(real, result) -> int:
        result._obj.value = count
        return 0

    def memory(real, number, free, total) -> int:
        existing(int(getattr(number, "value", number)))
        free._obj.value, total._obj.value = FREE, TOTAL
        return 0

    def save(real, file, *args) -> int:
        result = real(file, *args)
        # Where the disk is full the file ends early, and MXNet does not say so.
        with suppress(struct.error), open(file.value, "r+b") as stream:
            for offset, (kind, number) in devices_in(stream.read()):
                if kind == CPU and number >= FIRST:
                    stream.seek(offset)
                    stream.write(struct.pack("<ii", GPU, number - FIRST))
        return result

    def load(real, source):
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        found = real(source)
        arrays = found.values() if isinstance(found, dict) else found
        placed = [
            array.copyto(mx.gpu(existing(number))) if kind == GPU else array
            for array, (_, (kind, number)) in zip(arrays, devices_in(content))
        ]
        return dict(zip(found, placed)) if isinstance(found, dict) else placed

    copying, stores = set(), []
    for name in (b"_copyto", b"_CrossDeviceCopy"):
        op = ctypes.c_void_p()
        lib.NNGetOpHandle(name, ctypes.byref(op))
        copying.add(op.value)
    functions = {
        **{name: partial(with_cpu, place) for name, place in TAKE_A_DEVICE.items()},
        **{"MXNDArrayGetContext": context, "MXImperativeInvokeEx": invoke, "MXInvokeCachedOpEx": invoke_cached},
        **{"MXGetGPUCount": how_many, "MXGetGPUMemoryInformation64": memory, "MXNDArraySave": save},
    }
    for name, function in functions.items():
        replace(lib, name, function)
    replace(mx.kvstore.kvstore, "_updater_wrapper", updater_of_a_store)
    for owner in (mx.nd, mx.ndarray.utils, mx.contrib.quantization):
        for name in ("load", "load_frombuffer", "nd_load"):
            if hasattr(owner, name):
                replace(owner, name, load)
    try:
        yield
    finally:
        for owner, name, function in reversed(before):
            setattr(owner, name, function)


def devices_in(content: bytes):
    """Of each array of a file: where its device stands, and the device, (kind, number)."""
    (arrays,), place = struct.unpack_from("<Q", content, 16), 24
    for _ in range(arrays):
        (magic,) = struct.unpack_from("<I", content, place)
        place += {0xF993FAC9: 8, 0xF993FAC8: 4}.get(
            magic, 0
        )  # V2 has the storage's kind too; the oldest nothing
        (dimensions,) = struct.unpack_from("<I", content, place)
        number = "q" if magic in (0xF993FAC9, 0xF993FAC8) else "I"
        shape = struct.unpack_from(f"<{dimensions}{number}", content, place + 4)
        place += 4 + dimensions * struct.calcsize(number)
        yield place, struct.unpack_from("<ii", content, place)
        place += 12 + prod(shape) * SIZES[struct.unpack_from("<i", content, place + 8)[0]]

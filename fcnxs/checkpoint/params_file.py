"""Files of MXNet's parameters (`mx.nd.save`, Gluon's `save_parameters`), of the CPU's arrays on every machine.

`mx.nd.load` trusts a file: a wrong number of dimensions ends the process, and what was saved on a GPU goes to
the GPU of that number, or cannot be loaded where there are fewer. So files are read here, and their headers
checked first. Format: apache/mxnet 1.9.1 src/ndarray/ndarray.cc, NDArray::Save, Load and LegacyLoad.
"""

from __future__ import annotations

import os
import struct
from math import prod
from pathlib import Path
from typing import BinaryIO, Dict, List, NamedTuple, Tuple

import numpy as np

from ..compat import mxnet as mx
from ..errors import FCNXSError, printable
from ..net import Params, is_input
from ..system.files import refuse_irregular
from ..system.mapped import mapped as mapped_file

LIST_MAGIC, V1, V2, V3 = 0x112, 0xF993FAC8, 0xF993FAC9, 0xF993FACA
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])  # MXNet's stand-in for a type that NumPy lacks
# Types of values, by MXNet's numbers of them.
TYPES = {
    **{0: "float32", 1: "float64", 2: "float16", 3: "uint8", 4: "int32", 5: "int8", 6: "int64", 7: "bool"},
    12: BFLOAT16,
}
MAPPED = (0, 1)  # those whose arrays can be mapped
MOST_DIMENSIONS = 32
NOT_PARAMS = "not a file of MXNet parameters, or damaged"


def load_params(file: str | Path, mapped: bool = False) -> Dict[str, mx.nd.NDArray]:
    """Arrays by name, of any type and shape, on `mx.cpu()`, whatever the device that they were saved on.

    Args:
        mapped: map float32 and float64 arrays into memory: pages are read at their first use, and nothing is
            copied. Writing to the arrays does not change the file. The file may be replaced meanwhile. If
            it is cut, a command ends with a line, and another program by SIGBUS (`system/mapped.py`).

    Raises:
        FCNXSError: it is not a file of named arrays of MXNet, or damaged.
    """
    arrays, names = headers(file)
    if not names:
        raise FCNXSError(f"{file}: {NOT_PARAMS}: it holds arrays without names")
    content = mapped_file(file) if mapped and any(array.kind in MAPPED for array in arrays) else None
    try:
        with open(file, "rb") as stream:
            return {
                name: _copy(stream, array)
                if content is None or array.kind not in MAPPED
                else _view(content, array)
                for name, array in zip(names, arrays)
            }
    except (ValueError, OSError) as error:
        raise FCNXSError(f"{file}: {NOT_PARAMS}: {error}") from None


def load_arrays(file: Path, ctx: mx.Context | None = None, mapped: bool = False) -> Tuple[Params, Params]:
    """Parameters and auxiliary states of a file of parameters; `mapped` as for `load_params`.

    Raises:
        FCNXSError: it cannot be read, or names something else.
    """
    params = {"arg": {}, "aux": {}}
    for key, array in load_params(file, mapped).items():
        kind, _, name = key.partition(":")
        if kind not in params or not name:
            raise FCNXSError(
                f"{file}: {key!r:.80} is not a parameter name; those of a checkpoint look like arg:fc6_bias"
            )
        if not is_input(name):
            params[kind][name] = array if ctx is None else array.as_in_context(ctx)
    return params["arg"], params["aux"]


def check_finite(params: Params, where: object) -> Params:
    """Return the parameters.

    Raises:
        FCNXSError: a value is not finite; the message names `where` and the parameter.
    """
    floats = {name: array for name, array in params.items() if np.dtype(array.dtype).kind == "f"}
    single = {name for name, array in floats.items() if array.dtype == np.float32}  # all that MXNet looks at
    flags = {name: mx.nd.all_finite(floats[name]) if name in single else None for name in floats}
    for name, flag in flags.items():
        if flag is None or not flag.asscalar():
            values = floats[name].asnumpy()
            wrong = values[~np.isfinite(values)]
            if wrong.size:
                raise FCNXSError(
                    f"{where}: {wrong.size} of the {values.size} values of parameter {name} are not finite "
                    f"({wrong[0]}): training failed before they were saved; take an earlier epoch"
                )
    return params


def usable(params: Params, where: object) -> Params:
    """The same parameters, those of float16 and float64 as float32; others stay as they are.

    Raises:
        FCNXSError: a value is not finite, or of float64 and none of float32; the message names the parameter.
    """
    check_finite(params, where)
    kinds = {name: np.dtype(array.dtype) for name, array in params.items()}
    other = [name for name, kind in kinds.items() if kind in (np.float16, np.float64)]
    single = {name: as_float32(params[name].asnumpy(), name, where) for name in other}
    return {**params, **{name: mx.nd.array(x, params[name].context, np.float32) for name, x in single.items()}}


def as_float32(values: np.ndarray, name: str, where: object) -> np.ndarray:
    """Floating-point numbers of any type and shape as float32; itself if they are.

    Raises:
        FCNXSError: a value is none of float32; the message names `where` and the parameter.
    """
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32, copy=False)
    lost = values[(single != values) & ~np.isnan(values)] if single is not values else values[:0]
    if lost.size:
        raise FCNXSError(
            f"{where}: parameter {name} is {values.dtype}, and {lost.size} of its {values.size} values are no "
            f"numbers of float32, such as {lost[0]}; if they may be rounded, save it as array.astype('float32')"
        )
    return single


def write_arrays(file: Path, arrays: Dict[str, mx.nd.NDArray]) -> None:
    """Write named arrays, of any shapes and on any devices, in MXNet's format, as arrays of `mx.cpu()`.

    Raises:
        OSError: they cannot be written, to the last byte: MXNet does not tell of a disk that gets full.
    """
    try:
        mx.nd.save(str(file), {name: array.as_in_context(mx.cpu()) for name, array in arrays.items()})
        headers(file)
    except (mx.MXNetError, FCNXSError):
        raise OSError("the file was not written completely; is the disk full?") from None


def headers(file: str | Path) -> Tuple[List[_Array], List[str]]:
    """Places of all arrays of a file, and their names; no values are read.

    Raises:
        FCNXSError: it is not a file of MXNet's arrays, or cut off.
    """
    refuse_irregular(file)
    try:
        with open(file, "rb") as stream:
            return _walk(stream, os.fstat(stream.fileno()).st_size)
    except (ValueError, OSError) as error:
        raise FCNXSError(f"{file}: {NOT_PARAMS}: {error}") from None


def _view(content: np.ndarray, array: _Array) -> mx.nd.NDArray:
    """An array of a mapped file."""
    kind = np.dtype(TYPES[array.kind])
    part = content[array.offset : array.offset + prod(array.shape) * kind.itemsize]
    return mx.nd.from_numpy(part.view(kind).reshape(array.shape))


def _copy(stream: BinaryIO, array: _Array) -> mx.nd.NDArray:
    """An array of an open file, with memory of its own; ValueError if the file has been cut meanwhile."""
    stream.seek(array.offset)
    values = np.fromfile(stream, TYPES[array.kind], prod(array.shape)).reshape(array.shape)
    return mx.nd.array(values, mx.cpu(), values.dtype)


class _Array(NamedTuple):
    """Where an array lies in a file: MXNet's number of its type, its shape, its first byte."""

    kind: int
    shape: List[int]
    offset: int


def _walk(stream: BinaryIO, size: int) -> Tuple[List[_Array], List[str]]:
    """Read the headers of all arrays, and the names; ValueError if one is wrong, or beyond the file's end."""
    arrays, names = [], []

    def number(kind: str) -> int:
        content = stream.read(struct.calcsize(kind))
        if len(content) < struct.calcsize(kind):
            raise ValueError("it is cut off")
        return struct.unpack(f"<{kind}", content)[0]

    def skip(length: int) -> None:
        if stream.tell() + length > size:
            raise ValueError("it is cut off")
        stream.seek(length, os.SEEK_CUR)

    if number("Q") != LIST_MAGIC:
        raise ValueError("it does not begin with the mark of such a file")
    number("Q")  # reserved
    for _ in range(number("Q")):
        magic = number("I")
        if magic in (V2, V3) and number("i") != 0:
            raise ValueError("an array is sparse")
        dimensions = number("I") if magic in (V1, V2, V3) else magic  # of the oldest files
        if not 0 < dimensions <= MOST_DIMENSIONS:
            raise ValueError(f"an array has {dimensions} dimensions, by its header")
        shape = [number("q" if magic in (V1, V2, V3) else "I") for _ in range(dimensions)]
        skip(8)  # the device that it was on, which counts for nothing
        kind = number("i")
        if kind not in TYPES or min(shape) < 1:
            raise ValueError(f"an array is of type {kind} and shape {shape!s:.80}, by its header")
        arrays.append(_Array(kind, shape, stream.tell()))
        skip(prod(shape) * np.dtype(TYPES[kind]).itemsize)
    for _ in range(number("Q")):
        length, start = number("Q"), stream.tell()
        skip(length)
        stream.seek(start)
        names.append(_name_of(stream.read(length)))
    if len({*names}) < len(names) or len(names) not in (0, len(arrays)):
        raise ValueError(f"its {len(arrays)} arrays have {len({*names})} different names")
    return arrays, names


def _name_of(content: bytes) -> str:
    try:
        if b"\0" not in content:  # at which MXNet would end the name
            return content.decode()
    except UnicodeDecodeError:
        pass
    raise ValueError(f"the name {printable(content)} of an array is not text in UTF-8")

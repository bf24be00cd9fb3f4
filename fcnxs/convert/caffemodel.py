"""Read and write `.caffemodel` files, layer by layer.

A `.caffemodel` is a protobuf message NetParameter, of old files (V1 layers, shapes as num, channels, height,
width) or of new ones. Caffe writes the settings of each layer beside its blobs; other programs may leave them
out.
"""

from __future__ import annotations

import mmap
from math import prod
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Tuple

import numpy as np
from google.protobuf.message import DecodeError

from ..errors import FCNXSError, printable, reason
from .caffe_schema import CLASSES as _MESSAGES
from .caffe_schema import OLD_SHAPE, Message

Blobs = Dict[str, List[np.ndarray]]

MOST_DIMENSIONS = 32  # of a blob, Caffe's kMaxBlobAxes
NOT_WEIGHTS = "not a caffemodel, nor a file of MXNet, PyTorch or safetensors"


def iterate_layers(path: str | Path) -> Iterator[Tuple[str, List[np.ndarray]]]:
    """Yield each layer of a `.caffemodel` that has blobs: its name and its arrays, float32, of any shape.

    Raises:
        FCNXSError: the file is no caffemodel, is cut off, or has a blob whose values do not fit its shape.
    """
    for layer, arrays in iterate_messages(path):
        if arrays:
            yield printable(layer.name), arrays


def iterate_messages(path: str | Path) -> Iterator[Tuple[Message, List[np.ndarray]]]:
    """Yield the message of each layer of a `.caffemodel`, without its blobs, and its arrays, of any shape.

    The message is a LayerParameter, or of old files a V1LayerParameter. Raises as `iterate_layers`.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for number, start, end in _top_fields(content, path):
                kind = {2: "V1LayerParameter", 100: "LayerParameter"}.get(number)
                if kind is not None:
                    layer = _MESSAGES[kind].FromString(content[start:end])
                    content.madvise(mmap.MADV_DONTNEED)  # the pages that were read are not kept in memory
                    arrays = [array_of(blob, printable(layer.name), path) for blob in layer.blobs]
                    layer.ClearField("blobs")
                    kept = _MESSAGES[kind]()
                    kept.CopyFrom(layer)
                    del layer  # its memory, with a second copy of the values, is freed as a whole
                    yield kept, arrays
    except DecodeError:
        raise FCNXSError(f"{path}: not a caffemodel, or damaged: a layer cannot be decoded") from None
    except (OSError, ValueError) as error:
        if isinstance(error, FCNXSError):
            raise
        raise FCNXSError(f"{path}: cannot read this caffemodel: {reason(error)}") from None


def write_caffemodel(path: str | Path, blobs: Blobs, v1: bool = False) -> None:
    """Write layers as a `.caffemodel`; with `v1` in the old format, whose shapes have four numbers."""
    net = _MESSAGES["NetParameter"](name="fcnxs")
    for name, arrays in blobs.items():
        layer = (net.layers if v1 else net.layer).add(name=name)
        for array in arrays:
            blob = layer.blobs.add(data=[np.ascontiguousarray(array, "<f4").tobytes()])
            if v1:
                for key, size in zip(OLD_SHAPE, (1, 1, 1, 1, *array.shape)[-4:]):
                    setattr(blob, key, size)
            else:
                blob.shape.dim.extend(array.shape)
    Path(path).write_bytes(net.SerializeToString())


def array_of(blob: Message, layer: str, path: str | Path) -> np.ndarray:
    """Values of a blob as float32, in the shape that it declares, of any number of dimensions.

    Args:
        layer: name for messages.

    Raises:
        FCNXSError: the values do not fit the shape.
    """
    chunks, kind = (blob.data, "<f4") if blob.data else (blob.double_data, "<f8")
    data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else tuple(getattr(blob, key) for key in OLD_SHAPE)
    if len(shape) > MOST_DIMENSIONS:
        raise FCNXSError(
            f"{path}: damaged, copy it again: a blob of {layer!r} declares {len(shape)} dimensions, and Caffe "
            f"allows {MOST_DIMENSIONS}"
        )
    if not all(0 <= size < 2**31 for size in shape) or len(data) != prod(shape) * np.dtype(kind).itemsize:
        raise FCNXSError(
            f"{path}: a blob of layer {layer!r} declares shape {shape}, but holds {len(data)} bytes of values"
        )
    return np.frombuffer(data, kind).reshape(shape).astype("<f4", copy=False)


def _top_fields(content: mmap.mmap, path: str | Path) -> Iterable[Tuple[int, int, int]]:
    """Yield the fields of the outermost message: number, start and end, so that layers are read one by one."""
    position = 0
    while position < len(content):
        tag, position = _varint(content, position, path)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            _, end = _varint(content, position, path)
        elif wire_type == 2:
            length, position = _varint(content, position, path)
            end = position + length
        elif wire_type in (1, 5):
            end = position + {1: 8, 5: 4}[wire_type]
        else:
            raise FCNXSError(f"{path}: {NOT_WEIGHTS} (unknown wire type {wire_type} at byte {position})")
        if end > len(content) or number == 0:
            raise FCNXSError(f"{path}: {NOT_WEIGHTS}, or cut off (at byte {position} of {len(content)})")
        yield number, position, end
        position = end


def _varint(content: mmap.mmap, position: int, path: str | Path) -> Tuple[int, int]:
    """Decode a number of protobuf's variable length; also return the position behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            break
        byte = content[position]
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
    raise FCNXSError(f"{path}: {NOT_WEIGHTS}, or cut off (at byte {position} of {len(content)})")

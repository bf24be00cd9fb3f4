"""Read and write `.caffemodel` files.

A `.caffemodel` is a protobuf message NetParameter. The schema below has only the fields that hold weights
(BVLC/caffe src/caffe/proto/caffe.proto at 1.0), of old files (V1 layers, shapes as num, channels, height,
width) and of new ones. It declares `data` as bytes: packed floats have the same encoding, and bytes are read
without a Python object for each number.
"""

from __future__ import annotations

import mmap
from math import prod
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Tuple

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from ..errors import FCNXSError, printable, reason

Blobs = Dict[str, List[np.ndarray]]


def _schema() -> Dict[str, Any]:
    """Message classes by name, made from a table of fields: name, number, type, and whether it repeats."""
    field = descriptor_pb2.FieldDescriptorProto
    text, whole, binary = field.TYPE_STRING, field.TYPE_INT64, field.TYPE_BYTES
    messages = {
        "BlobShape": [("dim", 1, whole, True)],
        "BlobProto": [
            *((name, number, whole, False) for number, name in enumerate(OLD_SHAPE, 1)),
            ("data", 5, binary, True),
            ("shape", 7, "BlobShape", False),
            ("double_data", 8, binary, True),
        ],
        "LayerParameter": [("name", 1, text, False), ("type", 2, text, False), ("blobs", 7, "BlobProto", True)],
        "V1LayerParameter": [
            ("name", 4, text, False),
            ("type", 5, whole, False),
            ("blobs", 6, "BlobProto", True),
        ],
        "NetParameter": [
            ("name", 1, text, False),
            ("layers", 2, "V1LayerParameter", True),
            ("layer", 100, "LayerParameter", True),
        ],
    }
    file = descriptor_pb2.FileDescriptorProto(name="fcnxs_caffe.proto", package="fcnxs", syntax="proto2")
    for message, fields in messages.items():
        described = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            kinds = {"type": kind}
            if isinstance(kind, str):
                kinds = {"type": field.TYPE_MESSAGE, "type_name": f".fcnxs.{kind}"}
            described.field.add(name=name, number=number, label=label, **kinds)
        if message == "BlobShape":
            described.field[-1].options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"fcnxs.{name}")) for name in messages
    }


MOST_DIMENSIONS = 32  # of a blob, Caffe's kMaxBlobAxes
NOT_WEIGHTS = "not a caffemodel, nor a file of MXNet, PyTorch or safetensors"
OLD_SHAPE = ("num", "channels", "height", "width")
_MESSAGES = _schema()


def iterate_layers(path: str | Path) -> Iterator[Tuple[str, List[np.ndarray]]]:
    """Yield each layer of a `.caffemodel` that has blobs: its name and its arrays, float32, of any shape.

    Raises:
        FCNXSError: the file is no caffemodel, is cut off, or has a blob whose values do not fit its shape.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for number, start, end in _top_fields(content, path):
                kind = {2: "V1LayerParameter", 100: "LayerParameter"}.get(number)
                if kind is not None:
                    layer = _MESSAGES[kind].FromString(content[start:end])
                    content.madvise(mmap.MADV_DONTNEED)  # the pages that were read are not kept in memory
                    name = printable(layer.name)
                    arrays = [_array(blob, name, path) for blob in layer.blobs]
                    del layer  # a second copy of the values
                    if arrays:
                        yield name, arrays
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


def _array(blob: Any, layer: str, path: str | Path) -> np.ndarray:  # noqa: ANN401  (a generated class)
    """Values of a blob as float32, in the shape it declares."""
    chunks, kind = (blob.data, "<f4") if blob.data else (blob.double_data, "<f8")
    data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else tuple(getattr(blob, key) for key in OLD_SHAPE)
    if len(shape) > MOST_DIMENSIONS:
        raise FCNXSError(
            f"{path}: damaged, copy it again: a blob of {layer!r} declares {len(shape)} dimensions, and Caffe "
            f"allows {MOST_DIMENSIONS}"
        )
    if any(size < 0 for size in shape) or len(data) != prod(shape) * np.dtype(kind).itemsize:
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

"""Read named arrays from files in MXNet's, PyTorch's and the safetensors format."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Iterator, Tuple

import numpy as np

from ..checkpoint.params_file import LIST_MAGIC, load_params
from ..errors import FCNXSError, printable, reason


def kind_of_file(path: str | Path) -> str:
    """Kind of a file of weights by its first bytes: gluon, torch, safetensors, otherwise caffe.

    Raises:
        FCNXSError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise FCNXSError(f"{path}: cannot read these weights: {reason(error)}") from None
    if start.startswith(LIST_MAGIC.to_bytes(8, "little")):
        return "gluon"
    if start.startswith((b"PK\x03\x04", b"\x80\x02")):  # a zip file, or a pickle of older versions
        return "torch"
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32:  # length of the header, header
        return "safetensors"
    return "caffe"


def iterate_tensors(path: str | Path, kind: str) -> Iterator[Tuple[str, np.ndarray]]:
    """Yield names and arrays, float32 of any shape, of a file.

    Args:
        kind: kind of the file, from `kind_of_file`; not caffe.

    Raises:
        FCNXSError: the file is damaged, has an array that is not of floats, or PyTorch is not installed.
    """
    tensors = {"gluon": _mxnet, "torch": _torch, "safetensors": _safetensors}[kind](path)
    for name, values in tensors.items():
        name = printable(name)
        if values.dtype.kind == "f":
            yield name, values.astype(np.float32, copy=False)
        elif "num_batches_tracked" not in name:
            raise FCNXSError(f"{path}: {name} has type {values.dtype}; weights must be floating-point numbers")


def _mxnet(path: str | Path) -> dict:
    return {name: array.asnumpy() for name, array in load_params(path).items()}


def _torch(path: str | Path) -> dict:
    try:
        import torch
    except ModuleNotFoundError:
        raise FCNXSError(
            f"{path}: PyTorch's format needs PyTorch: pip install torch, or save the weights as .safetensors"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)  # runs no code of the file's
        content = content.get("state_dict", content)
        return {
            name: (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()
            for name, tensor in content.items()
        }
    except Exception as error:  # (a damaged file can raise anything: KeyError, EOFError, ...)
        what = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise FCNXSError(f"{path}: not the state dict of a PyTorch net, or damaged: {what}") from None


def _safetensors(path: str | Path) -> dict:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise FCNXSError(f"{path}: not a safetensors file, or damaged: {reason(error)}") from None
    except (KeyError, TypeError) as error:
        raise FCNXSError(f"{path}: has arrays of a type that NumPy does not know: {error}") from None

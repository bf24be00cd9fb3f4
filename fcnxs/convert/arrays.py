"""Read the named arrays of a file of weights, of any framework.

`iterate_tensors` gives the arrays of MXNet's, PyTorch's and safetensors' files by the file's names.
`arrays_of` gives them, and a caffemodel's, by the layers' names here.
"""

from __future__ import annotations

import os
import warnings
import zipfile
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, NamedTuple, Tuple

import numpy as np

from ..checkpoint.params_file import LIST_MAGIC, as_float32, headers, load_params
from ..errors import FCNXSError, last_line, printable, reason
from ..system.files import refuse_irregular
from ..system.json_files import told_of
from .caffe_layers import as_layer
from .caffe_names import name_here
from .caffe_schema import Message
from .caffemodel import iterate_messages

FCN_MEAN = (122.67892, 116.66877, 104.00699)  # RGB; of shelhamer/fcn.berkeleyvision.org
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RGB, of images of 0 to 1

VGG16_CONVOLUTIONS = (
    *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3"),
    *("conv4_1", "conv4_2", "conv4_3", "conv5_1", "conv5_2", "conv5_3"),
)
VGG16_LAYERS = (*VGG16_CONVOLUTIONS, "fc6", "fc7", "fc8")
# Constants of FCN-8s at-once; its files hold them as layers.
SCALES = {"scale_pool4": 0.01, "scale_pool3": 0.0001}

# Channels of the first convolution of a trunk, at full width, by its name.
FIRST = {"conv1_1": 64, "conv1_1color": 64, "conv1_1hha": 64, "conv1": 96}
# The nets that finetuning starts from, and the classifiers that they are the trunks of.
TRUNKS = {"vgg16fc": "vgg16", "alexnetfc": "alexnet"}

KINDS = ("weight", "bias")
COUNTER = "num_batches_tracked"  # in the name of what is no weight
FLOATS = ("F16", "F32", "F64")  # types of safetensors that NumPy has

# Layers of VGG-16, conv1_1 to fc8, in each framework; the numbers of `features` count relus and poolings too.
FEATURES = tuple(f"features.{place}" for place in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))
GLUON = (*FEATURES, "features.31", "features.33", "output")  # of save_parameters
TORCHVISION = (*FEATURES, "classifier.0", "classifier.3", "classifier.6")
TIMM = (*FEATURES, "pre_logits.fc1", "pre_logits.fc2", "head.fc")


class NamedArray(NamedTuple):
    """An array of a file: title for messages, layer and parameter here, and the change made (`done`)."""

    title: str
    layer: str
    parameter: str | None
    values: np.ndarray
    done: str


def arrays_of(path: str | Path, layers: List[Message]) -> Tuple[str, Iterator[NamedArray]]:
    """Framework of a file (caffe, gluon, or torchvision, timm's too), and its arrays, of any shape, one by one.

    Args:
        layers: to which the layers of a caffemodel are added, as they are read.

    Raises:
        FCNXSError: the file cannot be read, is damaged, or has arrays that no net of this package can take.
    """
    kind = kind_of_file(path)
    if kind == "caffe":
        return kind, _arrays_of_caffe(path, layers)
    framework = "gluon" if kind == "gluon" else "torchvision"
    return framework, _arrays_of_sequential(path, dict(iterate_tensors(path, kind)))


def _arrays_of_caffe(path: str | Path, layers: List[Message]) -> Iterator[NamedArray]:
    """Yield the arrays of a caffemodel.

    Raises:
        FCNXSError: as `iterate_layers`; or a scale layer multiplies by another constant than the net does.
    """
    for message, blobs in iterate_messages(path):
        layers.append(as_layer(message))
        layer = printable(message.name)
        name = name_here(layer, blobs[0].shape[-1] if blobs and blobs[0].ndim else 0)
        for i, values in enumerate(blobs):
            done, parameter = "", f"{name}_{KINDS[i]}" if i < 2 else None
            if layer in SCALES:
                if i > 0 or not np.allclose(values, SCALES[layer], rtol=1e-6, atol=0):
                    other = values.flat[np.abs(values - SCALES[layer]).argmax()] if values.size else np.nan
                    raise FCNXSError(
                        f"{path}: layer {layer} multiplies by {other:.6g}, but the net by {SCALES[layer]:g}"
                    )
                parameter, done = None, f"dropped: the net has the constant {SCALES[layer]:g}"
            yield NamedArray(f"{layer}[{i}] {blobs[i].shape}", name, parameter, values, done)


def for_images(array: NamedArray, factor: np.ndarray, bgr: bool) -> NamedArray:
    """Weights of the first convolution of a caffemodel, for RGB images of 0 to 255 minus the mean.

    Args:
        factor: what the net multiplies each of its input's channels by, float64 (3,).
        bgr: its channels are in reverse order.
    """
    values, done = array.values, []
    if array.layer in FIRST and values.ndim == 4 and values.shape[1] == 3:
        if (factor != 1).any():
            values = (values * factor[:, np.newaxis, np.newaxis]).astype(np.float32)
            done.append("times " + ", ".join(f"{number:g}" for number in dict.fromkeys(factor)))
        if bgr:
            values = values[:, ::-1]
            done.append("BGR to RGB")
    return array._replace(values=values, done=", ".join(done))


def _arrays_of_sequential(path: str | Path, tensors: Dict[str, np.ndarray]) -> Iterator[NamedArray]:
    """Yield the arrays of a VGG-16 by Gluon's, torchvision's or timm's names.

    conv1_1 is divided by the frameworks' scale of the input, so that it takes images of 0 to 255.

    Args:
        path: the file, for messages.
        tensors: float32 arrays by name, of any shape; emptied on the way, to save memory.

    Raises:
        FCNXSError: the net has batch normalisation.
    """
    if any("running_mean" in key for key in tensors):
        raise FCNXSError(f"{path}: has batch normalisation; the FCNs are built on VGG-16 without it")
    names = _sequential_names(tensors)
    for key in list(tensors):
        values, done = tensors.pop(key), ""
        layer, kind = names.get(key, (key, None))
        parameter = kind and f"{layer}_{kind}"
        if parameter == "conv1_1_weight" and values.ndim == 4 and values.shape[1] == 3:
            scale = 255 * np.asarray(IMAGENET_STD).reshape(1, 3, 1, 1)
            values, done = (values / scale).astype(np.float32), "divided by 255 times the standard deviation"
        yield NamedArray(f"{key} {values.shape}", layer, parameter, values, done)


def _sequential_names(keys: Iterable[str]) -> Dict[str, Tuple[str, str]]:
    """Layer and kind (weight or bias) of every key that a framework's names include."""
    by_order = [*(f"conv{i}" for i in range(13)), *(f"dense{i}" for i in range(3))]
    schemes = {}
    for scheme in (GLUON, TORCHVISION, TIMM):
        schemes.update(
            {f"{name}.{kind}": (layer, kind) for name, layer in zip(scheme, VGG16_LAYERS) for kind in KINDS}
        )
    found = {key: schemes[key] for key in keys if key in schemes}
    for key in keys:  # Gluon, before save_parameters, and exported: [arg:][vgg0_]conv0_weight
        parts = key.rpartition(":")[2].split("_")[-2:]
        if len(parts) == 2 and parts[0] in by_order and parts[1] in KINDS:
            found[key] = (VGG16_LAYERS[by_order.index(parts[0])], parts[1])
    return found


def kind_of_file(path: str | Path) -> str:
    """Kind of a file of weights by its first bytes: gluon, torch, safetensors, otherwise caffe.

    Raises:
        FCNXSError: the file cannot be read.
    """
    refuse_irregular(path)
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


def is_mxnet(path: str | Path) -> bool:
    """Whether a file holds the parameters of a checkpoint of MXNet, whose names begin with arg: or aux:."""
    return kind_of_file(path) == "gluon" and any(name.startswith("arg:") for name in headers(path)[1])


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
            yield name, as_float32(values, name, path)
        elif COUNTER not in name:
            raise FCNXSError(f"{path}: {name} has type {values.dtype}; weights must be floating-point numbers")


def _mxnet(path: str | Path) -> dict:
    return {name: array.asnumpy() for name, array in load_params(path).items()}


def _torch(path: str | Path) -> dict:
    what = "the state dict of a PyTorch net"
    with told_of(path, what):
        _refuse_bomb(path)
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
        tensors = {str(name): tensor.detach() for name, tensor in content.items()}
        for name, tensor in tensors.items():  # a view may repeat one number without end
            if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
                raise ValueError(f"{name} has more values than the file")
        return {
            name: (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()
            for name, tensor in tensors.items()
        }
    except Exception as error:  # (a damaged file can raise anything: KeyError, EOFError, ...)
        lines = printable(str(error).strip()).split("\\n") if str(error).strip() else [type(error).__name__]
        raise FCNXSError(f"{path}: not {what}, or damaged: {lines[0]}") from None


def _refuse_bomb(path: str | Path) -> None:
    """Raise ValueError for a ZIP file that unpacks to more than it has; PyTorch's are not compressed."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception as error:  # a damaged one raises errors of many types
        raise ValueError(last_line(error)) from None
    if unpacked > os.path.getsize(path):
        raise ValueError(f"it would unpack to {unpacked:,} bytes, and PyTorch does not compress its files")


def _safetensors(path: str | Path) -> dict:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118  (no dict)
            for name, kind in kinds.items():
                if kind not in FLOATS and COUNTER not in name:
                    raise FCNXSError(
                        f"{path}: {printable(name)} has type {kind}, and weights are read of "
                        f"{', '.join(FLOATS)}; save them as float32"
                    )
            return {name: file.get_tensor(name) for name, kind in kinds.items() if kind in FLOATS}
    except (SafetensorError, OSError) as error:
        raise FCNXSError(f"{path}: not a safetensors file, or damaged: {printable(reason(error))}") from None

"""What a net of Caffe takes: mean, scale and channel order of its data layer, and what its first layers add.

The net that we build takes RGB images of 0 to 255 minus a mean. A scale at the input goes into the weights of
its first convolution, a shift into the mean.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np
from google.protobuf.message import DecodeError

from ..conventions import VGG_MEAN
from ..errors import LARGEST_MEAN, FCNXSError, finite_mean, printable, reason
from ..system.files import refuse_irregular
from .arrays import FCN_MEAN
from .caffe_compare import Blobs, decimal, scaling_of
from .caffe_layers import Node, image_blob
from .caffe_names import HEADS, MODALITIES
from .caffe_schema import CLASSES, Message
from .caffemodel import array_of

Numbers = Tuple[float, ...]

# Means that the authors' data layers hard-code, by layer and input, BGR as they are there (hha: in the order of
# its images' channels). Source: shelhamer/fcn.berkeleyvision.org *_layers.py.
MEANS = {
    "NYUDSegDataLayer": {"color": (116.190, 97.203, 92.318), "hha": (132.431, 94.076, 118.477)},
    "SIFTFlowSegDataLayer": {"": (114.578, 115.294, 108.353)},
    "PASCALContextSegDataLayer": {"": (104.007, 116.669, 122.679)},
}
READERS = ("Data", "ImageData", "WindowData")  # data layers of Caffe's own, which do what their settings say


class Input(NamedTuple):
    """What a data layer makes of an image of 0 to 255: (image - mean) * scale.

    Args:
        mean: in the order of the net's channels; None: the file does not say.
        scale: of all channels.
        bgr: whether the net's channels are in reverse order of the image's.
        said_by: the layer that says so.
        lacks: why the layer's mean is not known.
        told: a sentence on what it says.
    """

    mean: Numbers | None = None
    scale: float = 1.0
    bgr: bool = True
    said_by: str = ""
    lacks: str = ""
    told: str = ""


def assumed(net: str, image: str, fcn: bool) -> Tuple[Input, str]:
    """What is assumed of a net whose file says no mean, and the data set of this mean, if it is not VOC.

    Args:
        net: its name in `fcnxs.symbols.NETS`.
        image: what ends the names of the image's trunk; "" for the one image.
        fcn: it is an FCN, or the trunk of one.
    """
    if net in HEADS:
        return Input(MEANS["SIFTFlowSegDataLayer"][""]), "SIFT Flow"
    if net in MODALITIES:
        return Input(MEANS["NYUDSegDataLayer"][image], bgr=image != "hha"), f"NYUDv2 {image}"
    return Input((VGG_MEAN if net == "vgg16fc" and not fcn else FCN_MEAN)[::-1]), ""


def input_of(layers: Sequence[Message], where: str, mean_given: bool, end: str = "") -> Input:
    """What the data layers of a file, of any phase, say about images. There may be others for labels.

    Args:
        mean_given: the mean is known otherwise.
        end: what the name of the first convolution of the image ends in.

    Raises:
        FCNXSError: two of them, or two scales of one, differ.
    """
    found, blob = [], image_blob(layers, end)
    for layer in layers:
        if not layer.bottom and (blob is None or blob in layer.top):
            found.append(_of_python(layer, where, blob) if layer.type == "Python" else _of_caffe(layer, where))
    found = [each for each in found if each.said_by]
    if len({each[1:3] if mean_given else each[:3] for each in found}) > 1:
        values = " and ".join(f"mean {each.mean}, scale {each.scale:g}" for each in found[:2])
        raise FCNXSError(
            f"{where}: its data layers differ ({values}); give the mean with --mean, or a --prototxt with one"
        )
    return found[0] if found else Input()


def _of_python(layer: Message, where: str, blob: str | None) -> Input:
    """What a data layer in Python says: by its `param_str`, or by the table of the authors' layers."""
    kind, text = printable(layer.python_param.layer), layer.python_param.param_str
    means, said_by = MEANS.get(kind, {}), f"layer {printable(layer.name)} of {where} ({kind})"
    name = f"{where}: layer {printable(layer.name)}"
    if "" in means:
        return Input(means[""], said_by=said_by)
    try:
        params = ast.literal_eval(text.strip() or "{}")
        params = params if isinstance(params, dict) else {}
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        known = not means and "mean" not in str(text)
        lacks = f"{name}: its param_str cannot be read: {printable(text)[:80]}"
        return Input() if known else Input(said_by=said_by, lacks=lacks)
    if means:
        tops = params.get("tops")
        tops = list(tops) if isinstance(tops, (tuple, list)) else []
        made = dict(zip(layer.top, tops))  # what each output has
        tops = [made[blob]] if blob in made else [top for top in tops if top != "label"]
        if len(tops) != 1 or tops[0] not in [*means]:
            lacks = f"{name}: its tops are {printable(str(tops))[:80]}; expected color or hha alone"
            return Input(said_by=said_by, lacks=lacks)
        return Input(means[tops[0]], bgr=tops[0] != "hha", said_by=said_by)
    if "mean" not in params:
        return Input()
    mean = _three(params["mean"])
    lacks = f"{name}: its mean is {printable(str(params['mean']))[:80]}, not 1 or 3 finite numbers"
    return Input(mean, said_by=said_by, lacks=lacks)


def _of_caffe(layer: Message, where: str) -> Input:
    """What a data layer of Caffe's own says, in `transform_param` or, in old files, in its own settings."""
    name = f"{where}: layer {printable(layer.name)}"
    params = [layer.transform_param, layer.data_param, layer.image_data_param, layer.window_data_param]
    files = [printable(param.mean_file) for param in params if param.mean_file]
    scales = {decimal(param.scale) for param in params if param.HasField("scale")} or {1.0}
    values = [decimal(value) for value in layer.transform_param.mean_value]
    if layer.type not in READERS and not (files or values or scales != {1.0}):
        return Input()  # an input, whose images another program prepares
    if len(scales) > 1:
        raise FCNXSError(f"{name}: gives the scales {' and '.join(map(str, sorted(scales)))}")
    said_by = f"layer {printable(layer.name)} of {where} ({printable(layer.type)})"
    said = Input(scale=scales.pop(), said_by=said_by)
    if files:
        return said._replace(lacks=f"{name} subtracts the mean of {files[0]}, another file")
    if not values:
        told = f"{said_by} subtracts no mean, so none was taken; --mean gives one"
        return said._replace(mean=(0.0, 0.0, 0.0), told=told)
    return said._replace(mean=_three(values), lacks=f"{name}: its mean_value is {values}, not 1 or 3 numbers")


def _three(values: object) -> Numbers | None:
    """Three finite numbers, of which one may stand for all; None if they are something else."""
    numbers = list(values) if isinstance(values, (tuple, list)) else [values]
    sound = all(type(number) in (int, float) and abs(number) <= LARGEST_MEAN for number in numbers)  # nor NaN
    return tuple(map(float, numbers * (3 // len(numbers)))) if sound and len(numbers) in (1, 3) else None


class Given(NamedTuple):
    """A mean that the caller gives: `of_image` if in the order of an image's channels, not of the net's."""

    mean: Numbers
    of_image: bool
    by: str
    told: List[str]


class Prepared(NamedTuple):
    """How images are prepared for a net.

    Args:
        start: what its data layer does, or would have to do; the mean is known.
        mean: what to subtract from images, in the order of their channels.
        factor: by which the first convolution multiplies each of the net's channels.
        told: sentences on what is assumed, or differs.
    """

    start: Input
    mean: Numbers
    factor: np.ndarray
    told: List[str]


def prepared(
    sources: Sequence[Tuple[Sequence[Message], str]],
    given: Given | None,
    otherwise: Input,
    scaling: Sequence[Node],
    blobs: Blobs,
    end: str = "",
) -> Prepared:
    """Settle the mean, the scale and the order of the channels of a net.

    Args:
        sources: layers of each file that describes the net, with its name; the first that says a mean counts.
        otherwise: what is assumed where nothing says a mean.
        scaling: layers that scale or shift the image, the one nearest to the image first.
        blobs: arrays of these layers.
        end: as for `input_of`.

    Raises:
        FCNXSError: the mean cannot be read, or the layers do not scale an image of three channels.
    """
    said = [input_of(layers, where, given is not None, end) for layers, where in sources]
    said = [each for each in said if each.said_by] or [otherwise._replace(mean=None)]
    start, told = said[0], [said[0].told] if said[0].told and given is None else []
    for other in said[1:]:
        if other[:3] != start[:3]:
            told.append(f"mean {start.mean} of {start.said_by} was taken, not {other.mean} of {other.said_by}")
    if given is not None:
        mean = given.mean[::-1] if given.of_image and start.bgr else given.mean
        if start.mean is not None and not np.allclose(mean, start.mean, atol=0.01):
            told.append(f"mean {mean} of {given.by} was taken, not {start.mean} of {start.said_by}")
        start, told = start._replace(mean=mean, said_by=given.by), told + given.told
    elif start.mean is None:
        if start.lacks:
            raise FCNXSError(f"{start.lacks}; give the mean with --mean R,G,B or --mean-file")
        shifting = [node for node in scaling if scaling_of(node, blobs)[1].any()]
        mean = (0.0, 0.0, 0.0) if shifting else otherwise.mean
        start = start._replace(mean=mean, said_by=f"layer {shifting[0].name}" if shifting else "")
    try:
        mean, factor = _through(start, scaling, blobs)
    except FCNXSError as error:
        raise FCNXSError(f"{sources[0][1]}: {error}") from None
    return Prepared(start, mean[::-1] if start.bgr else mean, factor, told)


def _through(start: Input, scaling: Sequence[Node], blobs: Blobs) -> Tuple[Numbers, np.ndarray]:
    """Mean and factor of the net's channels, of a data layer and the layers that follow it."""
    factor, shift = np.full(3, start.scale), -np.asarray(start.mean) * start.scale
    for node in scaling:
        times, plus = scaling_of(node, blobs)
        if times.size not in (1, 3) or plus.size not in (1, 3):
            raise FCNXSError(f"layer {node.name} scales {times.size} channels of an image, which has 3")
        factor, shift = factor * times, shift * times + plus
    if not factor.all() or not np.isfinite([factor, shift]).all():
        raise FCNXSError(f"the layers at the input multiply the image by {factor.tolist()}")
    return finite_mean(np.round(-shift / factor, 6) + 0.0, "mean"), factor


def given_mean(mean: Sequence[float] | None, mean_file: str | Path | None) -> Given | None:
    """The mean of `--mean` (R, G, B) or of a `.binaryproto`, whose pixels are averaged.

    Raises:
        FCNXSError: both are given, the mean is not three finite numbers, or the file cannot be read.
    """
    if mean is not None and mean_file is not None:
        raise FCNXSError("--mean and --mean-file: give only one of them")
    if mean is not None:
        numbers = _three([*mean])
        if numbers is None or len(mean) != 3:
            raise FCNXSError(f"--mean {','.join(map(str, mean))}: expected R,G,B, three finite numbers")
        return Given(numbers, True, "--mean", [])
    if mean_file is None:
        return None
    values, spread = read_mean(mean_file)
    told = f"{mean_file}: its pixels differ by up to {spread:.4g} from their channel's mean, which is used"
    return Given(values, False, str(mean_file), [told] if spread > 0.01 else [])


def read_mean(path: str | Path) -> Tuple[Numbers, float]:
    """Mean of each channel of a `.binaryproto`, in Caffe's order (BGR), and how far its pixels are from it.

    Raises:
        FCNXSError: the file cannot be read, or is no mean of three channels.
    """
    refuse_irregular(path)
    try:
        blob = CLASSES["BlobProto"].FromString(Path(path).read_bytes())
    except OSError as error:
        raise FCNXSError(f"{path}: cannot read this mean: {reason(error)}") from None
    except DecodeError:
        raise FCNXSError(f"{path}: not a mean of Caffe's (.binaryproto), or damaged") from None
    values = array_of(blob, "mean", path)
    values = values.reshape(values.shape[-3:] if values.ndim > 3 and len(values) == 1 else values.shape)
    if values.ndim not in (1, 3) or len(values) != 3 or not np.isfinite(values).all():
        raise FCNXSError(f"{path}: holds an array of shape {values.shape}, not a finite mean of 3 channels")
    pixels = values.reshape(3, -1).astype(np.float64)
    mean = np.array(finite_mean(pixels.mean(1), path))
    return tuple(round(float(value), 6) for value in mean), float(np.abs(pixels - mean[:, None]).max())

"""The meta file of a checkpoint: the mean of the input, the classes' names and colours, the weights' source."""

from __future__ import annotations

import os
import platform
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from .. import __version__
from ..compat import mxnet as mx
from ..conventions import COLOR, IGNORE_LABEL, IMAGE_MEANS, VGG_MEAN
from ..errors import LARGEST_MEAN, FCNXSError, FCNXSWarning, finite_mean
from ..symbols.layers import check_numclass
from ..system.files import sha256_of
from ..system.json_files import BYTE, Null, Number, Or, read_json


def versions() -> Dict[str, str]:
    """Versions of the packages that write a checkpoint."""
    return {
        "fcnxs": __version__,
        "mxnet": mx.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


MEAN = (Number(float, -LARGEST_MEAN, LARGEST_MEAN),) * 3
FORM = {
    "classes": Null([str]),
    "palette": Null([(BYTE, BYTE, BYTE)]),
    "mean": MEAN,
    "channel_order": {"RGB"},
    "ignore_label": Number(int, IGNORE_LABEL, IGNORE_LABEL),
    "exif": Or({"apply", "ignore"}, "apply"),  # older files have none
    "source": Null({str: str}),
    "heads": Or({str: [str]}),  # nor these two
    "means": Or({str: [MEAN[0]]}),
    "versions": {str: str},
    "checksums": Or({str: [str]}, {}),  # nor checksums
}


@dataclass(frozen=True)
class Meta:
    """Contents of a meta file.

    Args:
        classes: names in the order of the labels; None for nets without classes of their own.
        palette: colour (R, G, B) of each class, 0 to 255.
        mean: (R, G, B), subtracted from images with values 0 to 255.
        channel_order: order of the input's channels, always "RGB".
        exif: "apply" if images are turned as their EXIF orientation says, "ignore" if they are not.
        ignore_label: label of pixels that count neither in the loss nor in the scores, always 255.
        source: {"file", "sha256"} of the weights that these were made from.
        heads: names of the classes of each head, of a net with several; `classes` is None then.
        means: as `mean`, of each image by its kind (`conventions.IMAGE_MEANS`), in the order of the net's
            channels; None for a net of one colour image. Kinds may end in _data, as the net's inputs do.
        versions: versions of the packages that wrote the checkpoint.
        checksums: SHA-256 of the other files by name; of the last version and, if any, the one before.

    Raises:
        FCNXSError: the mean is not three numbers of -65535 to 65535, or there are more than 255 classes.
    """

    classes: List[str] | None = None
    palette: List[List[int]] | None = None
    mean: Tuple[float, float, float] = VGG_MEAN
    channel_order: str = "RGB"
    ignore_label: int = IGNORE_LABEL
    exif: str = "apply"
    source: Dict[str, str] | None = None
    heads: Dict[str, List[str]] | None = None
    means: Dict[str, Sequence[float]] | None = None
    versions: Dict[str, str] = field(default_factory=versions)
    checksums: Dict[str, List[str]] = field(default_factory=dict, compare=False)

    @property
    def of_heads(self) -> Dict[str, List[str]]:
        """Names of the classes of each head; those of a net with one by ""."""
        return self.heads or {"": self.classes or []}

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", finite_mean(self.mean, "mean"))
        for name, classes in (self.heads or {}).items():
            check_numclass(len(classes), f"head {name}")
        check_numclass(len(self.classes) if isinstance(self.classes, (list, tuple)) else 0, "classes")

    @property
    def images(self) -> Tuple[str, ...]:
        """Kinds of the images that the net takes."""
        return tuple(name.removesuffix("_data") for name in self.means or COLOR)

    @property
    def input_mean(self) -> Tuple[float, ...]:
        """Mean of all channels of these images."""
        return tuple(value for mean in (self.means or {"color": self.mean}).values() for value in mean)


def read_meta(file: Path) -> Meta:
    """Read a meta file.

    Raises:
        FCNXSError: it is not JSON, or a value is missing or of the wrong kind.
    """
    what, way_out = "a meta file of a checkpoint", "write the checkpoint again, or remove the file"
    return meta_of(read_json(file, what, FORM, way_out), file)


def meta_of(content: Dict[str, Any], where: object) -> Meta:
    """The meta that an object of this form describes; `where` names it in an error.

    Raises:
        FCNXSError: there is no colour for each class, or there are more than 255 classes.
    """
    check_numclass(len(content["classes"] or ()), where)
    meta = Meta(**{key: content[key] for key in FORM})
    if meta.means is None and meta.mean == IMAGE_MEANS["hha"]:
        way_out = f'with "means": {{"hha": {[*meta.mean]}}} in it, their HHA images are read'
        warnings.warn(
            f"{where}: the mean {meta.mean} is that of HHA images, but the file does not say that the net "
            f"takes them (earlier versions did not): of data sets the color images are read; {way_out}",
            FCNXSWarning,
        )
    for kind, mean in zip(meta.images, (meta.means or {}).values()):
        if len(mean) != len(IMAGE_MEANS.get(kind, ())):
            known = ", ".join(f"{len(each)} of {name}" for name, each in IMAGE_MEANS.items())
            raise FCNXSError(f"{where}: means.{kind}: expected a number for each channel: {known}")
    if meta.classes is not None and len(meta.palette or ()) != len(meta.classes):
        raise FCNXSError(
            f"{where}: palette: expected a colour (R, G, B) for each of {len(meta.classes)} classes"
        )
    return meta


def source_of(file: str | os.PathLike[str]) -> Dict[str, str]:
    """Name and SHA-256 of a file of weights, for `Meta.source`."""
    return {"file": Path(file).name, "sha256": sha256_of(file)}

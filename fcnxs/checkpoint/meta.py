"""The meta file of a checkpoint: the mean of the input, the classes' names and colours, the weights' source."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

from .. import __version__
from ..compat import mxnet as mx
from ..conventions import IGNORE_LABEL, VGG_MEAN
from ..errors import FCNXSError, finite_mean, reason
from ..symbols.layers import check_numclass
from ..system.files import refuse_irregular, sha256_of


def versions() -> Dict[str, str]:
    """Versions of the packages that write a checkpoint."""
    return {
        "fcnxs": __version__,
        "mxnet": mx.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
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
        versions: versions of the packages that wrote the checkpoint.
        checksums: SHA-256 of the other files by name; of the last version and, if any, the one before.

    Raises:
        FCNXSError: the mean is not three finite numbers, or there are more than 255 classes.
    """

    classes: List[str] | None = None
    palette: List[List[int]] | None = None
    mean: Tuple[float, float, float] = VGG_MEAN
    channel_order: str = "RGB"
    ignore_label: int = IGNORE_LABEL
    exif: str = "apply"
    source: Dict[str, str] | None = None
    versions: Dict[str, str] = field(default_factory=versions)
    checksums: Dict[str, List[str]] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", finite_mean(self.mean, "mean"))
        check_numclass(len(self.classes) if isinstance(self.classes, (list, tuple)) else 0, "classes")


def read_meta(file: Path) -> Meta:
    """Read a meta file.

    Raises:
        FCNXSError: it is not JSON, or a value is missing or of the wrong kind.
    """
    refuse_irregular(file)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        content.setdefault("exif", "apply")  # older files have none
        known = {key: content[key] for key in Meta.__dataclass_fields__ if key != "checksums"}
        meta = Meta(**known)
        checksums = content.get("checksums", {})  # older files have none
        if not all(isinstance(sums, list) for sums in checksums.values()):
            raise ValueError("checksums: expected an object that maps file names to lists of checksums")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else reason(error)
        raise FCNXSError(f"{file}: not a meta file of a checkpoint: {what}") from None
    if meta.channel_order != "RGB" or meta.ignore_label != IGNORE_LABEL:
        raise FCNXSError(f"{file}: expected channel_order RGB and ignore_label {IGNORE_LABEL}")
    if meta.exif not in ("apply", "ignore"):
        raise FCNXSError(f"{file}: exif: expected apply or ignore, not {meta.exif!r:.80}")
    if meta.classes is not None:
        names = isinstance(meta.classes, list) and all(isinstance(name, str) for name in meta.classes)
        colours = isinstance(meta.palette, list) and all(_is_colour(colour) for colour in meta.palette)
        if not names or not colours or len(meta.palette) != len(meta.classes):
            raise FCNXSError(
                f"{file}: expected classes, a list of names, and palette, a colour (R, G, B) for each"
            )
    return replace(meta, checksums=checksums)


def _is_colour(colour: object) -> bool:
    return isinstance(colour, list) and len(colour) == 3 and all(value in range(256) for value in colour)


def source_of(file: str | os.PathLike[str]) -> Dict[str, str]:
    """Name and SHA-256 of a file of weights, for `Meta.source`."""
    return {"file": Path(file).name, "sha256": sha256_of(file)}

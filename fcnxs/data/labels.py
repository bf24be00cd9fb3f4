"""Reading labels: uint8 (H, W), the class numbers that a file stores, or 255 for pixels to leave out."""

from __future__ import annotations

from typing import Collection, Dict, List, NamedTuple, Tuple

import numpy as np
from PIL import Image

from ..conventions import IGNORE_LABEL, MAX_PIXELS, PathLike
from ..errors import FCNXSError
from .images import loaded, opened

LOSSY_FORMATS = ("JPEG", "MPO", "WEBP")  # of those that are opened
LOSSY_COMPRESSIONS = ("jpeg", "tiff_jpeg", "webp", "jpeg2000")  # within a TIFF
MODES = ("1", "L", "P", "I", "I;16")


class Label(NamedTuple):
    """A label, and what its file says beside it.

    Attributes:
        values: uint8 (H, W).
        colours: colour of each value in the file's palette, R + 256 G + 65536 B, int64 (256,); None if the
            file has no palette, or one in which each number is its own grey.
        orientation: of its EXIF data, 1 to 8; 1 is upright.
        faults: kind and description of each fault that was allowed.
        left_out: pixels of each value that became 255 because it is to be ignored.
    """

    values: np.ndarray
    colours: np.ndarray | None = None
    orientation: int = 1
    faults: Tuple[Tuple[str, str], ...] = ()
    left_out: Dict[int, int] = {}  # noqa: RUF012  (which nobody changes)


def read_label(
    path: PathLike,
    numclass: int | None = None,
    exif: str = "apply",
    allow: Collection[str] = (),
    ignore: Collection[int] = (),
) -> np.ndarray:
    """Label as uint8, (H, W): the indices of a palette image, or the values of a grey one.

    Args:
        numclass: number of classes; None: not known.
        exif, allow, ignore: as for `load_label`.

    Raises:
        FCNXSError: it cannot be read, is a colour image, does not give the values that were saved, or has a
            value neither 255 nor below `numclass`.
    """
    return load_label(path, numclass, exif, allow, ignore=ignore).values


def load_label(
    path: PathLike,
    numclass: int | None = None,
    exif: str = "apply",
    allow: Collection[str] = (),
    max_pixels: int = MAX_PIXELS,
    ignore: Collection[int] = (),
) -> Label:
    """Label of a file, with what the file says beside it.

    Args:
        exif: "apply" turns the label by its own EXIF data, as a viewer shows it; "ignore" does not.
        allow: kinds of faults that are not refused: "lossy" (JPEG), "rescaled" (values inverted or rescaled by
            the decoder).
        max_pixels: most pixels of a label, as for `read_image`.
        ignore: values of the file that become 255, before the others are compared with `numclass`.

    Raises:
        FCNXSError: as `read_label`.
    """
    with opened(path, max_pixels) as image:
        step, faults = _stored(image)
        image, orientation = loaded(image, exif)
    values = np.asarray(image) // step if step > 1 else np.asarray(image)
    for kind, text in faults:
        if kind not in allow:
            has = f" (this one has {len(np.unique(values))} different values)" if values.ndim == 2 else ""
            raise FCNXSError(f"{path}: {text}{has}; --allow {kind} takes the values as they are")
    if image.mode not in MODES:
        raise FCNXSError(
            f"{path}: a colour image (mode {image.mode}), not a label; labels are palette or grey PNGs "
            "whose values are class numbers"
        )
    values, left_out = leave_out(values, ignore)
    check_label(values, IGNORE_LABEL if numclass is None else numclass, path)
    return Label(values.astype(np.uint8), _colours(image), orientation, tuple(faults), left_out)


def leave_out(label: np.ndarray, ignore: Collection[int]) -> Tuple[np.ndarray, Dict[int, int]]:
    """The label, integers of any shape, in which the values `ignore` became 255; and their pixels by value.

    >>> leave_out(np.array([[0, 11, 255]]), [11])
    (array([[  0, 255, 255]]), {11: 1})
    """
    found = {value: int(np.count_nonzero(label == value)) for value in ignore if value != IGNORE_LABEL}
    for value, pixels in found.items():
        label = np.where(label == value, IGNORE_LABEL, label) if pixels else label
    return label, found


def check_label(label: np.ndarray, numclass: int, where: object) -> None:
    """Raise an error that names `where` and the value, unless all values are below `numclass` or 255.

    Args:
        label: integers of any shape.
    """
    wrong = label[(label != IGNORE_LABEL) & ((label >= numclass) | (label < 0))]
    if wrong.size:
        values = np.unique(label)
        apart = values.size > 1 and np.diff(values).min() > 16  # 0, 127, 255, but not 0, 20, 21
        levels = ", ".join(f"{value:g}" for value in values[:4])
        raise FCNXSError(
            f"{where}: value {wrong.flat[0]} in {wrong.size} pixels is neither one of the {numclass} classes "
            f"(0 to {numclass - 1}) nor {IGNORE_LABEL}"
            + f"; its values {levels} look like grey levels: write class numbers (0, 1, 2, ...)"
            * bool(apart)
        )


def _stored(image: Image.Image) -> Tuple[int, List[Tuple[str, str]]]:
    """Number by which Pillow multiplies the values of a file that is not yet decoded, and its faults.

    Grey of 2 and 4 bits is spread over 0 to 255. A palette's indices stay as they are.
    """
    faults, name = [], image.format
    if name in LOSSY_FORMATS or image.info.get("compression") in LOSSY_COMPRESSIONS:
        faults.append(("lossy", f"saved as {name}, with a loss that changes class numbers; save labels as PNG"))
    _, _, _, arguments = image.tile[0] if image.tile else (None, None, None, "")
    arguments = arguments if isinstance(arguments, tuple) else (arguments,)
    mode, _, how = str(arguments[0]).partition(";")
    step = {"2": 85, "4": 17}.get(how[:1], 1) if mode == "L" else 1
    inverted = mode in ("1", "L") and "I" in how
    spread = name == "PPM" and len(arguments) > 1 and arguments[1] not in (1, 255, 65535)
    if inverted or spread:
        what = "inverted (0 is white)" if inverted else f"spread from 0 to {arguments[1]} over 0 to 255"
        faults.append(("rescaled", f"a {name} whose values are {what} when it is read; save labels as PNG"))
    return step, faults


def _colours(image: Image.Image) -> np.ndarray | None:
    """`Label.colours` of a decoded image."""
    if image.mode != "P":
        return None
    palette = np.asarray(image.getpalette("RGB"), np.int64).reshape(-1, 3)
    colours = np.zeros(256, np.int64)
    colours[: len(palette)] = palette @ (1, 256, 65536)
    grey = np.array_equal(palette, np.arange(len(palette))[:, np.newaxis].repeat(3, axis=1))
    return None if grey else colours

"""Samples of several images: colour, and beside it HHA or depth, read as one array of channels.

The images of a sample lie in folders beside each other, by the same name without suffix: images/train/a.jpg,
hha/train/a.png, depth/train/a.png. Depth is the logarithm of the file's numbers, in NYUDv2 millimetres.
Source: shelhamer/fcn.berkeleyvision.org nyud_layers.py.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Dict, List, Sequence, Tuple, Union

import numpy as np

from ..conventions import COLOR, IMAGE_MEANS, MAX_PIXELS, PathLike
from ..errors import FCNXSError
from .images import IMAGE_SUFFIXES, load_image, loaded, opened

CHOICES = (COLOR, ("hha",), ("color", "hha"), ("color", "depth"))  # the images that a net can take
FOLDERS = ("images", "Images", "JPEGImages")  # of colour images, beside which those of the others are
Source = Union[PathLike, BinaryIO]


def kinds_of(text: str, where: str = "--modality") -> Tuple[str, ...]:
    """Kinds of images that a text such as "color,hha" names.

    Raises:
        FCNXSError: no net takes these.
    """
    kinds = tuple(text.split(","))
    if kinds not in CHOICES:
        raise FCNXSError(f"{where} {text}: expected {', or '.join(','.join(choice) for choice in CHOICES)}")
    return kinds


def channels_of(kinds: Sequence[str]) -> int:
    """Number of channels of images of these kinds together."""
    return sum(len(IMAGE_MEANS[kind]) for kind in kinds)


def load_images(
    sources: Sequence[Source], kinds: Sequence[str], exif: str = "apply", max_pixels: int = MAX_PIXELS
) -> Tuple[np.ndarray, int]:
    """Images of one scene as one array (H, W, C), uint8, or float32 with depth; and their EXIF orientation.

    Args:
        sources: a file of each kind.
        kinds: names of `IMAGE_MEANS`; color and hha have three channels, depth has one.
        exif, max_pixels: as for `read_image`.

    Raises:
        FCNXSError: a file cannot be read, or differs from the first in its size or EXIF orientation.
    """
    found: List[np.ndarray] = []
    for source, kind in zip(sources, kinds):
        if found and isinstance(source, os.PathLike) and not os.path.lexists(source):
            raise FCNXSError(f"{source}: no such file; it should be the {kind} image of {sources[0]}")
        image, orientation = (load_depth if kind == "depth" else load_image)(source, exif, max_pixels)
        if not found:
            first = orientation
        elif image.shape[:2] != found[0].shape[:2]:
            (height, width), (rows, columns) = image.shape[:2], found[0].shape[:2]
            raise FCNXSError(
                f"{source}: {width}x{height} pixels, but the {kinds[0]} image {sources[0]} has {columns}x{rows}"
            )
        elif exif == "apply" and orientation != first:
            raise FCNXSError(
                f"{source}: has the EXIF orientation {orientation}, but the {kinds[0]} image {sources[0]} has "
                f"{first}, so that they would be turned otherwise; --exif ignore takes both as they are stored"
            )
        found.append(image)
    return (np.dstack(found) if found[1:] else found[0]), first


def load_depth(source: Source, exif: str = "apply", max_pixels: int = MAX_PIXELS) -> Tuple[np.ndarray, int]:
    """Logarithm of a map of depth, float32 (H, W, 1), and its EXIF orientation.

    Raises:
        FCNXSError: it cannot be read, is not of one channel, or has pixels without a depth, which are 0.
    """
    with opened(source, max_pixels) as image:
        image, orientation = loaded(image, exif)
        if image.mode not in ("L", "I", "F") and not image.mode.startswith("I;16"):
            raise ValueError(f"depth has one channel of 8 or 16 bits, and this image has the mode {image.mode}")
        depth = np.asarray(image)
    return log_of(depth, source), orientation


def log_of(depth: np.ndarray, where: object) -> np.ndarray:
    """Logarithm, float32 (H, W, 1), of depth (H, W), in any type; `where` names it in an error.

    Raises:
        FCNXSError: a pixel has no depth, which is 0 or not finite.
    """
    depth = depth.astype(np.float32)
    missing = np.count_nonzero(~(depth > 0) | np.isinf(depth))
    if missing:
        raise FCNXSError(
            f"{where}: {missing} of {depth.size} pixels have no depth (0), which has no logarithm; fill the "
            "holes, as NYUDv2's toolbox does"
        )
    return np.log(depth)[..., np.newaxis]


def beside(images: Sequence[Path], kind: str, root: PathLike | None = None) -> List[Path]:
    """Files of the images of another kind: in a folder `kind` beside images, by the names without suffix.

    Of several folders named images the first below `root` counts, without `root` the last. A file that there is
    not has the suffix .png.

    Raises:
        FCNXSError: an image is in no folder of `FOLDERS`.
    """
    if kind == "color":
        return list(images)
    found, names = [], lru_cache(maxsize=None)(_names)
    for image in images:
        parts, inside = image.parts, root is not None and image.is_relative_to(root)
        start = len(Path(root).parts) if inside else 0
        numbers = [number for number in range(start, len(parts) - 1) if parts[number] in FOLDERS]
        if not numbers:
            raise FCNXSError(f"{image}: is in no folder images, beside which a folder {kind} would be")
        number = numbers[0 if inside else -1]
        folder = Path(*parts[:number], kind, *parts[number + 1 : -1])
        found.append(folder / names(folder).get(image.stem, f"{image.stem}.png"))
    return found


def named_as(path: Path) -> Path:
    """File of an image of this path without suffix; one that there is not has the suffix .png."""
    return path.parent / _names(path.parent).get(path.name, f"{path.name}.png")


def _names(folder: Path) -> Dict[str, str]:
    """Names of a folder's images by their names without suffix; of several, PNG counts first."""
    names = sorted(os.listdir(folder) if folder.is_dir() else (), key=lambda name: name.endswith(".png"))
    return {Path(name).stem: name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES}

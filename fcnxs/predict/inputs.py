"""What a Segmenter accepts: the path of an image file, an array, or an iterable of these."""

from __future__ import annotations

import os
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Iterable, Iterator, NamedTuple, Sequence, Tuple, Union

import numpy as np

from ..conventions import COLOR, MAX_PIXELS
from ..data.scenes import beside, load_images, log_of
from ..errors import FCNXSError
from ..system.threads import in_order

File = Union[str, "os.PathLike[str]"]
Image = Union[File, np.ndarray]


class Scene(NamedTuple):
    """A colour image and the further one of the same scene, for nets of both: two paths or two arrays."""

    color: Image
    second: Image


AHEAD = 2  # images that threads read in advance
WANTED = "expected uint8 (H, W, 3), RGB"


def is_one(images: Any) -> bool:  # noqa: ANN401  (it is what this tells)
    """True for one image (a path or an array), False for an iterable of images.

    Raises:
        FCNXSError: it is neither.
    """
    if isinstance(images, (str, os.PathLike, np.ndarray, Scene)):
        return True
    # Other libraries' arrays, bytes and files can be iterated over too, but not by images.
    alone = hasattr(images, "shape") or hasattr(images, "read") or isinstance(images, (bytes, bytearray))
    if alone or not (hasattr(images, "__iter__") or hasattr(images, "__getitem__")):
        raise FCNXSError(
            f"a {type(images).__name__} is no image: expected a path, a NumPy array uint8 (H, W, 3), RGB, or "
            'an iterable of these; np.asarray(image.convert("RGB")) makes an array of a Pillow image'
        )
    return False


def read(
    image: Image | Scene,
    where: object = "an image",
    exif: str = "apply",
    max_pixels: int = MAX_PIXELS,
    kinds: Sequence[str] = COLOR,
) -> Tuple[object, np.ndarray]:
    """Return the name of an image (its path, or `where` for an array) and its pixels, RGB uint8 (H, W, 3).

    `exif` says what is done with a file's EXIF orientation, `max_pixels` how many pixels a file may have (see
    `read_image`), `kinds` what images a net takes. Two are one array (H, W, C), as `load_images` makes it; of
    one path the further image is looked for beside the folder images that it is in.

    Raises:
        FCNXSError: it is neither a path nor an array, the file cannot be read, the array is of another kind, or
            there are more or fewer images than `kinds`.
    """
    images = list(image) if isinstance(image, Scene) else [image]
    for each in images:
        if not isinstance(each, (str, os.PathLike, np.ndarray)):
            raise FCNXSError(
                f"{where}: a {type(each).__name__}; expected a path, or a NumPy array uint8 (H, W, 3), RGB"
            )
    files = [each for each in images if not isinstance(each, np.ndarray)]
    if len(images) < len(kinds) and files:
        images = files = [Path(files[0]), *beside([Path(files[0])], kinds[1])]
    if len(images) != len(kinds) or len(files) not in (0, len(images)):
        raise FCNXSError(
            f"{images[0] if files else where}: the net takes images of {' and '.join(kinds)}, all paths or "
            f"all arrays{f', as fcnxs.Scene(image, {kinds[1]})' if kinds[1:] else ''}"
        )
    if files:
        return images[0], load_images([Path(file) for file in files], kinds, exif, max_pixels)[0]
    first = checked(images[0], where)
    if not kinds[1:]:
        return where, first
    further = f"{where}'s {kinds[1]}"
    second = log_of(images[1], further) if kinds[1] == "depth" else checked(images[1], further)
    if second.shape[:2] != first.shape[:2] or second.ndim != 3:
        raise FCNXSError(f"{further}: has the shape {images[1].shape}, and the image {first.shape}")
    return where, np.dstack([first, second])


def read_ahead(
    images: Iterable[Image | Scene],
    exif: str = "apply",
    max_pixels: int = MAX_PIXELS,
    kinds: Sequence[str] = COLOR,
) -> Iterator[Tuple[object, np.ndarray]]:
    """Yield (name, RGB uint8 (H, W, 3)) of each image; threads read the next files meanwhile.

    An error of an image or of the iterable is raised in its turn, after all images before it.
    """
    numbered = partial(_read_numbered, exif=exif, max_pixels=max_pixels, kinds=kinds)
    with closing(in_order(numbered, _numbered(images), AHEAD, AHEAD)) as results:
        for result in results:
            yield result.result()


def checked(image: np.ndarray, where: object = "an image", channels: int = 3) -> np.ndarray:
    """Return the image if it is RGB uint8 (H, W, 3), or of more `channels` (H, W, C).

    Raises:
        FCNXSError: it is not; the message has its dtype and shape, and how to convert it.
    """
    if channels > 3 and image.ndim == 3 and image.shape[2] == channels:
        return image
    shape = image.shape
    channels = shape[2] if image.ndim == 3 else None
    if image.dtype == np.uint8 and channels == 3 and image.size:
        return image
    ways = (
        (not image.size, "it is empty"),
        (image.ndim == 4, "give the images of a batch as a list"),
        (image.ndim == 2, "np.stack([image] * 3, axis=-1) makes grey RGB"),
        (
            channels and shape[0] in (1, 3) and channels not in (1, 3, 4),
            "image.transpose(1, 2, 0) puts channels last",
        ),
        (channels == 4, "image[..., :3] leaves alpha out"),
        (channels == 1, "np.repeat(image, 3, axis=-1) makes grey RGB"),
        (
            channels == 3,
            "image.astype(np.uint8) keeps values of 0 to 255; multiply those of 0 to 1 by 255 before",
        ),
        (True, "this shape is not an image"),
    )
    way = next(way for applies, way in ways if applies)
    raise FCNXSError(f"{where}: {image.dtype} {shape}; {WANTED}: {way}")


def picture_of(image: np.ndarray) -> np.ndarray:
    """The first three channels of an image (H, W, C), uint8 (H, W, 3), to look at."""
    return np.ascontiguousarray(image[..., :3].astype(np.uint8, copy=False))


def _numbered(images: Iterable[Image]) -> Iterator[Tuple[int, object]]:
    """Number the images; an error of the iterable takes the place of the next image."""
    number, once = -1, iter(images) is images  # an iterator may fill and give the same array again
    try:
        for number, image in enumerate(images):
            yield number, image.copy() if once and isinstance(image, np.ndarray) else image
    except Exception as error:  # raised when that image is asked for
        yield number + 1, error


def _read_numbered(
    item: Tuple[int, object], exif: str, max_pixels: int, kinds: Sequence[str]
) -> Tuple[object, np.ndarray]:
    number, image = item
    if isinstance(image, Exception):
        raise image
    return read(image, f"images[{number}]", exif, max_pixels, kinds)

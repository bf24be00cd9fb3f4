"""Images as people have them: the path of a file, an array, or an iterable of these."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any, Iterable, Iterator, Tuple, Union

import numpy as np

from ..data.images import read_image
from ..errors import FCNXSError
from ..system.threads import in_order

Image = Union[str, "os.PathLike[str]", np.ndarray]

AHEAD = 2  # images that threads read before their turn
WANTED = "want uint8 (H, W, 3), RGB"


def is_one(images: Any) -> bool:  # noqa: ANN401  (it is what this tells)
    """Whether something is one image, a path or an array, and not an iterable of them.

    Raises:
        FCNXSError: it is neither.
    """
    if isinstance(images, (str, os.PathLike, np.ndarray)):
        return True
    # Arrays of other libraries can be iterated over too, by rows; bytes and files by what no image is.
    alone = hasattr(images, "shape") or hasattr(images, "read") or isinstance(images, (bytes, bytearray))
    if alone or not (hasattr(images, "__iter__") or hasattr(images, "__getitem__")):
        raise FCNXSError(
            f"a {type(images).__name__} is no image: want a path, a NumPy array uint8 (H, W, 3), RGB, or an "
            'iterable of these; np.asarray(image.convert("RGB")) makes an array of a Pillow image'
        )
    return False


def read(image: Image, where: object = "an image") -> Tuple[object, np.ndarray]:
    """Name of an image, its path or else `where`, and the image, RGB uint8 (H, W, 3).

    Raises:
        FCNXSError: it is neither a path nor an array, the file cannot be read, or the array is of another kind.
    """
    if isinstance(image, np.ndarray):
        return where, checked(image, where)
    if not isinstance(image, (str, os.PathLike)):
        raise FCNXSError(
            f"{where}: a {type(image).__name__}; want a path, or a NumPy array uint8 (H, W, 3), RGB"
        )
    return image, read_image(image)


def read_ahead(images: Iterable[Image]) -> Iterator[Tuple[object, np.ndarray]]:
    """Name, and RGB uint8 (H, W, 3), of one image after the other; files are read by threads before their turn.

    What an image, or the iterable, raises comes at its place, after all images before it.
    """
    with closing(in_order(_read_numbered, _numbered(images), AHEAD, AHEAD)) as results:
        for result in results:
            yield result.result()


def checked(image: np.ndarray, where: object = "an image") -> np.ndarray:
    """The image, unless it is not RGB uint8 (H, W, 3).

    Raises:
        FCNXSError: with what it is, and how to make an image of it.
    """
    shape = image.shape
    if image.dtype == np.uint8 and image.ndim == 3 and shape[2] == 3 and image.size:
        return image
    if not image.size:
        way = "it is empty"
    elif image.ndim == 4:
        way = "give the images of a batch as a list"
    elif image.ndim == 2:
        way = "np.stack([image] * 3, axis=-1) makes grey RGB"
    elif image.ndim == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3, 4):
        way = "image.transpose(1, 2, 0) puts channels last"
    elif image.ndim == 3 and shape[2] == 4:
        way = "image[..., :3] leaves alpha out"
    elif image.ndim == 3 and shape[2] == 1:
        way = "np.repeat(image, 3, axis=-1) makes grey RGB"
    elif image.ndim == 3 and shape[2] == 3:
        way = "image.astype(np.uint8) keeps values of 0 to 255; multiply those of 0 to 1 by 255 before"
    else:
        way = "it is no image"
    raise FCNXSError(f"{where}: {image.dtype} {shape}; {WANTED}: {way}")


def _numbered(images: Iterable[Image]) -> Iterator[Tuple[int, object]]:
    """Images with their numbers; what the iterable raises takes the place of the image."""
    number, once = -1, iter(images) is images  # an iterator may give one array again, filled anew
    try:
        for number, image in enumerate(images):
            yield number, image.copy() if once and isinstance(image, np.ndarray) else image
    except Exception as error:  # for whoever asks for that image
        yield number + 1, error


def _read_numbered(item: Tuple[int, object]) -> Tuple[object, np.ndarray]:
    number, image = item
    if isinstance(image, Exception):
        raise image
    return read(image, f"images[{number}]")

"""Reading images and labels, and the preprocessing that training shares with prediction.

Images are RGB, uint8, (H, W, 3). Labels are uint8, (H, W): classes, or 255 for pixels to leave out.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Iterator, Sequence

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..conventions import IGNORE_LABEL, VGG_MEAN, PathLike
from ..errors import FCNXSError, reason

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def read_image(path: PathLike) -> np.ndarray:
    """Image as RGB, uint8, (H, W, 3), as a viewer shows it: turned upright by its EXIF data.

    Grey becomes three equal channels. Transparent pixels are composited on white. Of 16 bits a channel the
    upper 8 are kept. Of an animation the first frame is read.

    Raises:
        FCNXSError: there is no such file, it is damaged, or does not have 8 or 16 bits a channel.
    """
    with _named(path):
        image = _upright(_open(path))
        if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
            return _from_16_bits(np.asarray(image), image.info.get("transparency"))
        if image.mode in ("I", "F"):
            raise ValueError(
                f"the image (mode {image.mode}) does not define which values are black and white; "
                "save it with 8 or 16 bits a channel"
            )
        if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
            image = _on_white(image.convert("RGBA"))
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def read_label(path: PathLike, numclass: int | None = None) -> np.ndarray:
    """Label as uint8, (H, W): the indices of a palette image, or the values of a grey one.

    Raises:
        FCNXSError: it cannot be read, is a colour image, or has a value neither 255 nor below `numclass`.
    """
    with _named(path):
        image = _open(path)
    if image.mode not in ("1", "L", "P", "I", "I;16"):
        raise FCNXSError(
            f"{path}: a colour image (mode {image.mode}), not a label; labels are palette or grey PNGs "
            "whose values are class numbers"
        )
    label = np.asarray(image)
    check_label(label, 255 if numclass is None else numclass, path)
    return label.astype(np.uint8)


def check_label(label: np.ndarray, numclass: int, where: object) -> None:
    """Raise an error that names `where` and the value, unless all values are below `numclass` or 255.

    Args:
        label: integers of any shape.
    """
    wrong = label[(label != IGNORE_LABEL) & ((label >= numclass) | (label < 0))]
    if wrong.size:
        raise FCNXSError(
            f"{where}: value {wrong.flat[0]} in {wrong.size} pixels is neither one of the {numclass} classes "
            f"(0 to {numclass - 1}) nor {IGNORE_LABEL}"
        )


def preprocess(image: np.ndarray, mean: Sequence[float] = VGG_MEAN) -> np.ndarray:
    """Input of the nets: RGB image (H, W, 3) to float32 (1, 3, H, W), minus the RGB mean.

    >>> preprocess(np.full((2, 4, 3), 128, np.uint8), mean=(100, 110, 120))[:, :, 0, 0]
    array([[28., 18.,  8.]], dtype=float32)
    """
    centred = image.astype(np.float32) - np.asarray(mean, np.float32)
    return np.ascontiguousarray(centred.transpose(2, 0, 1)[np.newaxis])


@contextmanager
def _named(path: PathLike) -> Iterator[None]:
    """Turn any error of Pillow into an FCNXSError with the file's name; damaged files raise many types."""
    try:
        yield
    except UnidentifiedImageError:
        empty = isinstance(path, (str, os.PathLike)) and not os.path.getsize(path)
        raise FCNXSError(f"{path}: {'empty' if empty else 'not an image of a known format'}") from None
    except MemoryError:
        raise FCNXSError(f"{path}: cannot read this image: it does not fit into memory") from None
    except FileNotFoundError:
        raise FCNXSError(f"{path}: no such file") from None
    except Exception as error:
        raise FCNXSError(f"{path}: cannot read this image: {reason(error)}") from None


def _open(path: PathLike) -> Image.Image:
    image = Image.open(path)
    image.load()
    return image


def _upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF data says. Damaged data is ignored.

    Pillow turns the image first and then rewrites the data without its orientation. If only the second step
    fails, the image is upright already.
    """
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except MemoryError:
        raise
    except Exception:  # damaged EXIF data raises errors of many types
        pass
    return image


def _from_16_bits(values: np.ndarray, clear: int | None) -> np.ndarray:
    """RGB uint8 (H, W, 3) of grey values (H, W) up to 65535; the value `clear` is transparent.

    The upper eight bits are kept, as Pillow does for colour images of 16 bits a channel.
    """
    grey = (values >> 8).astype(np.uint8)
    if clear is not None:
        grey[values == clear] = 255
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def _on_white(image: Image.Image) -> Image.Image:
    """Composite an RGBA image on white, so that a file looks the same to nets of any mean."""
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A"))
    return ground

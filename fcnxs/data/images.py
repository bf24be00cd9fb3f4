"""Reading images, RGB uint8 (H, W, 3), and the preprocessing that training shares with prediction."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Iterator, Sequence, Tuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..conventions import VGG_MEAN, PathLike
from ..errors import FCNXSError, reason

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
EXIF = ("apply", "ignore")  # what to do with an image's EXIF orientation
UNTURN = {  # EXIF orientation: the turn back to the pixels as they are stored
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def read_image(path: PathLike, exif: str = "apply") -> np.ndarray:
    """Image as RGB, uint8, (H, W, 3), as a viewer shows it: turned upright by its EXIF data.

    Grey becomes three equal channels. Transparent pixels are composited on white. Of 16 bits a channel the
    upper 8 are kept. Of an animation the first frame is read.

    Args:
        exif: "apply", or "ignore" to leave the pixels as they are stored.

    Raises:
        FCNXSError: there is no such file, it is damaged, or does not have 8 or 16 bits a channel.
    """
    return load_image(path, exif)[0]


def load_image(path: PathLike, exif: str = "apply") -> Tuple[np.ndarray, int]:
    """Image as `read_image` reads it, uint8 (H, W, 3), and its EXIF orientation, 1 (upright) to 8.

    Raises:
        FCNXSError: as `read_image`.
    """
    with named(path):
        image, orientation = loaded(Image.open(path), exif)
        return _rgb(image), orientation


def loaded(image: Image.Image, exif: str) -> Tuple[Image.Image, int]:
    """Decode a file that Pillow has opened, turned as its EXIF data says or not; return its orientation too.

    Raises:
        FCNXSError: `exif` is neither "apply" nor "ignore".
    """
    if exif not in EXIF:
        raise FCNXSError(f"exif {exif!r}: expected {' or '.join(EXIF)}")
    turned = image.format == "TIFF"  # by Pillow, which then forgets the orientation
    orientation = _orientation(image) if turned else 1
    if orientation > 4 and image.tile and image.tile[0][0] == "raw":
        raise ValueError("Pillow garbles an uncompressed TIFF that EXIF turns by 90 degrees; save it as PNG")
    image.load()
    orientation = orientation if turned else _orientation(image)
    if exif == "apply":
        return _upright(image), orientation
    return image.transpose(UNTURN[orientation]) if turned and orientation > 1 else image, orientation


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(0x0112, 1)
    except MemoryError:
        raise
    except Exception:  # damaged EXIF data raises errors of many types
        orientation = 1
    return orientation if orientation in UNTURN else 1


def _rgb(image: Image.Image) -> np.ndarray:
    """Decoded image as RGB, uint8, (H, W, 3); raises ValueError if black and white are not defined."""
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


def preprocess(image: np.ndarray, mean: Sequence[float] = VGG_MEAN) -> np.ndarray:
    """Input of the nets: RGB image (H, W, 3) to float32 (1, 3, H, W), minus the RGB mean.

    >>> preprocess(np.full((2, 4, 3), 128, np.uint8), mean=(100, 110, 120))[:, :, 0, 0]
    array([[28., 18.,  8.]], dtype=float32)
    """
    centred = image.astype(np.float32) - np.asarray(mean, np.float32)
    return np.ascontiguousarray(centred.transpose(2, 0, 1)[np.newaxis])


@contextmanager
def named(path: PathLike) -> Iterator[None]:
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

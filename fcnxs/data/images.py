"""Reading images, RGB uint8 (H, W, 3), and the preprocessing that training shares with prediction."""

from __future__ import annotations

import io
import os
import threading
from contextlib import contextmanager, nullcontext
from typing import BinaryIO, Iterator, Sequence, Tuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..conventions import MAX_PIXELS, VGG_MEAN, PathLike
from ..errors import FCNXSError, reason
from ..system.files import refuse_irregular
from .bands import refuse_bands
from .formats import FORMATS, what_it_is

SMALL = 64  # bytes: the least that the parts of a file have on average, after the first PARTS
PARTS = 20_000
TILE = (322, 323)  # TIFF's tags of the width and height of a tile
# Suffixes of the files of a folder that are images, in any case of their letters.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
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


class _Counted(io.BufferedReader):
    """A file that is read in no more parts than one of a sensible encoder has.

    Pillow reads every marker of a JPEG and every chunk of a PNG. Of four million empty ones, 16 MB, that takes
    half a minute and a gigabyte.
    """

    def __init__(self, raw: BinaryIO) -> None:
        super().__init__(raw)
        self._left = PARTS + self.seek(0, os.SEEK_END) // SMALL
        self.seek(0)

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file; raises ValueError if there were too many reads."""
        self._left -= 1
        if self._left < 0:
            raise ValueError(f"its parts have less than {SMALL} bytes; save it again")
        return super().read(size)


class TooManyPixels(FCNXSError):
    """An image has more pixels than the limit, by its header."""


class UnknownFormat(FCNXSError):
    """A file is in none of the formats that are opened."""


def read_image(path: PathLike, exif: str = "apply", max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Image as RGB, uint8, (H, W, 3), as a viewer shows it: turned upright by its EXIF data.

    Grey becomes three equal channels. Transparent pixels are composited on white. Of 16 bits a channel the
    upper 8 are kept. Of an animation the first frame is read, of a TIFF the first page.

    Args:
        exif: "apply", or "ignore" to leave the pixels as they are stored.
        max_pixels: most pixels of an image; the header of one that has more is all that is read of it.

    Raises:
        FCNXSError: there is no such file, it is not JPEG, PNG, BMP, GIF, TIFF, WebP or PPM, too large, damaged,
            does not have 8 or 16 bits a channel, or has other bands (`bands.py`).
    """
    return load_image(path, exif, max_pixels)[0]


def load_image(path: PathLike, exif: str = "apply", max_pixels: int = MAX_PIXELS) -> Tuple[np.ndarray, int]:
    """Image as `read_image` reads it, uint8 (H, W, 3), and its EXIF orientation, 1 (upright) to 8.

    Raises:
        FCNXSError: as `read_image`.
    """
    with opened(path, max_pixels) as image:
        image, orientation = loaded(image, exif)
        return _rgb(image), orientation


def size_of(path: PathLike, max_pixels: int = MAX_PIXELS) -> Tuple[int, int]:
    """Width and height of an image by its header.

    Raises:
        FCNXSError: as `read_image`, as far as the header tells.
    """
    with opened(path, max_pixels) as image:
        return image.size


def upright_size(path: PathLike, max_pixels: int = MAX_PIXELS) -> Tuple[Tuple[int, int], int]:
    """Height and width of an image as `read_image` reads it, and its EXIF orientation, by its header.

    Raises:
        FCNXSError: as `read_image`, as far as the header tells.
    """
    with opened(path, max_pixels) as image:
        tags = (
            image.tag_v2 if image.format == "TIFF" else {}
        )  # versions of Pillow differ in their size of a TIFF
        width, height = (tags.get(tag, side) for tag, side in zip((256, 257), image.size))
        orientation = _orientation(image)
        return (width, height) if orientation > 4 else (height, width), orientation


@contextmanager
def opened(
    path: PathLike, max_pixels: int = MAX_PIXELS, formats: Sequence[str] = FORMATS
) -> Iterator[Image.Image]:
    """Open an image or a label, of which only the header is read, to decode it within the block.

    Everything that is decoded in this package is opened here, so that one rule says what is too large.

    Args:
        path: a file's path, or its content as a binary file object.
        formats: Pillow's names of the formats to open.

    Raises:
        FCNXSError: there is no such file, it has another format, more than `max_pixels` pixels (by its header),
            or it is damaged: damaged files raise errors of many types, in the block too.
    """
    is_path = isinstance(path, (str, os.PathLike))
    if is_path:
        refuse_irregular(path)
    try:
        whole = open(path, "rb", buffering=0) if is_path else nullcontext(path)  # noqa: SIM115
        with whole as raw, _Counted(raw) as file, _LIMIT:
            refuse_bands(file, path)
            with Image.open(file, formats=[*formats]) as image:
                refuse_large(image.size, path, max_pixels)
                if image.format == "TIFF":  # whose tiles are decoded whole, and can be larger than the image
                    refuse_large([image.tag_v2.get(tag, 1) for tag in TILE], f"{path}: a tile", max_pixels)
                yield image
    except FCNXSError:
        raise
    except UnidentifiedImageError:
        raise UnknownFormat(f"{path}: {what_it_is(path) if is_path else 'not an image'}") from None
    except MemoryError:
        raise FCNXSError(f"{path}: cannot read this image: it does not fit into memory") from None
    except FileNotFoundError:
        raise FCNXSError(f"{path}: no such file") from None
    except Exception as error:
        raise FCNXSError(f"{path}: cannot read this image: {reason(error)}") from None


def refuse_large(size: Sequence[int], where: object, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse an image or frame whose width and height, as its header says them, make too many pixels.

    Raises:
        TooManyPixels: there are more than `max_pixels`.
    """
    width, height = size
    if width * height > max_pixels:
        raise TooManyPixels(
            f"{where}: {width}x{height} are {width * height:,} pixels, and the limit is {max_pixels:,} "
            "(--max-pixels gives another one)"
        )


class _NoOtherLimit:
    """Context without the limit of Pillow, which all threads of a process share: ours is in its place."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._before


_LIMIT = _NoOtherLimit()


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
    """Input of the nets: RGB image (H, W, 3) to float32 (1, 3, H, W), minus the RGB mean; or of other channels.

    >>> preprocess(np.full((2, 4, 3), 128, np.uint8), mean=(100, 110, 120))[:, :, 0, 0]
    array([[28., 18.,  8.]], dtype=float32)
    """
    centred = image.astype(np.float32) - np.asarray(mean, np.float32)
    return np.ascontiguousarray(centred.transpose(2, 0, 1)[np.newaxis])


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

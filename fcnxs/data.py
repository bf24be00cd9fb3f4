"""Labelled images, one at a time and each of its own size, and the preprocessing they share with prediction.

Images are RGB, uint8, (H, W, 3). Labels are uint8, (H, W): classes, or 255 for pixels to leave out.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Iterable, List, Sequence, Tuple, Union

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .compat import mxnet as mx
from .errors import FCNXSError

IGNORE_LABEL = 255
VGG_MEAN = (123.68, 116.779, 103.939)  # RGB; of the original example and of Oxford's VGG-16
VOC_CLASSES = (  # PASCAL VOC's, in the order of its labels
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *(
        "diningtable",
        "dog",
        "horse",
        "motorbike",
        "person",
        "pottedplant",
        "sheep",
        "sofa",
        "train",
        "tvmonitor",
    ),
)
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

PathLike = Union[str, "os.PathLike[str]"]


def read_image(path: PathLike) -> np.ndarray:
    """Image as RGB, uint8, (H, W, 3), turned upright as its EXIF data says.

    Raises:
        FCNXSError: there is no such file, it is not a whole image, or not one of 8 bits a channel.
    """
    image = _open(path)
    if image.mode.startswith(("I", "F")):
        raise FCNXSError(
            f"{path}: an image of more than 8 bits a channel (mode {image.mode}); convert it first"
        )
    return np.asarray(image.convert("RGB"))


def read_label(path: PathLike, numclass: int | None = None) -> np.ndarray:
    """Label as uint8, (H, W): the indices of a palette image, or the values of a grey one.

    Raises:
        FCNXSError: unreadable, a colour image, or (with `numclass`) a value neither class nor 255.
    """
    image = _open(path, upright=False)
    if image.mode not in ("1", "L", "P", "I", "I;16"):
        raise FCNXSError(
            f"{path}: a colour image (mode {image.mode}), not a label; labels are palette or grey PNGs "
            "whose values are class numbers"
        )
    label = np.asarray(image)
    check_label(label, 255 if numclass is None else numclass, path)
    return label.astype(np.uint8)


def check_label(label: np.ndarray, numclass: int, where: object) -> None:
    """Raise an error that names `where` and the value, unless all values are classes or 255."""
    wrong = label[(label != IGNORE_LABEL) & ((label >= numclass) | (label < 0))]
    if wrong.size:
        raise FCNXSError(
            f"{where}: value {wrong.flat[0]} in {wrong.size} pixels is neither one of the {numclass} classes "
            f"(0 to {numclass - 1}) nor {IGNORE_LABEL}"
        )


def preprocess(image: np.ndarray, mean: Sequence[float] = VGG_MEAN) -> np.ndarray:
    """Input of the nets: RGB image (H, W, 3) to float32 (1, 3, H, W), minus the RGB mean."""
    centred = image.astype(np.float32) - np.asarray(mean, np.float32)
    return np.ascontiguousarray(centred.transpose(2, 0, 1)[np.newaxis])


def read_list(root_dir: PathLike, flist_name: PathLike, labels: bool = True) -> List[Tuple[Path, Path]]:
    r"""Pairs of image and label files that a list names, all of them there; without `labels`, all images.

    A `.lst` file has lines `index \t image \t label`, with paths relative to `root_dir`. A split file
    of the VOC layout has lines `name`, for JPEGImages/name.jpg and SegmentationClass/name.png.

    Raises:
        FCNXSError: the list or a file is missing, a line has another form, or there is no line.
    """
    root, flist = Path(root_dir), Path(root_dir) / flist_name
    try:
        lines = flist.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        what = "it is not text" if isinstance(error, UnicodeDecodeError) else reason(error)
        raise FCNXSError(f"{flist}: cannot read this list of images: {what}") from None
    pairs = []
    for number, line in enumerate(lines, 1):
        fields = line.strip().split("\t")
        if fields == [""]:
            continue
        if len(fields) != 3 and (len(fields) != 1 or flist.suffix == ".lst"):
            raise FCNXSError(
                f"{flist}, line {number}: {len(fields)} fields; want index, image and label between tabs"
            )
        pair = (root / fields[1], root / fields[2]) if len(fields) == 3 else _voc_pair(root, fields[0])
        for file in pair if labels else pair[:1]:
            if not file.is_file():
                raise FCNXSError(f"{file}: no such file (named in {flist}, line {number})")
        pairs.append(pair)
    if not pairs:
        raise FCNXSError(f"{flist}: the list names no image")
    return pairs


def find_list(data: PathLike, split: str) -> Tuple[Path, Path]:
    """`root_dir` and `flist_name` for a `.lst` file, or for a split of a folder in VOC layout."""
    path = Path(data)
    if not path.is_dir():
        return path.parent, Path(path.name)
    flist = Path("ImageSets", "Segmentation", f"{split}.txt")
    if not (path / flist).is_file():
        raise FCNXSError(
            f"{path / flist}: no such file; want a folder in VOC layout with a split {split!r}, or a .lst file"
        )
    return path, flist


class FileIter(mx.io.DataIter):
    """Labelled images of a list, one at a time, whole, each of its own size.

    Each step gives `{data_name: (1, 3, H, W) float32, label_name: (1, H, W) float32}`; the image is RGB
    minus `rgb_mean`. Every image of the list comes once between two calls of `reset`.

    Args:
        root_dir: folder that the paths of the list start from.
        flist_name: list file in `root_dir`, as `read_list` takes it.
        rgb_mean: subtracted from every pixel (R, G, B).
        cut_off_size: images with a side larger than this are cut, at a random place, to a square whose
            side is the smallest of height, width and `cut_off_size`. None: never.
        data_name, label_name: of the symbol's inputs.
        shuffle: a new order for each epoch, from `seed`; the cuts are drawn from `seed` as well.
        num_classes: labels with other values than these and 255 are refused. None: up to 254 is fine.

    Source: the arguments before `shuffle` are those of apache/mxnet 1.4.1 example/fcn-xs/data.py.

    Raises:
        FCNXSError: as `read_list`; while iterating, an unreadable image, a label of another size, of
            another kind or with other values. The message names the file.
    """

    def __init__(
        self,
        root_dir: PathLike,
        flist_name: PathLike,
        rgb_mean: Iterable[float] = VGG_MEAN,
        cut_off_size: int | None = None,
        data_name: str = "data",
        label_name: str = "softmax_label",
        *,
        shuffle: bool = False,
        seed: int = 0,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(batch_size=1)
        self.pairs = read_list(root_dir, flist_name)
        self.mean = tuple(rgb_mean)
        self.cut_off_size = cut_off_size
        self.data_name, self.label_name = data_name, label_name
        self.shuffle, self.seed, self.num_classes = shuffle, seed, num_classes
        self._epoch = -1
        self.reset()
        self.data, self.label = self._read(self._order[0])

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pairs)

    @property
    def provide_data(self) -> List[Tuple[str, Tuple[int, ...]]]:
        """Name and shape of the current image."""
        return [(self.data_name, self.data.shape)]

    @property
    def provide_label(self) -> List[Tuple[str, Tuple[int, ...]]]:
        """Name and shape of the current label."""
        return [(self.label_name, self.label.shape)]

    @property
    def current(self) -> Path:
        """Image file that was read last."""
        return self.pairs[self._index][0]

    def get_batch_size(self) -> int:
        """Images of one step: 1."""
        return 1

    def reset(self) -> None:
        """Begin the next epoch: all images once more, in the next order if they are shuffled."""
        self._epoch += 1
        self._cursor = -1
        self._random = np.random.default_rng((self.seed, self._epoch))
        self._order = np.arange(len(self.pairs))
        if self.shuffle:
            self._random.shuffle(self._order)

    def iter_next(self) -> bool:
        """Go to the next image; False after the last."""
        self._cursor += 1
        return self._cursor < len(self.pairs)

    def next(self) -> Dict[str, np.ndarray]:
        """Next image and label by name."""
        if not self.iter_next():
            raise StopIteration
        self.data, self.label = self._read(self._order[self._cursor])
        return {self.data_name: self.data, self.label_name: self.label}

    def _read(self, index: int) -> Tuple[np.ndarray, np.ndarray]:
        self._index = index
        image_path, label_path = self.pairs[index]
        image, label = read_image(image_path), read_label(label_path, self.num_classes)
        if image.shape[:2] != label.shape:
            raise FCNXSError(
                f"{label_path}: {label.shape[1]}x{label.shape[0]} pixels, but its image {image_path} has "
                f"{image.shape[1]}x{image.shape[0]}"
            )
        if self.cut_off_size is not None and max(label.shape) > self.cut_off_size:
            side = min(self.cut_off_size, *label.shape)
            top, left = (self._random.integers(size - side + 1) for size in label.shape)
            image, label = (array[top : top + side, left : left + side] for array in (image, label))
        return preprocess(image, self.mean), label[np.newaxis].astype(np.float32)


def reason(error: Exception) -> str:
    """What went wrong, without the path that the message around it names."""
    return getattr(error, "strerror", None) or str(error)


def _open(path: PathLike, upright: bool = True) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
        if upright:
            image = ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        raise FCNXSError(f"{path}: not an image of a known format") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FCNXSError(f"{path}: cannot read this image: {reason(error)}") from None
    return image


def _voc_pair(root: Path, name: str) -> Tuple[Path, Path]:
    images = [root / "JPEGImages" / f"{name}{suffix}" for suffix in IMAGE_SUFFIXES]
    image = next((file for file in images if file.is_file()), images[0])
    return image, root / "SegmentationClass" / f"{name}.png"

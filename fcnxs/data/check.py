"""Inspect a data set before training: sizes, classes, and everything that would make training fail."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

import numpy as np

from ..conventions import IGNORE_LABEL
from ..errors import FCNXSError
from ..system.threads import default_workers, in_order
from .images import check_label
from .samples import Samples

SMALLEST = (26, 26)  # smallest (height, width) that the nets take by default
Size = Tuple[int, int]


@dataclass
class Inspection:
    """Findings of `check`. Images are given by their numbers in the data set.

    Attributes:
        files: names of the images.
        sizes: number of images by (height, width).
        bad: (number, reason) of the pairs that cannot be trained on; the reason names the file.
        pixels: labelled pixels of each class, int64 (num_classes,).
        ignored: pixels labelled 255.
        empty: images whose label is 255 everywhere.
        faults: errors of the data set as a whole that would make training fail.
        fingerprint: SHA-256 of all decoded images and labels in their order.
        hashes: SHA-256 of the shape and pixels of each image; b"" for an unreadable one.
    """

    files: List[str]
    sizes: Counter[Size] = field(default_factory=Counter)
    bad: List[Tuple[int, str]] = field(default_factory=list)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ignored: int = 0
    empty: List[int] = field(default_factory=list)
    faults: List[str] = field(default_factory=list)
    fingerprint: str = ""
    hashes: List[bytes] = field(default_factory=list)

    @property
    def fails(self) -> bool:
        """Whether training would fail."""
        return bool(self.bad or self.faults)

    @property
    def ignored_share(self) -> float:
        """Share of the pixels that is labelled 255; NaN if there are no pixels."""
        total = self.ignored + int(self.pixels.sum())
        return self.ignored / total if total else float("nan")

    @property
    def absent(self) -> List[int]:
        """Classes without a pixel."""
        return np.flatnonzero(self.pixels == 0).tolist()

    @property
    def good(self) -> List[int]:
        """Numbers of the images that are not bad, for `Samples.subset`."""
        bad = {number for number, _ in self.bad}
        return [number for number in range(len(self.files)) if number not in bad]


def check(
    samples: Samples,
    num_classes: int,
    batch_size: int = 1,
    crop_size: int | None = None,
    smallest: Size = SMALLEST,
    workers: int | None = None,
    on_progress: Callable[[], None] | None = None,
) -> Inspection:
    """Read every pair of a data set and return the findings.

    Args:
        batch_size, crop_size: what training will use. A batch of several images needs images of one size.
        smallest: (height, width) that the net needs. With `crop_size` smaller images are padded.
        workers: threads that read; None: as many as a `Loader` takes.
        on_progress: called after each pair.

    Raises:
        FCNXSError: `crop_size` is smaller than the net needs.
    """
    if crop_size is not None and crop_size < max(smallest):
        raise FCNXSError(f"crop size {crop_size}: the net needs at least {smallest[1]}x{smallest[0]} pixels")
    least = (1, 1) if crop_size is not None else smallest
    workers = workers or default_workers()
    names = [samples.name(number) for number in range(len(samples))]
    found = Inspection(names, pixels=np.zeros(num_classes, np.int64))
    values, digest = np.zeros(256, np.int64), hashlib.sha256()
    look = partial(_look, samples, num_classes, least)
    for number, future in enumerate(in_order(look, range(len(samples)), workers, 4 * workers)):
        error, size, pixels, image_hash, label_hash = future.result()
        digest.update(image_hash + label_hash)
        found.hashes.append(image_hash)
        if error is not None:
            found.bad.append((number, error))
        if size is not None:
            found.sizes[size] += 1
            values += pixels
            if pixels[IGNORE_LABEL] == pixels.sum():
                found.empty.append(number)
        if on_progress is not None:
            on_progress()
    found.pixels[:] = values[:num_classes]
    found.ignored = int(values[IGNORE_LABEL])
    found.fingerprint = digest.hexdigest()
    found.faults = _faults(found, values, batch_size, crop_size)
    return found


def _look(samples: Samples, num_classes: int, least: Size, number: int) -> tuple:
    """Read one pair; returns error, size, pixels of each value of the label (256,), and both hashes."""
    try:
        image, label = samples.read(number)
    except FCNXSError as error:
        return str(error), None, None, b"", b""
    error, size = None, label.shape
    try:
        check_label(label, num_classes, samples.label_name(number))
    except FCNXSError as wrong:
        error = str(wrong)
    if size[0] < least[0] or size[1] < least[1]:
        error = (
            f"{samples.name(number)}: {size[1]}x{size[0]} pixels; the net needs at least {least[1]}x{least[0]}"
        )
    pixels = np.bincount(label.reshape(-1), minlength=256)
    return error, size, pixels, _hash(image), _hash(label)


def _hash(array: np.ndarray) -> bytes:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).data).digest()


def _faults(found: Inspection, values: np.ndarray, batch_size: int, crop_size: int | None) -> List[str]:
    """Errors of the data set as a whole; `values` (256,) counts the labels' values."""
    faults = []
    if batch_size > 1 and crop_size is None and len(found.sizes) > 1:
        (height, width), (other_height, other_width), *more = found.sizes
        faults.append(
            f"batches of {batch_size} images need images of one size, but there are {width}x{height}, "
            f"{other_width}x{other_height}{', ...' if more else ''}: cut them alike (--crop-size), or "
            f"take one at a time and sum their gradients (--accumulate {batch_size})"
        )
    if found.sizes and not values[:IGNORE_LABEL].any():
        faults.append(f"every pixel of the labels is {IGNORE_LABEL} and so ignored: nothing can be learned")
    elif values[0] and values[IGNORE_LABEL] and not values[1:IGNORE_LABEL].any():
        faults.append(
            "the labels have only the values 0 and 255: 255 means that a pixel is "
            "ignored; if it marks objects, write 1 instead"
        )
    return faults


def overlap(a: Inspection, b: Inspection) -> List[Tuple[int, int]]:
    """Pairs (number in `a`, number in `b`) of the same image: same file without suffix, or same pixels."""
    numbers: Dict[object, List[int]] = defaultdict(list)
    for number, keys in enumerate(_keys(b)):
        for key in keys:
            numbers[key].append(number)
    found = [(one, other) for one, keys in enumerate(_keys(a)) for key in keys for other in numbers[key]]
    return sorted(set(found))


def _keys(found: Inspection) -> Iterator[set]:
    """For each image its path without suffix and the hash of its pixels."""
    for file, digest in zip(found.files, found.hashes):
        yield {Path(file).resolve().with_suffix(""), digest} - {b""}

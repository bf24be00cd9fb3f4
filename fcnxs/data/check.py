"""Inspect a data set: sizes, classes, and everything that would make training fail or give wrong results.

Every image and label is read. The commands check-data, finetune, evaluate, report and export call `check`.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Callable, Sequence

import numpy as np

from ..conventions import IGNORE_LABEL
from ..errors import FCNXSError
from ..system.files import real
from ..system.threads import default_workers, in_order
from .findings import findings
from .inspection import Inspection, Seen, Size
from .labels import check_label
from .samples import Samples

SMALLEST = (26, 26)  # smallest (height, width) that FCN-32s to FCN-2s take by default


def check(
    samples: Samples,
    num_classes: int,
    batch_size: int = 1,
    crop_size: int | None = None,
    smallest: Size = SMALLEST,
    workers: int | None = None,
    on_progress: Callable[[], None] | None = None,
    names: Sequence[str] | None = None,
) -> Inspection:
    """Read every pair of a data set and return the findings; those of kinds in `samples.allow` only warn.

    Args:
        batch_size, crop_size: what training will use. A batch of several images needs images of one size.
        smallest: (height, width) that the net needs. With `crop_size` smaller images are padded.
        workers: threads that read; None: as many as a `Loader` takes.
        on_progress: called after each pair.
        names: names of the classes, for the findings.

    Raises:
        FCNXSError: `crop_size` is smaller than the net needs.
    """
    if crop_size is not None and crop_size < max(smallest):
        raise FCNXSError(f"crop size {crop_size}: the net needs at least {smallest[1]}x{smallest[0]} pixels")
    least = (1, 1) if crop_size is not None else smallest
    workers = workers or default_workers()
    numbers = range(len(samples))
    found = Inspection(
        [samples.name(number) for number in numbers],
        [samples.label_name(number) for number in numbers],
        [real(image).with_suffix("") for image in samples.images],
    )
    values, digest = np.zeros(256, np.int64), hashlib.sha256()
    found.of_good = np.zeros((3, num_classes), np.int64)
    found.left_out = {value: 0 for value in samples.ignore if value != IGNORE_LABEL}
    look = partial(_look, samples, num_classes, least)
    for number, future in enumerate(in_order(look, numbers, workers, 4 * workers)):
        error, size, pixels, left_out, image_hash, seen = future.result()
        digest.update(image_hash + (seen.label if seen else b""))
        found.hashes.append(image_hash)
        if error is not None:
            found.bad.append((number, error))
        if seen is not None:
            found.seen.append(seen)
        if size is not None:
            found.sizes[size] += 1
            values += pixels
            if error is None:
                there = pixels[:num_classes] > 0
                found.of_good += [pixels[:num_classes], there, there * pixels.sum()]
            for value, count in left_out.items():
                found.left_out[value] += count
            if pixels[IGNORE_LABEL] == pixels.sum():
                found.empty.append(number)
        if on_progress is not None:
            on_progress()
    found.pixels = values[:num_classes].copy()
    found.ignored = int(values[IGNORE_LABEL])
    found.fingerprint = digest.hexdigest()
    one_size = batch_size if crop_size is None else 1
    found.findings = findings(found, names, samples.allow, samples.exif, one_size)
    return found


def _look(samples: Samples, num_classes: int, least: Size, number: int) -> tuple:
    """Read one pair: its error, size, pixels by value of the label (256,), left out, image's hash, and Seen."""
    try:
        image, turn, label = samples.load(number)
    except FCNXSError as error:
        return str(error), None, None, {}, b"", None
    size, shape = image.shape[:2], label.values.shape
    pixels = np.bincount(label.values.reshape(-1), minlength=256)
    values = np.flatnonzero(pixels).astype(np.uint8)
    colours = None if label.colours is None else label.colours[values]
    other = size if turn < 5 else size[::-1]
    turns = turn, label.orientation, size == shape, turn > 1 and other == shape
    seen = Seen(number, values, colours, _hash(label.values), *turns, label.faults)
    error = samples.misfit(number, size, shape, turn)
    if error is not None:
        return error, None, None, {}, b"", seen
    try:
        check_label(label.values, num_classes, samples.label_name(number))
    except FCNXSError as wrong:
        error = f"{wrong}{_way_out(values[values >= num_classes])}"
    if size[0] < least[0] or size[1] < least[1]:
        error = (
            f"{samples.name(number)}: {size[1]}x{size[0]} pixels; the net needs at least {least[1]}x{least[0]}"
        )
    return error, size, pixels, label.left_out, _hash(image), seen


def _way_out(wrong: np.ndarray) -> str:
    """What to do about the values of a label that are no classes, if there is one beside 255."""
    wrong = wrong[wrong != IGNORE_LABEL]
    return f"; if {wrong[0]} marks no class, --ignore-label {wrong[0]} leaves it out" if len(wrong) == 1 else ""


def _hash(array: np.ndarray) -> bytes:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).data).digest()

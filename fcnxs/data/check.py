"""Inspect a data set: sizes, classes, and everything that would make training fail or give wrong results.

Every image and label is read, unless it was read before and has not changed (`remembered.py`). The commands
check-data, finetune, evaluate, report and export call `check`.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache, partial
from pathlib import Path
from typing import Callable, Iterator, List, Sequence, Tuple, Union

import numpy as np
from PIL import Image

from ..conventions import IGNORE_LABEL
from ..errors import FCNXSError
from ..system.threads import default_workers, in_order
from .findings import findings
from .inspection import Inspection, Seen, Size
from .labels import check_label
from .remembered import Look, Remembered
from .samples import Samples

Result = Tuple[Union[str, None], Union[Look, None], Union[Seen, None]]
AT_ONCE = 500  # pairs that are looked up before the unknown ones of them are read
DEPTHS = 20  # most images of which the depth's unit is told
MOST_APART = 2  # of the median and the mean of depth's logarithm: a factor of 7
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
    file: Path | None = None,
) -> Inspection:
    """Read every pair of a data set and return the findings; those of kinds in `samples.allow` only warn.

    Args:
        batch_size, crop_size: what training will use. A batch of several images needs images of one size.
        smallest: (height, width) that the net needs. With `crop_size` smaller images are padded.
        workers: threads that read; None: as many as a `Loader` takes.
        on_progress: called after each pair.
        names: names of the classes, for the findings.
        file: where what was seen is kept, so that pairs whose files have not changed are not read again; the
            commands give `remembered.place()`. None: nowhere.

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
        _places(samples.images),
    )
    values, digest = np.zeros(256, np.int64), hashlib.sha256()
    found.of_good = np.zeros((3, num_classes), np.int64)
    found.left_out = {value: 0 for value in samples.ignore if value != IGNORE_LABEL}
    with Remembered(samples, file) as remembered:
        looks = _looks(samples, num_classes, least, remembered, workers)
        for number, (error, look, seen) in enumerate(looks):
            found.hashes.append(look.image if look else b"")
            digest.update(found.hashes[-1] + (seen.label if seen else b""))
            if error is not None:
                found.bad.append((number, error))
            if seen is not None:
                found.seen.append(seen)
            if look is not None:
                found.sizes[look.size] += 1
                values += look.pixels
                if error is None:
                    pixels = look.pixels[:num_classes]
                    found.of_good += [pixels, pixels > 0, (pixels > 0) * look.pixels.sum()]
                for value, count in look.left_out.items():
                    found.left_out[value] += count
                if look.pixels[IGNORE_LABEL] == look.pixels.sum():
                    found.empty.append(number)
            if on_progress is not None:
                on_progress()
    found.pixels = values[:num_classes].copy()
    found.ignored = int(values[IGNORE_LABEL])
    found.fingerprint = digest.hexdigest()
    one_size = batch_size if crop_size is None else 1
    found.findings = findings(found, names, samples.allow, samples.exif, one_size)
    return found


def unlike_depth(samples: Samples, mean: float) -> str | None:
    """Warning of depth in another unit than that of the `mean` of its logarithm; None if there is none.

    The median of the logarithm is that of the medians of up to `DEPTHS` images, spread evenly.

    Raises:
        FCNXSError: an image cannot be read.
    """
    numbers = range(0, len(samples), -(-len(samples) // DEPTHS))
    middle = float(np.median([np.median(samples.image(number)[..., -1]) for number in numbers]))
    if abs(middle - mean) <= MOST_APART:
        return None
    return (
        f"{samples.root}: the median logarithm of depth is {middle:.3f} (a depth of {np.exp(middle):.4g}) in "
        f"{len(numbers)} images, and the mean that is subtracted is {mean:g} (of {np.exp(mean):.4g}): NYUDv2's "
        "depth is in millimetres; convert yours if it is in another unit"
    )


def _places(images: Sequence[Path]) -> List[str]:
    """Paths of files, links resolved, without suffix; the folders' links are resolved once."""
    real_folder = lru_cache(maxsize=None)(os.path.realpath)
    result = []
    for image in images:
        folder, name = os.path.split(image)
        place = os.path.realpath(image) if os.path.islink(image) else os.path.join(real_folder(folder), name)
        result.append(os.path.splitext(place)[0])
    return result


def _looks(
    samples: Samples, num_classes: int, least: Size, remembered: Remembered, workers: int
) -> Iterator[Result]:
    """What `_look` gives for each pair, in order; threads read those that are not remembered as good."""
    look = partial(_look, samples, num_classes, least)
    for start in range(0, len(samples), AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, len(samples)))
        files = [remembered.files(number) for number in numbers]
        known = {number: remembered.recall(each) for number, each in zip(numbers, files)}
        for number, each in known.items():
            if each and _fault(samples, num_classes, least, each.size, each.seen.values, number):
                known[number] = None  # its error has numbers that are not remembered
        read = in_order(look, [number for number in numbers if known[number] is None], workers, 4 * workers)
        for number, each in zip(numbers, files):
            if known[number] is not None:
                yield None, known[number], known[number].seen
            else:
                result = next(read).result()
                remembered.keep(each, result[1])
                yield result


def _look(samples: Samples, num_classes: int, least: Size, number: int) -> Result:
    """Read one pair: its error, what is kept if its sizes fit, and what is seen if it can be read."""
    try:
        image, turn, label = samples.load(number)
    except FCNXSError as error:
        return str(error), None, None
    size, shape = image.shape[:2], label.values.shape
    pixels = np.array(Image.fromarray(label.values).histogram())  # bincount copies the label as int64 first
    values = np.flatnonzero(pixels).astype(np.uint8)
    colours = None if label.colours is None else label.colours[values]
    other = size if turn < 5 else size[::-1]
    turns = turn, label.orientation, size == shape, turn > 1 and other == shape
    seen = Seen(number, values, colours, _hash(label.values), *turns, label.faults)
    error = samples.misfit(number, size, shape, turn)
    if error is not None:
        return error, None, seen
    error = _fault(samples, num_classes, least, size, label.values, number)
    return error, Look(size, pixels, label.left_out, _hash(image), seen), seen


def _fault(
    samples: Samples, num_classes: int, least: Size, size: Size, label: np.ndarray, number: int
) -> str | None:
    """Error of an image of this size with these values of the label; None if there is none."""
    if size[0] < least[0] or size[1] < least[1]:
        return (
            f"{samples.name(number)}: {size[1]}x{size[0]} pixels; the net needs at least {least[1]}x{least[0]}"
        )
    try:
        check_label(label, num_classes, samples.label_name(number))
    except FCNXSError as wrong:
        values = np.unique(label)
        return f"{wrong}{_way_out(values[values >= num_classes])}"
    return None


def _way_out(wrong: np.ndarray) -> str:
    """What to do about the values of a label that are no classes, if there is one beside 255."""
    wrong = wrong[wrong != IGNORE_LABEL]
    return f"; if {wrong[0]} marks no class, --ignore-label {wrong[0]} leaves it out" if len(wrong) == 1 else ""


def _hash(array: np.ndarray) -> bytes:
    return hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).data).digest()

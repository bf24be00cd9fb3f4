"""Write images and labels in the plain layout: images/[SPLIT/]NAME.jpg, labels/[SPLIT/]NAME.png, classes.txt.

Images are linked, or copied where the file system has no hard links, and are encoded anew only if they are
resized or cut. Everything is written into a folder beside the target, which gets its name at the end.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np
from PIL import Image

from ..conventions import IGNORE_LABEL, PathLike
from ..data.augment import resize
from ..data.images import IMAGE_SUFFIXES, UNTURN, read_image, upright_size
from ..errors import FCNXSError, last_line
from ..system import locks
from ..system.files import real
from ..system.own import png_info
from ..vis import save_mask
from .account import Account
from .files import in_threads
from .found import LeftOut, Options, Sample, Size
from .selection import Selection

LONGEST = 200  # bytes of a name without its suffix
INVERSE = {6: 8, 8: 6}  # EXIF orientations whose turns undo each other; others undo themselves


class Form(NamedTuple):
    """How images are changed; by default not at all.

    Attributes:
        longest: side that longer images are shrunk to, in pixels.
        tiles: side of the squares that images are cut into, after that.
        overlap: pixels that neighbouring tiles share at least.
    """

    longest: int | None = None
    tiles: int | None = None
    overlap: int = 0


@contextmanager
def new_folder(target: PathLike) -> Iterator[Path]:
    """Give a folder to write into, which becomes `target` when the block succeeds; otherwise it is removed.

    Raises:
        FCNXSError: the target exists and is not an empty folder, or it cannot be written.
    """
    place = real(target)
    if os.path.lexists(place) and (not place.is_dir() or any(place.iterdir())):
        raise FCNXSError(f"{target}: is there already, and not an empty folder; choose another name")
    try:
        with locks.folder_beside(place, target) as beside:
            folder = beside / "data"
            folder.mkdir()
            yield folder
            with locks.moving:
                os.rename(folder, place)
    except OSError as error:
        raise FCNXSError(f"{target}: cannot write: {last_line(error)}") from None


def write(
    samples: Sequence[Sample],
    selection: Selection,
    folder: Path,
    form: Form,
    options: Options,
    account: Account,
    on_progress: Callable[[], None] | None = None,
) -> Counter[str]:
    """Write all samples and classes.txt into an empty folder; number of images by split ("" without splits).

    Args:
        account: is told of images that are left out or changed.
        on_progress: called after each image.

    Raises:
        FCNXSError: no image remains.
        OSError: a file cannot be written.
    """
    written: Counter[str] = Counter()
    names = _names(samples, account)
    for split in {sample.split or "" for sample in samples}:
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
    save = partial(_save, folder, selection, form, options, account)
    with closing(in_threads(save, [*zip(samples, names)])) as numbers:
        for sample, number in zip(samples, numbers):
            written[sample.split or ""] += number
            if on_progress is not None:
                on_progress()
    if not sum(written.values()):
        raise FCNXSError(f"no image remains: {account}")
    for split in {sample.split or "" for sample in samples} - {*(+written)}:
        for kind in ("images", "labels"):
            (folder / kind / split).rmdir()
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in selection.names), encoding="utf-8")
    return +written


def _names(samples: Sequence[Sample], account: Account) -> List[str]:
    """Names of the results, without suffix.

    Each image keeps its own; where two are alike, the names of its folders come before it. Those that even then
    are alike get numbers. What cannot be a name (hidden, too long, control characters) is changed.
    """
    common = os.path.commonpath([os.path.dirname(sample.name) for sample in samples]) if samples else ""
    paths = [os.path.relpath(os.path.splitext(sample.name)[0], common or ".") for sample in samples]
    paths = [re.sub(r"[\x00-\x1f\x7f]", "_", path) for path in paths]
    stems = [path.rpartition("/")[2] for path in paths]
    often = Counter(stems)
    result: List[str] = []
    used: Dict[str, int] = {}
    for sample, path, stem in zip(samples, paths, stems):
        name = (stem if often[stem] == 1 else path.replace("/", "_")).lstrip(".") or "image"
        if len(os.fsencode(name)) > LONGEST:
            name = os.fsencode(name)[:LONGEST].decode(errors="ignore")
        base, number = name, 1
        while name in used:
            number += 1
            name = f"{base}-{number}"
        used[name] = 1
        if name != os.path.splitext(os.path.basename(sample.name))[0]:
            account.add("renamed", sample.name)
        result.append(name)
    return result


def _save(
    folder: Path,
    selection: Selection,
    form: Form,
    options: Options,
    account: Account,
    item: Tuple[Sample, str],
) -> int:
    """Write one image and its label, or its tiles; the number of images that were written."""
    sample, name = item
    try:
        size, orientation = upright_size(sample.image, options.max_pixels)
        label = selection.table[_fitted(sample, size, orientation, options.exif, account)]
        if (label == IGNORE_LABEL).all():
            raise LeftOut("unused")
        pieces = _pieces(sample, label, form, options, account)
        if pieces is None and sample.image.suffix.lower() not in IMAGE_SUFFIXES:
            raise LeftOut("other format")
    except LeftOut as left:
        account.add(left.kind, sample.name)
        return 0
    except FCNXSError as error:
        account.add("unreadable", error)
        return 0
    images, labels = (folder / kind / (sample.split or "") for kind in ("images", "labels"))
    if pieces is None:
        save_mask(labels / f"{name}.png", label, selection.palette)
        _link(sample.image, images / f"{name}{sample.image.suffix}")
        return 1
    for end, image, part in pieces:
        save_mask(labels / f"{name}{end}.png", part, selection.palette)
        Image.fromarray(image).save(images / f"{name}{end}.png", pnginfo=png_info())
    return len(pieces)


def _fitted(sample: Sample, size: Size, orientation: int, exif: str, account: Account) -> np.ndarray:
    """Label of an image, uint8 (H, W), upright as `read_image` gives the image.

    Raises:
        LeftOut: it has another size.
    """
    label = sample.draw(size)
    stored = size[::-1] if orientation > 4 else size
    upright = label.shape == size
    if orientation > 1 and label.shape == stored and (exif == "ignore" or not upright):
        account.add("turned", sample.name)
        turn = UNTURN[INVERSE.get(orientation, orientation)]
        return np.asarray(Image.fromarray(label).transpose(turn))
    if not upright:
        raise LeftOut("size")
    return label


def _pieces(
    sample: Sample, label: np.ndarray, form: Form, options: Options, account: Account
) -> List[Tuple[str, np.ndarray, np.ndarray]] | None:
    """Ends of names, images and labels of a resized or cut image; None if the image stays as it is."""
    height, width = label.shape
    shrinks = form.longest is not None and max(height, width) > form.longest
    factor = form.longest / max(height, width) if shrinks else 1
    cuts = form.tiles is not None and max(height, width) * factor > form.tiles
    if not (shrinks or cuts):
        return None
    image = read_image(sample.image, "apply", options.max_pixels)
    if shrinks:
        account.add("resized", sample.name)
        image, label = resize(image, label, factor)
    if not cuts:
        return [("", image, label)]
    account.add("tiled", sample.name)
    tops, lefts = (starts(side, form.tiles, form.overlap) for side in label.shape)
    result = []
    for window in ((top, left) for top in tops for left in lefts):
        rows, columns = (slice(start, start + form.tiles) for start in window)
        if (label[rows, columns] != IGNORE_LABEL).any():
            result.append((f"-y{window[0]}-x{window[1]}", image[rows, columns], label[rows, columns]))
        else:
            account.add("unused tiles", sample.name)
    return result


def starts(side: int, tile: int, overlap: int) -> List[int]:
    """Where tiles begin along a side; the last one ends where the side ends, and may overlap more.

    >>> starts(100, 40, 8)
    [0, 32, 60]
    """
    last = max(side - tile, 0)
    return [*range(0, last, tile - overlap), last]


def _link(image: Path, place: Path) -> None:
    """Link a file, or copy it byte for byte where that fails."""
    with suppress(OSError):
        os.link(real(image), place)
        return
    shutil.copyfile(image, place)

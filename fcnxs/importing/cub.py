"""CUB-200-2011 as its makers ship it: birds on a ground, with the levels of five annotators.

Source: https://www.vision.caltech.edu/datasets/cub_200_2011, README and segmentations.tgz, which is unpacked
beside images/, or beside CUB_200_2011/. A mask has the levels 0, 51, 102, 153, 204, and 255; from `THRESHOLD`
on, as most of the annotators say, a pixel is the bird's. train_test_split.txt gives the splits train and test.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Dict

import numpy as np

from ..data.images import loaded, opened
from ..errors import FCNXSError, cut
from ..system.files import read_text
from .account import Account
from .files import below
from .found import Class, Found, Options, Sample, Size
from .pairing import Pair
from .values import joined

LOOKS_FOR = "images.txt, train_test_split.txt, segmentations/"
TAKES = ("threshold",)
LISTS = ("images.txt", "train_test_split.txt")
THRESHOLD = 128


def recognised(source: Path) -> bool:
    """Whether a folder, or CUB_200_2011/ in it, has the lists, and there are masks."""
    return bool(_roots(source))


def _roots(source: Path) -> Dict[str, Path]:
    for root in (source, source / "CUB_200_2011"):
        masks = [folder / "segmentations" for folder in (root, source)]
        masks = [folder for folder in masks if folder.is_dir()]
        if masks and all((root / name).is_file() for name in LISTS):
            return {"root": root, "masks": masks[0]}
    return {}


def read(source: Path, options: Options, account: Account) -> Found:
    """Pairs of images and masks; the classes are the background and the bird.

    Raises:
        FCNXSError: a list has other lines, or names files elsewhere; or no image has a mask.
    """
    places = _roots(source)
    if not places:
        raise FCNXSError(f"{source}: expected {', '.join(LISTS)}, images/ and segmentations/")
    root, folder = places["root"], places["masks"]
    images, is_train = (_table(root / name) for name in LISTS)
    files, masks = {}, {}
    for number, name in images.items():
        split = {"1": "train", "0": "test"}.get(is_train.get(number, ""))
        if split is None:
            raise FCNXSError(f"{root / LISTS[1]}: does not say 0 or 1 for image {cut(number, 80)}")
        image = below(root / "images", name, root / LISTS[0])
        mask = below(folder, f"{Path(name).with_suffix('.png')}", root / LISTS[0])
        if image.is_file():
            files[split, name] = image
        if mask.is_file():
            masks[split, name] = mask
    threshold = options.threshold or THRESHOLD
    account.note(f"values below {threshold} are the background, others the bird")
    samples = [
        Sample(pair.image, pair.name, partial(_drawn, pair, threshold, options), pair.split)
        for pair in joined(source, files, masks, account)
    ]
    if not samples:
        raise FCNXSError(f"{source}: no image of {LISTS[0]} has a mask. {account}")
    return Found([Class("background", None, 0), Class("bird", None, 1)], samples, "CUB-200-2011")


def _table(file: Path) -> Dict[str, str]:
    """Second column by the first."""
    lines = [line.split(maxsplit=1) for line in read_text(file, "this list of images").splitlines()]
    wrong = next((number for number, line in enumerate(lines, 1) if line and len(line) != 2), None)
    if wrong is not None:
        raise FCNXSError(f"{file}, line {wrong}: expected an image's number and a value")
    return {line[0]: line[1].strip() for line in lines if line}


def _drawn(pair: Pair, threshold: int, options: Options, _: Size) -> np.ndarray:
    with opened(pair.mask, options.max_pixels) as image:
        image, _ = loaded(image, options.exif)
        return (np.asarray(image.convert("L")) >= threshold).astype(np.uint8)  # a few have an alpha channel

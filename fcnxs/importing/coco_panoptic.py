"""COCO's panoptic annotations: JSON with the segments of an image, which is coloured by them in a PNG.

Source: https://cocodataset.org/#format-data, "Panoptic Segmentation". A pixel (R, G, B) belongs to the segment
R + 256 G + 65536 B; 0 is none, and is ignored, as crowds are. The PNGs are in a folder named as the JSON file.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Dict

import numpy as np

from ..conventions import IGNORE_LABEL
from ..errors import FCNXSError
from ..system.json_files import BYTE, Number, Or, read_json
from .account import Account
from .coco_files import MOST, PANOPTIC, PARTS, Annotations, Draw, File, annotated, categories, json_files
from .files import below
from .found import Class, Found, LeftOut, Options, Size, checked_classes
from .masks import rgb_of

LOOKS_FOR = "panoptic_*.json and folders of its PNGs"
TAKES = ()
SEGMENT = {"id": Number(int, 0, 2**24 - 1), "category_id": Number(int), "iscrowd": Or(Number(int), 0)}
FORM = {
    **PARTS,
    "annotations": [{"image_id": Number(int), "file_name": str, "segments_info": [SEGMENT]}],
    "categories": [{**PARTS["categories"][0], "color": Or((BYTE, BYTE, BYTE))}],
}


def recognised(source: Path) -> bool:
    """Whether all of COCO's JSON files here are panoptic."""
    files = json_files(source)
    return bool(files) and all(file.stem.startswith(PANOPTIC) for file in files)


def read(source: Path, options: Options, account: Account) -> Found:
    """Images of the JSON files, with their segments; there is no background, but void.

    Raises:
        FCNXSError: there is no such file; one has another form, or names files elsewhere; or no image is found.
    """
    found = json_files(source)
    paths = [source] if source.is_file() else [file for file in found if file.stem.startswith(PANOPTIC)]
    if not paths:
        raise FCNXSError(f"{source}: no {PANOPTIC}_*.json here or in annotations/")
    files = [File(path, read_json(path, "COCO's panoptic annotations", FORM, most=MOST)) for path in paths]
    classes = [
        Class(each["name"], None if each["color"] is None else tuple(each["color"]), number)
        for number, each in categories(files).items()
    ]
    classes = checked_classes(classes, paths[0])

    def label(path: Path, segments: Annotations, image: Dict[str, Any], positions: Dict[int, int]) -> Draw:
        pngs = [below(path.parent / path.stem, each["file_name"], path) for each in segments]
        values = {
            segment["id"]: IGNORE_LABEL
            if segment["iscrowd"]
            else positions.get(segment["category_id"], IGNORE_LABEL)
            for segment in segments[0]["segments_info"]
        }
        return partial(_drawn, pngs, values, image["file_name"], options, account)

    return Found(classes, annotated(files, source, classes, label, options, account), str(paths[0]))


def _drawn(
    pngs: list, values: Dict[int, int], name: str, options: Options, account: Account, _: Size
) -> np.ndarray:
    if len(pngs) > 1:
        raise LeftOut("two annotations")
    if not pngs[0].is_file():
        raise LeftOut("no annotation")
    numbers = rgb_of(pngs[0], options) @ (1, 256, 65536)
    segments, where = np.unique(numbers, return_inverse=True)
    account.add("unknown value", name, any(each not in values for each in segments[segments > 0].tolist()))
    table = np.array([values.get(each, IGNORE_LABEL) for each in segments.tolist()], np.uint8)
    return table[where].reshape(numbers.shape)

"""COCO's JSON, as COCO has it, and as Roboflow, CVAT and others export it.

Source: https://cocodataset.org/#format-data, and pycocotools, which draws the polygons; the parts of an object
are united, and one inside another is no hole. Objects are drawn in the file's order, the later over the former,
as in COCO-Stuff's cocostuffhelper.py. Crowds are ignored where no other object is. Pixels of no object are
background.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from ..conventions import IGNORE_LABEL
from ..data.datasets import check_outlines
from ..data.images import refuse_large
from ..errors import FCNXSError, cut
from ..system.json_files import Number, read_json
from .account import Account
from .coco_files import MOST, PANOPTIC, PARTS, SPLIT, Annotations, Draw, File, annotated, categories, json_files
from .drawing import Shape, draw
from .found import BACKGROUND, Class, Found, LeftOut, Options, Size, checked_classes, with_background
from .run_lengths import compressed, in_columns

LOOKS_FOR = "*.json, annotations/*.json or train/*.json with images, annotations, categories"
TAKES = ()
WHAT = "COCO's annotations of objects"
FORM = {**PARTS, "annotations": [{"image_id": Number(int), "category_id": Number(int)}]}


def recognised(source: Path) -> bool:
    """Whether the source is, or has, a JSON file that begins as COCO's do, and is not panoptic."""
    return any(not file.stem.startswith(PANOPTIC) for file in json_files(source))


def read(source: Path, options: Options, account: Account) -> Found:
    """Images of the JSON files, with their objects.

    Raises:
        FCNXSError: there is no such file; one has another form, or names files elsewhere; files give a number
            to different classes; polygons need pycocotools; or no image is found.
    """
    files = [File(file, read_json(file, WHAT, FORM, most=MOST)) for file in _chosen(source, account)]
    outlines = (each.get("segmentation") for file in files for each in file.content["annotations"])
    if any(isinstance(outline, list) for outline in outlines):
        _need_pycocotools()
    classes = _classes(files, account)

    def label(_: Path, objects: Annotations, image: Dict[str, Any], positions: Dict[int, int]) -> Draw:
        return partial(_drawn, objects, image, positions, options, account)

    return Found(classes, annotated(files, source, classes, label, options, account), str(files[0].path))


def _need_pycocotools() -> None:
    try:
        from pycocotools import mask  # noqa: F401
    except ImportError:
        raise FCNXSError(
            "COCO's polygons are drawn with pycocotools, which is not installed: pip install pycocotools"
        ) from None


def _chosen(source: Path, account: Account) -> List[Path]:
    """Files of one kind, by their names without splits; of COCO's kinds the instances."""
    files = [source] if source.is_file() else json_files(source)
    instances = [file for file in files if file.stem.startswith("instances")]
    others = [file.name for file in files if file not in instances]
    if instances and others:
        account.note(f"read instances_*.json, and not {', '.join(others)}; give a file to read another one")
    if not files:
        raise FCNXSError(f"{source}: no JSON file of COCO here, in annotations/, or in a split's folder")
    if not instances and len({SPLIT.sub("", file.stem.lower()).strip("_-. ") for file in files}) > 1:
        raise FCNXSError(
            f"{source}: has annotations of several kinds ({', '.join(others)}); give the file that is meant"
        )
    return instances or files


def _classes(files: Sequence[File], account: Account) -> List[Class]:
    """The background, and the categories in the order of their numbers, which they keep."""
    found = categories(files)
    used = {each["category_id"] for file in files for each in file.content["annotations"]}
    above = {each["supercategory"] for each in found.values() if each["supercategory"] != each["name"]}
    for number in [n for n, each in found.items() if n not in used and each["name"] in above]:
        name = found.pop(number)["name"]  # as Roboflow's category 0, the project
        account.note(f"category {cut(name, 80)!r} has no object, and only groups others: left out")
    named = [Class(each["name"], None, number) for number, each in found.items()]
    ground = -1 if 0 in found else 0  # the number of a background that is no category
    numbers = {BACKGROUND: ground, **{each.name: each.number for each in named}}
    classes = [each._replace(number=numbers[each.name]) for each in with_background(named)]
    return checked_classes(classes, files[0].path)


def _drawn(
    objects: Annotations,
    image: Dict[str, Any],
    positions: Dict[int, int],
    options: Options,
    account: Account,
    upright: Size,
) -> np.ndarray:
    """Label of an image, of the size that the file says."""
    name, size = image["file_name"], (image["height"], image["width"])
    refuse_large(size[::-1], f"{name}, by its annotations", options.max_pixels)
    crowds, shapes = [], []
    for each in objects:
        value = positions.get(each["category_id"], IGNORE_LABEL)
        crowd = each.get("iscrowd") == 1
        shape = _shape(each.get("segmentation"), IGNORE_LABEL if crowd else value, size, name, account)
        if shape is not None:
            (crowds if crowd else shapes).append(shape)
            account.add("unknown class", name, each["category_id"] not in positions)
    if not crowds + shapes:
        raise LeftOut("no annotation")
    return draw(crowds + shapes, size, name, account, upright)


def _shape(outline: Any, value: int, size: Size, name: str, account: Account) -> Shape | None:  # noqa: ANN401
    """An object with its `segmentation`; None if it has none that can be read, which is counted."""
    try:
        if isinstance(outline, dict):
            return Shape(value, *_runs(outline, size))
        if isinstance(outline, list) and outline:
            return _polygons(outline, value, size, name, account)
    except (ValueError, TypeError, OverflowError):
        account.add("broken", name)
    else:
        account.add("no outline", name)
    return None


def _polygons(outline: List, value: int, size: Size, name: str, account: Account) -> Shape | None:
    from pycocotools import mask

    flat = isinstance(outline[0], (int, float))  # of one part alone, which pycocotools takes too
    parts = [np.asarray(part, np.float64).reshape(-1, 2) for part in ([outline] if flat else outline)]
    whole = [part for part in parts if len(part) > 2]
    account.add("broken", name, len(parts) - len(whole))
    if not whole:
        return None
    check_outlines([*whole], sum(size))
    points = np.concatenate(whole)

    def inside(at: Tuple[int, int], window: Size) -> np.ndarray:
        encoded = mask.frPyObjects([(part - at).ravel().tolist() for part in whole], *window)
        return mask.decode(mask.merge(encoded)).astype(bool)

    return Shape(value, (*points.min(axis=0), *points.max(axis=0)), inside)


def _runs(outline: Dict[str, Any], size: Size) -> Tuple:
    """Bounds and pixels of run lengths, which are a list or COCO's compressed text."""
    counts = outline.get("counts")
    if outline.get("size") != [*size]:
        raise ValueError(f"of another size: {outline.get('size')}")
    return in_columns(compressed(counts) if isinstance(counts, str) else counts, size)

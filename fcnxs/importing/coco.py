"""COCO's JSON, as COCO has it, and as Roboflow, CVAT and others export it.

Source: https://cocodataset.org/#format-data, and pycocotools, which draws the polygons; the parts of an object
are united, and one inside another is no hole. Objects are drawn in the file's order, the later over the former,
as in COCO-Stuff's cocostuffhelper.py. Crowds are ignored where no other object is. Pixels of no object are
background.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..conventions import IGNORE_LABEL
from ..data.datasets import check_outlines
from ..data.images import refuse_large
from ..errors import FCNXSError, cut
from ..system.json_files import Number, Or, read_json
from . import labelme
from .account import Account
from .drawing import Shape, draw
from .files import SPLITS, below, by_name, head_of, unlisted
from .found import BACKGROUND, Class, Found, LeftOut, Options, Sample, Size, checked_classes, with_background
from .run_lengths import compressed, in_columns

LOOKS_FOR = "COCO's JSON with images, annotations and categories (*.json, annotations/*.json, train/*.json)"
TAKES = ()
KEYS = re.compile(rb'"(?:images|annotations|categories|licenses|info)"\s*:\s*[\[{]')
SPLIT = re.compile("|".join(sorted(SPLITS, key=len, reverse=True)) + r"|\d+")
MOST = 1 << 29  # bytes; instances_train2017.json has 448 MB
FORM = {
    "images": [
        {"id": Number(int), "file_name": str, "height": Number(int, 1), "width": Number(int, 1)},
    ],
    "annotations": [{"image_id": Number(int), "category_id": Number(int)}],
    "categories": [{"id": Number(int, 0), "name": str, "supercategory": Or(str, "")}],
}


class _File(NamedTuple):
    path: Path
    content: Dict[str, List[Dict[str, Any]]]


def recognised(source: Path) -> bool:
    """Whether the source is, or has, a JSON file that begins as COCO's do."""
    return any(map(_is_coco, _files(source)))


def _files(source: Path) -> List[Path]:
    return [source] if source.is_file() else sorted([*source.glob("*.json"), *source.glob("*/*.json")])


def _is_coco(file: Path) -> bool:
    head = head_of(file, ".json")
    return bool(KEYS.search(head)) and not labelme.KEYS.search(head)


def read(source: Path, options: Options, account: Account) -> Found:
    """Images of the JSON files, with their objects.

    Raises:
        FCNXSError: there is no such file; one has another form, or names files elsewhere; files give a number
            to different classes; polygons need pycocotools; or no image is found.
    """
    files = _chosen(source, account)
    what = "COCO's annotations of objects"
    contents = [_File(file, read_json(file, what, FORM, most=MOST)) for file in files]
    outlines = (each.get("segmentation") for file in contents for each in file.content["annotations"])
    if any(isinstance(outline, list) for outline in outlines):
        _need_pycocotools()
    classes = _classes(contents, account)
    listed: Dict[Path, Sample | None] = {}
    twice = set()
    for file in contents:
        for image, sample in _images(file, source, classes, options, account):
            if image in listed:
                twice.add(image)
                account.add("two annotations", image.relative_to(source) if source in image.parents else image)
            listed[image] = sample
    unlisted(listed, source, account)
    kept = [sample for image, sample in listed.items() if sample is not None and image not in twice]
    if not kept:
        raise FCNXSError(f"{files[0]}: no image is left; --images DIR says where they are. {account}")
    return Found(classes, kept, str(files[0]))


def _need_pycocotools() -> None:
    try:
        from pycocotools import mask  # noqa: F401
    except ImportError:
        raise FCNXSError("COCO's polygons are drawn with pycocotools: pip install '.[coco]'") from None


def _chosen(source: Path, account: Account) -> List[Path]:
    """Files of one kind, by their names without splits; of COCO's kinds the instances."""
    files = [file for file in _files(source) if source.is_file() or _is_coco(file)]
    instances = [file for file in files if file.stem.startswith("instances")]
    others = [file.name for file in files if file not in instances]
    if instances and others:
        account.note(f"read instances_*.json, and not {', '.join(others)}; give a file to read another one")
    files = instances or files
    if not files:
        raise FCNXSError(f"{source}: no JSON file of COCO here, in annotations/, or in a split's folder")
    if not instances and len({SPLIT.sub("", file.stem.lower()).strip("_-. ") for file in files}) > 1:
        raise FCNXSError(
            f"{source}: has annotations of several kinds ({', '.join(others)}); give the file that is meant"
        )
    return files


def _classes(files: Sequence[_File], account: Account) -> List[Class]:
    """The background, and the categories in the order of their numbers, which they keep."""
    categories: Dict[int, Dict[str, Any]] = {}
    for path, content in files:
        for each in content["categories"]:
            other = categories.setdefault(each["id"], each)
            if other["name"] != each["name"]:
                raise FCNXSError(
                    f"{path}: category {each['id']} is {cut(each['name'], 80)!r} and "
                    f"{cut(other['name'], 80)!r} elsewhere; import these files on their own"
                )
    used = {each["category_id"] for file in files for each in file.content["annotations"]}
    above = {each["supercategory"] for each in categories.values() if each["supercategory"] != each["name"]}
    unused = [n for n, each in categories.items() if n not in used and each["name"] in above]
    for number in unused:  # as Roboflow's category 0, the project
        name = categories.pop(number)["name"]
        account.note(f"category {cut(name, 80)!r} has no object, and only groups others: left out")
    named = [Class(each["name"], None, number) for number, each in sorted(categories.items())]
    ground = -1 if 0 in categories else 0  # the number of a background that is no category
    numbers = {BACKGROUND: ground, **{each.name: each.number for each in named}}
    classes = [each._replace(number=numbers[each.name]) for each in with_background(named)]
    return checked_classes(classes, files[0].path)


def _images(
    file: _File, source: Path, classes: Sequence[Class], options: Options, account: Account
) -> Iterator[Tuple[Path, Sample | None]]:
    """Images of a file that exist; None for those without objects."""
    path, content = file
    named = {each["id"] for each in content["categories"]}
    positions = {each.number: position for position, each in enumerate(classes) if each.number in named}
    objects: Dict[int, List[Dict[str, Any]]] = defaultdict(list)
    for each in content["annotations"]:
        objects[each["image_id"]].append(each)
    split = _split(f"{path.stem} {path.parent.name}")
    places = _places(path, source, split, options)
    seen, elsewhere = set(), None
    for image in content["images"]:
        name, number = image["file_name"], image["id"]
        if number in seen:
            raise FCNXSError(f"{path}: two images have the number {number}")
        seen.add(number)
        candidates = (below(folder, name, path) for folder in places)
        place = next((each for each in candidates if each.is_file()), None)
        if place is None and "/" not in name:  # the only image of this name, in whatever folder
            elsewhere = by_name(places[0]) if elsewhere is None else elsewhere
            same = [each for each in elsewhere[name] if _split(os.path.dirname(each)) in (None, split)]
            place = below(places[0], same[0], path) if len(same) == 1 else None
        if place is None:
            account.add("no image", name)
        elif number not in objects:
            account.add("no annotation", name)
            yield place, None
        else:
            label = partial(_drawn, objects[number], image, positions, options, account)
            yield place, Sample(place, name, label, split)
    for number in objects.keys() - seen:
        account.add("no image", f"image {number} of {path.name}", len(objects[number]))


def _split(text: str) -> str | None:
    """Split that one of the words of a name says."""
    words = re.findall("[a-z]+", text.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)


def _places(file: Path, source: Path, split: str | None, options: Options) -> List[Path]:
    """Folders that the images of a file may be in; the first one is around the others."""
    part = file.stem.rpartition("_")[2]  # train2017
    if options.images is not None:
        folders = [options.images, options.images / part, options.images / (split or "")]
    else:
        root = source if source.is_dir() else file.parent
        root = root.parent if root.name == "annotations" else root
        parts = ["images", part, f"images/{part}", *([split, f"images/{split}"] if split else [])]
        folders = [root, file.parent, file.parent / "images", *(root / each for each in parts)]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def _drawn(
    objects: Sequence[Dict[str, Any]],
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

"""What COCO's JSON files have in common: where they and their images lie, splits and categories."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..errors import FCNXSError, cut
from ..system.json_files import Number, Or
from . import labelme
from .account import Account
from .files import SPLITS, below, by_name, head_of, unlisted
from .found import Class, Options, Sample, Size

KEYS = re.compile(rb'"(?:images|annotations|categories|licenses|info)"\s*:\s*[\[{]')
SPLIT = re.compile("|".join(sorted(SPLITS, key=len, reverse=True)) + r"|\d+")
PANOPTIC = "panoptic"  # how the names of these files begin
MOST = 1 << 29  # bytes; instances_train2017.json has 448 MB
PARTS = {  # of the form of such a file; `annotations` are the third
    "images": [
        {"id": Number(int), "file_name": str, "height": Number(int, 1), "width": Number(int, 1)},
    ],
    "categories": [{"id": Number(int, 0), "name": str, "supercategory": Or(str, "")}],
}
Annotations = Sequence[Dict[str, Any]]
Draw = Callable[[Size], np.ndarray]


class File(NamedTuple):
    """A JSON file, and what it has."""

    path: Path
    content: Dict[str, List[Dict[str, Any]]]


def json_files(source: Path) -> List[Path]:
    """JSON files that begin as COCO's do: the source, or those in it and in its folders."""
    files = [source] if source.is_file() else sorted([*source.glob("*.json"), *source.glob("*/*.json")])
    heads = [head_of(file, ".json") for file in files]
    return [file for file, head in zip(files, heads) if KEYS.search(head) and not labelme.KEYS.search(head)]


def categories(files: Sequence[File]) -> Dict[int, Dict[str, Any]]:
    """Categories of all files by their numbers, in the order of these.

    Raises:
        FCNXSError: a number has two names.
    """
    result: Dict[int, Dict[str, Any]] = {}
    for path, content in files:
        for each in content["categories"]:
            other = result.setdefault(each["id"], each)
            if other["name"] != each["name"]:
                raise FCNXSError(
                    f"{path}: category {each['id']} is {cut(each['name'], 80)!r} and "
                    f"{cut(other['name'], 80)!r} elsewhere; import these files on their own"
                )
    return dict(sorted(result.items()))


def annotated(
    files: Sequence[File],
    source: Path,
    classes: Sequence[Class],
    label: Callable[[Path, Annotations, Dict[str, Any], Dict[int, int]], Draw],
    options: Options,
    account: Account,
) -> List[Sample]:
    """Images that exist and have annotations.

    Args:
        label: gives the function that draws the label of an image; it gets the JSON file's path, the image's
            annotations and its entry in the file, and the positions of classes by their numbers.

    Raises:
        FCNXSError: a file names images elsewhere, or gives two one number; or none is left.
    """
    listed: Dict[Path, Sample | None] = {}
    twice = set()
    for file in files:
        for image, sample in _images(file, source, classes, label, options, account):
            if image in listed:
                twice.add(image)
                account.add("two annotations", image.relative_to(source) if source in image.parents else image)
            listed[image] = sample
    unlisted(listed, source, account)
    kept = [sample for image, sample in listed.items() if sample is not None and image not in twice]
    if not kept:
        raise FCNXSError(f"{files[0].path}: no image is left; --images DIR says where they are. {account}")
    return kept


def _images(
    file: File,
    source: Path,
    classes: Sequence[Class],
    label: Callable,
    options: Options,
    account: Account,
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
            yield place, Sample(place, name, label(path, objects[number], image, positions), split)
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

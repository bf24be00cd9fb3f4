"""Pair images with masks by their names, as people and tools write them.

A file is a mask if a folder or its own name says so: `masks/a.png`, `train_labels/a.png`, `a_mask.png`,
`a_L.png`, `mask_a.png`. Without these words, and without those that mean an image (`images/a.jpg`,
`a_image.jpg`), the two paths of a pair are alike; `a.jpeg.png` is the mask of `a.jpeg`. Where the folders have
other names (CamVid's 701_StillsRaw_full and LabeledApproved_full), the file names alone make the pair, if no
third file has this name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Tuple, TypeVar

from ..data.images import IMAGE_SUFFIXES
from ..data.lists import LABEL_SUFFIXES
from ..errors import FCNXSError, cut
from ..system.files import read_text
from .account import Account
from .files import SPLITS, all_files

MASK = r"masks?|labels?|annot|annotations?|annotated|ground_?truths?|segmentations?|trimaps?"
IMAGE = r"images?|imgs?|jpegimages|photos?|pictures?"
MASK_FOLDER = re.compile(
    rf"(?:(.*?)[_\-. ]?)??(?:{MASK}|segmentationclass(?:png|raw)?)"
    r"|(?:(.+)[_\-. ])?(?:gt|seg|targets?|labell?ed)",
    re.I,
)
IMAGE_FOLDER = re.compile(rf"(?:(.*?)[_\-. ]?)??(?:{IMAGE})|(?:(.+)[_\-. ])?(?:rgb|sat|raw|data)", re.I)
MASK_NAME = re.compile(rf"(?:(.+)[_\-. ](?:{MASK}|gt|seg|[L])|(?:{MASK}|gt|seg)[_\-. ](.+))", re.I)
IMAGE_NAME = re.compile(rf"(?:(.+)[_\-. ](?:{IMAGE}|rgb|sat)|(?:{IMAGE}|rgb|sat)[_\-. ](.+))", re.I)
OTHER_FOLDER = re.compile(
    r"segmentationobject.*|.*visuali[sz]ations?|overlays?|previews?", re.I
)  # no masks of classes
RASTERS = {*IMAGE_SUFFIXES, *LABEL_SUFFIXES}

Key = Tuple[str, ...]
Item = TypeVar("Item")


class Pair(NamedTuple):
    """An image and its mask; `name` is the image's path in the source, `split` as `found.Sample` has it."""

    image: Path
    mask: Path
    name: str
    split: str | None


class _File(NamedTuple):
    path: Path
    is_mask: bool
    key: Key  # folders and name, without the words


def pairs(source: Path, images: Path | None, account: Account) -> List[Pair]:
    """Images with masks, sorted by name.

    Args:
        images: folder of the images, if they are not known by their names; every other picture in the source
            is then a mask.
        account: is told of images and masks without the other, and of images with several masks.
    """
    root = images or source
    if images is None:
        files = [_named(path, source) for path in _rasters(source)]
        masks = [file for file in files if file.is_mask]
        photos = [file for file in files if not file.is_mask]
    else:
        photos = [_named(path, images) for path in _rasters(images)]
        own = {file.path.resolve() for file in photos}
        masks = [_named(path, source) for path in _rasters(source) if path.resolve() not in own]
    found = _matched(photos, masks)
    lists = listed_splits(source)
    result, used = [], set()
    for file in photos:
        name = file.path.relative_to(root).as_posix()
        own_masks = found[file.path]
        used.update(own_masks)
        if not own_masks:
            account.add("no annotation", name)
        elif len(own_masks) > 1:
            account.add("two annotations", name)
        else:
            result.append(Pair(file.path, own_masks[0], name, lists.get(file.path.stem) or _split(file.key)))
    for mask in masks:
        if mask.path not in used:
            account.add("no image", mask.path.relative_to(source).as_posix())
    return result


def listed_splits(source: Path) -> Dict[str, str]:
    """Split of each name in the lists of ImageSets/Segmentation that are named train, val or test.

    Raises:
        FCNXSError: a name is in two of them.
    """
    result: Dict[str, str] = {}
    for file in sorted((source / "ImageSets" / "Segmentation").glob("*.txt")):
        split = SPLITS.get(file.stem.lower())
        for line in read_text(file, "this list of images").split("\n") if split else ():
            name = Path(line.strip()).name
            if name and result.setdefault(name, split) != split:
                raise FCNXSError(
                    f"{file}: names {cut(name)}, which is in {result[name]}.txt too; remove it from one"
                )
    return result


def _rasters(folder: Path) -> List[Path]:
    """Pictures in a folder, but for those that show objects or overlays."""
    return [
        path
        for path in all_files(folder)
        if path.suffix.lower() in RASTERS
        and not any(map(OTHER_FOLDER.fullmatch, path.relative_to(folder).parts[:-1]))
    ]


def _named(path: Path, root: Path) -> _File:
    """What the names of a file and of its folders say of it."""
    *folders, name = path.relative_to(root).parts
    stem, is_mask, is_image, key = Path(name).stem, False, False, []
    if Path(stem).suffix.lower() in RASTERS and (path.parent / stem).name != name:  # a.jpeg.png
        stem, is_mask = Path(stem).stem, True
    for folder in folders:
        mask, image = MASK_FOLDER.fullmatch(folder), IMAGE_FOLDER.fullmatch(folder)
        is_mask, is_image = is_mask or bool(mask), is_image or bool(image and not mask)
        rest = _rest(mask or image, folder)
        key += [rest] if rest else []
    mask = _mask_name(stem)
    is_mask = is_mask or bool(mask and not is_image)
    stem = _rest(mask, stem)
    return _File(path, is_mask, (*key, _rest(IMAGE_NAME.fullmatch(stem), stem)))


def _mask_name(stem: str) -> re.Match[str] | None:
    """Match of a name that says that it is a mask's; CamVid's L is a capital."""
    match = MASK_NAME.fullmatch(stem)
    return None if match and stem.endswith("l") and match[1] and len(stem) == len(match[1]) + 2 else match


def _rest(match: re.Match[str] | None, text: str) -> str:
    """What a match has besides the word; all of the text if there is no match."""
    return text if match is None else next((group for group in match.groups() if group), "")


def _matched(photos: List[_File], masks: List[_File]) -> Dict[Path, List[Path]]:
    """Masks of each image: those with its folders and name, else with its name if that is the only pair."""
    by_key = _grouped(masks, lambda file: file.key)
    result = {file.path: [mask.path for mask in by_key[file.key]] for file in photos}
    used = {path for paths in result.values() for path in paths}
    left = _grouped([file for file in photos if not result[file.path]], lambda file: file.key[-1])
    free = _grouped([mask for mask in masks if mask.path not in used], lambda file: file.key[-1])
    for name, files in left.items():
        if len(files) == 1 and len(free[name]) == 1:
            result[files[0].path] = [free[name][0].path]
    return result


def _grouped(items: List[Item], key: Callable[[Item], object]) -> Dict[object, List[Item]]:
    result: Dict[object, List[Item]] = defaultdict(list)
    for item in items:
        result[key(item)].append(item)
    return result


def _split(key: Key) -> str | None:
    """Split that one of the folders names."""
    return next((SPLITS[part.lower()] for part in key[:-1] if part.lower() in SPLITS), None)

"""Data sets on disk: a list, a RecordIO file, a folder in VOC layout, or one with images/ and labels/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Collection, Iterable, List

from ..conventions import PathLike
from ..errors import FCNXSError
from .images import IMAGE_SUFFIXES
from .lists import LABEL_SUFFIXES, LOSSLESS, by_stem, find_list, fitting, read_list
from .records import SUFFIX
from .samples import RecordedSamples, Samples

# Names of folders that look like splits, such as train, Val, train2017, my_test.
SPLIT = re.compile(
    r"(?:^|.*[^a-z])(?:train|training|trainval|val|valid|validate|validation|test|testing|dev|eval|evaluation)"
    r"(?:set)?(?:[^a-z].*|$)",
    re.IGNORECASE,
)
LABELS = "labels"
ALL = "; --allow splits takes all of them as one"


def open_samples(
    data: PathLike,
    split: str | None = None,
    default: str = "train",
    need: int = 2,
    allow: Collection[str] = (),
    head: str = "",
) -> Samples:
    """Data set that is a list, a RecordIO file, a folder in VOC layout, or one with images/ and labels/.

    Links to folders are followed. The case of a split's name may differ from its folder's.

    Args:
        split: split of a folder; None takes `default`, or everything if images/ and labels/ have no splits.
        need: number of files of a pair that must exist: 2, 1 (the image) or 0.
        allow: with "splits", everything is also taken from a folder that has other splits than `default`.
        head: read the labels of this head of a net, from labels-HEAD/ in the place of labels/.

    Raises:
        FCNXSError: `data` is none of these or lacks the split or the head's labels, or a file is missing.
    """
    path = Path(data)
    if _is_folder_pair(path):
        return _folder_pair(path, f"{LABELS}-{head}" if head else LABELS, split, default, need, allow)
    if head:
        wanted = f"a folder with images/ and {LABELS}-{head}/"
        raise FCNXSError(f"{data}: has no labels of the head {head}; give {wanted}, or a data set by name")
    if split is not None and not path.is_dir():
        raise FCNXSError(f"{data}: is a list, which has no splits; leave {split!r} out")
    if path.suffix == SUFFIX and not path.is_dir():
        return RecordedSamples(path)
    root, flist = find_list(path, split or default)
    return Samples(*zip(*read_list(root, flist, need)), root)


def heads_in(data: PathLike) -> List[str]:
    """Sorted names of the heads that a folder with images/ has labels for, in labels-HEAD/."""
    path = Path(data)
    names = sorted(_folders(path)) if _is_folder_pair(path) else []
    return [name[len(LABELS) + 1 :] for name in names if re.fullmatch(rf"{LABELS}-\w+", name)]


def splits_of(data: PathLike) -> List[str]:
    """Sorted names of a folder's splits; empty for a list, or a folder without splits."""
    path = Path(data)
    if _is_folder_pair(path):
        return sorted(name for name in _folders(path / "images") if SPLIT.fullmatch(name))
    return sorted(file.stem for file in (path / "ImageSets" / "Segmentation").glob("*.txt"))


def _is_folder_pair(path: Path) -> bool:
    return (path / "images").is_dir() and not (path / "ImageSets").is_dir()


def _folder_pair(
    path: Path, beside: str, split: str | None, default: str, need: int, allow: Collection[str]
) -> Samples:
    """Pairs of images/ and the folder `beside` it, or of SPLIT/ in both, that share a name without suffix."""
    part = _part(path, split, default, allow)
    folders = path / "images" / part, path / beside / (fitting(_folders(path / beside), part) or part)
    images, labels = by_stem(folders[0], IMAGE_SUFFIXES), by_stem(folders[1], LOSSLESS)
    lossy = by_stem(folders[1], LABEL_SUFFIXES[len(LOSSLESS) :])
    labels = {**{stem: lossy[stem] for stem in images if stem in lossy}, **labels}
    if not images:
        raise FCNXSError(f"{folders[0]}: no image in this folder ({', '.join(IMAGE_SUFFIXES)})")
    if need != 1 and not folders[1].is_dir():
        heads = heads_in(path) if beside == LABELS else []
        there = f"; there are labels of the heads {' and '.join(heads)}, for nets of several" if heads else ""
        raise FCNXSError(f"{folders[1]}: no such folder; it should hold the labels of {folders[0]}{there}")
    stems = sorted({*images, *labels})
    no_image = ("image", labels, images, folders[0], IMAGE_SUFFIXES)
    no_label = ("label", images, labels, folders[1], LOSSLESS)
    for kind, those, others, where, suffixes in (no_image, no_label)[:need]:
        alone = [stem for stem in stems if stem in those and stem not in others]
        if alone:
            raise FCNXSError(
                f"{those[alone[0]]}: no {kind} of this name in {where} "
                f"({', '.join(suffixes)}); {len(alone)} of {len(those)} files have no {kind}"
            )
    if folders[0] == path / "images" and "splits" not in allow:
        _refuse_splits_inside(folders[0], images.values())
    return Samples(
        [images.get(stem, folders[0] / f"{stem}.jpg") for stem in stems],
        [labels.get(stem, folders[1] / f"{stem}.png") for stem in stems],
        path,
    )


def _part(path: Path, split: str | None, default: str, allow: Collection[str]) -> str:
    """Name of a split's folder in images/; "" if all of images/ is meant.

    Raises:
        FCNXSError: there is no such split, or there are others and none was chosen.
    """
    part, found = split or default, splits_of(path)
    there = fitting(_folders(path / "images"), part)
    if there is None and (split is not None or (found and "splits" not in allow)):
        none = f"; there are no splits: leave the split out, or make images/{part}/ and labels/{part}/"
        has = f"; it has {', '.join(found)}: choose with --split" if found else none
        raise FCNXSError(f"{path / 'images' / part}: no such folder{has}{'' if split else ALL}")
    return there or ""


def _folders(path: Path) -> List[str]:
    return [folder.name for folder in path.glob("*") if folder.is_dir()]


def _refuse_splits_inside(folder: Path, files: Iterable[Path]) -> None:
    """Refuse to take all files of a folder as one split, if folders deeper inside have the names of splits."""
    inside = {parent for file in files for parent in file.relative_to(folder).parents}
    found = sorted(parent for parent in inside if SPLIT.fullmatch(parent.name))
    if found:
        names = ", ".join(map(str, found[:4]))
        raise FCNXSError(
            f"{folder / found[0]}: the folders {names} have the names of splits, and none was chosen: move "
            f"them to images/SPLIT/ and labels/SPLIT/, or write a list (.lst) of each split{ALL}"
        )

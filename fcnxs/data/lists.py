"""Lists that name the images and labels of a data set, and the files that their lines mean.

A line is one of

- `index <tab> image <tab> label`, as in the original example's `.lst` files;
- `image label`, two paths, as in DeepLab's lists; a slash before them stands for the root folder;
- a name, as in VOC's lists: of JPEGImages/NAME.jpg and SegmentationClass/NAME.png. It may have a suffix.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from ..conventions import PathLike
from ..errors import FCNXSError, cut
from ..system.files import files_below, read_text, refuse_irregular
from .images import IMAGE_SUFFIXES

LOSSLESS = (".png", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".pbm")  # suffixes of labels
LABEL_SUFFIXES = (*LOSSLESS, ".jpg", ".jpeg", ".webp", ".jp2")  # the lossy ones are refused when they are read
_PATH = rf"\S.*?(?:{'|'.join(map(re.escape, {*IMAGE_SUFFIXES, *LABEL_SUFFIXES}))})"
PAIR = re.compile(rf"({_PATH})\s+({_PATH})", re.IGNORECASE)
LONGEST = 2 * 4096  # characters of a line: Linux's limit of a path, twice
SEPARATORS = {",": "commas", ";": "semicolons", "|": "bars", " ": "spaces"}


def read_list(root_dir: PathLike, flist_name: PathLike, need: int = 2) -> List[Tuple[Path, Path]]:
    """Pairs of image and label files that a list names, relative to `root_dir`.

    A suffix may differ from the list's in the case of its letters (`.JPG`). `need` is the number of files of a
    pair that must exist: 2, 1 (the image) or 0.

    Raises:
        FCNXSError: the list or a file is missing, a line has another form, or there is no line.
    """
    root, flist = Path(root_dir), Path(root_dir) / flist_name
    reader, pairs = _Reader(root, flist.suffix == ".lst"), []
    for number, line in enumerate(read_text(flist, "this list of images").splitlines(), 1):
        if not line.strip():
            continue
        if len(line) > LONGEST:
            raise FCNXSError(
                f"{flist}, line {number}: has {len(line)} characters, and the paths of a pair at most {LONGEST}"
            )
        pair = reader.pair(line.strip(), f"{flist}, line {number}")
        for file in pair[:need]:
            refuse_irregular(file)
            if not os.path.isfile(file):
                raise FCNXSError(f"{cut(file)}: no such file (named in {flist}, line {number})")
        pairs.append(pair)
    if not pairs:
        raise FCNXSError(f"{flist}: the list names no image")
    return pairs


def find_list(data: PathLike, split: str) -> Tuple[Path, Path]:
    """Arguments `root_dir` and `flist_name` of `read_list` for a list or a split of a VOC folder.

    Raises:
        FCNXSError: the folder has no list of that split.
    """
    path = Path(data)
    if not path.is_dir():
        return path.parent, Path(path.name)
    flist = Path("ImageSets", "Segmentation", f"{split}.txt")
    there = fitting([file.name for file in (path / flist.parent).glob("*.*")], flist.name)
    if there is None:
        voc = (path / flist.parent).is_dir()
        raise FCNXSError(
            (f"{path / flist}: no such file" if voc else f"{path}: no data set in this folder")
            + f"; expected a folder in VOC layout with a split {split!r}, "
            "a folder with images/ and labels/, or a .lst file"
        )
    return path, flist.with_name(there)


def fitting(names: Sequence[str], wanted: str) -> str | None:
    """The one of the names that is `wanted`, else the only one that differs in the case of letters alone.

    >>> fitting(["Train", "val"], "train")
    'Train'
    """
    if wanted in names:
        return wanted
    same = [name for name in names if name.lower() == wanted.lower()]
    return same[0] if len(same) == 1 else None


class _Reader:
    """Find the files that the lines of one list mean; the names in each folder are read once.

    Args:
        root: folder that paths are relative to.
        indexed: the list is a `.lst` file, in which a line with one name means nothing.
    """

    def __init__(self, root: Path, indexed: bool) -> None:
        self.root, self.indexed = root, indexed
        self._names = lru_cache(None)(_names_by_stem)

    def pair(self, line: str, where: str) -> Tuple[Path, Path]:
        """Image and label of a line; `where` names it in an error.

        Raises:
            FCNXSError: the line has another form.
        """
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) == 3:
            return self._file(fields[1], where), self._file(fields[2], where)
        two = PAIR.fullmatch(line)
        if two and not (re.match(r"\d+\s", line) and not os.path.isfile(self._file(two[1], where))):
            return self._file(two[1], where), self._file(two[2], where)
        found = None if self.indexed or len(fields) > 1 else self._named(line, where)
        if found is not None and (os.path.isfile(found[0]) or not set(line) & set(SEPARATORS)):
            return found
        marks = [name for mark, name in SEPARATORS.items() if mark in line and len(fields) == 1]
        has = f" (this line has {marks[0]})" if marks else ""
        raise FCNXSError(
            f"{where}: {len(fields)} fields; expected index, image and label, between tabs, or the paths of an "
            f"image and its label, or a name of VOC's layout{has}"
        )

    def _file(self, text: str, where: str) -> Path:
        """File of a path as it stands in the list; one that does not exist is returned as it stands."""
        path = self.root / text
        if os.path.isfile(path):
            return path
        if text.startswith("/"):
            below = self.root / text.lstrip("/")
            path = below if os.path.isfile(below) or not os.path.isdir(path.parent) else path
        if "\\" in text:
            raise FCNXSError(f"{where}: {cut(text)} has backslashes, which do not separate folders; write /")
        return next((path.with_name(name) for name in self._of(path) if fitting([name], path.name)), path)

    def _of(self, path: Path) -> List[str]:
        """Names in the path's folder that equal its name without suffix."""
        return self._names(path.parent)[path.stem]

    def _named(self, name: str, where: str) -> Tuple[Path, Path]:
        """Image and label of a name of VOC's layout, with or without the image's suffix."""
        images, name = self.root / "JPEGImages", name.removeprefix("/").removeprefix("JPEGImages/")
        image, stem = images / name, name
        if image.suffix.lower() in IMAGE_SUFFIXES or "\\" in name:
            image, stem = self._file(f"JPEGImages/{name}", where), Path(name).with_suffix("").as_posix()
        if not os.path.isfile(image):  # the suffix may be a part of the name, or the label's
            whole = self._with_suffix(images / name, IMAGE_SUFFIXES, where)
            stem = name if os.path.isfile(whole) else stem
            image = whole if stem == name else self._with_suffix(images / stem, IMAGE_SUFFIXES, where)
        return image, self._with_suffix(self.root / "SegmentationClass" / stem, LABEL_SUFFIXES)

    def _with_suffix(self, stem: Path, suffixes: Sequence[str], where: str | None = None) -> Path:
        """File of this name with one of the suffixes, the first that there is; with the first if there is none.

        Raises:
            FCNXSError: `where` is given, and there are several.
        """
        names = self._names(stem.parent)[stem.name]
        found = [name for suffix in suffixes for name in names if name[len(stem.name) :].lower() == suffix]
        if where is not None and len(found) > 1:
            raise FCNXSError(
                f"{where}: {stem} may be {' or '.join(found)}; name it with its suffix, or remove the other"
            )
        return stem.with_name(found[0] if found else f"{stem.name}{suffixes[0]}")


def _names_by_stem(folder: Path) -> Dict[str, List[str]]:
    names: Dict[str, List[str]] = defaultdict(list)
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        names[os.path.splitext(name)[0]].append(name)
    return names


def by_stem(folder: Path, suffixes: Sequence[str]) -> Dict[str, Path]:
    """Sorted files below a folder with one of these suffixes, by their path without the suffix.

    Raises:
        FCNXSError: a folder cannot be read, or two files differ only by their suffixes.
    """

    def fail(error: OSError) -> None:
        if folder.is_dir():
            raise FCNXSError(f"{error.filename}: cannot read this folder: {error.strerror}") from None

    result: Dict[str, Path] = {}
    inner = lru_cache(maxsize=None)(lambda parent: Path(parent).relative_to(folder).as_posix())
    for file in files_below(folder, fail):  # of a hundred thousand files: Path's own methods take ten seconds
        parent, name = os.path.split(file)
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in suffixes:
            stem = stem if inner(parent) == "." else f"{inner(parent)}/{stem}"
            if stem in result:
                raise FCNXSError(f"{file}: differs from {result[stem].name} only by its suffix; remove one")
            result[stem] = file
    return result

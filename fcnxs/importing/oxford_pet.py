"""The Oxford-IIIT Pet data set as its makers ship it: images/ and annotations/trimaps/.

Source: https://www.robots.ox.ac.uk/~vgg/data/pets, annotations/README. In a trimap 1 is the pet, 2 the
background, and 3 the border between them, which is ignored. trainval.txt and test.txt give the splits train and
test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict

from ..errors import FCNXSError
from ..system.files import read_text
from .account import Account
from .found import Class, Found, Options
from .values import by_values, joined

LOOKS_FOR = "annotations/trimaps/, trainval.txt, test.txt"
TAKES = ()
LISTS = {"trainval.txt": "train", "test.txt": "test"}
BORDER = 3


def recognised(source: Path) -> bool:
    """Whether a folder has the trimaps and the lists."""
    folder = source / "annotations"
    return (folder / "trimaps").is_dir() and all((folder / name).is_file() for name in LISTS)


def read(source: Path, options: Options, account: Account) -> Found:
    """Pairs of images and trimaps; the classes are the background and the pet.

    Raises:
        FCNXSError: a list cannot be read, or no image has a trimap.
    """
    folder = source / "annotations"
    splits: Dict[str, str] = {}
    for name, split in LISTS.items():
        for line in read_text(folder / name, "this list of images").splitlines():
            if line.strip() and splits.setdefault(line.split()[0], split) != split:
                raise FCNXSError(f"{folder / name}: names {line.split()[0]!r}, as another list does")
    images, trimaps = (
        {(splits.get(file.stem, ""), file.stem): file for file in sorted(place.glob(f"[!.]*.{suffix}"))}
        for place, suffix in ((source / "images", "jpg"), (folder / "trimaps", "png"))
    )
    classes = [Class("background", None, 2), Class("pet", None, 1)]
    said_by = "Oxford-IIIT Pet"
    return by_values(joined(source, images, trimaps, account), classes, said_by, options, account, (BORDER,))

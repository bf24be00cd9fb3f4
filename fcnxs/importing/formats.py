"""The formats by name, and which one a source has.

A format is a module with

- `LOOKS_FOR`: words for what it looks for in a source;
- `TAKES`: names of the options on masks that it uses (`found.Options`);
- `recognised(source) -> bool`: whether it is there;
- `read(source, options, account) -> Found`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Dict, List

from ..errors import FCNXSError, quoted
from . import (
    ade20k,
    cityscapes,
    coco,
    coco_panoptic,
    coco_stuff,
    cub,
    cvat_masks,
    cvat_xml,
    labelme,
    labelme_voc,
    masks,
    oxford_pet,
    roboflow,
)
from .account import Account
from .files import all_files
from .found import Found, Options

FORMATS = {
    "cvat-xml": cvat_xml,
    "cvat-masks": cvat_masks,
    "coco": coco,
    "coco-panoptic": coco_panoptic,
    "labelme": labelme,
    "labelme-voc": labelme_voc,
    "roboflow": roboflow,
    "cityscapes": cityscapes,
    "ade20k": ade20k,
    "coco-stuff": coco_stuff,
    "cub-200": cub,
    "oxford-pet": oxford_pet,
    "masks": masks,
}
GENERAL = "masks"  # what is taken if no other format is recognised, here or below
SHOWN = 4  # folders that a message names


def format_of(source: Path) -> str:
    """Name of the format that a source has, by its content.

    Raises:
        FCNXSError: it has none, or several, or a folder below has another one.
    """
    if not source.exists():
        raise FCNXSError(f"{source}: no such file or folder")
    if source.is_file() and zipfile.is_zipfile(source):
        raise FCNXSError(
            f"{source}: is a ZIP file; unpack it (unzip {quoted(source.name)} -d NEW), and give the folder"
        )
    found, below = _special(source), _below(source)
    others = {folder: names for folder, names in below.items() if not {*names} & {*found}}
    found = found or [GENERAL] * FORMATS[GENERAL].recognised(source)
    if others:
        reads = f"; --format {' or '.join(found)} reads all of {source} as that" if found else ""
        raise FCNXSError(f"{source}: {_told(others)}{reads}")
    if len(found) == 1:
        return found[0]
    if found:
        raise FCNXSError(f"{source}: may be {' or '.join(found)}; --format says which one is meant")
    looked = "; ".join(f"{name}: {each.LOOKS_FOR}" for name, each in FORMATS.items())
    raise FCNXSError(f"{source}: no known format here; looked for {looked}. --format names one")


def _special(source: Path) -> List[str]:
    """Names of the formats that are recognised, but for the general one."""
    return [name for name, each in FORMATS.items() if name != GENERAL and each.recognised(source)]


def _below(source: Path) -> Dict[Path, List[str]]:
    """Formats of the folders below a source that have one, but for those inside of another such folder."""
    folders = {parent for file in all_files(source) for parent in file.parents} if source.is_dir() else ()
    result: Dict[Path, List[str]] = {}
    for folder in sorted(folder for folder in folders if source in folder.parents):
        names = [] if {*folder.parents} & {*result} else _special(folder)
        if names:
            result[folder] = names
    return result


def _told(folders: Dict[Path, List[str]]) -> str:
    """Words that name the folders and their formats, and ask for one of them."""
    each = [f"{folder} is {' or '.join(names)}" for folder, names in folders.items()]
    more = f", and {len(each) - SHOWN} more" if len(each) > SHOWN else ""
    which = "this folder" if len(each) == 1 else "one of these folders"
    return f"{', '.join(each[:SHOWN])}{more}; give {which}"


def read(source: Path, name: str, options: Options, account: Account) -> Found:
    """What a source has, in the format of this name.

    Raises:
        FCNXSError: an option is none of this format's, or its reader refuses the source; if the source is not
            in this format, the message names the folders below that have one.
    """
    module = FORMATS[name]
    for option in ("colors", "nearest", "binary", "threshold", "names"):
        if getattr(options, option) not in (None, False) and option not in module.TAKES:
            raise FCNXSError(f"--{option}: means nothing in the format {name}; leave it out")
    try:
        return module.read(source, options, account)
    except FCNXSError as error:
        below = {} if name in _special(source) else _below(source)
        if not below:
            raise
        raise FCNXSError(f"{error}; {_told(below)}") from None

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
from typing import List

from ..errors import FCNXSError
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
GENERAL = "masks"  # what is taken if no other format is recognised


def format_of(source: Path) -> str:
    """Name of the format that a source has, by its content.

    Raises:
        FCNXSError: it has none, or several.
    """
    if not source.exists():
        raise FCNXSError(f"{source}: no such file or folder")
    if source.is_file() and zipfile.is_zipfile(source):
        raise FCNXSError(
            f"{source}: is a ZIP file; unpack it (unzip {source.name} -d NEW), and give the folder"
        )
    special = _special(source)
    found = special or [GENERAL] * FORMATS[GENERAL].recognised(source)
    if len(found) == 1:
        return found[0]
    if found:
        raise FCNXSError(f"{source}: may be {' or '.join(found)}; --format says which one is meant")
    inside = (
        [folder for folder in source.iterdir() if folder.is_dir() and _special(folder)]
        if source.is_dir()
        else []
    )
    hint = f"{inside[0]} is {_special(inside[0])[0]}" if inside else "--format names one"
    looked = "; ".join(f"{name}: {each.LOOKS_FOR}" for name, each in FORMATS.items())
    raise FCNXSError(f"{source}: no known format here; looked for {looked}. {hint}")


def _special(source: Path) -> List[str]:
    """Names of the formats that are recognised, but for the general one."""
    return [name for name, each in FORMATS.items() if name != GENERAL and each.recognised(source)]


def read(source: Path, name: str, options: Options, account: Account) -> Found:
    """What a source has, in the format of this name.

    Raises:
        FCNXSError: an option is none of this format's, or its reader refuses the source.
    """
    module = FORMATS[name]
    for option in ("colors", "nearest", "binary", "threshold", "names"):
        if getattr(options, option) not in (None, False) and option not in module.TAKES:
            raise FCNXSError(f"--{option}: means nothing in the format {name}; leave it out")
    return module.read(source, options, account)

"""CVAT's "Segmentation mask 1.1": SegmentationClass/, and labelmap.txt with the colours of the classes.

Source: CVAT's documentation, "Segmentation Mask". The images may be in JPEGImages/, or elsewhere (--images).
"""

from __future__ import annotations

from pathlib import Path

from ..errors import FCNXSError
from .account import Account
from .colours import is_map, read_map
from .found import Found, Options
from .masks import by_colours
from .pairing import pairs

LOOKS_FOR = "CVAT's labelmap.txt with SegmentationClass/"
TAKES = ("colors", "nearest")
MAP, FOLDER = "labelmap.txt", "SegmentationClass"


def recognised(source: Path) -> bool:
    """Whether a folder has labelmap.txt and SegmentationClass/."""
    return (source / FOLDER).is_dir() and is_map(source / MAP)


def read(source: Path, options: Options, account: Account) -> Found:
    """Pairs of images and masks, whose colours labelmap.txt says. Masks of single objects are not read.

    Raises:
        FCNXSError: labelmap.txt or SegmentationClass/ is missing, there are no images, or a colour is unknown.
    """
    file = options.colors or source / MAP
    classes = read_map(file)
    both = pairs(source, options.images, account)
    if not both:
        raise FCNXSError(
            f"{source}: no image here has a mask in {FOLDER}/; export the task with its images, or --images "
            f"DIR says which folder has them. {account}"
        )
    return by_colours(both, classes, file, options, account)

"""What labelme2voc writes: class_names.txt, JPEGImages/, and class numbers as palette PNGs.

Source: labelme, examples/semantic_segmentation/labelme2voc.py. The PNGs are in SegmentationClassPNG/, and in
later versions in SegmentationClass/, where the earlier ones have arrays of NumPy. `__ignore__` is 255 in them.
"""

from __future__ import annotations

from pathlib import Path

from ..data.class_names import read_classes
from ..errors import FCNXSError
from .account import Account
from .found import BACKGROUND, Class, Found, Options
from .pairing import pairs
from .values import by_values

LOOKS_FOR = "class_names.txt, SegmentationClassPNG/"
TAKES = ()
NAMES, GROUND = "class_names.txt", "_background_"
FOLDERS = ("SegmentationClassPNG", "SegmentationClass")


def recognised(source: Path) -> bool:
    """Whether a folder has class_names.txt and a folder of masks."""
    return (source / NAMES).is_file() and any((source / folder).is_dir() for folder in FOLDERS)


def read(source: Path, options: Options, account: Account) -> Found:
    """Pairs of images and masks, whose values are lines of class_names.txt.

    Raises:
        FCNXSError: class_names.txt is missing or no list of names, or no image has a mask.
    """
    file = source / NAMES
    if not recognised(source):
        raise FCNXSError(f"{source}: expected {NAMES} and {' or '.join(FOLDERS)}/, as labelme2voc writes them")
    names = [BACKGROUND if name == GROUND else name for name in read_classes(file)]
    classes = [Class(name, None, number) for number, name in enumerate(names)]
    return by_values(pairs(source, options.images, account), classes, file, options, account)

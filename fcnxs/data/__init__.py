"""Images with labels: reading them from files, checking, augmenting and batching them for training.

Begin with `images.py` and `labels.py`, which read one file, and `samples.py`, a numbered data set of pairs.
`layouts.py` opens data sets on disk, `datasets.py` public ones, `records.py` RecordIO files. `loader.py` makes
batches (`FileIter` is the original's iterator), `augment.py` changes pairs, `check.py` inspects a data set.
`scenes.py` reads samples of several images, such as colour and depth.

This room may import the single files of fcnxs/, `symbols` and `system`. Loader and FileIter are imported when
they are asked for, since they need MXNet; images are read without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, List

from ..conventions import VGG_MEAN
from .images import preprocess, read_image
from .labels import read_label

if TYPE_CHECKING:
    from .loader import FileIter, Loader

__all__ = ["VGG_MEAN", "FileIter", "Loader", "preprocess", "read_image", "read_label"]


def __getattr__(name: str) -> type[Loader]:
    """Import `fcnxs.data.Loader` and `fcnxs.data.FileIter`, which load MXNet, at their first use."""
    if name not in ("FileIter", "Loader"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import loader

    return getattr(loader, name)


def __dir__() -> List[str]:
    """Names of the room, with those that are imported at their first use."""
    return [*{*globals(), *__all__}]

"""Numbers, class names and types that all modules share."""

from __future__ import annotations

import os
from typing import Sequence, Union

IGNORE_LABEL = 255  # pixels with this label count neither in the loss nor in the scores
MAX_PIXELS = 179_000_000  # of an image or a label, by its header; more are refused before they are decoded
MOST_CLASSES = IGNORE_LABEL  # 0 to 254: a class map has 8 bits
VGG_MEAN = (123.68, 116.779, 103.939)  # (R, G, B); the original example and Oxford's VGG-16 subtract it
VOC_CLASSES = (  # PASCAL VOC's, in the order of its labels
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)

PathLike = Union[str, "os.PathLike[str]"]
Palette = Sequence[Sequence[int]]  # colour (R, G, B), 0 to 255, of each class

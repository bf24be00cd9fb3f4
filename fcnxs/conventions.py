"""Numbers, class names and types that all modules share."""

from __future__ import annotations

import os
from typing import Sequence, Union

IGNORE_LABEL = 255  # pixels with this label count neither in the loss nor in the scores
MAX_PIXELS = 179_000_000  # of an image or a label, by its header; more are refused before they are decoded
MOST_CLASSES = IGNORE_LABEL  # 0 to 254: a class map has 8 bits
HEADED = "siftflow_"  # begins the names of nets with several heads, which end in that of the FCN of one
VGG_MEAN = (123.68, 116.779, 103.939)  # (R, G, B); the original example and Oxford's VGG-16 subtract it
VOC_CLASSES = (  # PASCAL VOC's, in the order of its labels
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
# Means of each kind of image that a net can take: of colour by default, of the others in shelhamer/
# fcn.berkeleyvision.org nyud_layers.py, in the order of the file's channels; depth is a logarithm.
IMAGE_MEANS = {"color": VGG_MEAN, "hha": (132.431, 94.076, 118.477), "depth": (7.844,)}
COLOR = ("color",)  # the kinds of images that most nets take
FUSION = ("color", "hha")  # those of late fusion, which end the names of their layers
# Of the authors' nets for other data sets, in the order of their scores. SIFT Flow has two labellings, a head
# of the net for each. Source: shelhamer/fcn.berkeleyvision.org data/*/classes*.txt.
CONTEXT_CLASSES = (
    *VOC_CLASSES,
    *("bag", "bed", "bench", "book", "building", "cabinet", "ceiling", "clothes", "computer", "cup", "door"),
    *("fence", "floor", "flower", "food", "grass", "ground", "keyboard", "light", "mountain", "mouse"),
    *("curtain", "platform", "sign", "plate", "road", "rock", "shelves", "sidewalk", "sky", "snow"),
    *("bedcloth", "track", "tree", "truck", "wall", "water", "window", "wood"),
)
NYUD_CLASSES = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture"),
    *("counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat"),
    *("clothes", "ceiling", "books", "refridgerator", "television", "paper", "towel", "shower curtain"),
    *("box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag"),
    *("otherstructure", "otherfurniture", "otherprop"),
)
SIFTFLOW_CLASSES = {
    "sem": (
        *("awning", "balcony", "bird", "boat", "bridge", "building", "bus", "car", "cow", "crosswalk"),
        *("desert", "door", "fence", "field", "grass", "moon", "mountain", "person", "plant", "pole"),
        *("river", "road", "rock", "sand", "sea", "sidewalk", "sign", "sky", "staircase", "streetlight"),
        *("sun", "tree", "window"),
    ),
    "geo": ("sky", "horizontal", "vertical"),
}

PathLike = Union[str, "os.PathLike[str]"]
Palette = Sequence[Sequence[int]]  # colour (R, G, B), 0 to 255, of each class

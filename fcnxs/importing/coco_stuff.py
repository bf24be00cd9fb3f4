"""COCO-Stuff (164K) as its makers ship it: stuffthingmaps of COCO 2017, with things and stuff.

Source: https://github.com/nightrome/cocostuff, README.md and labels.txt. A value of the maps is the class's
number there less one; 255 is unlabeled, which is ignored. Eleven of the 182 numbers have no pixel in COCO, so
that 171 classes remain. Images are in images/SPLIT2017/ or SPLIT2017/, maps in annotations/SPLIT2017/ or
stuffthingmaps/SPLIT2017/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict

from .account import Account
from .found import Class, Found, Options
from .values import Key, by_values, joined

LOOKS_FOR = "images/train2017/, annotations/train2017/*.png"
TAKES = ()
NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, street
sign, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe,
hat, backpack, umbrella, shoe, eye glasses, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball,
kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, plate, wine glass, cup,
fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake,
chair, couch, potted plant, bed, mirror, dining table, window, desk, toilet, door, tv, laptop, mouse,
remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, blender, book, clock, vase,
scissors, teddy bear, hair drier, toothbrush, hair brush, banner, blanket, branch, bridge, building-other,
bush, cabinet, cage, cardboard, carpet, ceiling-other, ceiling-tile, cloth, clothes, clouds, counter,
cupboard, curtain, desk-stuff, dirt, door-stuff, fence, floor-marble, floor-other, floor-stone, floor-tile,
floor-wood, flower, fog, food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house,
leaves, light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow,
plant-other, plastic, platform, playingfield, railing, railroad, river, road, rock, roof, rug, salad, sand,
sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw, structural-other, table, tent,
textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel, wall-stone,
wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood
"""
UNUSED = {  # removed from COCO
    "street sign",
    "hat",
    "shoe",
    "eye glasses",
    "plate",
    "mirror",
    "window",
    "desk",
    "door",
    "blender",
    "hair brush",
}
SPLITS = {"train2017": "train", "val2017": "val"}
IMAGES, MAPS = ("images", ""), ("annotations", "stuffthingmaps", "stuffthingmaps_trainval2017")


def recognised(source: Path) -> bool:
    """Whether a folder has images of COCO 2017 and maps."""
    return bool(_folder(source, IMAGES, "jpg") and _folder(source, MAPS, "png"))


def _folder(source: Path, names: tuple, suffix: str) -> Path | None:
    """The folder in which a split's folder has such files."""
    folders = [source / name for name in names]
    return next((each for each in folders for part in SPLITS if any((each / part).glob(f"*.{suffix}"))), None)


def read(source: Path, options: Options, account: Account) -> Found:
    """Pairs of images and maps.

    Raises:
        FCNXSError: no image has a map.
    """
    names = [" ".join(name.split()) for name in NAMES.split(",")]
    classes = [Class(name, None, value) for value, name in enumerate(names) if name not in UNUSED]
    images, maps = _files(_folder(source, IMAGES, "jpg")), _files(_folder(source, MAPS, "png"))
    return by_values(joined(source, images, maps, account), classes, "COCO-Stuff", options, account)


def _files(folder: Path | None) -> Dict[Key, Path]:
    files = [file for part in SPLITS for file in sorted((folder / part).iterdir())] if folder else []
    files = [file for file in files if file.stem.isdigit()]  # others made some *_labelTrainIds.png of them
    return {(SPLITS[file.parent.name], file.stem): file for file in files}

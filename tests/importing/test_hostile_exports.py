"""Damaged exports of labelling tools: an import succeeds, or ends with one line and leaves nothing."""

import json

import numpy as np
import pytest
import test_coco_json
import test_coco_panoptic
import test_labelme
from conftest import LONG
from importing import import_damaged, put

TIMES = 1000 if LONG else 24
LABELME = test_labelme.content(
    test_labelme.BOX,
    test_labelme.TRIANGLE,
    ("dog", "circle", [[3, 3], [3, 1]]),
    ("dog", "mask", [[2, 3], [3, 4]], {"mask": test_labelme.CORNER}),
    imageData=test_labelme.encoded(np.zeros((6, 7, 3), np.uint8)),
)
COCO = test_coco_json.content(
    {"segmentation": [test_coco_json.SQUARE]},
    {"segmentation": test_coco_json.RUNS, "category_id": 18},
    {"segmentation": {"size": [5, 6], "counts": "63204"}, "iscrowd": 1},
)
SOURCES = {
    "labelme": {"a.json": LABELME, "a.jpg": (6, 7)},
    "embedded": {"a.json": {**LABELME, "imagePath": "b.jpg"}},
    "coco": {"a.json": COCO, "a.jpg": (5, 6)},
    "panoptic": {
        "panoptic_a.json": test_coco_panoptic.panoptic((7, 1), (263, 200)),
        "a.jpg": (2, 3),
        "panoptic_a/a.png": test_coco_panoptic.SEGMENTS,
    },
    "roboflow": {"_classes.csv": "Pixel Value, Class\n0, a\n1, b\n", "a.jpg": (2, 2), "a_mask.png": np.eye(2)},
}


@pytest.mark.parametrize("kind", [*SOURCES])
def test_damaged_exports_end_with_one_line(kind, tmp_path, capsys):
    files = {name: json.dumps(each) if isinstance(each, dict) else each for name, each in SOURCES[kind].items()}
    source = put(tmp_path / "in", files)
    import_damaged(source, [*files], TIMES, lambda i: [*files][0 if i % 8 else -1], capsys)

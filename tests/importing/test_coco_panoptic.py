"""COCO's panoptic annotations: JSON, and PNGs of segments."""

import numpy as np
import pytest
from importing import imported, put, refusal

SEGMENTS = np.array(
    [[(7, 0, 0), (7, 1, 0), (0, 0, 0)], [(7, 1, 1), (9, 0, 0), (5, 0, 0)]]
)  # R + 256 G + 65536 B


def panoptic(*segments, name="a.png", image="a.jpg"):
    info = [
        {"id": number, "category_id": category, **(more[0] if more else {})}
        for number, category, *more in segments
    ]
    return {
        "images": [{"id": 1, "file_name": image, "height": 2, "width": 3}],
        "annotations": [{"image_id": 1, "file_name": name, "segments_info": info}],
        "categories": [
            {"id": 200, "name": "rug", "isthing": 0, "color": [9, 8, 7]},
            {"id": 1, "name": "person", "isthing": 1, "color": [1, 2, 3]},
        ],
    }


def test_panoptic(tmp_path):
    whole = panoptic((7, 1), (263, 200), (65799, 1), (9, 200, {"iscrowd": 1}))  # 5 is no segment of the file
    source = put(
        tmp_path / "in",
        {
            "annotations/panoptic_val2017.json": whole,
            "annotations/panoptic_val2017/a.png": SEGMENTS,
            "val2017/a.jpg": (2, 3),
        },
    )
    labels, names, counts = imported(source)
    np.testing.assert_array_equal(labels["a"], [[0, 1, 255], [0, 255, 255]])
    assert names == ["person", "rug"] and counts == {"unknown value": 1}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"name": "../a.png"}, "expected a relative path without '..'"),
        ({"name": "b.png"}, "1 image without annotation"),
        ({"name": 3}, "annotations[0].file_name: expected a text"),
    ],
)
def test_bad_panoptic(change, text, tmp_path, capsys):
    source = put(tmp_path / "in", {"panoptic_val.json": panoptic((7, 1), **change), "a.jpg": (2, 3)})
    put(tmp_path, {"in/panoptic_val/c.png": SEGMENTS, "a.png": SEGMENTS})
    assert text in refusal(source, capsys)

"""A source that is a level or more too high: folders below that have a format are named, not read as masks."""

import numpy as np
import pytest
from importing import imported, put, refusal

MASK = np.array([[0, 1], [1, 2]])
COLOURS = np.array([[(0, 0, 0), (9, 8, 7)], [(9, 8, 7), (9, 8, 7)]])
ROBOFLOW = {"train/a.jpg": (2, 2), "train/a_mask.png": MASK}
ROBOFLOW["train/_classes.csv"] = "Pixel Value, Class\n0, background\n1, road\n2, car\n"
CVAT = {"JPEGImages/a.jpg": (2, 2), "SegmentationClass/a.png": COLOURS}
CVAT["labelmap.txt"] = "background:0,0,0::\nroad:9,8,7::\n"
LABELME_VOC = {"JPEGImages/a.jpg": (2, 2), "SegmentationClassPNG/a.png": MASK, "class_names.txt": "x\ny\nz\n"}
FORMATS = {"roboflow": ROBOFLOW, "cvat-masks": CVAT, "labelme-voc": LABELME_VOC}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("between", ["", "down/", "a/b/"])
@pytest.mark.parametrize("options", [(), ("--format",)])
def test_the_folder_below_that_has_a_format_is_named(tmp_path, capsys, name, between, options):
    put(tmp_path / "high" / f"{between}x.v1", FORMATS[name])
    text = refusal(tmp_path / "high", capsys, *options, *[name for _ in options])
    assert f"high/{between}x.v1 is {name}; give this folder" in text
    *_, kinds = imported(tmp_path / "high" / f"{between}x.v1")
    assert "no annotation" not in kinds


def test_two_exports_below_are_both_named(tmp_path, capsys):
    put(tmp_path / "high" / "x", CVAT)
    put(tmp_path / "high" / "y" / "z", ROBOFLOW)
    text = refusal(tmp_path / "high", capsys)
    high = tmp_path / "high"
    assert f"{high}/x is cvat-masks, {high}/y/z is roboflow; give one of these folders" in text


def test_one_that_is_recognised_from_above_does_not_hide_another(tmp_path, capsys):
    """Roboflow's _classes.csv is also looked for one level down."""
    put(tmp_path / "high" / "x", CVAT)
    put(tmp_path / "high", ROBOFLOW)
    text = refusal(tmp_path / "high", capsys)
    assert "high/x is cvat-masks; give this folder; --format roboflow reads all of" in text


def test_masks_that_are_asked_for_are_read(tmp_path):
    put(tmp_path / "high" / "x", ROBOFLOW)
    labels, names, _ = imported(tmp_path / "high", "--format", "masks")
    assert names == ["class_0", "class_1", "class_2"] and np.array_equal(labels["train/a"], MASK)

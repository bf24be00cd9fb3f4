"""Exports of masks whose values a file names: Roboflow's, and those of labelme2voc."""

import numpy as np
import pytest
from importing import imported, put, refusal

CSV = "Pixel Value, Class\n0, background\n1, rail track\n3, couch"  # Roboflow writes no last newline
VALUES = [[0, 1, 3], [3, 3, 0]]
EXPECTED = [[0, 1, 2], [2, 2, 0]]


def roboflow(source, csv=CSV, values=VALUES):
    for split, number in (("train", 1), ("valid", 2), ("test", 3)):
        name = f"{split}/frame_{number}_jpg.rf.3c52a7403c54"
        put(source, {f"{split}/_classes.csv": csv, f"{name}.jpg": (2, 3), f"{name}_mask.png": values})
    return put(source, {"README.roboflow.txt": "streets - v1"})


def test_roboflow(tmp_path):
    labels, names, counts = imported(roboflow(tmp_path / "in"))
    assert sorted(labels) == [
        f"{split}/frame_{number}_jpg.rf.3c52a7403c54"
        for split, number in (("test", 3), ("train", 1), ("val", 2))
    ]
    for label in labels.values():
        np.testing.assert_array_equal(label, EXPECTED)
    assert names == ["background", "rail track", "couch"] and not counts


def test_roboflow_numbers_are_those_of_the_file(tmp_path):
    source = roboflow(tmp_path / "in", values=[[0, 1, 3], [2, 200, 255]])
    labels, names, counts = imported(source, "--ignore", "3")
    for label in labels.values():
        np.testing.assert_array_equal(label, [[0, 1, 255], [255, 255, 255]])
    assert names == ["background", "rail track"] and counts == {"unknown value": 3}


@pytest.mark.parametrize(
    ("csv", "text"),
    [
        ("Pixel Value, Class\n0, a\n0, b\n", "names the value 0 twice"),
        ("Pixel Value, Class\n0, a\n255, b\n", "'255,b' is not a value from 0 to 254"),
        ("Pixel Value, Class\n0\n", "'0' is not a value"),
        ("Pixel Value, Class\n", "names no class"),
        ("filename, cat, dog\na.jpg, 1, 0\n", "not with 'Pixel Value, Class'"),
        ("", "not with 'Pixel Value, Class'"),
    ],
)
def test_roboflow_refuses_other_tables(csv, text, tmp_path, capsys):
    source = roboflow(tmp_path / "in", csv)
    assert text in refusal(source, capsys, "--format", "roboflow")


def test_roboflow_refuses_splits_with_other_classes(tmp_path, capsys):
    source = roboflow(tmp_path / "in")
    put(source, {"valid/_classes.csv": CSV.replace("couch", "sofa")})
    assert "names the value 3 'sofa', and" in refusal(source, capsys)


@pytest.mark.parametrize("folder", ["SegmentationClassPNG", "SegmentationClass"])
def test_labelme2voc(folder, tmp_path):
    source = put(
        tmp_path / "in",
        {
            "class_names.txt": "_background_\nrail track\ncouch",
            "JPEGImages/a.jpg": (2, 3),
            f"{folder}/a.png": [[0, 1, 2], [2, 255, 0]],  # labelme's lblsave writes -1, __ignore__, as 255
            "SegmentationClassVisualization/a.jpg": (2, 3),
            "JPEGImages/b.jpg": (2, 3),
        },
    )
    (source / "SegmentationClass").mkdir(exist_ok=True)
    np.save(source / "SegmentationClass" / "a.npy", np.zeros((2, 3), np.int32))
    labels, names, counts = imported(source)
    assert [*labels] == ["a"] and counts == {"no annotation": 1}
    np.testing.assert_array_equal(labels["a"], [[0, 1, 2], [2, 255, 0]])
    assert names == ["background", "rail track", "couch"]


def test_labelme2voc_without_masks(tmp_path, capsys):
    source = put(tmp_path / "in", {"class_names.txt": "_background_\ncouch", "JPEGImages/a.jpg": (2, 3)})
    (source / "SegmentationClass").mkdir()
    assert "no image here has a mask. 1 image without annotation" in refusal(source, capsys)

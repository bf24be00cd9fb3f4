"""Public data sets as their makers ship them; the values are theirs, from the sources that the modules cite."""

import numpy as np
import pytest
from importing import imported, put, refusal

from fcnxs.data.datasets import named
from fcnxs.importing import coco_stuff

CITY = "leftImg8bit/{0}/aachen/aachen_{1}_leftImg8bit.png", "gtFine/{0}/aachen/aachen_{1}_gtFine_{2}.png"


@pytest.mark.parametrize(
    ("kind", "values"),
    [("labelIds", [[7, 8, 26], [33, 0, 9]]), ("labelTrainIds", [[0, 1, 13], [18, 255, 255]])],
)
def test_cityscapes(kind, values, tmp_path):
    source = tmp_path / "in"
    for split, number in (("train", 1), ("val", 2)):
        image, mask = (name.format(split, number, kind) for name in CITY)
        put(source, {image: (2, 3), mask: values})
    put(source, {CITY[0].format("test", 3): (2, 3), CITY[1].format("test", 3, kind): np.full((2, 3), 255)})
    put(source, {CITY[0].format("train", 4): (2, 3), CITY[1].format("train", 5, kind): values})
    if kind == "labelIds":  # are read also where there are labelTrainIds
        put(source, {CITY[1].format("train", 1, "labelTrainIds"): np.zeros((2, 3))})
    labels, names, counts = imported(source)
    expected = [[0, 1, 13], [18, 255, 255]]  # road, sidewalk, car, bicycle; unlabeled and parking have no class
    assert {*labels} == {"train/aachen_1_leftImg8bit", "val/aachen_2_leftImg8bit"}
    for label in labels.values():
        np.testing.assert_array_equal(label, expected)
    assert (len(names), names[0], names[18]) == (19, "road", "bicycle")
    assert counts == {"unused": 1, "no annotation": 1, "no image": 1}
    if kind == "labelIds":  # as --data reads them in place
        (source / CITY[0].format("train", 4)).unlink()
        _, label = named("citys", source, "train").read(0)
        np.testing.assert_array_equal(label, expected)


def test_a_class_of_cityscapes_has_its_own_number(tmp_path):
    image, mask = (name.format("train", 1, "labelIds") for name in CITY)
    source = put(tmp_path / "in", {image: (1, 3), mask: [[7, 26, 34]]})  # lane markings are 34
    labels, names, counts = imported(source, "--ignore", "7", "--ignore", "0")  # road, and unlabeled
    np.testing.assert_array_equal([*labels.values()], [[[255, 12, 255]]])
    assert names[12] == "car" and counts == {"unknown value": 1}


def test_ade20k(tmp_path):
    values = [[0, 1, 2, 150]]
    source = put(
        tmp_path / "in",
        {
            "images/training/ADE_train_00000001.jpg": (1, 4),
            "annotations/training/ADE_train_00000001.png": values,
            "images/validation/ADE_val_00000001.jpg": (1, 4),
            "annotations/validation/ADE_val_00000001.png": values,
        },
    )
    labels, names, counts = imported(source)
    assert not counts and {*labels} == {"train/ADE_train_00000001", "val/ADE_val_00000001"}
    np.testing.assert_array_equal(labels["train/ADE_train_00000001"], [[255, 0, 1, 149]])
    assert (len(names), names[0], names[1], names[149]) == (150, "wall", "building", "flag")


@pytest.mark.parametrize(("images", "maps"), [("images/", "annotations/"), ("", "stuffthingmaps/")])
def test_coco_stuff(images, maps, tmp_path):
    # In labels.txt 1 is person, 11 fire hydrant, 12 street sign (unused), 13 stop sign, 92 banner, 182 wood.
    source = put(
        tmp_path / "in",
        {
            f"{images}train2017/000000000009.jpg": (1, 7),
            f"{maps}train2017/000000000009.png": [[0, 10, 11, 12, 91, 181, 255]],
            f"{maps}train2017/000000000009_labelTrainIds.png": [[0] * 7],
            f"{images}val2017/000000000025.jpg": (1, 1),
            f"{maps}val2017/000000000025.png": [[181]],
        },
    )
    labels, names, counts = imported(source)
    expected = [names.index(each) for each in ("person", "fire hydrant", "stop sign", "banner", "wood")]
    np.testing.assert_array_equal(labels["train/000000000009"], [[*expected[:2], 255, *expected[2:], 255]])
    np.testing.assert_array_equal(labels["val/000000000025"], [[170]])
    assert (len(names), expected) == (171, [0, 10, 11, 80, 170])  # 80 things are before the stuff
    assert counts == {"unknown value": 1} and len(coco_stuff.UNUSED) == 11


CUB = {
    "images.txt": "1 001.Albatross/A_1.jpg\n2 001.Albatross/A_2.jpg\n",
    "train_test_split.txt": "1 1\n2 0\n",
    "images/001.Albatross/A_1.jpg": (1, 6),
    "images/001.Albatross/A_2.jpg": (1, 6),
}
LEVELS = [[0, 51, 102, 153, 204, 255]]


@pytest.mark.parametrize("root", ["", "CUB_200_2011/"])
def test_cub(root, tmp_path):
    source = put(tmp_path / "in", {root + name: content for name, content in CUB.items()})
    alpha = np.dstack([LEVELS, np.full((1, 6), 255)])
    put(source, {f"segmentations/001.Albatross/A_{i}.png": (LEVELS, alpha)[i - 1] for i in (1, 2)})
    labels, names, _ = imported(source)
    np.testing.assert_array_equal(labels["train/A_1"], [[0, 0, 0, 1, 1, 1]])  # 3 of 5 annotators
    np.testing.assert_array_equal(labels["test/A_2"], [[0, 0, 0, 1, 1, 1]])
    assert names == ["background", "bird"]


def test_options_and_lists_of_cub(tmp_path, capsys):
    source = put(tmp_path / "in", CUB)
    put(source, {f"segmentations/001.Albatross/A_{i}.png": LEVELS for i in (1, 2)})
    put(source, {"images.txt": "1 001.Albatross/A_1.jpg\n2 ../A_2.jpg\n"})
    assert "expected a relative path without '..'" in refusal(source, capsys)
    put(source, {"images.txt": "1 001.Albatross/A_1.jpg\n3 001.Albatross/A_2.jpg\n"})
    assert "does not say 0 or 1 for image 3" in refusal(source, capsys)
    put(source, CUB)
    labels, _, _ = imported(source, "--threshold", "51")
    np.testing.assert_array_equal(labels["train/A_1"], [[0, 1, 1, 1, 1, 1]])


def test_oxford_pet(tmp_path):
    source = put(
        tmp_path / "in",
        {
            "annotations/README": "trimaps",
            "annotations/trainval.txt": "Abyssinian_100 1 1 1\n",
            "annotations/test.txt": "beagle_1 2 2 1\n",
            **{f"images/{name}.jpg": (1, 3) for name in ("Abyssinian_100", "beagle_1", "beagle_2", "beagle_3")},
            **{
                f"annotations/trimaps/{name}.png": [[1, 2, 3]]  # pet, background, border
                for name in ("Abyssinian_100", "beagle_1", "beagle_3", "beagle_4")
            },
        },
    )
    (source / "annotations" / "trimaps" / "._beagle_1.png").write_bytes(b"of macOS")
    labels, names, counts = imported(source)
    assert sorted(labels) == ["test/beagle_1", "train/Abyssinian_100"] and names == ["background", "pet"]
    np.testing.assert_array_equal(labels["train/Abyssinian_100"], [[1, 0, 255]])
    assert counts == {"no annotation": 1, "no image": 1, "no split": 1}


def test_a_pet_of_both_lists_is_refused(tmp_path, capsys):
    lists = {f"annotations/{name}.txt": "Abyssinian_100 1 1 1\n" for name in ("trainval", "test")}
    source = put(tmp_path / "in", {**lists, "annotations/trimaps/Abyssinian_100.png": [[1]]})
    assert "test.txt: names 'Abyssinian_100', as another list does" in refusal(source, capsys)

"""COCO's JSON: labels are worked out by hand, or those of pycocotools."""

import copy
import sys

import numpy as np
import pytest
from importing import imported, put, refusal
from pycocotools import mask

from fcnxs.importing.run_lengths import compressed, in_columns

CATEGORIES = [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}]  # with gaps, as COCO's
SQUARE = [1, 1, 4, 1, 4, 4, 1, 4]  # columns and rows 1 to 3


def content(*objects, images=("a.jpg",), categories=CATEGORIES):
    """COCO's JSON of images of 6x5 pixels; an object is its image's number and keys of its annotation."""
    return {
        "info": {},
        "images": [{"id": 10 + i, "file_name": name, "width": 6, "height": 5} for i, name in enumerate(images)],
        "annotations": [
            {"id": i, "image_id": 10, "category_id": 3, "iscrowd": 0, **each} for i, each in enumerate(objects)
        ],
        "categories": categories,
    }


def source_of(tmp_path, *objects, **others):
    files = dict.fromkeys(others.get("images", ("a.jpg",)), (5, 6))
    return put(tmp_path / "in", {**files, "instances_default.json": content(*objects, **others)})


def rows(text):
    return [[int(each) for each in row] for row in text.split()]


RUNS = {"size": [5, 6], "counts": [6, 3, 2, 3, 16]}  # down the columns: column 1, rows 1 to 3, and column 2


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([{"segmentation": [SQUARE]}], "000000 011100 011100 011100 000000"),
        (  # a part inside another is no hole
            [{"segmentation": [SQUARE, [2, 2, 3, 2, 3, 3, 2, 3]]}],
            "000000 011100 011100 011100 000000",
        ),
        (  # two parts
            [{"segmentation": [[0, 0, 2, 0, 2, 1, 0, 1], [4, 3, 6, 3, 6, 5, 4, 5]]}],
            "110000 000000 000000 000011 000011",
        ),
        ([{"segmentation": RUNS}], "000000 011000 011000 011000 000000"),
        (  # the later is above
            [{"segmentation": [SQUARE]}, {"segmentation": [[3, 0, 5, 0, 5, 2, 3, 2]], "category_id": 18}],
            "000220 011220 011100 011100 000000",
        ),
        (  # a crowd is ignored, but for the objects within, wherever it stands
            [
                {"segmentation": [[3, 0, 5, 0, 5, 2, 3, 2]], "category_id": 18},
                {"segmentation": {"size": [5, 6], "counts": [5, 15, 10]}, "iscrowd": 1},
            ],
            "099220 099220 099900 099900 099900",
        ),
        (  # reaches out, and a category that the file does not name
            [
                {"segmentation": [[4, 3, 9, 3, 9, 9, 4, 9]]},
                {"segmentation": [[-5, -5, 1, -5, 1, 2, -5, 2]], "category_id": 5},
            ],
            "900000 900000 000000 000011 000011",
        ),
    ],
)
def test_objects(objects, expected, tmp_path):
    labels, names, _ = imported(source_of(tmp_path, *objects))
    np.testing.assert_array_equal(labels["a"] % 246, rows(expected))  # 9 stands for 255
    assert names == ["background", "car", "dog"]


@pytest.mark.parametrize("places", [1, 2])
def test_compressed_runs_are_those_of_pycocotools(places):
    rng = np.random.default_rng(places)
    for size in [(5, 7), (1, 9), (300, 40)]:
        for share in (0, 0.01, 0.5, 1):
            pixels = rng.random(size) < share
            pixels = np.repeat(np.repeat(pixels, places, 0), places, 1)
            text = mask.encode(np.asfortranarray(pixels.astype(np.uint8)))["counts"].decode()
            left, top, right, bottom = map(int, (in_columns(compressed(text), pixels.shape)[0]))
            inside = in_columns(compressed(text), pixels.shape)[1]
            result = np.zeros(pixels.shape, bool)
            result[top:bottom, left:right] = inside((left, top), (bottom - top, right - left))
            np.testing.assert_array_equal(result, pixels)


def test_polygons_are_those_of_pycocotools(tmp_path):
    """Parts are drawn in the window around them alone; pixels are as in the whole image."""
    rng, size = np.random.default_rng(0), (40, 50)
    outlines = [
        [rng.uniform(-15, 60, 2 * rng.integers(3, 9)).tolist() for _ in range(rng.integers(1, 4))]
        for _ in range(30)
    ]
    whole = content(*({"segmentation": each, "image_id": 10 + i} for i, each in enumerate(outlines)))
    whole["images"] = [
        {"id": 10 + i, "file_name": f"{i:02}.png", "height": 40, "width": 50} for i in range(len(outlines))
    ]
    source = put(tmp_path / "in", {f"{i:02}.png": size for i in range(len(outlines))})
    labels, _, _ = imported(put(source, {"all.json": whole}))
    for i, each in enumerate(outlines):
        expected = mask.decode(mask.merge(mask.frPyObjects(copy.deepcopy(each), *size)))
        np.testing.assert_array_equal(labels[f"{i:02}"], expected)


def test_what_is_left_out_is_counted(tmp_path):
    source = source_of(
        tmp_path,
        {"segmentation": [SQUARE]},
        {"segmentation": [SQUARE[:4]]},  # two points
        {"segmentation": [[float(each) for each in SQUARE[:7]]]},
        {"segmentation": [[0, 0, 1e9, 0, 1e9, 1e9]]},  # pycocotools would allocate by it
        {"segmentation": [[1, 1, 4, 1e308, 4, -1e308]]},
        *({"segmentation": {"size": [5, 6], "counts": counts}} for counts in ([31], [9, 20], [20, 20])),
        {"segmentation": {"size": [6, 5], "counts": [30]}},
        {"segmentation": {"size": [5, 6], "counts": "o"}},  # ends within a number
        {"segmentation": [[7, 1, 9, 1, 9, 3, 7, 3]]},  # beside the image
        {"segmentation": [], "bbox": [0, 0, 3, 3]},
        {"bbox": [0, 0, 3, 3]},
        {"segmentation": [SQUARE], "image_id": 77},
        {"segmentation": [[1, 1, 1, 2, 1, 3]]},
        images=("a.jpg", "b.jpg", "c.jpg"),
    )
    (source / "c.jpg").unlink()
    put(source, {"d.jpg": (5, 6)})
    labels, _, counts = imported(source)
    np.testing.assert_array_equal(labels["a"], rows("000000 011100 011100 011100 000000"))
    assert counts == {
        "broken": 9,
        "outside": 1,
        "no outline": 2,
        "no image": 2,  # c.jpg, and the object of image 77
        "small": 1,
        "no annotation": 2,  # b.jpg, and d.jpg, of which the file does not know
    }


@pytest.mark.parametrize(
    "layout",
    [
        ("annotations/instances_{}2017.json", "{}2017/{}"),  # COCO's
        ("annotations/instances_{}.json", "images/{}/{}"),  # CVAT's
        ("{}/_annotations.coco.json", "{}/{}"),  # Roboflow's
        ("{}.json", "images/{1}"),
        ("{}.json", "whatever/{}/{}"),
    ],
)
def test_splits(layout, tmp_path):
    file, image = layout
    for split, name in (("train", "a.jpg"), ("val", "b.jpg")):
        put(
            tmp_path / "in",
            {
                file.format(split): content({"segmentation": [SQUARE]}, images=(name,)),
                image.format(split, name): (5, 6),
            },
        )
    labels, _, counts = imported(tmp_path / "in")
    assert {*labels} == {"train/a", "val/b"} and not counts


def test_a_file_and_its_images_may_be_given(tmp_path):
    source = put(tmp_path / "in", {"x.json": content({"segmentation": [SQUARE]}), "a.jpg": (5, 6)})
    put(tmp_path, {"photos/a.jpg": (5, 6)})
    labels, _, _ = imported(source / "x.json", "--images", str(tmp_path / "photos"))
    assert [*labels] == ["a"]
    image = tmp_path / "in" / "target" / "images" / "a.jpg"
    assert image.samefile(tmp_path / "photos" / "a.jpg")


@pytest.mark.parametrize(
    ("file", "images"), [("x.json", ("p/a.jpg", "q/a.jpg")), ("x_val.json", ("x/train/a.jpg",))]
)
def test_images_elsewhere_are_not_guessed(file, images, tmp_path, capsys):
    source = put(tmp_path / "in", {file: content({"segmentation": [SQUARE]})})
    put(source, dict.fromkeys(images, (5, 6)))
    assert "1 annotation without image, left out: a.jpg" in refusal(source, capsys)


def test_instances_are_read_where_coco_has_other_annotations(tmp_path, capsys):
    source = source_of(tmp_path, {"segmentation": [SQUARE]})
    put(source, {"captions_default.json": {"info": {}, "images": [], "annotations": []}})
    imported(source)
    assert "read instances_*.json, and not captions_default.json" in capsys.readouterr().out


def test_other_kinds_are_not_guessed(tmp_path, capsys):
    source = source_of(tmp_path, {"segmentation": [SQUARE]})
    (source / "instances_default.json").rename(source / "people.json")
    put(source, {"stuff_train.json": content()})
    assert "annotations of several kinds (people.json, stuff_train.json)" in refusal(source, capsys)


def test_a_category_that_groups_others_is_no_class(tmp_path, capsys):
    """Roboflow's category 0 is the project."""
    categories = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "pets"},
        {"id": 2, "name": "dog", "supercategory": "pets"},
    ]
    labels, names, _ = imported(
        source_of(tmp_path, {"segmentation": [SQUARE], "category_id": 2}, categories=categories)
    )
    assert names == ["background", "cat", "dog"] and labels["a"].max() == 2
    assert "'pets' has no object, and only groups others" in capsys.readouterr().out


def test_categories_keep_their_numbers_for_ignore(tmp_path):
    categories = [{"id": 0, "name": "cat"}, {"id": 7, "name": "Background"}, {"id": 9, "name": "dog"}]
    labels, names, _ = imported(
        source_of(tmp_path, {"segmentation": [SQUARE], "category_id": 0}, categories=categories),
        *("--ignore", "0"),
    )
    assert names == ["Background", "dog"]
    np.testing.assert_array_equal(labels["a"] % 246, rows("000000 099900 099900 099900 000000"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"images": 3}, "images: expected a list"),
        ({"annotations": [{"image_id": 10}]}, "it lacks annotations[0].category_id"),
        ({"categories": None}, "categories: expected a list"),
        (
            {"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]},
            "names the class 'a' more than once",
        ),
        ({"images": [{"id": 1, "file_name": "a.jpg", "width": 6}]}, "it lacks images[0].height"),
        *(
            (
                {"images": [{"id": 10, "file_name": name, "width": 6, "height": 5}]},
                "expected a relative path without '..'",
            )
            for name in ("../a.jpg", "/etc/a.jpg", "C:\\a.jpg", "x\\..\\..\\a.jpg", "")
        ),
        (
            {"images": [{"id": 10, "file_name": "https://a.org/a.jpg", "width": 6, "height": 5}]},
            "no image is left; --images DIR says where they are",
        ),
        ({"images": 2 * content()["images"]}, "two images have the number 10"),
    ],
)
def test_other_json_is_refused(change, text, tmp_path, capsys):
    source = put(
        tmp_path / "in", {"a.jpg": (5, 6), "a.json": {**content({"segmentation": [SQUARE]}), **change}}
    )
    line = refusal(source, capsys, "--format", "coco")
    assert text in line and "a.json: " in line


def test_files_that_differ_in_a_category_are_refused(tmp_path, capsys):
    source = source_of(tmp_path, {"segmentation": [SQUARE]})
    put(source, {"instances_train.json": content(categories=[{"id": 3, "name": "cart"}])})
    assert "category 3 is 'cart' and 'car' elsewhere" in refusal(source, capsys)


def test_an_image_of_two_files_is_left_out(tmp_path, capsys):
    source = source_of(tmp_path, {"segmentation": [SQUARE]})
    put(source, {"instances_train.json": content({"segmentation": [SQUARE]})})
    assert "1 image with more than one annotation, left out: a.jpg" in refusal(source, capsys)


def test_the_size_of_the_file_counts(tmp_path, capsys):
    source = source_of(tmp_path, {"segmentation": [SQUARE]})
    put(source, {"a.jpg": (6, 5)})
    assert "1 annotation of another size than its image" in refusal(source, capsys)
    whole = content({"segmentation": [SQUARE]})
    whole["images"][0].update(width=10**6, height=10**6)
    put(source, {"instances_default.json": whole})
    assert "1000000x1000000 are 1,000,000,000,000 pixels" in refusal(source, capsys)


def test_pycocotools_is_asked_for(tmp_path, capsys, monkeypatch):
    source = source_of(tmp_path, {"segmentation": [SQUARE]})
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert "not installed: pip install pycocotools" in refusal(source, capsys)
    put(source, {"instances_default.json": content({"segmentation": RUNS})})
    imported(source)

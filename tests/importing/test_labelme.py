"""labelme's JSON: labels are worked out by hand, as labelme 6.3 gives them too."""

import base64
import io
import json

import numpy as np
import pytest
from conftest import photo
from importing import imported, put, refusal
from PIL import Image, ImageDraw


def encoded(pixels, kind="PNG"):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind)
    return base64.b64encode(data.getvalue()).decode()


def content(*shapes, image="a.jpg", **others):
    """labelme's JSON of an image of 7x6 pixels; a shape is its label, kind, points, and more keys."""
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {
                "label": label,
                "shape_type": kind,
                "points": points,
                "group_id": 1,
                "flags": {},
                **(more[0] if more else {}),
            }
            for label, kind, points, *more in shapes
        ],
        "imagePath": image,
        "imageData": None,
        "imageHeight": 6,
        "imageWidth": 7,
        **others,
    }


def source_of(tmp_path, *shapes, **others):
    return put(tmp_path / "in", {"a.jpg": (6, 7), "a.json": content(*shapes, **others)})


def rows(text):
    return [[int(each) for each in row] for row in text.split()]


BOX = ("dog", "rectangle", [[3, 2], [1, 1]])  # the corners in any order; columns 1 to 3, rows 1 and 2
TRIANGLE = ("cat", "polygon", [[0, 0], [4, 0], [0, 4]])  # with its edges: x + y is at most 4
CORNER = encoded(np.array([[True, False], [True, True]]))


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([BOX], "0000000 0111000 0111000 0000000 0000000 0000000"),
        ([("dog", None, TRIANGLE[2])], "1111100 1111000 1110000 1100000 1000000 0000000"),
        ([BOX, TRIANGLE], "1111100 1111000 1112000 1100000 1000000 0000000"),
        ([TRIANGLE, BOX], "1111100 1222000 1222000 1100000 1000000 0000000"),
        (  # the centre, and a point of the edge
            [("dog", "circle", [[3, 3], [3, 1]])],
            "0000000 0011100 0111110 0111110 0111110 0011100",
        ),
        (
            [("dog", "mask", [[2, 3], [3, 4]], {"mask": CORNER})],
            "0000000 0000000 0000000 0010000 0011000 0000000",
        ),
        (
            [("dog", "oriented_rectangle", [[5, 4], [5, 5], [6, 5], [6, 4]])],
            "0000000 0000000 0000000 0000000 0000011 0000011",
        ),
        (  # the labels of labelme's labels.txt
            [
                BOX,
                ("__ignore__", "rectangle", [[3, 0], [9, 1]]),
                ("_background_", "rectangle", [[1, 2], [1, 2]]),
            ],
            "0009999 0119999 0011000 0000000 0000000 0000000",
        ),
    ],
)
def test_shapes(shapes, expected, tmp_path):
    labels, names, _ = imported(source_of(tmp_path, *shapes, ("dog", "rectangle", [[8, 8], [9, 9]])))
    np.testing.assert_array_equal(labels["a"] % 246, rows(expected))  # 9 stands for 255
    assert names == ["background", *(["cat"] if TRIANGLE in shapes else []), "dog"]


def test_shapes_in_their_windows_are_as_in_the_whole_image(tmp_path):
    rng, shapes, expected = np.random.default_rng(0), [], []
    for i in range(60):
        kind = ("polygon", "rectangle", "circle")[i % 3]
        points = rng.uniform(-9, 45, (rng.integers(3, 8) if i % 3 == 0 else 2, 2))
        image = Image.new("L", (40, 30))
        if kind == "circle":
            radius = np.hypot(*(points[1] - points[0]))
            ends = [*(points[0] - radius), *(points[0] + radius)]
            ImageDraw.Draw(image).ellipse(ends, outline=1, fill=1)
        elif kind == "rectangle":
            ImageDraw.Draw(image).rectangle([*points.min(axis=0), *points.max(axis=0)], outline=1, fill=1)
        else:
            ImageDraw.Draw(image).polygon([*map(tuple, points.tolist())], outline=1, fill=1)
        expected.append(np.asarray(image))
        shapes.append(("dog", kind, points.tolist()))
    source = tmp_path / "in"
    for i, shape in enumerate(shapes):
        whole = content(shape, image=f"{i:02}.png", imageHeight=30, imageWidth=40)
        put(source, {f"{i:02}.png": (30, 40), f"{i:02}.json": whole})
    labels, _, _ = imported(source)
    for i, each in enumerate(expected):
        np.testing.assert_array_equal(labels[f"{i:02}"], each)


def test_what_is_left_out_is_counted(tmp_path):
    source = source_of(
        tmp_path,
        BOX,
        *(("dog", kind, [[1, 1], [2, 2]]) for kind in ("line", "linestrip", "points", "ellipse", "polygon")),
        ("dog", "point", [[1, 1]]),
        ("dog", "rectangle", [[1, 1]]),
        ("dog", "polygon", [[0, 0], [1e8, 0], [0, 1e8]]),
        ("dog", "mask", [[2, 3], [4, 4]], {"mask": CORNER}),  # its points say 3x2 pixels
        ("dog", "mask", [[2, 3], [3, 4]], {"mask": "no base64"}),
        ("dog", "mask", [[2, 3], [3, 4]]),
        ("dog", "rectangle", [[8, 1], [9, 2]]),
    )
    put(source, {"b.json": content(BOX, image="b.jpg"), "c.json": content(image="c.jpg"), "c.jpg": (6, 7)})
    put(source, {"d.jpg": (6, 7), "e.json": '{"version": "5", "shapes": [{}], "imagePath": "a.jpg"}'})
    labels, _, counts = imported(source)
    np.testing.assert_array_equal(labels["a"], rows("0000000 0111000 0111000 0000000 0000000 0000000"))
    assert counts == {
        "no area": 4,
        "broken": 7,  # an ellipse is no shape of labelme's
        "outside": 1,
        "no image": 1,
        "no annotation": 2,
        "unreadable": 1,
    }


def test_labels_txt_names_the_classes(tmp_path):
    source = source_of(tmp_path, BOX, ("eel", "rectangle", [[5, 4], [6, 5]]))
    put(source, {"labels.txt": "__ignore__\n_background_\ncat\ndog\n"})
    labels, names, counts = imported(source)
    assert names == ["background", "cat", "dog"] and counts == {"unknown class": 1}
    expected = rows("0000000 0222000 0222000 0000000 0000099 0000099")
    np.testing.assert_array_equal(labels["a"] % 246, expected)


def test_names_replaces_labels_txt(tmp_path):
    source = put(source_of(tmp_path, BOX), {"labels.txt": "__ignore__\n_background_\ncat\n"})
    put(tmp_path, {"names.txt": "dog\neel\n"})
    labels, names, _ = imported(source, "--names", str(tmp_path / "names.txt"))
    assert names == ["background", "dog", "eel"] and labels["a"].max() == 1


@pytest.mark.parametrize(
    ("json_file", "image", "path"),
    [
        ("json/a.json", "images/a.jpg", "..\\images\\a.jpg"),  # of Windows, and still within the source
        ("a.json", "photos/a.jpg", "photos\\a.jpg"),
        ("a.json", "a.jpg", "elsewhere/a.jpg"),  # beside its file
        ("train/a.json", "train/a.jpg", "a.jpg"),
    ],
)
def test_where_images_are(json_file, image, path, tmp_path):
    source = put(tmp_path / "in", {json_file: content(BOX, image=path), image: (6, 7)})
    labels, _, counts = imported(source)
    assert [*labels] == ["train/a" if "train" in json_file else "a"] and not counts


@pytest.mark.parametrize(
    ("path", "image", "counted"),
    [
        ("..\\in\\a.jpg", "a.jpg", 0),  # resolves within the source
        ("../in/sub/a.jpg", "sub/a.jpg", 0),
        ("..\\other\\a.jpg", "a.jpg", 1),
        ("C:\\Users\\x\\a.jpg", "a.jpg", 1),
        ("/home/x/a.jpg", "a.jpg", 1),
    ],
)
def test_one_odd_path_does_not_refuse_the_folder(path, image, counted, tmp_path):
    """Of a file beside the JSON by the name that a path out of the source ends in; the other is as usual."""
    files = {"a.json": content(BOX, image=path), image: (6, 7)}
    put(tmp_path / "other", {"a.jpg": (1, 1)})
    source = put(tmp_path / "in", {**files, "b.json": content(BOX, image="b.jpg"), "b.jpg": (6, 7)})
    labels, _, counts = imported(source)
    assert [*labels] == ["a", "b"] and counts == ({"elsewhere": 1} if counted else {})


@pytest.mark.parametrize("path", ["..\\images\\a.jpg", "D:\\a.jpg", ""])
def test_what_is_embedded_is_taken_whatever_the_path(path, tmp_path):
    embedded = encoded(photo(6, 7), "PNG")
    source = put(tmp_path / "in", {"a.json": content(BOX, image=path, imageData=embedded)})
    labels, _, counts = imported(source)
    assert [*labels] == ["a"] and counts == {"embedded": 1}


@pytest.mark.parametrize("path", ["../a.jpg", "..\\a.jpg", "x/../../a.jpg", "/etc/a.jpg", "C:\\a.jpg", ""])
def test_images_elsewhere_are_refused(path, tmp_path, capsys):
    put(tmp_path, {"a.jpg": (6, 7), "photos/a.jpg": (6, 7)})
    source = put(tmp_path / "in", {"a.json": content(BOX, image=path)})
    line = refusal(source, capsys)
    assert "a.json: names the file" in line and "--images DIR says where" in line
    assert ("no image of this name is beside the JSON file" in line) == bool(path)
    if path:
        labels, _, _ = imported(source, "--images", str(tmp_path / "photos"))  # by its name alone
        assert [*labels] == ["a"]


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", "png"), ("JPEG", "jpg")])
def test_an_embedded_image_is_taken_as_it_is(kind, suffix, tmp_path):
    data = encoded(photo(6, 7), kind)
    source = put(tmp_path / "in", {"sub/b.json": content(BOX, image="b.bmp", imageData=data)})
    labels, _, counts = imported(source)
    assert [*labels] == ["b"] and counts == {"embedded": 1}
    assert (tmp_path / "target" / "images" / f"b.{suffix}").read_bytes() == base64.b64decode(data)
    assert [file.name for file in source.rglob("*")] == ["sub", "b.json"] and not [*tmp_path.glob(".fcnxs*")]


@pytest.mark.parametrize("data", ["", "x", "bm8gaW1hZ2U="])
def test_what_is_embedded_and_no_image_is_named(data, tmp_path, capsys):
    source = put(tmp_path / "in", {"a.json": content(BOX, imageData=data)})
    refusal(source, capsys)


def test_sizes(tmp_path, capsys):
    source = source_of(tmp_path, BOX, imageHeight=None, imageWidth=None)
    labels, _, _ = imported(source)
    assert labels["a"].shape == (6, 7)
    (tmp_path / "target").rename(tmp_path / "old")
    put(source, {"a.json": content(BOX, imageHeight=7)})
    assert "of another size than its image" in refusal(source, capsys)
    put(source, {"a.json": content(BOX, imageHeight=10**7, imageWidth=10**7)})
    assert "pixels, and the limit is" in refusal(source, capsys)


def test_two_files_of_one_image_leave_it_out(tmp_path):
    source = source_of(tmp_path, BOX)
    put(source, {"again.json": content(BOX), "b.jpg": (6, 7), "b.json": content(BOX, image="b.jpg")})
    labels, _, counts = imported(source)
    assert [*labels] == ["b"] and counts == {"two annotations": 1}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"shapes": 3}, "shapes: expected a list"),
        ({"shapes": [{"points": []}]}, "it lacks shapes[0].label"),
        ({"shapes": [{"label": "a", "points": [[1]]}]}, "shapes[0].points[0]: expected a list of 2"),
        (
            {"shapes": [{"label": "a", "points": [[1, 1e300]]}]},
            "shapes[0].points[0][1]: expected a finite number",
        ),
        ({"imagePath": 3}, "imagePath: expected a text"),
        ({"imageWidth": 0}, "imageWidth: expected a whole number from 1"),
    ],
)
def test_other_json_is_refused(change, text, tmp_path, capsys):
    line = refusal(put(tmp_path / "in", {"a.json": {**content(BOX), **change}}), capsys)
    assert f"a.json: not labelme's annotations, or damaged: {text}" in line


def test_formats_are_told_apart(tmp_path, capsys):
    source = source_of(tmp_path, BOX)
    coco = {"info": {}, "images": [], "annotations": [], "categories": []}
    put(source, {"coco.json": json.dumps(coco)})
    assert "may be coco or labelme; --format says which one is meant" in refusal(source, capsys)
    imported(source, "--format", "labelme")

"""CVAT's XML with shapes. Labels are worked out by hand.

datumaro 1.12 reads such files alike, but for pixels that a polygon's edge crosses: there pycocotools, which
draws for it, does not hold to the centres of pixels.
"""

import numpy as np
import pytest
from conftest import photo
from importing import imported, refusal
from PIL import Image

from fcnxs.data.labels import load_label
from fcnxs.data.layouts import open_samples
from fcnxs.importing import shapes
from fcnxs.tools.main import main

XML = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>1</id><name>streets</name><size>2</size><mode>annotation</mode>
      <labels>
        <label><name>car</name><color>#ff0000</color><type>any</type><attributes></attributes></label>
        <label><name>road</name><color>#00ff00</color><type>polygon</type><attributes></attributes></label>
        <label><name>sky</name><color>#0000ff</color><type>any</type><attributes></attributes></label>
        <label><name>nose</name><color>#0000ff</color><type>points</type><attributes></attributes></label>
      </labels>
    </task>
  </meta>
  %s
</annotations>"""
IMAGE = '<image id="0" name="a.png" width="8" height="6">%s</image>'
BOX = '<box label="car" occluded="0" xtl="1.00" ytl="1.00" xbr="4.00" ybr="3.00" z_order="%d"></box>'
TRIANGLE = '<polygon label="road" points="0.00,0.00;6.00,0.00;0.00,6.00" occluded="0" z_order="%d"></polygon>'


@pytest.fixture
def cvat(tmp_path):
    """Write an export with an image a.png of 8x6 pixels and these elements; returns its folder."""

    def make(elements, images=("images/a.png",), xml=None):
        for name in images:
            file = tmp_path / "export" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(photo(6, 8)).save(file)
        xml = XML % (IMAGE % elements) if xml is None else xml
        (tmp_path / "export").mkdir(exist_ok=True)
        (tmp_path / "export" / "annotations.xml").write_text(xml)
        return tmp_path / "export"

    return make


def rows(text):
    return [[int(each) for each in row] for row in text.split()]


# A pixel is in the triangle if x + y + 1 < 6 (its centre lies at x + 1/2, y + 1/2); those of x + y = 5 have
# their centre on the edge, which is the right end of a row and so not in it.
@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        (BOX % 0, "00000000 01110000 01110000 00000000 00000000 00000000"),
        (TRIANGLE % 0, "22222000 22220000 22200000 22000000 20000000 00000000"),
        (
            TRIANGLE % 0 + BOX % 0,
            "22222000 21110000 21110000 22000000 20000000 00000000",
        ),  # the later is above
        (BOX % 0 + TRIANGLE % 0, "22222000 22220000 22210000 22000000 20000000 00000000"),
        (BOX % 1 + TRIANGLE % 0, "22222000 21110000 21110000 22000000 20000000 00000000"),  # but for z_order
        (
            '<mask label="sky" rle="1, 2, 1, 3, 2, 1" left="3" top="2" width="5" height="2"></mask>',
            "00000000 00000000 00003303 00033003 00000000 00000000",
        ),
        (  # turned by 90 degrees about (3, 3)
            '<box label="car" xtl="1" ytl="2" xbr="5" ybr="4" rotation="90.0" z_order="0"></box>',
            "00000000 00110000 00110000 00110000 00110000 00000000",
        ),
        (  # (x - 4)^2 / 9 + (y - 3)^2 / 4 <= 1
            '<ellipse label="sky" cx="4" cy="3" rx="3" ry="2" z_order="0"></ellipse>',
            "00000000 00333300 03333330 03333330 00333300 00000000",
        ),
        (
            '<ellipse label="sky" cx="4" cy="3" rx="3" ry="2" rotation="90" z_order="0"></ellipse>',
            "00033000 00333300 00333300 00333300 00333300 00033000",
        ),
    ],
)
def test_shapes_are_drawn(cvat, elements, expected):
    labels, _, kinds = imported(cvat(elements))
    np.testing.assert_array_equal(labels["a"], rows(expected))
    assert not kinds


def test_classes_and_colours_are_those_of_the_file(cvat):
    source = cvat(BOX % 0)
    imported(source)
    target = source.parent / "target"
    assert (target / "classes.txt").read_text().split() == ["background", "car", "road", "sky"]
    colours = load_label(target / "labels" / "a.png").colours[:4]
    assert colours.tolist() == [0, 255, 255 * 256, 255 * 65536]


def test_a_polygon_has_the_pixels_whose_centre_is_inside():
    """Against the even-odd rule, point by point, in float64."""
    rng = np.random.default_rng(0)
    y, x = (np.mgrid[:30, :40] + 0.5).reshape(2, -1)
    for _ in range(100):
        points = rng.uniform(-10, 50, (rng.integers(3, 9), 2))
        inside = np.zeros(len(x), bool)
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0)):
            between = (y0 <= y) != (y1 <= y)
            inside ^= between & (x >= x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        np.testing.assert_array_equal(shapes.polygon(points, (30, 40)).reshape(-1), inside)


def test_odd_shapes_are_counted(cvat, capsys):
    elements = [
        '<points label="car" points="1,1" z_order="0"></points><tag label="car"></tag>',  # no area: 2
        '<polyline label="car" points="1,1;3,3;5,1" z_order="0"></polyline>',  # 3
        '<box label="car" xtl="9" ytl="1" xbr="12" ybr="3"></box>',  # outside
        '<box label="car" xtl="-5" ytl="-5" xbr="0" ybr="0"></box>',
        '<box label="road" xtl="6" ytl="4" xbr="99" ybr="99"></box>',  # cut
        '<box label="sky" xtl="0.6" ytl="0.1" xbr="1.4" ybr="3"></box>',  # small
        '<box label="lorry" xtl="0" ytl="0" xbr="1" ybr="1"></box>',  # unknown class
        '<polygon label="car" points="1,1;2,2"></polygon>',  # broken
        '<polygon label="car" points="1,nan;2,2;3,4"></polygon><polygon label="car" points=""></polygon>',
        '<polygon label="car" points="1,1e999;2,2;3,4"></polygon><box label="car" xtl="a" ytl="0"></box>',
        '<mask label="car" rle="1, 2" left="0" top="0" width="5" height="2"></mask>',
        '<mask label="car" rle="9999999999" left="0" top="0" width="99999" height="99999"></mask>',
        '<ellipse label="car" cx="4" cy="3" rx="0" ry="2"></ellipse><hexagon label="car"></hexagon>',
    ]
    labels, _, kinds = imported(cvat("".join(elements)))
    expected = np.zeros((6, 8), int)
    expected[4:, 6:], expected[0, 0] = 2, 255
    np.testing.assert_array_equal(labels["a"], expected)
    assert kinds == {"no area": 3, "outside": 2, "cut": 1, "small": 1, "unknown class": 1, "broken": 9}
    assert "9 shapes whose points cannot be read, left out: a.png" in capsys.readouterr().out


def test_images_that_do_not_fit_are_counted(cvat):
    source = cvat(
        "",
        ("images/a.png", "images/sub/b.png", "images/c.png", "images/d.png", "images/train/e.png"),
        XML
        % "".join(
            f'<image id="0" name="{name}" width="{width}" height="6">{shape}</image>'
            for name, width, shape in (
                ("a.png", 8, BOX % 0),
                ("sub/b.png", 9, BOX % 0),  # another size
                ("c.png", 8, ""),  # no annotation
                ("d.png", 8, BOX % 0),
                ("d.png", 8, TRIANGLE % 0),  # two annotations
                ("gone.png", 8, BOX % 0),  # no image
            )
        ),
    )
    labels, _, kinds = imported(source)
    assert {*labels} == {"a"}
    assert kinds == {"size": 1, "no annotation": 1, "two annotations": 1, "no image": 1}


def test_subsets_of_a_project_are_splits(cvat):
    images = [
        f'<image id="{i}" name="{name}" subset="{subset}" task_id="1" width="8" height="6">{BOX % 0}</image>'
        for i, (name, subset) in enumerate((("a.png", "Train"), ("b.png", "Validation")))
    ]
    source = cvat("", ("images/Train/a.png", "images/Validation/b.png"), XML % "".join(images))
    imported(source)
    assert (source.parent / "target" / "labels" / "val" / "b.png").is_file()
    assert (source.parent / "target" / "images" / "train" / "a.png").is_file()


def test_an_export_in_a_folder_is_named(cvat, tmp_path, capsys):
    source = cvat(BOX % 0)
    (tmp_path / "outer").mkdir()
    source.rename(tmp_path / "outer" / "task")
    (tmp_path / "outer" / "task" / "images").rename(tmp_path / "photos")
    assert f"{tmp_path / 'outer' / 'task'} is cvat-xml" in refusal(tmp_path / "outer", capsys)


def test_images_may_be_elsewhere(cvat, tmp_path, capsys):
    source = cvat(BOX % 0, ["../photos/a.png"])
    assert "none of its images is below" in refusal(source, capsys)
    target = tmp_path / "target"
    assert (
        main(["import-data", str(source / "annotations.xml"), str(target), "--images", f"{tmp_path}/photos"])
        == 0
    )
    assert (target / "images" / "a.png").samefile(tmp_path / "photos" / "a.png")


OUTSIDE = (
    "../a.png",
    "images/../images/b.png",
    "/etc/passwd",
    "x/../../a.png",
    "C:\\a.png",
    "..\\a.png",
    "",
    "link/a.png",
)


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_stay_below_the_source(cvat, tmp_path, capsys, name):
    source = cvat("", ("images/b.png", "../a.png"), XML % (IMAGE % (BOX % 0)).replace("a.png", name))
    (source / "link").symlink_to(tmp_path)
    text = refusal(source, capsys)
    said = "is a link that leads out of" if name.startswith("link") else "expected a relative path without '..'"
    assert said in text


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("<annotations></annotations>", "no <image> in <annotations>"),
        ('<annotations><track id="0"></track></annotations>', "export it as 'CVAT for images 1.1'"),
        ('<annotations><image name="a.png"></image></annotations>', "declares no label"),
        ("<annotations><image", "not XML, or damaged"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations></annotations>', "has a document type"),
        (XML % (IMAGE % (BOX % 0)).replace('"6"', '"x"'), "'a.png' has no width and height"),
        (XML % (IMAGE % (BOX % 0)).replace('"6"', '"99999999"'), "the limit is 179,000,000"),
        ((XML % (IMAGE % (BOX % 0))).replace("<name>road", "<name>"), "'' cannot be the name of a class"),
        (
            XML.replace(
                "<labels>", "<labels>" + "".join(f"<label><name>{i}</name></label>" for i in range(255))
            )
            % (IMAGE % (BOX % 0)),
            "has 259 classes, and a label can have 255",
        ),
    ],
)
def test_other_files_are_refused(cvat, capsys, xml, said):
    assert said in refusal(cvat("", xml=xml), capsys)


def test_shapes_without_end_are_not_drawn(cvat, tmp_path, capsys):
    zigzag = ";".join(f"0,{6 * (i % 2)}" for i in range(500))
    labels, _, kinds = imported(cvat(BOX % 0 + f'<polygon label="car" points="{zigzag}"></polygon>'))
    assert labels["a"].sum() == 6 and kinds == {"broken": 1}
    (tmp_path / "target").rename(tmp_path / "first")
    whole = '<box label="car" xtl="0" ytl="0" xbr="8" ybr="6"></box>'
    assert "a.png: its shapes cover the image more than 1000 times" in refusal(cvat(whole * 1001), capsys)
    deep = "<a>" * 100_000 + "</a>" * 100_000
    assert imported(cvat(BOX % 0 + deep))[2] == {"broken": 1}


def test_exif_turns_labels_as_it_turns_images(cvat, tmp_path):
    """An image that is stored as 8x6 and shown as 6x8, with shapes that were drawn on the stored pixels."""
    source = cvat(BOX % 0)
    with Image.open(source / "images" / "a.png") as image:
        image.getexif()[0x0112] = 6  # shown turned by 90 degrees, clockwise
        image.save(source / "images" / "a.png", exif=image.getexif())
    labels, _, kinds = imported(source)
    expected = np.zeros((6, 8), int)
    expected[1:3, 1:4] = 1
    np.testing.assert_array_equal(labels["a"], np.rot90(expected, -1))
    assert kinds == {"turned": 1}
    open_samples(tmp_path / "target").read(0)  # image and label fit


def test_a_turn_by_180_degrees_needs_an_option(cvat, tmp_path):
    source = cvat(BOX % 0)
    with Image.open(source / "images" / "a.png") as image:
        image.getexif()[0x0112] = 3
        image.save(source / "images" / "a.png", exif=image.getexif())
    expected = np.zeros((6, 8), int)
    expected[1:3, 1:4] = 1
    np.testing.assert_array_equal(imported(source)[0]["a"], expected)
    (tmp_path / "target").rename(tmp_path / "first")
    labels, _, kinds = imported(source, "--exif", "ignore")
    np.testing.assert_array_equal(labels["a"], expected[::-1, ::-1])
    assert kinds == {"turned": 1}

"""Damaged and hostile sources: an import succeeds, or ends with one line and leaves nothing."""

import os

import numpy as np
import pytest
from conftest import LONG, photo
from importing import import_damaged
from PIL import Image
from test_cvat import BOX, IMAGE, TRIANGLE, XML

from fcnxs.errors import FCNXSError
from fcnxs.importing.files import below
from fcnxs.tools.main import main

SHAPES = (
    BOX % 1
    + TRIANGLE % 0
    + '<mask label="sky" rle="1, 2, 1, 3, 2, 1" left="3" top="2" width="5" height="2" z_order="0"></mask>'
    + '<ellipse label="sky" cx="4" cy="3" rx="3" ry="2" rotation="9" z_order="0"></ellipse>'
)
TIMES = 1000 if LONG else 24


@pytest.fixture
def xml_source(tmp_path):
    source = tmp_path / "in"
    (source / "images").mkdir(parents=True)
    Image.fromarray(photo(6, 8)).save(source / "images" / "a.png")
    (source / "annotations.xml").write_text(XML % (IMAGE % SHAPES))
    return source, ["annotations.xml", "images/a.png"]


@pytest.fixture
def colour_source(tmp_path):
    source = tmp_path / "in"
    (source / "masks").mkdir(parents=True)
    colours = np.array([(0, 0, 0), (9, 9, 9)], np.uint8)
    Image.fromarray(photo(6, 8)).save(source / "a.png")
    Image.fromarray(colours[np.eye(6, 8, dtype=int)]).save(source / "masks" / "a.png")
    (source / "colors.csv").write_text("name,r,g,b\nground,0,0,0\nline,9,9,9\n")
    return source, ["colors.csv", "a.png", "masks/a.png"]


@pytest.fixture
def number_source(tmp_path):
    source = tmp_path / "in"
    (source / "labels").mkdir(parents=True)
    Image.fromarray(photo(6, 8)).save(source / "a.jpg")
    Image.fromarray(np.eye(6, 8, dtype=np.uint8)).save(source / "labels" / "a.png")
    (source / "classes.txt").write_text("ground\nline\n")
    return source, ["classes.txt", "a.jpg", "labels/a.png"]


@pytest.mark.parametrize("kind", ["xml_source", "colour_source", "number_source"])
def test_damaged_files_end_with_one_line(kind, request, tmp_path, capsys):
    source, names = request.getfixturevalue(kind)
    import_damaged(source, names, TIMES, lambda i: names[i % 2 if i % 8 else -1], capsys)


def test_what_is_no_file_is_left_out(number_source, tmp_path, capsys):
    source, _ = number_source
    os.mkfifo(source / "b.jpg")
    os.mkfifo(source / "labels" / "b.png")
    os.mkfifo(source / "colors.txt")
    (source / "loop").symlink_to(source)
    (source / "labels" / "c.png").symlink_to("/dev/zero")
    (source / "c.jpg").symlink_to(source / "a.jpg")
    (source / "d.png").symlink_to(source / "nowhere")
    assert main(["import-data", str(source), str(tmp_path / "out")]) == 0
    assert [file.name for file in (tmp_path / "out" / "images").iterdir()] == ["a.jpg"]
    assert "2 images or annotations that cannot be read" in capsys.readouterr().out


def test_links_within_the_source_are_followed(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a.png").touch()
    (tmp_path / "images").symlink_to("store")
    assert below(tmp_path, "images/a.png", "x").is_file()
    (tmp_path / "store" / "out").symlink_to("/etc")
    with pytest.raises(FCNXSError, match="is a link that leads out of"):
        below(tmp_path / "store", "out/passwd", "x")

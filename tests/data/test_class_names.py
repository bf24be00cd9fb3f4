"""Files with the names of classes, as editors and labelling tools write them."""

import codecs

import pytest

from fcnxs import FCNXSError
from fcnxs.data.class_names import read_classes
from fcnxs.tools.main import main


@pytest.mark.parametrize(
    "content",
    [
        b"ground\ncat\nb\xc3\xa4r\n",
        codecs.BOM_UTF8 + b"ground\r\ncat\r\nb\xc3\xa4r\r\n",
        b"\nground\n\n  cat\t\rb\xc3\xa4r",
    ],
)
def test_names_without_marks_of_the_editor(content, tmp_path):
    (tmp_path / "classes.txt").write_bytes(content)
    assert read_classes(tmp_path / "classes.txt") == ["ground", "cat", "bär"]


def test_names_may_have_numbers_and_commas(tmp_path):
    names = ["wall", "building, edifice", "3 wheeler", "door: open", "1x1"]
    (tmp_path / "classes.txt").write_text("\n".join(names))
    assert read_classes(tmp_path / "classes.txt") == names


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ground\ncat\n".encode("utf-16"), "it is UTF-16, or not text; save it as UTF-8"),
        ("ground\ncat\n".encode("utf-16-le"), "it is UTF-16, or not text; save it as UTF-8"),
        ("ground\nb\xe4r\n".encode("latin-1"), "it is not text in UTF-8; save it so"),
        ("id,name\n0,ground\n1,cat\n", "is a table of 2 columns, separated by commas ('id,name')"),
        ("name,r,g,b\nground,0,0,0\ncat,9,9,9\n", "is a table of 4 columns, separated by commas"),
        ("ground;0\ncat;1\n", "is a table of 2 columns, separated by semicolons"),
        ("ground\t0\ncat\t1\n", "is a table of 2 columns, separated by tabs"),
        ("# label:color_rgb:parts:actions\nground:0 0 0::\ncat:9 9 9::\n", "is a table of 4 columns"),
        ("0 ground\n1 cat\n2 bear\n", "has a number before each name ('0 ground')"),
        ("1. ground\n2. cat\n", "has a number before each name"),
        ("Name\nground\ncat\n", "begins with the heading 'Name'"),
        ('["ground", "cat"]', "as JSON or XML does"),
        ("ground\ncat\n\ncat\n", "line 4: 'cat' is the name in line 2 too"),
        ("ground\n", "expected 2 to 255 different names, a line each; has 1"),
        ("", "expected 2 to 255 different names, a line each; has 0"),
        ("\n".join(map("c{}".format, range(256))), "expected 2 to 255 different names, a line each; has 256"),
    ],
)
def test_what_is_no_list_of_names_is_refused_as_what_it_is(text, why, tmp_path, capsys):
    file = tmp_path / "classes.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FCNXSError) as refused:
        read_classes(file)
    assert str(refused.value).startswith(str(file)) and why in str(refused.value)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").touch()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.png").touch()
    assert main(["check-data", str(tmp_path)]) == 2  # and not with the 21 classes of VOC
    assert why in capsys.readouterr().err

"""What the account of an import says."""

import re

import pytest
from importing import imported, put

from fcnxs.importing.account import KINDS, Account, counted

BOX = {"label": "Tür", "points": [[1, 1], [4, 4]], "shape_type": "rectangle"}


def lines(kind, times):
    account = Account()
    account.add(kind, "a", times)
    assert account.content()["kinds"][kind]["meaning"] in account.lines()[0]
    return account.lines()[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_noun_has_the_number(kind):
    one, two = lines(kind, 1), lines(kind, 2)
    assert one.startswith("1 ") and not re.split("[ ,]", one)[1].endswith("s")
    assert two.startswith("2 ") and re.split("[ ,]", two)[1].endswith("s") and not {*"[|]"} & {*one, *two}


def test_verbs_have_the_number_too():
    assert lines("outside", 1) == "1 shape that is wholly outside of its image, left out: a"
    assert lines("outside", 2) == "2 shapes that are wholly outside of their image, left out: a"
    assert lines("no area", 1) == "1 shape without an area, left out: a"
    assert lines("unreadable", 1) == "1 image or annotation that cannot be read, left out: a"


def test_counted():
    assert [counted(number, "mask") for number in (0, 1, 2, 1200)] == [
        "0 masks",
        "1 mask",
        "2 masks",
        "1,200 masks",
    ]


def test_annotations_that_are_not_utf8_are_counted_once(tmp_path):
    """Their images have an annotation, if one that cannot be read; an image without any is counted."""
    source = tmp_path / "in"
    for name in "abc":
        file = {"shapes": [BOX], "imagePath": f"{name}.jpg", "imageData": None}
        put(source, {f"{name}.json": file, f"{name}.jpg": (6, 7)})
    text = (source / "b.json").read_text().replace("T\\u00fcr", "Tür")
    (source / "b.json").write_text(text, encoding="cp1252")
    put(source, {"d.jpg": (6, 7)})
    labels, _, kinds = imported(source)
    assert [*labels] == ["a", "c"] and kinds == {"unreadable": 1, "no annotation": 1}


def test_a_target_without_val_says_how_to_get_one(tmp_path, capsys):
    for name in "abcde":
        put(tmp_path / "in", {f"images/{name}.jpg": (2, 2), f"masks/{name}.png": [[0, 1], [1, 0]]})
    imported(tmp_path / "in")
    assert "there is no split val to evaluate on; --val-fraction 0.2 sets" in capsys.readouterr().out
    (tmp_path / "target").rename(tmp_path / "first")
    imported(tmp_path / "in", "--val-fraction", "0.2")
    assert "--val-fraction" not in capsys.readouterr().out

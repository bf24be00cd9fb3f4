"""Lists as people have them: of VOC, of the original example, of DeepLab, written on other systems."""

import codecs

import pytest
from fakes import random_label, write_image, write_label

from fcnxs import FCNXSError
from fcnxs.data.lists import find_list, read_list


@pytest.fixture
def folder(tmp_path):
    """A folder in VOC layout; one photograph comes from a camera, one has a space in its name."""
    for i, name in enumerate(("a.jpg", "b.JPG", "my c.png", "site/d.1.Jpeg")):
        write_image(tmp_path / "JPEGImages" / name, i)
        label = tmp_path / "SegmentationClass" / name
        write_label(label.with_suffix(".png"), random_label([0, 1], i))
    return tmp_path


def listed(folder, text, name="list.txt", need=2):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    pairs = read_list(folder, name, need)
    assert all(file.is_relative_to(folder) for pair in pairs for file in pair)
    return [tuple(file.relative_to(folder).as_posix() for file in pair) for pair in pairs]


A = ("JPEGImages/a.jpg", "SegmentationClass/a.png")
B = ("JPEGImages/b.JPG", "SegmentationClass/b.png")
C = ("JPEGImages/my c.png", "SegmentationClass/my c.png")
D = ("JPEGImages/site/d.1.Jpeg", "SegmentationClass/site/d.1.png")


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a\nb\nmy c\nsite/d.1\n", [A, B, C, D]),
        (codecs.BOM_UTF8 + b"a\r\nb\r\n", [A, B]),
        ("a.jpg\nb.jpg\nmy c.png\nsite/d.1.jpeg\n", [A, B, C, D]),
        ("JPEGImages/a.jpg\n/JPEGImages/b.JPG\na.png\n", [A, B, A]),  # paths alone, and names of labels
        ("/JPEGImages/a.jpg /SegmentationClass/a.png\n", [A]),
        ("JPEGImages/b.jpg\tSegmentationClass/b.png\n", [B]),
        ("/JPEGImages/my c.png  /SegmentationClass/my c.png \r\n", [C]),
        ("0\tJPEGImages/b.jpg\tSegmentationClass/b.PNG\n", [B]),
        ("7\t/JPEGImages/site/d.1.jpeg\t/SegmentationClass/site/d.1.png\n", [D]),
    ],
)
def test_every_form_of_a_line_names_the_same_files(text, pairs, folder):
    assert listed(folder, text) == pairs == listed(folder, text, need=0)


def test_absolute_paths_stay(folder):
    line = f"{folder}/JPEGImages/a.jpg {folder}/SegmentationClass/a.png\n"
    (folder / "sub").mkdir()
    (folder / "sub" / "list.txt").write_text(line)
    assert read_list(folder / "sub", "list.txt") == [tuple(folder / file for file in A)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\n".encode("utf-16"), "it is UTF-16, or not text; save it as UTF-8"),
        ("JPEGImages\\a.jpg SegmentationClass\\a.png\n", "has backslashes, which do not separate folders"),
        ("site\\d.1\n", "line 1: .*has backslashes"),
        ("a\nJPEGImages/a.jpg,SegmentationClass/a.png\n", "line 2: 1 fields; .*this line has commas"),
        ("JPEGImages/a.jpg; SegmentationClass/a.png\n", "this line has semicolons"),
        ("0 JPEGImages/a.jpg SegmentationClass/a.png\n", "between tabs.*this line has spaces"),
        ("a -1\nb  1\n", "line 1: 1 fields; .*this line has spaces"),  # of ImageSets/Main
        ("0\ta.jpg\n", "2 fields; expected index, image and label, between tabs, or"),
    ],
)
@pytest.mark.parametrize("need", [0, 2])
def test_what_cannot_be_read_is_named_as_what_it_is(text, why, need, folder):
    with pytest.raises(FCNXSError, match=rf"list.txt.*(?:{why})"):
        listed(folder, text, need=need)


def test_a_name_of_two_images_is_refused(folder):
    write_image(folder / "JPEGImages" / "a.png", 9)
    with pytest.raises(FCNXSError, match=r"line 1: .*/a may be a.jpg or a.png; name it with its suffix"):
        listed(folder, "a\n")
    assert listed(folder, "a.jpg\na.png\n") == [A, ("JPEGImages/a.png", A[1])]


def test_the_name_of_a_split_may_differ_in_its_case(folder):
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    for name in ("Train.txt", "VAL.txt", "val.txt"):
        (folder / "ImageSets" / "Segmentation" / name).write_text("a\n")
    assert [find_list(folder, split)[1].name for split in ("train", "val", "VAL")] == [
        *("Train.txt", "val.txt", "VAL.txt")
    ]
    with pytest.raises(FCNXSError, match="Val.txt: no such file"):
        find_list(folder, "Val")

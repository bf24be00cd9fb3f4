"""What the arguments of segment mean, and what is shown of it."""

import io
import os
import sys

import pytest

from fcnxs import FCNXSError
from fcnxs.tools.segment import SegmentProgress
from fcnxs.tools.shared.inputs import Input, found
from fcnxs.tools.shared.options import refuse_clashes


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A folder to be in, with files that are found and some that are not."""
    names = [
        "b.jpg",
        "a.PNG",
        "v/clip.MP4",
        "v/x.y.webp",
        "v/deep/b.jpg",
        "notes.txt",
        ".hidden.jpg",
        ".git/c.jpg",
    ]
    names += ["shots [1]/a[b].png", "shots [1]/ab.png", "raw/r.ppm", "masks/b.png", "v/masks/b.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(tree, *arguments):
    inputs, errors = found(list(arguments), tree / "masks")
    assert not errors
    return [each.name for each in inputs]


def test_folders_are_gone_through_and_keep_their_places(tree):
    everything = ["a", "b", "shots [1]/a[b]", "shots [1]/ab", "v/clip", "v/x.y", "v/deep/b", "v/masks/b"]
    for argument in (".", str(tree)):
        assert names(tree, argument) == everything
    assert names(tree, "v") == ["clip", "x.y", "deep/b", "masks/b"]
    assert names(tree, "masks") == ["b"]  # is given, so it is meant
    assert names(tree, "v", "b.jpg", "./b.jpg") == ["clip", "x.y", "deep/b", "masks/b", "b"]


def test_links_are_followed_once_and_what_they_miss_is_for_the_reader(tree):
    (tree / "v" / "deep" / "up").symlink_to(tree / "v")
    (tree / "v" / "deep" / "gone.jpg").symlink_to(tree / "nowhere.jpg")
    (tree / "v" / "other").symlink_to(tree / "raw")
    (tree / "v" / "deep" / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(tree / "v" / "deep" / "pipe.jpg")
    (tree / "raw" / "r.jpg").touch()
    deep = [f"deep/{name}" for name in ("b", "gone", "loop", "pipe")]
    assert names(tree, "v") == ["clip", "x.y", *deep, "masks/b", "other/r"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["b"]),
        ("*", ["a", "b", "shots [1]/a[b]", "shots [1]/ab", "v/clip", "v/x.y", "v/deep/b", "v/masks/b"]),
        ("**/b.*", ["b", "v/deep/b", "v/masks/b"]),
        ("v/**", ["clip", "deep/b", "masks/b", "x.y"]),
        ("v/*", ["clip", "deep/b", "masks/b", "x.y"]),
        ("raw/*.ppm", ["r"]),  # a suffix that is said
        ("shots [1]/a[b].png", ["a[b]"]),  # a file that is there
        ("shots [1]/a[a-c].png", ["ab"]),  # in a folder that is there
        ("shots ?1?/*", ["shots [1]/a[b]", "shots [1]/ab"]),
        ("masks/*.png", ["b"]),
    ],
)
def test_patterns_are_what_glob_makes_of_them_but_files_come_first(pattern, expected, tree):
    assert names(tree, pattern) == expected
    assert names(tree, str(tree / pattern)) == expected


@pytest.mark.parametrize("argument", ["raw", "raw/*", "x/*.jpg", "folder.jpg", "", "notes[.]*"])
def test_what_has_no_image_is_refused_in_one_line(argument, tree):
    with pytest.raises(FCNXSError, match=f"^{argument[:3]}.*no image|an empty name") as refused:
        found(["b.jpg", argument], tree / "masks")
    assert "\n" not in str(refused.value)


def test_a_name_that_is_nothing_is_for_the_reader(tree):
    assert found(["none.jpg", "notes.txt"], tree)[0] == [
        Input(tree.__class__("none.jpg"), "none"),
        Input(tree.__class__("notes.txt"), "notes"),
    ]


def test_a_folder_that_cannot_be_read_is_an_error_among_others(tree, monkeypatch):
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    inputs, ((folder, error),) = found(["v"], tree / "masks")
    assert [each.name for each in inputs] == ["clip", "x.y", "masks/b"]
    assert str(error) == "v/deep: cannot read this folder: Permission denied" and str(folder) == "v/deep"


def test_results_have_names_of_their_own(tree):
    (video, image), _ = found(["v/clip.MP4", "v/x.y.webp"], tree)
    assert [path.name for path in video.targets(tree)] == ["clip.zip", "clip_overlay.mp4"]
    assert [path.name for path in image.targets(tree)] == ["x.y.png", "x.y_overlay.png"]
    inputs, _ = found(["b.jpg", "v/deep"], tree / "masks")
    with pytest.raises(FCNXSError, match=r"^b.jpg and v/deep/.*b\.\w+ would both be written to .*masks/b.png"):
        written = [(path, each.file) for each in inputs for path in each.targets(tree / "masks")]
        refuse_clashes("--output", tree / "masks", written)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, err, tmp_path):
    """A video of 100 frames in 200 s, an image in 1 s, and a failure."""
    now = [0.0]
    monkeypatch.setattr(sys, "stderr", err)
    progress = SegmentProgress(3, clock=lambda: now[0])
    progress.video(tmp_path / "clip.mp4", 100)
    for _ in range(100):
        now[0] += 2
        progress.frame()
    progress.done("clip.zip: 100 frames", 100)
    now[0] += 1
    progress.done("b.png: cat 100%")
    progress.failed(tmp_path / "x.jpg", FCNXSError("x.jpg: empty"))
    assert not progress.summary()
    return err.getvalue()


def test_without_a_terminal_lines_tell_of_a_long_video(monkeypatch, capsys, tmp_path):
    err = shown(monkeypatch, io.StringIO(), tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"{tmp_path}/clip.mp4: {n}/100 frames, 0.50 frames/s" for n in (15, 30)]
    assert lines[6:] == [
        "clip.zip: 100 frames",
        "b.png: cat 100%",
        "1 image and 100 frames in 201.0 s: 0.50 images/s",
    ]
    assert err == f"fcnxs: x.jpg: empty\nfcnxs: 1 of 3 failed:\n  {tmp_path}/x.jpg\n"


def test_on_a_terminal_bars_do_and_every_line_stays_whole(monkeypatch, capsys, tmp_path):
    err = shown(monkeypatch, Terminal(), tmp_path)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert "images |" in err and "0/3" in err and "images/s" in err
    assert "clip.mp4 |" in err and "/100" in err and "frames/s" in err
    assert "\nfcnxs: 1 of 3 failed:\n" in err.replace("\r", "\n")

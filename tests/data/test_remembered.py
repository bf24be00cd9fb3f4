"""What checks remember of files that have not changed."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from conftest import LONG, finetune, photo
from PIL import Image

from fcnxs.data import check as check_module
from fcnxs.data import remembered
from fcnxs.data.check import check
from fcnxs.data.layouts import open_samples
from fcnxs.data.samples import Samples
from fcnxs.tools.main import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Five pairs of 40x30 pixels and three classes, which may be remembered at once."""
    monkeypatch.setattr(remembered, "FRESH", 0)
    for i in range(5):
        for name in ("images", "labels"):
            (tmp_path / "data" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(30, 40, i)).save(tmp_path / "data" / "images" / f"{i}.png")
        save(tmp_path / "data" / "labels" / f"{i}.png", i % 3)
    return tmp_path / "data"


def save(file, value):
    label = np.zeros((30, 40), np.uint8)
    label[3:9] = value
    Image.fromarray(label).save(file, compress_level=0)  # of one size in bytes


@pytest.fixture
def reads(monkeypatch):
    """Numbers of the pairs that are read."""
    numbers, load = [], Samples.load

    def counted(self, number):
        numbers.append(number)
        return load(self, number)

    monkeypatch.setattr(Samples, "load", counted)
    return numbers


def found(folder, file, **how):
    return check(open_samples(folder).reading(**how), 3, file=file)


def test_a_second_check_reads_nothing_and_finds_the_same(folder, tmp_path, reads):
    whole = check(open_samples(folder), 3)
    file = tmp_path / "cache" / "checked.sqlite3"
    for read in (5, 0, 0):
        reads.clear()
        again = found(folder, file)
        assert len(reads) == read
        for name in ("sizes", "bad", "ignored", "findings", "fingerprint", "hashes", "places", "empty"):
            assert getattr(again, name) == getattr(whole, name)
        np.testing.assert_array_equal(again.of_good, whole.of_good)
        for one, other in zip(again.seen, whole.seen):
            for a, b in zip(one, other):
                np.testing.assert_array_equal(a, b)


def test_what_has_changed_is_read_again(folder, tmp_path, reads):
    file = tmp_path / "checked.sqlite3"
    found(folder, file)
    times = os.stat(folder / "labels" / "4.png")
    save(folder / "labels" / "4.png", 2)
    os.utime(folder / "labels" / "4.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert os.stat(folder / "labels" / "4.png").st_size == times.st_size  # nothing but ctime tells
    reads.clear()
    assert found(folder, file).of_good[1].tolist() == [5, 1, 2] and reads == [4]
    Image.fromarray(photo(30, 40, 9)).save(folder / "other.png")
    (folder / "other.png").rename(folder / "images" / "0.png")
    reads.clear()
    assert found(folder, file).fingerprint == check(open_samples(folder), 3).fingerprint
    assert reads[0] == 0 and len(reads) == 6


def test_other_ways_of_reading_are_others(folder, tmp_path, reads):
    file = tmp_path / "checked.sqlite3"
    found(folder, file)
    for how in ({"ignore": [1]}, {"exif": "ignore"}, {"max_pixels": 5000}, {"allow": ["lossy"]}):
        reads.clear()
        found(folder, file, **how)
        assert len(reads) == 5
    reads.clear()
    assert (
        check(open_samples(folder), 2, file=file).bad[0][0] == 2
    )  # a class too many, which is read for its message
    assert (
        check(open_samples(folder), 3, smallest=(31, 1), file=file).bad
        == check(open_samples(folder), 3, smallest=(31, 1)).bad
    )
    assert reads[:1] == [2] and len(reads) == 1 + 5 + 5


def test_errors_are_found_again(folder, tmp_path, reads):
    file = tmp_path / "checked.sqlite3"
    (folder / "images" / "3.png").write_bytes(b"no image")
    save(folder / "labels" / "1.png", 7)
    first = found(folder, file)
    reads.clear()
    assert found(folder, file).bad == first.bad and len(first.bad) == 2 and reads == [1, 3]


def test_files_that_were_just_written_are_not_kept(folder, tmp_path, reads, monkeypatch):
    monkeypatch.setattr(remembered, "FRESH", 60_000_000_000)
    for _ in range(2):
        reads.clear()
        found(folder, tmp_path / "checked.sqlite3")
        assert len(reads) == 5


@pytest.mark.parametrize("spoil", ["damaged", "folder", "version", "read-only"])
def test_a_cache_that_cannot_be_used(folder, tmp_path, reads, spoil, monkeypatch):
    file = tmp_path / "cache" / "checked.sqlite3"
    whole = found(folder, file)
    if spoil == "damaged":
        file.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    elif spoil == "folder":
        file.unlink()
        file.mkdir()
    elif spoil == "version":
        monkeypatch.setattr(remembered, "_version", lambda: b"other")
    else:
        file = Path("/proc/fcnxs/checked.sqlite3")
    reads.clear()
    assert found(folder, file).fingerprint == whole.fingerprint and len(reads) == 5
    reads.clear()
    found(folder, file)
    assert len(reads) == (0 if spoil in ("damaged", "version") else 5)


@pytest.mark.parametrize(
    "look", ["", "[]", "null", "[1, 2, 3, 4, 5]", '[[1, 2], {"999": 1}, {}, "", []]', b"\xff"]
)
def test_entries_that_are_damaged_are_not_used(folder, tmp_path, reads, look):
    file = tmp_path / "checked.sqlite3"
    whole = found(folder, file)
    with closing(sqlite3.connect(file)) as base, base:
        base.execute("UPDATE pairs SET look = ?", (look,))
    reads.clear()
    assert found(folder, file).fingerprint == whole.fingerprint and len(reads) == 5


def test_records_are_remembered(folder, tmp_path, reads):
    assert main(["pack", str(folder), str(tmp_path / "a.rec")]) == 0
    for read in (5, 0):
        reads.clear()
        check(open_samples(tmp_path / "a.rec"), 3, file=tmp_path / "checked.sqlite3")
        assert len(reads) == read


def test_commands_share_what_they_remember(folder, tmp_path, reads, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    outputs = []
    for options, read in ([], 5), ([], 0), (["--fresh"], 5):
        reads.clear()
        assert main(["check-data", str(folder), "--num-classes", "3", *options]) == 0
        assert len(reads) == read
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] == outputs[2]


def test_a_run_starts_and_resumes_without_reading_all_pairs(run_folder, voc, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remembered, "FRESH", 0)
    numbers, look = [], check_module._look
    monkeypatch.setattr(check_module, "_look", lambda *args: numbers.append(args[-1]) or look(*args))
    run = ["--val-split", "val", "--stages", "fcn32s", "--epochs", "1", "--output", str(tmp_path / "run")]
    for command, count in (
        (["check-data", str(voc), "--classes", str(voc / "classes.txt")], 9),
        (finetune(voc, run_folder, *run), 0),
        (["finetune", "--resume", str(tmp_path / "run")], 0),
    ):
        numbers.clear()
        assert main(command) == 0 and len(numbers) == count


MANY = """
import resource, sys
from fcnxs.tools.main import main
code = main(["check-data", sys.argv[1], "--num-classes", "3"])
print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.skipif(not LONG, reason="118,000 pairs, two minutes")
def test_118000_pairs(folder, tmp_path, monkeypatch):
    """Made by links to five; the second time none is read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("images", "labels"):
        for i in range(5, 118_000):
            os.link(folder / name / f"{i % 5}.png", folder / name / f"{i:06}.png")
    command = [sys.executable, "-c", MANY, str(folder)]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        code, kilobytes = map(int, done.stderr.split()[-2:])
        assert code == 0 and kilobytes < 300_000 and "118000 images" in done.stdout

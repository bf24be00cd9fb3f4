"""Files as strangers could have made them, for every reader: taken, or refused in one line.

The long form, 150 files for each reader, more than 3,000 in all: FCNXS_LONG=1 pytest -s tests/test_hostile.py
"""

import pytest
from conftest import LONG
from hostile import material
from hostile.readers import READERS
from hostile.run import attacked, counted

COUNT = 150 if LONG else 2
SLOW = ("run.json, reported", "metrics.jsonl", "run.log")  # each file is a page of a report
PARTS = [[name] for name in READERS] if LONG else [[name for name in READERS if name not in SLOW]]


@pytest.fixture(scope="session")
def sound(shared):
    return shared("hostile", material.make)


def test_sound_files_are_taken(sound, tmp_path):
    """Else every change of them would be refused for nothing."""
    for name in (
        "caffemodel",
        "prototxt",
        "safetensors",
        "Gluon's params",
        "binaryproto",
        "list",
        "classes.txt",
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "voc").symlink_to(sound / "voc")
        for file in sound.glob("*.*"):
            (tmp_path / name / file.name).symlink_to(file)
        (tmp_path / name / "net").mkdir()
        (tmp_path / name / "net/gluon.params").symlink_to(sound / "gluon.params")
        (tmp_path / name / "classes.txt").symlink_to(sound / "voc/classes.txt")
        READERS[name][1](tmp_path / name)


@pytest.mark.parametrize("readers", PARTS, ids=lambda names: names[0] if LONG else "all")
def test_hostile_files(readers, sound):
    found = attacked(sound, readers, 0, COUNT)
    print(f"\n{len(found)} files: {dict(counted(found))}, the slowest {max(row[2] for row in found):.1f} s")
    assert len(found) == COUNT * len(readers)
    assert [row for row in found if row[1] not in ("taken", "refused")] == []

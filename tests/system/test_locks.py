"""Locks on files that are being written, and what killed processes leave behind."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import random_params
from runs import start, wait_for

from fcnxs import FCNXSError, FCNXSWarning, checkpoint, symbols
from fcnxs.system import locks
from fcnxs.system.files import written_whole
from fcnxs.system.locks import BESIDE, OLD, held, sweep

WRITER = """
import sys, time
from fcnxs.system.files import written_whole
with written_whole(*map(__import__("pathlib").Path, sys.argv[1:])) as parts:
    for part in parts:
        part.write_text("half")
    print("writing", flush=True)
    time.sleep(600)
"""


def hidden(folder):
    return sorted(file.name for file in folder.glob(".*"))


def write(file):
    with written_whole(file) as (part,):
        part.write_text("new")


@pytest.fixture
def writer():
    """Start processes that write files and do not end."""
    processes = []

    def begin(*files):
        command = [sys.executable, "-c", WRITER, *map(str, files)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert processes[-1].stdout.readline() == "writing\n"
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def test_a_second_writer_is_refused_and_told_of_the_first_and_readers_are_not(writer, tmp_path):
    file = tmp_path / "net-meta.json"
    file.write_text("old")
    process = writer(file, tmp_path / "net.params")
    with pytest.raises(FCNXSError) as refused, written_whole(file):
        raise AssertionError
    assert str(refused.value) == (
        f"{file}: process {process.pid} is writing there; wait for it, or choose another name"
    )
    assert file.read_text() == "old"
    write(tmp_path / "other.json")  # beside it; the folder that is in use stays
    assert len([name for name in hidden(tmp_path) if not name.endswith(".lock")]) == 1
    process.kill()
    process.wait()
    write(file)  # no lock outlives its process
    assert file.read_text() == "new" and hidden(tmp_path) == []


def test_what_a_killed_process_left_goes_with_the_next_one_that_writes_there(writer, tmp_path, monkeypatch):
    process = writer(tmp_path / "a.png", tmp_path / "b.png")
    process.kill()
    process.wait()
    assert len(hidden(tmp_path)) == 2  # the lock and the folder
    monkeypatch.setattr(locks, "_swept", set())
    write(tmp_path / "c.png")
    assert [file.name for file in tmp_path.iterdir()] == ["c.png"]


def test_a_write_after_the_first_does_not_look_through_the_folder(tmp_path, monkeypatch):
    """Or the time and memory of a write would grow with the number of files that are there already."""
    write(tmp_path / "first.png")
    looked, glob = [], Path.glob
    monkeypatch.setattr(Path, "glob", lambda *arguments: looked.append(arguments) or glob(*arguments))
    write(tmp_path / "second.png")
    assert looked == []


def test_folders_without_a_lock_and_those_of_other_machines_go_when_they_are_old(tmp_path):
    (tmp_path / f"{BESIDE}abcd_123").mkdir()  # of an earlier version
    (tmp_path / f"{BESIDE}0123-xyz").mkdir()
    (tmp_path / f"{BESIDE}0123.lock").write_text("elsewhere 5")
    sweep(tmp_path, again=True)
    assert len(hidden(tmp_path)) == 3
    for path in tmp_path.iterdir():
        os.utime(path, (time.time() - OLD - 60,) * 2)
    sweep(tmp_path, again=True)
    assert hidden(tmp_path) == []


def test_without_locks_a_line_says_so_and_files_are_written(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(FCNXSWarning, match="this file system has no locks: let no other process write"):
        write(tmp_path / "a.txt")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_blocks_of_one_process_share_a_lock_unless_one_wants_to_be_alone(tmp_path):
    done = []

    def save(number):
        with written_whole(tmp_path / "net.json") as (part,):
            part.write_text(str(number))
            done.append(number)

    with held(tmp_path / "net.json"):
        threads = [threading.Thread(target=save, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(done) == [0, 1, 2] and [file.name for file in tmp_path.iterdir()] == ["net.json"]
    alone = held(tmp_path / "run", alone=True)
    with alone, pytest.raises(FCNXSError, match=f"process {os.getpid()}"), held(tmp_path / "run", alone=True):
        raise AssertionError


def test_an_epoch_of_a_net_is_saved_while_its_prefix_is_held_and_no_other_process_does(tmp_path, caffemodel):
    """Several checkpoints of one process, as an epoch's callbacks save them; a converter is refused at once."""
    net = symbols.get_fcn32s_symbol(numclass=3, width=1 / 16, fc=8)
    with held(tmp_path / "net"):
        for epoch in (1, 2):
            checkpoint.save(tmp_path / "net", epoch, net, random_params(net), {}, checkpoint.Meta())
        process = start("convert", caffemodel, tmp_path / "net")
        _, err = process.communicate(timeout=600)
    assert process.returncode == 2 and err.count("\n") == 1
    assert f"{tmp_path / 'net'}: process {os.getpid()} is writing there" in err
    assert checkpoint.load(tmp_path / "net", 2).params_file.is_file() and hidden(tmp_path) == []


def test_a_killed_export_leaves_no_child_and_the_next_one_no_folder(run_folder, tmp_path):
    """It is killed while a process of its own runs what it has written."""
    arguments = ("export", "--prefix", run_folder / "run" / "fcn8s", "--output", tmp_path / "net")
    process = start(*arguments)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found = []

    def started():
        found[:] = children.read_text().split() if process.poll() is None else []
        return bool(found)

    wait_for(process, started)
    assert found and process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert hidden(tmp_path)
    deadline = time.time() + 30
    while any(_alive(child) for child in found) and time.time() < deadline:
        time.sleep(0.01)
    assert not any(_alive(child) for child in found)
    write(tmp_path / "other.txt")
    assert hidden(tmp_path) == []


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False

"""SIGKILL at random moments, again and again: what goes on ends bit for bit as if it had not been killed.

The long form, 100 kills over seven kinds: FCNXS_LONG=1 pytest -s tests/finetune/test_kills.py
"""

import hashlib
import json
import random
import shutil
import sys
import time
from pathlib import Path

import pytest
from conftest import LONG, finetune
from runs import RUN, assert_same_run, start, wait_for

from fcnxs import checkpoint

TWO = ("launch", "-n", "2", "-s", "1", "--", sys.executable, "-m", "fcnxs")
# Kind of run: what comes before `finetune`, its options, and how often it is killed.
KINDS = {
    "one device": ((), (), 20 if LONG else 4),
    "accumulated": ((), ("--accumulate", "2"), 15),
    "two devices": ((), ("--device", "cpu:0,1"), 15),
    "recomputed": ((), ("--recompute", "--no-trim"), 15),
    "two processes": (TWO, ("--kv-store", "dist_sync"), 10),
}
LATER = 0.3  # seconds at most from a new state to a kill


def states(folder):
    """Names of the states that are there."""
    return {file.name for file in folder.glob("*-last.*.json")}


def processes_of(folder):
    """Numbers of the processes whose command names a folder."""
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder) in words.read_text(errors="replace"):
                yield int(words.parent.name)
        except OSError:
            pass


def all_ended(process, folder):
    """Wait for a killed process, and for those that end with it."""
    process.communicate()
    deadline = time.time() + 120
    while list(processes_of(folder)) and time.time() < deadline:
        time.sleep(0.05)
    assert not list(processes_of(folder))


@pytest.mark.parametrize("kind", KINDS if LONG else ["one device"])
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(
    kind, whole, run_folder, voc, tmp_path
):
    """While it starts, between steps, while it evaluates, while it writes."""
    launched, options, kills = KINDS[kind]
    rng, folder, expected = random.Random(kills), tmp_path / "run", whole
    first = (*launched, *finetune(voc, run_folder, *RUN, *options))
    if options:
        expected = tmp_path / "whole"
        assert start(*first, "--output", expected).wait() == 0
    again = (*launched, "finetune", "--resume", folder, *(options if launched else ()))
    done = 0
    while done < kills:
        process = start(*(again if folder.exists() else (*first, "--resume", folder, "--output", folder)))
        before = states(folder)
        if done % 5 == 4:
            time.sleep(rng.uniform(0, 2))  # it is likely to start yet
        else:
            wait_for(process, lambda before=before: states(folder) != before)
            time.sleep(rng.uniform(0, LATER))
        if process.poll() is None:
            done += 1
        process.kill()
        all_ended(process, folder)
        if process.returncode >= 0:  # it ended before; once more from the beginning
            assert process.returncode == 0
            assert_same_run(folder, expected)
            shutil.rmtree(folder)
    print(f"{kind}: {done} kills")
    for _ in range(2):  # the second time, nothing is left to do
        assert start(*again).wait() == 0
        assert_same_run(folder, expected)
        assert not list(folder.glob(".*"))


def content(folder):
    """Digest of each file; content of the meta file, which has the digests of replaced files too."""
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    meta = json.loads((folder / "net-meta.json").read_text())
    meta["checksums"] = {name: sums[0] for name, sums in meta["checksums"].items()}
    return {**found, "net-meta.json": meta}


@pytest.mark.parametrize("command", ["convert", "export"] if LONG else ["convert"])
def test_a_command_that_is_killed_again_and_again_leaves_whole_files_or_none(
    command, run_folder, caffemodel, tmp_path
):
    """At the end no half-written file is left, hidden or not, and no process."""
    kills = (13 if command == "convert" else 12) if LONG else 2
    rng, folder = random.Random(kills), tmp_path / "out"
    given = {"convert": (caffemodel, folder / "net"), "export": ("--prefix", run_folder / "run" / "fcn8s")}
    arguments = (command, *given[command], *(("--output", folder / "net") if command == "export" else ()))
    began = time.time()
    assert start(*arguments).wait() == 0
    expected, seconds, done = content(folder), time.time() - began, 0
    shutil.rmtree(folder)
    while done < kills:
        process = start(*arguments)
        time.sleep(rng.uniform(0.5, 1.05) * seconds)
        done += process.poll() is None
        process.kill()
        all_ended(process, folder)
        if list(folder.glob("[!.]*.params")):
            checkpoint.load(folder / "net", 0)
    print(f"{command}: {done} kills")
    assert start(*arguments).wait() == 0
    assert content(folder) == expected

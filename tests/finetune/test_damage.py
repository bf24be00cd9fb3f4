"""Runs and checkpoints that are damaged, and disks that are full or read-only.

The long form, 300 damaged files of each kind: FCNXS_LONG=1 pytest -s tests/finetune/test_damage.py
"""

import json
import os
import random
import shutil
import subprocess
import sys

import pytest
from conftest import finetune
from runs import DAMAGE, EPOCHS, RUN, STAGES, assert_same_run

from fcnxs import FCNXSError, checkpoint
from fcnxs.finetune.state import load_state
from fcnxs.tools.main import main


def damage(content, rng):
    """Flip a bit or cut off the end."""
    if rng.random() < 0.3:
        return content[: rng.randrange(len(content))]
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def test_a_damaged_state_is_told_and_the_last_good_one_offered(stopped, whole, capsys):
    """Then the run goes on from that, to the same end."""
    rng = random.Random(1)
    older, newer = sorted(stopped.glob("fcn32s-last.*.json"))
    for file in (newer, newer.with_suffix(".state")):
        content = file.read_bytes()
        for _ in range(DAMAGE):
            file.write_bytes(damage(content, rng))
            assert main(["finetune", "--resume", str(stopped)]) == 2
            err = capsys.readouterr().err
            assert f"{file}: " in err and "damaged" in err and err.count("\n") == 1
            assert f"the last good one is {older} (fcn32s, 0 epochs and " in err
            assert f"remove {newer} to continue from it" in err
        file.write_bytes(content)
    print(f"{2 * DAMAGE} damaged states")
    newer.unlink()
    assert main(["finetune", "--resume", str(stopped)]) == 0
    assert_same_run(stopped, whole)


def test_no_good_state_is_told_too(stopped, capsys):
    for file in stopped.glob("fcn32s-last.*.state"):
        file.write_bytes(file.read_bytes()[:-1])
    assert main(["finetune", "--resume", str(stopped)]) == 2
    assert "no older state is intact: remove" in capsys.readouterr().err
    with pytest.raises(FCNXSError, match="not the record of a run, or damaged"):
        (stopped / "run.json").write_text("{}")
        main(["finetune", "--resume", str(stopped)]) == 2 or load_state(stopped, "", STAGES)
        raise FCNXSError(capsys.readouterr().err)


def test_a_damaged_plan_is_told(stopped, capsys):
    """Any flipped bit of run.json: a run with another seed would not be the same."""
    rng, content = random.Random(3), (stopped / "run.json").read_bytes()
    for _ in range(DAMAGE):
        (stopped / "run.json").write_bytes(damage(content, rng))
        assert main(["finetune", "--resume", str(stopped)]) == 2
        err = capsys.readouterr().err
        assert "run.json: " in err and "the record of a run" in err and err.count("\n") == 1
    print(f"{DAMAGE} damaged plans")


def test_a_damaged_checkpoint_is_told(whole, tmp_path):
    """Flipped bits in the weights make no sense of their own: the checksum tells."""
    rng = random.Random(2)
    for file in whole.glob("fcn8s-*"):
        if "last" not in file.name and "best" not in file.name:
            shutil.copy(file, tmp_path)
    checkpoint.load(tmp_path / "fcn8s", EPOCHS[2])
    for name in (f"fcn8s-{EPOCHS[2]:04d}.params", "fcn8s-symbol.json"):
        content = (tmp_path / name).read_bytes()
        for _ in range(DAMAGE):
            (tmp_path / name).write_bytes(damage(content, rng))
            with pytest.raises(FCNXSError, match=name):
                checkpoint.load(tmp_path / "fcn8s", EPOCHS[2])
        (tmp_path / name).write_bytes(content)
    print(f"{2 * DAMAGE} damaged checkpoints")
    checkpoint.load(tmp_path / "fcn8s", EPOCHS[2])


def in_namespace(script, *arguments):
    """Run a shell script that may mount; skip the test where that is forbidden, as in most containers."""
    own = ["unshare", *([] if os.getuid() == 0 else ["-r"]), "-m", "sh", "-c"]
    tried = subprocess.run([*own, "mount -t tmpfs none /mnt"], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"this system forbids mounts: {tried.stderr.strip()}")
    command = [*own, script, "sh", sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("room", [0.4, 1.5, 3.3])
def test_a_full_disk_is_told_and_the_last_good_state_stays(room, whole, run_folder, voc, tmp_path):
    """A small tmpfs with room for so many states; what is there is copied to a larger one, and goes on."""
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    kilobytes = int(room * sorted(whole.glob("fcn32s-last.*.state"))[0].stat().st_size / 1000) + 60
    script = f"""mount -t tmpfs -o size={kilobytes}k none {disk} || exit 9; python=$1; shift
$python -m fcnxs "$@"; code=$?; cp -r {disk} {copy}; exit $code"""
    done = in_namespace(script, *finetune(voc, run_folder, *RUN), "--output", disk / "run")
    assert done.returncode == 2, done.stderr
    *warnings, error = done.stderr.splitlines()
    assert "cannot write: " in error and all("fcnxs: warning: " in line for line in warnings)
    assert "No space left" in error or "is the disk full?" in error
    assert (f"the last good state is {disk}/run/fcn32s-last." in error) == (room > 1)
    assert not list(copy.rglob(".fcnxs-*"))
    for file in copy.glob("run/fcn32s-0*.params"):
        checkpoint.load(copy / "run" / "fcn32s", int(file.stem[-4:]))
    states = list(copy.glob("run/*-last.*.json"))
    assert bool(states) == (room > 1)
    if states:
        plan = json.loads((copy / "run" / "run.json").read_text())
        assert load_state(copy / "run", plan["run"], STAGES) is not None
        assert main(["finetune", "--resume", str(copy / "run")]) == 0
        assert_same_run(copy / "run", whole)


def test_a_read_only_folder_is_told(run_folder, voc, tmp_path):
    script = f'mount -t tmpfs -o ro none {tmp_path} || exit 9; python=$1; shift; $python -m fcnxs "$@"'
    done = in_namespace(script, *finetune(voc, run_folder, *RUN), "--output", tmp_path / "run")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"--output {tmp_path}/run: cannot write in {tmp_path}" in done.stderr

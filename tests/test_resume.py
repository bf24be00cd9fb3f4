"""Runs that are killed, stopped or damaged, and go on.

The long form, 20 kills and 300 damaged files of each kind: FCNXS_LONG=1 pytest -s tests/test_resume.py
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import LONG, finetune

from fcnxs import FCNXSError, checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.run_state import load_state, locked
from fcnxs.tools.main import main

KILLS, DAMAGE = (20, 300) if LONG else (4, 12)
STAGES = ("fcn32s", "fcn16s", "fcn8s")
AUGMENTED = ("--random-mirror", "--random-scale", "0.8,1.2", "--color-jitter", "0.2", "--crop-size", "64")
EPOCHS = (4, 3, 3) if LONG else (2, 1, 1)
RUN = (
    *("--val-split", "val", "--epochs", ",".join(map(str, EPOCHS)), "--seed", "7"),
    *("--checkpoint-every", "1", *AUGMENTED),
)


def params_of(folder, stage, epoch):
    return {k: v.asnumpy() for k, v in checkpoint.load(folder / stage, epoch).arg_params.items()}


def assert_same_run(folder, expected):
    """Every parameter of every epoch bit for bit, and all scores but the seconds."""
    files = sorted(file.name for file in expected.glob("*-0*.params"))
    assert len(files) == sum(EPOCHS) + 3 and files == sorted(file.name for file in folder.glob("*-0*.params"))
    for name in files:
        a, b = (mx.nd.load(str(each / name)) for each in (folder, expected))
        assert set(a) == set(b)
        for key in a:
            np.testing.assert_array_equal(a[key].asnumpy(), b[key].asnumpy(), err_msg=f"{name} {key}")
    scores = []
    for each in (folder, expected):
        lines = [json.loads(line) for line in (each / "metrics.jsonl").read_text().splitlines()]
        rows = json.loads((each / "summary.json").read_text())["stages"]
        for row in [*lines, *rows]:
            del row["seconds"]
        scores.append((lines, rows))
    assert scores[0] == scores[1] and len(scores[0][0]) == sum(EPOCHS)


@pytest.fixture(scope="module")
def whole(run_folder, voc, tmp_path_factory):
    """A run that nothing has interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert main([*finetune(voc, run_folder, *RUN), "--output", str(folder)]) == 0
    return folder


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "fcnxs", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(process, condition, seconds=60):
    deadline = time.time() + seconds
    while not condition() and process.poll() is None and time.time() < deadline:
        time.sleep(0.01)


def newest(folder):
    return max((file.stat().st_mtime for file in folder.glob("*-last.*")), default=0.0)


def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(whole, run_folder, voc, tmp_path):
    """SIGKILL at random moments: while it starts, between steps, while it evaluates, while it writes."""
    rng, folder = random.Random(KILLS), tmp_path / "run"
    first = [*finetune(voc, run_folder, *RUN), "--resume", folder, "--output", folder]
    kills = 0
    while kills < KILLS:
        process = start(*(first if kills == 0 else ("finetune", "--resume", folder)))
        before = newest(folder)
        if kills % 5 == 4:
            time.sleep(rng.uniform(0, 2))  # it is likely to start yet
        else:
            wait_for(process, lambda before=before: newest(folder) > before)
            time.sleep(rng.uniform(0, 0.5))
        assert process.poll() is None, process.communicate()[1]  # the run is long enough for all kills
        process.kill()
        process.communicate()
        kills += 1
    assert main(["finetune", "--resume", str(folder)]) == 0
    print(f"{kills} kills")
    assert_same_run(folder, whole)
    assert not list(folder.glob(".*"))
    assert main(["finetune", "--resume", str(folder)]) == 0  # has ended: nothing more to do
    assert_same_run(folder, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_first_and_says_where(number, whole, run_folder, voc, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    process = start(*finetune(voc, run_folder, *RUN), "--output", folder)
    wait_for(process, lambda: list(folder.glob("fcn32s-last.0001-000002.json")))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    saved = re.search(rf"state is saved in (\S+\.json); `fcnxs finetune --resume {folder}` goes on\n$", err)[1]
    assert err.count("\n") == 1 and Path(saved) == sorted(folder.glob("fcn32s-last.*.json"))[-1]
    monkeypatch.chdir(tmp_path)
    assert main(["finetune", "--resume", "run"]) == 0  # from another folder
    assert_same_run(folder, whole)


def test_a_run_stopped_in_an_evaluation_goes_on_with_it(whole, run_folder, voc, tmp_path):
    folder = tmp_path / "run"
    process = start(*finetune(voc, run_folder, *RUN), "--output", folder)
    wait_for(process, lambda: list(folder.glob("fcn32s-last.0001-000006.json")))  # saved before it evaluates
    process.kill()
    process.communicate()
    assert not (folder / "metrics.jsonl").exists() or list(folder.glob("fcn32s-last.0002-000000.json"))
    assert main(["finetune", "--resume", str(folder)]) == 0
    assert_same_run(folder, whole)


def test_resume_without_a_run_begins_one_with_all_options_alone(run_folder, voc, tmp_path, capsys):
    assert main(["finetune", "--resume", str(tmp_path / "none")]) == 2
    err = capsys.readouterr().err
    assert "no run to go on with in" in err and "missing: --data, --prefix, --epoch" in err
    arguments = finetune(voc, run_folder, "--epochs", "1", "--stages", "fcn32s")
    arguments = [*arguments[: arguments.index("--output")], *arguments[arguments.index("--output") + 2 :]]
    assert main([*arguments, "--resume", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "fcn32s-0001.params").is_file()


@pytest.fixture(scope="module")
def stopped_once(run_folder, voc, tmp_path_factory):
    """A run stopped in its first stage, with two states."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    process = start(*finetune(voc, run_folder, *RUN), "--output", folder)
    wait_for(process, lambda: len(list(folder.glob("fcn32s-last.0001-*.json"))) == 2)
    process.terminate()
    process.communicate(timeout=60)
    return folder


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A copy of such a run."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


def test_repeated_options_must_agree(stopped, voc, capsys):
    resume = ["finetune", "--resume", str(stopped)]
    for more, message in (
        (["--lr", "0.5"], "--lr 0.5: the run in"),
        (["--epochs", "9"], f"began with {RUN[3]}; leave the option out"),
        (["--seed", "8"], "--seed 8: the run in"),
        (["--recipe", "caffe"], "--recipe caffe: the run in"),
        (["--keep", "2"], "began without; leave the option out"),
        (["--data", str(voc / "JPEGImages")], "--data"),
        (["--output", "other"], "--output other: --resume"),
    ):
        assert main([*resume, *more]) == 2, more
        assert message in capsys.readouterr().err
    assert main([*finetune(voc, Path("x")), "--output", str(stopped)]) == 2
    assert f"a run here has not ended; --resume {stopped} goes on with it" in capsys.readouterr().err
    assert main([*resume, "--seed", "7", "--epochs", RUN[3], "--data", str(voc), "--quiet"]) == 0


def test_other_images_than_the_run_began_with_are_refused(stopped, voc, tmp_path, capsys):
    copy = tmp_path / "voc"
    shutil.copytree(voc, copy)
    plan = json.loads((stopped / "run.json").read_text())
    plan["options"]["data"] = str(copy)
    (stopped / "run.json").write_text(json.dumps(plan))
    names = copy / "ImageSets" / "Segmentation" / "train.txt"
    names.write_text("\n".join(names.read_text().split()[:-1]))
    assert main(["finetune", "--resume", str(stopped)]) == 2
    assert "the images of train are not those that the run in" in capsys.readouterr().err


def test_a_second_run_in_one_folder_is_refused(stopped, capsys):
    with locked(stopped):
        process = start("finetune", "--resume", stopped)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "another run is at work there" in err and err.count("\n") == 1


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
            assert f"{file}: damaged" in err and err.count("\n") == 1
            assert f"the last good one is {older} (fcn32s, epoch 1, batch" in err
            assert f"remove {newer} to go on from it" in err
        file.write_bytes(content)
    print(f"{2 * DAMAGE} damaged states")
    newer.unlink()
    assert main(["finetune", "--resume", str(stopped)]) == 0
    assert_same_run(stopped, whole)


def test_no_good_state_is_told_too(stopped, capsys):
    for file in stopped.glob("fcn32s-last.*.state"):
        file.write_bytes(file.read_bytes()[:-1])
    assert main(["finetune", "--resume", str(stopped)]) == 2
    assert "there is no good one: remove" in capsys.readouterr().err
    with pytest.raises(FCNXSError, match="not the plan of a run, or damaged"):
        (stopped / "run.json").write_text("{}")
        main(["finetune", "--resume", str(stopped)]) == 2 or load_state(stopped, "", STAGES)
        raise FCNXSError(capsys.readouterr().err)


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
    """Run a shell script that may mount."""
    own = [] if os.getuid() == 0 else ["-r"]
    return subprocess.run(
        ["unshare", *own, "-m", "sh", "-c", script, "sh", sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
    )


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
    assert "run.log: cannot write: Read-only file system" in done.stderr


def test_keep_leaves_the_last_epochs_and_the_best(run_folder, voc, tmp_path):
    arguments = ("--val-split", "val", "--stages", "fcn32s", "--epochs", "4", "--keep", "2")
    assert main([*finetune(voc, run_folder, *arguments), "--output", str(tmp_path)]) == 0
    kept = sorted(file.name for file in tmp_path.glob("*.params"))
    assert kept == ["fcn32s-0003.params", "fcn32s-0004.params", "fcn32s-best-0000.params"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    best = max(line["mean_iu"] for line in lines)
    assert main(["evaluate", "--prefix", str(tmp_path / "fcn32s-best"), "--epoch", "0", "--data", str(voc),
                 "--json", str(tmp_path / "scores.json")]) == 0  # fmt: skip
    assert json.loads((tmp_path / "scores.json").read_text())["mean_iu"] == best

"""Finetuning by several processes, through MXNet's parameter server on the loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import finetune
from runs import wait_for

from fcnxs import checkpoint
from fcnxs.tools.main import main

RUN = ("--stages", "fcn32s", "--epochs", "2", "--val-split", "val", "--seed", "5")
SGD = ("--recipe", "mxnet", "--lr", "1e-3")


def launched(workers, *arguments):
    command = [sys.executable, "-m", "fcnxs", "launch", "-n", str(workers), "-s", "1", "--"]
    command += [sys.executable, "-m", "fcnxs", *map(str, arguments), "--kv-store", "dist_sync"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_of(process):
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def changes(run_folder, folder, epoch):
    before = checkpoint.load(run_folder / "vgg", 0).arg_params
    after = checkpoint.load(folder / "fcn32s", epoch).arg_params
    zero = {name: np.zeros(after[name].shape) for name in ("score_weight", "score_bias")}
    return {
        name: after[name].asnumpy().astype(np.float64)
        - (before[name].asnumpy() if name in before else zero[name])
        for name in after
        if name != "bigscore_weight"
    }


@pytest.fixture(scope="module")
def five(voc, tmp_path_factory):
    """Five images: the last step has one for two workers."""
    folder = tmp_path_factory.mktemp("five")
    names = (voc / "ImageSets" / "Segmentation" / "train.txt").read_text().split()[:5]
    lines = [f"{i}\t{voc}/JPEGImages/{n}.jpg\t{voc}/SegmentationClass/{n}.png\n" for i, n in enumerate(names)]
    (folder / "five.lst").write_text("".join(lines))
    return folder / "five.lst"


def test_two_workers_equal_one_process_with_two_devices(five, run_folder, voc, tmp_path, capsys):
    options = ("--data", five, "--val", five, "--allow", "overlap", *RUN[:4], "--seed", "5", *SGD)
    options += ("--class-weights", "auto")
    code, out, err = end_of(launched(2, *finetune(voc, run_folder), *options, "--output", tmp_path / "two"))
    assert code == 0 and all("warning" in line for line in err.splitlines())
    assert out.count("fcn32s epoch 2: train loss") == 1  # one process speaks
    assert (
        main(
            [
                *finetune(voc, run_folder),
                *map(str, options),
                "--device",
                "cpu:0,1",
                "--output",
                str(tmp_path / "one"),
            ]
        )
        == 0
    )
    expected = changes(run_folder, tmp_path / "one", 2)
    ratios = {
        name: np.linalg.norm(change - expected[name]) / np.linalg.norm(expected[name])
        for name, change in changes(run_folder, tmp_path / "two", 2).items()
    }
    assert all(np.linalg.norm(change) > 0 for change in expected.values())
    assert max(ratios.values()) <= 1e-5, ratios
    capsys.readouterr()
    print(f"largest |d_2 - d_1| / |d_1| of a parameter: {max(ratios.values()):.1e}")
    scores = [
        json.loads((tmp_path / name / "summary.json").read_text())["stages"][0] for name in ("one", "two")
    ]
    assert scores[0]["mean_iu"] == pytest.approx(scores[1]["mean_iu"], abs=1e-3)
    assert {file.name for file in (tmp_path / "two").iterdir()} == {
        file.name for file in (tmp_path / "one").iterdir()
    }


def workers_of(process):
    """Processes that train, of a launcher."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            variables = (folder / "environ").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if b"finetune" in words and b"launch" not in words and b"DMLC_ROLE=worker" in variables:
            found.append((int(folder.name), parent))
    return [pid for pid, _ in found if descends(pid, process.pid)]


def descends(pid, ancestor):
    while pid not in (0, 1, ancestor):
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return pid == ancestor


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_that_ends_goes_on_with_another_number_of_workers(ending, run_folder, voc, tmp_path):
    """A worker is killed, and three go on; the launcher is asked to end, and one process goes on."""
    folder = tmp_path / "run"
    every = ("--checkpoint-every", "1", "--output", folder)
    process = launched(2, *finetune(voc, run_folder), *RUN, *SGD, *every)
    wait_for(process, lambda: list(folder.glob("fcn32s-last.0001-*.json")))
    began = time.time()
    if ending == signal.SIGKILL:
        os.kill(workers_of(process)[-1], signal.SIGKILL)
    else:
        process.terminate()
    code, out, err = end_of(process)
    print(f"{ending.name}: the job ended after {time.time() - began:.1f} s")
    assert code == 128 + ending if ending == signal.SIGTERM else code != 0
    assert ("has died" if ending == signal.SIGKILL else "the state is saved in") in err
    assert not (folder / "fcn32s-0002.params").exists()
    (state,) = sorted(folder.glob("fcn32s-last.*.json"))[-1:]
    before = json.loads(state.read_text())
    if ending == signal.SIGKILL:
        code, out, err = end_of(launched(3, "finetune", "--resume", folder))
        assert code == 0, err
    else:
        assert main(["finetune", "--resume", str(folder), "--kv-store", "local"]) == 0
    log = (folder / "run.log").read_text()
    assert log.count("run begins") == 2 and f"saved: {folder}/fcn32s-0002.params" in log
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2] and before["epoch"] == 1
    assert main(["finetune", "--resume", str(folder), "--kv-store", "local"]) == 0  # nothing more to do


def test_a_worker_without_its_kv_store_is_told(run_folder, voc, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DMLC_ROLE", "worker")
    assert main([*finetune(voc, run_folder), "--output", str(tmp_path / "run")]) == 2
    assert (
        "--kv-store local: cannot sum over the processes of this job; give dist_sync" in capsys.readouterr().err
    )
    monkeypatch.delenv("DMLC_ROLE")
    assert main([*finetune(voc, run_folder, "--kv-store", "dist_sync"), "--output", str(tmp_path / "run")]) == 2
    assert "kvstore dist_sync: needs several processes: fcnxs launch" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--lr", "1e30"), "not finite"),
        (("--cut-off-size", "20"), "20x20 pixels is too small"),
    ],
)
def test_an_error_of_a_worker_ends_the_job(more, message, run_folder, voc, tmp_path):
    """It is told once, and nobody waits for ever."""
    began = time.time()
    arguments = [*finetune(voc, run_folder), *RUN, *SGD, *more, "--output", tmp_path / "run"]
    code, _, err = end_of(launched(2, *arguments))
    print(f"{more}: {time.time() - began:.1f} s in all")
    assert code == 2 and message in err and "the job ends" in err


def test_processes_that_differ_are_refused(run_folder, voc, tmp_path):
    """Each worker with a seed of its own: images would be seen twice, or never."""
    arguments = [*map(str, finetune(voc, run_folder, *RUN[:4])), "--output", str(tmp_path / "run")]
    own_seed = (
        f"import os, sys; from fcnxs.tools.main import main; sys.exit(main({arguments!r} + ['--kv-store', "
    )
    own_seed += "'dist_sync', '--seed', os.environ.get('DMLC_TASK_ID', '0')]))"
    command = [
        sys.executable,
        "-m",
        "fcnxs",
        "launch",
        "-n",
        "2",
        "-s",
        "1",
        "--",
        sys.executable,
        "-c",
        own_seed,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (
        done.returncode == 2
        and "processes of this job differ in options, data, weights or state" in done.stderr
    )
    assert not (tmp_path / "run" / "fcn32s-0001.params").exists()

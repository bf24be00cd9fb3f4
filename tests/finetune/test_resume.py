"""Runs that are stopped, and go on; those that are killed again and again are in test_kills.py."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from conftest import finetune
from runs import RUN, assert_same_run, params_of, start, wait_for

from fcnxs.compat import mxnet as mx
from fcnxs.finetune.run_folder import locked, write_plan, write_sealed
from fcnxs.symbols.interpolation import bilinear
from fcnxs.system.files import sha256_of
from fcnxs.tools.main import main


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_first_and_says_where(number, whole, run_folder, voc, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    process = start(*finetune(voc, run_folder, *RUN), "--output", folder)
    wait_for(process, lambda: list(folder.glob("fcn32s-last.0001-000002.json")))
    process.send_signal(number)
    _, err = process.communicate(timeout=600)
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


def test_states_leave_out_fixed_bilinear_kernels_and_older_ones_have_them(stopped, whole, capsys):
    file = sorted(stopped.glob("fcn32s-last.*.json"))[-1]
    content, arrays = json.loads(file.read_text()), mx.nd.load(str(file.with_suffix(".state")))
    assert content.pop("bilinear") == ["bigscore_weight"] and "arg:bigscore_weight" not in arrays
    del content["sha256"]
    write_sealed(file, {**content, "bilinear": ["fc6_weight"]})
    assert main(["finetune", "--resume", str(stopped)]) == 2
    assert "bilinear: 'fc6_weight' is no upsampling of fcn32s" in capsys.readouterr().err
    arrays["arg:bigscore_weight"] = mx.nd.array(bilinear((5, 5, 64, 64)))
    mx.nd.save(str(file.with_suffix(".state")), arrays)
    write_sealed(file, {**content, "arrays_sha256": sha256_of(file.with_suffix(".state"))})
    assert main(["finetune", "--resume", str(stopped)]) == 0
    assert_same_run(stopped, whole)


def test_resume_without_a_run_begins_one_with_all_options_alone(run_folder, voc, tmp_path, capsys):
    assert main(["finetune", "--resume", str(tmp_path / "none")]) == 2
    err = capsys.readouterr().err
    assert "no run to go on with in" in err and "missing: --data, --prefix, --epoch" in err
    arguments = finetune(voc, run_folder, "--epochs", "1", "--stages", "fcn32s")
    arguments = [*arguments[: arguments.index("--output")], *arguments[arguments.index("--output") + 2 :]]
    assert main([*arguments, "--resume", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "fcn32s-0001.params").is_file()


def test_repeated_options_must_agree(stopped, voc, capsys):
    resume = ["finetune", "--resume", str(stopped)]
    for more, message in (
        (["--lr", "0.5"], "--lr 0.5: the run in"),
        (["--epochs", "9"], f"began with {RUN[3]}; leave the option out"),
        (["--seed", "8"], "--seed 8: the run in"),
        (["--recipe", "caffe"], "--recipe caffe: the run in"),
        (["--skip-bad"], "--skip-bad: the run in"),
        (["--accumulate", "2"], "--accumulate 2: the run in"),
        (["--data", str(voc / "JPEGImages")], "--data"),
        (["--output", "other"], "--output other: --resume"),
    ):
        assert main([*resume, *more]) == 2, more
        assert message in capsys.readouterr().err
    assert main([*finetune(voc, Path("x")), "--output", str(stopped)]) == 2
    assert (
        f"the run in this folder has not ended; continue it with --resume {stopped}," in capsys.readouterr().err
    )
    assert main([*resume, "--seed", "7", "--epochs", RUN[3], "--data", str(voc), "--quiet"]) == 0


def test_other_images_than_the_run_began_with_are_refused(stopped, voc, tmp_path, capsys):
    copy = tmp_path / "voc"
    shutil.copytree(voc, copy)
    plan = json.loads((stopped / "run.json").read_text())
    plan["options"]["data"] = str(copy)
    write_plan(stopped, plan)
    names = copy / "ImageSets" / "Segmentation" / "train.txt"
    names.write_text("\n".join(names.read_text().split()[:-1]))
    assert main(["finetune", "--resume", str(stopped)]) == 2
    assert "the images of train are not those that the run in" in capsys.readouterr().err


def test_other_settings_than_the_run_began_with_are_refused(stopped, capsys):
    """As another version's recipes may have."""
    plan = json.loads((stopped / "run.json").read_text())
    plan["stages"][1]["learning_rate"] *= 2
    write_plan(stopped, plan)
    assert main(["finetune", "--resume", str(stopped)]) == 2
    assert "the recipe adam of this version has other settings" in capsys.readouterr().err


def test_a_run_of_an_earlier_version_resumes(stopped, whole):
    """Its run.json has options by their former names, which the command still takes."""
    plan = json.loads((stopped / "run.json").read_text())
    plan["options"].update(random_mirror=plan["options"].pop("random_flip"), mirror=False)
    write_plan(stopped, plan)
    assert main(["finetune", "--resume", str(stopped), "--random-mirror"]) == 0
    last = (stopped / "run.log").read_text().rpartition("  options: ")[2].splitlines()[0]
    assert json.loads(last)["random_flip"] is True and json.loads(last)["recompute"] is False
    assert_same_run(stopped, whole)


def test_states_of_another_run_are_neither_used_nor_in_the_way(stopped, whole, run_folder, voc):
    """Somebody removes run.json to begin anew; what the old run has left is of a later epoch."""
    (stopped / "run.json").unlink()
    for file in sorted(stopped.glob("fcn32s-last.*")):
        file.rename(file.with_name(file.name.replace("last.0001", "last.0999")))
    assert main([*finetune(voc, run_folder, *RUN), "--output", str(stopped)]) == 0
    assert_same_run(stopped, whole)
    assert len(list(stopped.glob("fcn32s-last.0999*.json"))) == 2


def test_a_run_on_several_devices_goes_on_with_as_many_threads(run_folder, voc, tmp_path, monkeypatch):
    """Two devices share the processors; with other threads, sums would be rounded otherwise."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    arguments = finetune(
        voc, run_folder, "--stages", "fcn32s", "--epochs", "2", "--seed", "1", "--device", "cpu:0,1"
    )
    for name in ("whole", "killed"):
        process = start(*arguments, "--output", tmp_path / name)
        if name == "killed":
            wait_for(process, lambda: list((tmp_path / "killed").glob("fcn32s-last.0002-000000.json")))
            process.kill()
        process.communicate()
    start("finetune", "--resume", tmp_path / "killed").communicate()
    threads = f'"OMP_NUM_THREADS": "{max(1, len(os.sched_getaffinity(0)) // 2)}"'
    assert (tmp_path / "killed" / "run.log").read_text().count(threads) == 2
    a, b = (params_of(tmp_path / name, "fcn32s", 2) for name in ("whole", "killed"))
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_a_second_run_in_one_folder_is_refused(stopped, capsys):
    with locked(stopped):
        process = start("finetune", "--resume", stopped)
        _, err = process.communicate(timeout=600)
    assert process.returncode == 2 and err.count("\n") == 1
    assert f"run: process {os.getpid()} trains in this folder" in err


def test_keep_leaves_the_last_epochs_and_the_best(run_folder, voc, tmp_path):
    arguments = ("--val-split", "val", "--stages", "fcn32s", "--epochs", "3", "--keep-epochs", "2")
    assert main([*finetune(voc, run_folder, *arguments), "--output", str(tmp_path)]) == 0
    kept = sorted(file.name for file in tmp_path.glob("*.params"))
    assert kept == ["fcn32s-0002.params", "fcn32s-0003.params", "fcn32s-best-0000.params"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    best = max(line["mean_iu"] for line in lines)
    assert main(["evaluate", "--prefix", str(tmp_path / "fcn32s-best"), "--epoch", "0", "--data", str(voc),
                 "--json", str(tmp_path / "scores.json")]) == 0  # fmt: skip
    assert json.loads((tmp_path / "scores.json").read_text())["mean_iu"] == best

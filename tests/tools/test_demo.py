"""`fcnxs demo`: what it makes, how it goes on after an interruption, and what it refuses."""

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.finetune import run_folder
from fcnxs.score import NAMES
from fcnxs.tools import demo as demo_module
from fcnxs.tools.demo import COLOURS, demo
from fcnxs.tools.main import main
from fcnxs.tools.shared.signals import Ended, Stopping


def test_demo_makes_what_it_says_and_goes_on_where_it_was_interrupted(tmp_path, capsys, monkeypatch):
    """With few pictures; `.ci/run` runs the whole of it."""
    folder = tmp_path / "demo"
    few = {"train": 6, "val": 4, "epochs": (2, 1, 1)}
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr(Stopping, "asked", lambda stopping: asked.append(1) or len(asked) > 12)
        with pytest.raises(Ended) as ended:
            demo(folder, **few)
    assert str(ended.value).endswith(f" in step 3 of 7; `fcnxs demo --output {folder}` goes on from there")
    out = capsys.readouterr().out
    assert "Step 1 of 7: make pictures" in out and "fcn32s epoch 1: " in out and "fcn32s epoch 2: " not in out

    assert demo(folder, **few) == 0
    out = capsys.readouterr().out
    assert f"going on with the demo in {folder}: 2 of 7 steps are done" in out and "Step 2 of 7" not in out
    assert f"$ fcnxs finetune --resume={folder / 'run'}" in out and "fcn32s epoch 1: " not in out
    for command in ("evaluate", "report", "export"):
        assert f"$ fcnxs {command} " in out
    canvas = np.asarray(Image.open(folder / "comparison.png"))
    assert canvas.shape[1] > 5 * 160
    assert all((canvas[-28:] == colour).all(axis=2).any() for colour in COLOURS)  # the legend
    assert "By mean IU of fcn8s" in (folder / "run" / "report.html").read_text()
    rows = json.loads((folder / "run" / "summary.json").read_text())["stages"]
    assert [row["name"] for row in rows] == ["fcn32s", "fcn16s", "fcn8s"]
    assert (folder / "deploy" / "fcn8s-symbol.json").is_file()
    assert len(list((folder / "pictures" / "JPEGImages").iterdir())) == 10

    files = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert demo(folder, **few) == 0
    again = capsys.readouterr().out
    assert "has ended before; remove this folder to run it anew" in again and "Step" not in again
    results = out[out.rindex("net     epoch") :]
    assert again.endswith(results) and "comparison.png" in results
    assert files == {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    shutil.rmtree(folder / "run")
    with pytest.raises(FCNXSError, match="summary.json: no such file; remove .*demo to run the demo anew"):
        demo(folder, **few)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ("{", "not the record of a demo, or damaged: .*"),
        ('{"done": 3}', "not the record of a demo, or damaged: it lacks seconds"),
        ('{"train": 7, "val": 4, "epochs": [2, 1, 1], "done": 2, "seconds": 1.5}', "a demo of another version"),
    ],
)
def test_demo_refuses_a_record_that_it_cannot_go_on_with(record, why, tmp_path):
    (tmp_path / "demo.json").write_text(record)
    with pytest.raises(FCNXSError, match=f"demo.json: {why}; remove .*, or choose another --output$"):
        demo(tmp_path, 6, 4, (2, 1, 1))
    assert [file.name for file in tmp_path.iterdir()] == ["demo.json"]


FEW = {"train": 2, "val": 1, "epochs": (1, 1, 1)}


@pytest.fixture
def commands(monkeypatch):
    """Commands of the demo, which are not run; a machine with two GPUs."""
    given = []
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 2)
    monkeypatch.setattr(demo_module, "_command", lambda *words: given.append(words))
    monkeypatch.setattr(demo_module, "_draw", lambda *arguments: given.append(("draw", arguments[-1])))
    scores = dict.fromkeys(NAMES, 0.5)
    rows = [{"name": name, "epoch": 1, **scores, "seconds": 1.0} for name in demo_module.STAGES]
    monkeypatch.setattr(run_folder, "read_rows", lambda folder: rows)
    return given


def last_words(commands):
    """The last word of each command but convert, which says the device where it is not the CPU."""
    return [words[-1] for words in commands if words[0] != "convert"]


def test_on_gpus_each_step_gets_its_device_and_the_last_line_says_what_ran_where(tmp_path, commands, capsys):
    assert demo(tmp_path / "demo", **FEW, device="gpu:0,1") == 0
    assert last_words(commands) == [
        "--device=gpu:0,1",
        "--device=gpu:0",
        "--device=gpu:0",
        f"--output={tmp_path}/demo/deploy/fcn8s",
        "gpu:0",
    ]
    last = capsys.readouterr().out.splitlines()[-1]
    ran = r"all steps ran on gpu\(0\), gpu\(1\), in \d seconds; mean IU of FCN-32s, FCN-16s and FCN-8s: 0\.5"
    assert re.match(ran, last)
    assert f"send us what {tmp_path}/demo has of demo.json, failure.txt, run/run.log, run/metrics.jsonl" in last


def test_without_gpus_nothing_speaks_of_devices(tmp_path, commands, capsys):
    demo(tmp_path / "demo", **FEW)
    out = capsys.readouterr().out
    assert not any(str(word).startswith("--device") for words in commands for word in words)
    assert (
        out.splitlines()[-1].startswith("  vgg16fc-*")
        and "computing on" not in out
        and "all steps ran" not in out
    )
    record = json.loads((tmp_path / "demo" / "demo.json").read_text())
    assert [*record] == ["train", "val", "epochs", "done", "seconds"]


def test_a_demo_goes_on_on_another_device_and_says_so(tmp_path, commands, capsys, monkeypatch):
    folder, stop = tmp_path / "demo", {"finetune"}

    def command(*words):
        commands.append(words)
        if words[0] == "finetune":
            (folder / "run").mkdir(exist_ok=True)
            (folder / "run" / "run.json").touch()
        if words[0] in stop:
            raise KeyboardInterrupt

    monkeypatch.setattr(demo_module, "_command", command)
    for device, on in (
        (None, ""),
        ("gpu:1", "; the rest runs on gpu(1)"),
        (None, "gpu(1); the rest runs on the CPU"),
    ):
        with pytest.raises(Ended) as ended:
            demo(folder, **FEW, device=device)
        assert on in capsys.readouterr().out
        assert str(ended.value).endswith(f"demo{' --device gpu:1' if device else ''}` goes on from there")
    assert last_words(commands)[1:] == ["--device=gpu:1", "--device=cpu"]
    stop.clear()
    demo(folder, **FEW, device="gpu")
    out = capsys.readouterr().out
    assert "2 of 7 steps are done, the last on the CPU; the rest runs on gpu(0)" in out
    assert "all steps ran on the CPU, then on gpu(1), then on the CPU, then on gpu(0), in " in out
    demo(folder, **FEW, device="gpu:1")  # nothing is left to run there
    assert (
        "all steps ran on the CPU, then on gpu(1), then on the CPU, then on gpu(0), in "
        in capsys.readouterr().out
    )


def test_what_fails_on_a_gpu_ends_with_the_step_and_what_to_send(tmp_path, commands, capsys, monkeypatch):
    folder = tmp_path / "demo"

    def command(*words):
        if words[0] == "evaluate":
            raise mx.MXNetError("Traceback ...\nsrc/storage.cc:97: Check failed: cudaMalloc: out of memory")

    monkeypatch.setattr(demo_module, "_command", command)
    for name, value in (("TRAIN", 2), ("VAL", 1), ("EPOCHS", (1, 1, 1))):
        monkeypatch.setattr(demo_module, name, value)
    assert main(["demo", "--output", str(folder), "--device", "gpu"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("fcnxs: step 4 of 7 (evaluate FCN-8s) failed on gpu(0): ")
    assert "cudaMalloc: out of memory. To have it mended, please send us what" in last
    told = (folder / "failure.txt").read_text()
    assert told.startswith("step 4 of 7 (evaluate FCN-8s) failed on gpu(0)\nTraceback") and "in command" in told
    assert main(["demo", "--output", str(folder)]) == 1  # on the CPU as ever
    assert capsys.readouterr().err.splitlines()[-1] == (
        "fcnxs: MXNet failed: src/storage.cc:97: Check failed: cudaMalloc: out of memory"
    )


def test_gpus_that_are_not_there_are_refused_before_anything_is_written(tmp_path, commands, capsys):
    assert main(["demo", "--output", str(tmp_path / "demo"), "--device", "gpu:0,2"]) == 2
    assert "--device gpu:2: MXNet sees 2 GPUs here" in capsys.readouterr().err and not any(tmp_path.iterdir())

"""The log that a run can be repeated from."""

import json
import re
import shlex

import pytest

from fcnxs import FCNXSError, __version__
from fcnxs.checkpoint import Meta
from fcnxs.compat import mxnet as mx
from fcnxs.finetune.run_log import RunLog, facts
from fcnxs.stages import RECIPES, Stage

STAGES = list(RECIPES["caffe"].values())
COMMAND = ["fcnxs", "finetune", "--data", "my pictures/VOC", "--prefix", "vgg's"]


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setenv("MXNET_SOMETHING", "7")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("SECRET", "do not tell")
    meta = Meta(classes=["ground", "two\nlines"], source={"file": "vgg-0000.params", "sha256": "ab" * 32})
    return facts(COMMAND, [mx.cpu(0), mx.cpu(1)], 7, meta, {"train": "12ab", "val": "34cd"}, batch_size=2)


def blocks(file):
    """Facts of each beginning, and lines with a time after it."""
    found = []
    for line in file.read_text().splitlines():
        if line.startswith("  "):
            name, _, value = line.strip().partition(": ")
            found[-1][0].setdefault(name, []).append(value)
            continue
        time, _, text = line.partition(" ")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", time)
        if text.startswith("run begins"):
            found.append(({}, []))
        found[-1][1].append(text)
    return found


def test_a_run_can_be_repeated_from_its_log(told, tmp_path):
    log = RunLog(tmp_path / "run.log", told)
    log.begin(STAGES, 12, 3)
    ((said, lines),) = blocks(tmp_path / "run.log")  # written already, line by line
    assert lines == ["run begins: 12 images to train on, 3 to evaluate on"]
    assert shlex.split(said["command"][0]) == COMMAND
    assert [Stage(**{**json.loads(s), "fixed": tuple(json.loads(s)["fixed"])}) for s in said["stage"]] == STAGES
    assert said["seed"] == ["7"] and said["devices"] == ["cpu(0), cpu(1)"] and said["batch_size"] == ["2"]
    assert json.loads(said["data"][0]) == {"train": "12ab", "val": "34cd"}
    assert json.loads(said["parent"][0]) == {"file": "vgg-0000.params", "sha256": "ab" * 32}
    assert json.loads(said["classes"][0]) == ["ground", "two\nlines"]
    versions = json.loads(said["versions"][0])
    assert versions["fcnxs"] == __version__ and versions["mxnet"] == mx.__version__
    assert {"numpy", "python", "gluoncv", "opencv-python", "pillow"} < set(versions)
    variables = json.loads(said["variables"][0])
    assert variables["MXNET_SOMETHING"] == "7" and variables["OMP_NUM_THREADS"] == "2"
    assert "CPU_SSE" in json.loads(said["mxnet features"][0])
    assert "do not tell" not in (tmp_path / "run.log").read_text()
    log.close()


def test_what_happens_is_a_line_each_and_a_second_run_is_appended(told, tmp_path):
    record = {"stage": "fcn32s", "epoch": 1, "train_loss": 0.5, "val_loss": None}
    for ending in (None, FCNXSError("fcn32s, epoch 1, step 5:\nthe loss is not finite"), KeyboardInterrupt()):
        log = RunLog(tmp_path / "run.log", told)
        try:
            try:
                log.begin(STAGES[:1], 12, 0)
                log.epoch(record, None)
                log.saved(tmp_path / "fcn32s-0001.params")
                log.warning("all pixels\nare background")
                if ending is not None:
                    raise ending
            finally:
                log.close()
        except (FCNXSError, KeyboardInterrupt):
            pass
    found = blocks(tmp_path / "run.log")
    for said, lines in found:
        assert lines[1:-1] == [
            f"epoch: {json.dumps(record)}",
            f"saved: {tmp_path / 'fcn32s-0001.params'}",
            "warning: all pixels are background",
        ]
        assert [json.loads(stage)["name"] for stage in said["stage"]] == ["fcn32s"]
    assert [lines[-1] for _, lines in found] == [
        "run ends: done",
        r"run ends: FCNXSError: fcn32s, epoch 1, step 5:\nthe loss is not finite",
        "run ends: KeyboardInterrupt",
    ]


def test_a_log_that_cannot_be_written_is_named(told, tmp_path):
    (tmp_path / "run.log").mkdir()
    with pytest.raises(FCNXSError, match=r"run\.log: cannot write: Is a directory"):
        RunLog(tmp_path / "run.log", told).begin(STAGES, 1, 0)


def test_a_full_disk_does_not_hide_the_error_that_ends_the_run(told, tmp_path):
    """/dev/full takes no byte."""
    log = RunLog("/dev/full", told)
    with pytest.raises(FCNXSError, match="/dev/full: cannot write: No space left on device"):
        try:
            log.begin(STAGES, 1, 0)
        finally:
            log.close()

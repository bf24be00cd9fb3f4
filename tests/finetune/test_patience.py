"""`patience`: a stage ends when its mean IU has not risen for so many epochs; the next starts from its best."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import LONG
from conftest import finetune as command

from fcnxs import FCNXSError, checkpoint
from fcnxs.data.layouts import open_samples
from fcnxs.data.loader import Loader
from fcnxs.finetune import Data, Listener, Output, Settings, StoppedError, epochs, finetune
from fcnxs.stages import RECIPES
from fcnxs.tools.main import main

SCORES = {"fcn32s": [0.3, 0.5, 0.4, 0.5, 0.9], "fcn16s": [0.1, 0.2, 0.15]}
STAGES = [
    replace(RECIPES["adam"]["fcn32s"], epochs=5),
    replace(RECIPES["adam"]["fcn16s"], epochs=3, optimizer="sgd", learning_rate=0.0),
]
DONE = [("fcn32s", e) for e in (1, 2, 3, 4)] + [("fcn16s", e) for e in (1, 2, 3)]


@pytest.fixture
def scripted(monkeypatch):
    """Evaluations that give the mean IUs of SCORES."""
    evaluate = epochs._evaluate

    def scored(run):
        values, result = evaluate(run)
        return {**values, "mean_iu": SCORES[run.stage.name][run.state.epoch - 1]}, result

    monkeypatch.setattr(epochs, "_evaluate", scored)


@pytest.fixture
def train(voc, run_folder):
    """Train on two images."""
    meta = checkpoint.load(run_folder / "run" / "fcn32s", 1).meta
    samples = open_samples(voc)

    def run(folder, patience=2, val=True, stages=STAGES, **how):
        loaders = [Loader(samples.subset(each), meta.mean, num_classes=5, seed=3) for each in ([0, 1], [2])]
        data = Data(loaders[0], loaders[1] if val else None)
        parent, output = (lambda: checkpoint.load(run_folder / "vgg", 0)), Output(folder, meta, 1, resume=True)
        return finetune(parent, stages, data, output, Settings(patience=patience), **how)

    return run


def content_of(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = json.loads((folder / "summary.json").read_text())["stages"]
    for each in [*lines, *rows]:
        del each["seconds"]
    return lines, rows


def params(folder, stage, epoch):
    return {k: v.asnumpy() for k, v in checkpoint.load(folder / stage, epoch).arg_params.items()}


class Killed(Exception):
    """In the place of a kill: nothing is saved."""


class Kill(Listener):
    """Kill the run at an event, the n-th of this name."""

    def __init__(self, event, n):
        self.left = n
        setattr(self, event, self._count)

    def _count(self, *_):
        self.left -= 1
        if self.left == 0:
            raise Killed


def test_a_stage_ends_and_the_next_starts_from_its_best(scripted, train, tmp_path):
    whole = tmp_path / "whole"
    rows = train(whole)
    lines, kept = content_of(whole)
    assert [(line["stage"], line["epoch"]) for line in lines] == DONE
    of_best = [(row["name"], row["epoch"], row["mean_iu"]) for row in kept]
    assert of_best == [("fcn32s", 2, 0.5), ("fcn16s", 2, 0.2)] and [row["epoch"] for row in rows] == [2, 2]
    plan = json.loads((whole / "run.json").read_text())
    assert plan["patience"] == 2 and plan["finished"]
    best, last, begun = params(whole, "fcn32s", 2), params(whole, "fcn32s", 4), params(whole, "fcn16s", 1)
    for name in ("conv1_1_weight", "fc7_weight", "score_weight"):  # which the second stage does not change
        np.testing.assert_array_equal(begun[name], best[name])
        assert (last[name] != best[name]).any()
    kills = [("step", 7), ("ended_early", 1), ("weights", 2), ("epoch", 4), ("step", 9)]
    for event, n in kills if LONG else kills[:2]:
        folder = tmp_path / f"{event}{n}"
        with pytest.raises(Killed):
            train(folder, listeners=[Kill(event, n)])
        train(folder)
        assert content_of(folder) == (lines, kept)
        for stage, epoch in DONE:
            ours, expected = params(folder, stage, epoch), params(whole, stage, epoch)
            assert all((ours[name] == expected[name]).all() for name in expected), (event, n, stage, epoch)


def test_without_patience_all_epochs_are_trained_and_the_last_goes_on(scripted, train, tmp_path):
    train(tmp_path, None)
    lines, rows = content_of(tmp_path)
    assert len(lines) == 8 and [row["epoch"] for row in rows] == [5, 3]
    begun, last = params(tmp_path, "fcn16s", 1), params(tmp_path, "fcn32s", 5)
    np.testing.assert_array_equal(begun["fc7_weight"], last["fc7_weight"])


def test_patience_that_makes_no_sense_is_refused(scripted, train, voc, run_folder, tmp_path, capsys):
    for how, message in (
        ({"val": False}, "patience 2: there is no validation data"),
        ({"patience": 0}, "patience 0: expected 1 epoch or more"),
    ):
        with pytest.raises(FCNXSError, match=message):
            train(tmp_path / "run", **how)
    steps = iter(range(5))
    with pytest.raises(StoppedError):
        train(tmp_path / "run", should_stop=lambda: next(steps) == 3)
    with pytest.raises(FCNXSError, match="run.json: the run began with patience 2, not 3; give the same"):
        train(tmp_path / "run", patience=3)
    for more, message in (
        (["--patience", "2", "--no-val"], "--patience 2: needs data to evaluate on"),
        (["--patience", "0"], "patience 0: expected 1 or more"),
    ):
        assert main([*command(voc, run_folder, *more), "--output", str(tmp_path / "x")]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_the_command_says_why_a_stage_ends(voc, run_folder, tmp_path, capsys):
    """A rate that moves nothing: the first epoch is the best."""
    options = ("--stages", "fcn32s,fcn16s", "--recipe", "mxnet", "--lr", "1e-30", "--epochs", "4")
    words = command(voc, run_folder, *options, "--patience", "1", "--output", str(tmp_path / "run"))
    assert main(words) == 0
    out = capsys.readouterr().out
    for stage in ("fcn32s", "fcn16s"):
        assert f"{stage} ends after epoch 2 of 4: its mean IU has not risen since epoch 1 (--patience)" in out
    log = (tmp_path / "run" / "run.log").read_text()
    assert "fcn32s ends after epoch 2: its mean IU has not risen since epoch 1" in log
    assert "fcn32s-best-0000.params; begun anew: score_pool4_weight" in log
    assert main(["report", str(tmp_path / "run")]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "4 of 8 epochs (stages end early with --patience)" in page
    _, rows = content_of(tmp_path / "run")
    for file in ("fcn32s-0001.params", "fcn16s-0001.params"):
        assert "with the best epoch of each stage" in page
        out = capsys.readouterr().out
        for row in rows:
            assert (
                row["epoch"] == 1 and f"{row['name']} epoch 1: mean IU {row['mean_iu']:.4f} on 3 images" in out
            )
            assert f'<tr><th scope="row">{row["name"]}</th><td>1</td>' in page
        (tmp_path / "run" / file).unlink()  # the copy of the best epoch is still there
        assert main(["report", str(tmp_path / "run")]) == 0

"""The benchmarks, narrow and small: that they run and what they say, not what they measure."""

import argparse
import importlib.util
import re

import numpy as np
import pytest

from fcnxs import FCNXSError
from fcnxs.data.loader import FileIter
from fcnxs.tools.benchmarks.material import Inputs, random_image, write_images
from fcnxs.tools.benchmarks.train import different_sizes
from fcnxs.tools.benchmarks.worker import Worker, memory
from fcnxs.tools.main import main

NARROW = ["--width", "0.0625", "--fc", "16", "--image-size", "43x37"]


def test_sizes_differ_and_are_covered_by_the_largest_upright_or_not():
    sizes = different_sizes((375, 500), 50)
    assert len(set(sizes)) == 50 and sizes[0] == (375, 500)
    assert all(min(size) <= 375 and max(size) <= 500 and min(size) >= 225 for size in sizes)
    assert {height > width for height, width in sizes} == {True, False}


def test_memory_has_what_is_resident_and_the_peak():
    before, _ = memory()
    room = np.ones(200_000_000 // 8)  # 0.2 GB
    during, peak = memory()
    del room
    after, peak_after = memory()
    assert during - before == pytest.approx(0.2, abs=0.02) and peak >= during - 0.01
    assert during - after == pytest.approx(0.2, abs=0.02) and peak_after >= during - 0.01


def test_images_of_the_evaluation_are_what_the_commands_read(tmp_path):
    write_images(tmp_path, (60, 80), 3)
    batches = list(FileIter(tmp_path, "list.lst", num_classes=21))
    assert [batch["data"].shape for batch in batches] == [(1, 3, 60, 80)] * 3
    label = random_image((1, 3, 60, 80))[Inputs().label_name]
    assert label.shape == (1, 60, 80) and set(np.unique(label)) <= {*range(21), 255}


def test_train_gives_medians_peaks_and_ratios(monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["benchmark", "train", *NARROW, "--steps", "1"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "without PyTorch, which is not installed"
    values = [
        re.fullmatch(r"(\w+) .* median (.*) s, ratio (.*); peak (.*) GB, ratio (.*)", line) for line in out[1:3]
    ]
    (bare, time, *_), (solver, own, ratio, *_) = (value.groups() for value in values)
    assert (bare, solver) == ("bare", "solver") and values[0][3] == values[0][5] == "1.000"
    assert float(ratio) == pytest.approx(float(own) / float(time), rel=0.1)


@pytest.mark.parametrize("no_trim", [False, True])
def test_pytorch_s_step_is_checked_against_the_solver_s(no_trim, monkeypatch):
    pytest.importorskip("torch")
    from fcnxs.tools.benchmarks import torch_fcn8s, train

    args = argparse.Namespace(no_trim=no_trim)
    train._check(args)()
    make = torch_fcn8s.make_step
    for key, value, message in (
        ("wd", 0, "PyTorch's step changes parameter .* differently"),
        ("learning_rate", 0.11, "the loss is 3.*, but PyTorch's 3"),
    ):
        monkeypatch.setattr(
            torch_fcn8s,
            "make_step",
            lambda weights, batch, settings, wrong={key: value}, **how: make(
                weights, batch, {**settings, **wrong}, **how
            ),
        )
        with pytest.raises(FCNXSError, match=message):
            train._check(args)()


def test_train_compares_with_pytorch_where_it_is_installed(capsys):
    pytest.importorskip("torch")
    assert main(["benchmark", "train", *NARROW, "--steps", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["bare", "solver", "torch", "FCN-8s,"]
    assert all("ratio" in line and "peak" in line for line in lines[:3])


def test_sizes_and_evaluate_give_their_ratios(capsys):
    assert main(["benchmark", "sizes", *NARROW, "--num-images", "3", "--epochs", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("43x37 alone: resident 0.") and [line[:8] for line in out[1:3]] == [
        "epoch  1",
        "epoch  2",
    ]
    assert main(["benchmark", "evaluate", *NARROW, "--num-images", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert "ratio 1.000" in out[0] and out[1].startswith("finetune") and out[2].startswith("evaluate")


def test_a_process_that_fails_is_named_with_its_reason():
    args = argparse.Namespace(
        what="train", image_size="9x9", width=1.0, fc=16, steps=1, num_images=None, device=None, no_trim=False
    )
    with (
        Worker(args, "bare") as worker,
        pytest.raises(
            FCNXSError, match="'bare' failed: --image-size 9x9: expected width x height in pixels, each from 26"
        ),
    ):
        worker.ask()


def test_loader_says_what_steps_wait(capsys):
    """Steps this narrow may wait too long, which is exit code 1."""
    assert main(["benchmark", "loader", *NARROW, "--steps", "3"]) in (0, 1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["whole", "augmented"]
    assert all(0 <= float(line.split()[-1].rstrip("%")) <= 100 for line in lines[2:])


def test_the_whole_canvas_is_trained_on_if_asked(monkeypatch):
    """Each process of the comparison gets the option, and the solver with it."""
    from fcnxs.tools.benchmarks import train, worker

    for no_trim in (False, True):
        args = argparse.Namespace(
            what="train", image_size="43x37", width=1 / 16, fc=16, num_images=None, device=None
        )
        args.no_trim = no_trim
        assert ("--no-trim" in worker._command(args, "solver")) is no_trim
        made = []
        monkeypatch.setattr(
            "fcnxs.solver.solver.Solver",
            lambda *_, **how: made.append(how) or argparse.Namespace(arg_params={}),
        )
        train.stepper(args), train.stepper(args, trim=True)
        assert [how["trim"] for how in made] == [not no_trim, True]

"""Schedules of the learning rate: their values, in the solver and in Gluon, and in runs that resume."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import FC, WIDTH, Images, finetune, random_params
from runs import params_of, start, wait_for

from fcnxs import FCNXSError, gluon
from fcnxs.compat import mxnet as mx
from fcnxs.finetune import Settings, make_solver
from fcnxs.finetune.nets import steps_of
from fcnxs.finetune.run_folder import write_plan
from fcnxs.finetune.state import State
from fcnxs.lr_schedule import Schedule
from fcnxs.solver.solver import Solver
from fcnxs.stages import RECIPES
from fcnxs.symbols import get_fcn32s_symbol
from fcnxs.tools.main import main

STEPS, WARMUP = 40, 8
RISE = np.arange(1, WARMUP + 1) / WARMUP
DONE = np.arange(STEPS - WARMUP) / (STEPS - WARMUP)
FALLS = {
    "constant": np.ones(STEPS - WARMUP),
    "poly": (1 - DONE) ** 0.9,
    "step": np.repeat([1, 0.1, 0.01], [16, 8, 8]),
    "cosine": np.cos(np.pi * DONE / 2) ** 2,
}


@pytest.mark.parametrize("name", FALLS)
def test_a_schedule_rises_then_falls(name):
    schedule = Schedule(name, STEPS, 0.5, WARMUP)
    assert isinstance(schedule, mx.lr_scheduler.LRScheduler)
    expected = 0.5 * np.concatenate([RISE, FALLS[name]])
    backwards = [schedule(step) for step in range(STEPS, 0, -1)]  # it keeps no state
    np.testing.assert_allclose(backwards[::-1], expected, rtol=1e-12)
    assert schedule(STEPS + 5) == schedule(STEPS) > 0
    assert Schedule(name, STEPS, 0.5)(1) == Schedule(name, 1, 0.5)(1) == 0.5


def test_a_schedule_that_makes_no_sense_is_refused():
    for steps, warmup in ((4, 4), (4, -1), (0, 0)):
        with pytest.raises(FCNXSError, match=f"warm-up of {warmup} steps: there are {steps} steps in all"):
            Schedule("poly", steps, 1.0, warmup)
    with pytest.raises(FCNXSError, match="schedule 'linear': expected one of constant, poly, step, cosine"):
        Schedule("linear", 4, 1.0)
    stage = replace(RECIPES["mxnet"]["fcn32s"], schedule="poly")
    net = gluon.get_fcn32s(3, width=WIDTH, fc=FC)
    with pytest.raises(FCNXSError, match="fcn32s: the schedule 'poly' needs the number of steps"):
        gluon.make_trainer(net, stage)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_solver_and_gluon_make_the_steps_of_the_rates(optimizer):
    symbol = get_fcn32s_symbol(3, width=WIDTH, fc=FC)
    symbol = mx.sym.load_json(symbol.tojson().replace('"p": "0.5"', '"p": "0"'))
    stage = replace(RECIPES["mxnet"]["fcn32s"], optimizer=optimizer, learning_rate=0.01, momentum=None)
    stage = replace(stage, schedule="cosine", warmup=1)
    params, data = random_params(symbol), Images([(33, 40)] * 4)
    ours = make_solver(stage, symbol, {k: v.copy() for k, v in params.items()}, {}, None, 4, trim=False)
    plain = {"optimizer": optimizer, "learning_rate": 0.01, "wd": stage.wd, "trim": False}
    by_hand = Solver(symbol, arg_params={k: v.copy() for k, v in params.items()}, **plain)
    net = gluon.FCNxs(symbol)
    net.initialize()
    for name, array in params.items():
        net.params[name].set_data(array)
    trainer, loss = gluon.make_trainer(net, stage, 4), gluon.PixelLoss()
    for step, batch in enumerate(data, 1):
        by_hand.replicas[0].optimizer.set_learning_rate(Schedule("cosine", 4, 0.01, 1)(step))
        for solver in (ours, by_hand):
            solver.step(batch, data)
        assert ours.learning_rate == by_hand.learning_rate
        with mx.autograd.record():
            value = loss(net(mx.nd.array(batch["data"])), mx.nd.array(batch["softmax_label"]))
        value.backward()
        trainer.step(1)
    for name in params:
        expected = by_hand.arg_params[name].asnumpy()
        np.testing.assert_array_equal(ours.arg_params[name].asnumpy(), expected, err_msg=name)
        np.testing.assert_array_equal(net.params[name].data().asnumpy(), expected, err_msg=name)


def test_the_steps_of_a_stage_are_those_made_and_those_to_come():
    """A run may resume on another number of devices; the schedule then ends with the stage all the same."""
    stage = replace(RECIPES["mxnet"]["fcn32s"], epochs=3)
    data = SimpleNamespace(train=SimpleNamespace(batches=12))
    for devices, accumulate, workers, fresh, resumed in (
        (1, 1, 1, 36, 16 + 8 + 12),
        (2, 1, 1, 18, 16 + 4 + 6),
        (2, 2, 1, 9, 16 + 2 + 3),
        (1, 1, 5, 9, 16 + 2 + 3),
    ):
        settings = Settings([mx.cpu(i) for i in range(devices)], accumulate=accumulate)
        run = SimpleNamespace(settings=settings, workers=workers, data=data)
        assert steps_of(run, stage) == fresh
        assert steps_of(run, stage, State("", "fcn32s", epoch=2, position=4, steps=16)) == resumed
        assert steps_of(run, stage, State("", "fcn32s", epoch=4, position=0, steps=fresh)) == fresh


def scheduled(voc, run_folder, *more):
    options = ("--stages", "fcn32s,fcn16s", "--epochs", "2,1", "--lr-schedule", "poly", "--warmup", "3")
    more = ("--crop-size", "64", "--checkpoint-every", "1", "--no-val", *more)
    return finetune(voc, run_folder, *options, *more)


def test_a_killed_run_goes_on_with_its_schedule_to_the_bit(run_folder, voc, tmp_path, capsys):
    arguments = scheduled(voc, run_folder)
    assert main([*arguments, "--output", str(tmp_path / "whole")]) == 0
    assert "at 0.001, schedule poly, warm-up over 3 steps" in capsys.readouterr().out
    process = start(*arguments, "--output", tmp_path / "killed")
    wait_for(process, lambda: list((tmp_path / "killed").glob("fcn32s-last.0002-000001.json")))
    process.kill()
    process.communicate()
    resume = ["finetune", "--resume", str(tmp_path / "killed")]
    assert main([*resume, "--lr-schedule", "cosine"]) == 2
    assert "--lr-schedule cosine: the run in" in capsys.readouterr().err
    assert main(resume) == 0
    for stage, epoch in (("fcn32s", 1), ("fcn32s", 2), ("fcn16s", 1)):
        a, b = (params_of(tmp_path / name, stage, epoch) for name in ("whole", "killed"))
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=f"{stage} {epoch} {name}")
    plan = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert [(stage["schedule"], stage["warmup"]) for stage in plan["stages"]] == [("poly", 3)] * 2
    for name in ("whole", "killed"):
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        rates = [json.loads(line)["learning_rate"] for line in lines]  # of the last steps of 6, 12 and 6
        np.testing.assert_allclose(rates, [1e-3 * (7 / 9) ** 0.9, 1e-3 * (1 / 9) ** 0.9, 1e-3 * (1 / 3) ** 0.9])


def test_a_run_of_a_version_without_schedules_resumes(stopped):
    plan = json.loads((stopped / "run.json").read_text())
    for stage in plan["stages"]:
        del stage["schedule"], stage["warmup"]
    write_plan(stopped, plan)
    assert main(["finetune", "--resume", str(stopped), "--quiet"]) == 0


def test_a_warm_up_longer_than_a_stage_is_refused_before_training(run_folder, voc, tmp_path, capsys):
    arguments = scheduled(voc, run_folder, "--warmup", "6")
    assert main([*arguments, "--output", str(tmp_path / "run")]) == 2
    err = capsys.readouterr().err
    assert "fcn16s: warm-up of 6 steps: there are 6 steps in all" in err and err.count("\n") == 1
    assert not list(tmp_path.rglob("*.params"))
    assert main([*scheduled(voc, run_folder, "--warmup", "-1"), "--output", str(tmp_path / "run")]) == 2
    assert "--warmup -1: expected 0 or more" in capsys.readouterr().err

"""Options of earlier versions: each means what its name of today means, and --help does not show it."""

import argparse
import importlib
import json
import re
from dataclasses import asdict

import pytest
from conftest import finetune

from fcnxs import FCNXSError
from fcnxs.checkpoint import Meta
from fcnxs.compat import mxnet as mx
from fcnxs.finetune.run_folder import write_plan
from fcnxs.tools.finetuning.run_options import restored
from fcnxs.tools.main import COMMANDS, main, parse
from fcnxs.tools.shared.devices import device, processors_shared_by

NEEDED = {
    "finetune": ["--data=d", "--prefix=p", "--epoch=0", "--output=o"],
    "evaluate": ["--prefix=p", "--data=d"],
    "segment": ["--prefix=p", "a.jpg", "--output=o"],
    "report": ["run"],
    "export": ["--prefix=p", "--output=o"],
    "explain": ["fcn8s"],
    "benchmark": ["infer"],
    "import-data": ["source", "target"],
    "launch": ["--", "true"],
}
FORMER = [
    *(
        (command, ["--gpus", "1"], ["--device", "gpu:1"])
        for command in ("finetune", "evaluate", "segment", "report", "demo", "benchmark")
    ),
    ("finetune", ["--gpus=2,0"], ["--device=gpu:2,0"]),
    ("finetune", ["--cpus", "3"], ["--device", "cpu:0,1,2"]),
    ("demo", ["--cpus", "1"], ["--device", "cpu:0"]),
    ("finetune", ["--keep", "2"], ["--keep-epochs", "2"]),
    ("finetune", ["--random-mirror"], ["--random-flip"]),
    ("finetune", ["--mirror"], ["--recompute"]),
    ("finetune", ["--no-mirror"], ["--no-recompute"]),
    ("export", ["--keep", "fc6,score*"], ["--keep-layers", "fc6,score*"]),
    ("export", ["--size", "375x500"], ["--image-size", "500x375"]),
    ("export", ["--size", "dynamic"], ["--image-size", "dynamic"]),
    ("export", ["--size", "dynamic"], []),
    ("explain", ["--size", "500x375"], ["--image-size", "500x375"]),
    ("benchmark", ["--size", "64x48"], ["--image-size", "64x48"]),
    ("benchmark", ["--sizes", "64x48,50x43"], ["--image-sizes", "64x48,50x43"]),
    ("benchmark", ["--images", "3"], ["--num-images", "3"]),
    ("import-data", ["--classes", "car,bus"], ["--keep-classes", "car,bus"]),
    ("launch", ["--num-workers", "2"], ["--num-processes", "2"]),
    ("launch", ["--num-workers", "2"], ["-n", "2"]),
]


def options_of(command, given):
    args = vars(parse([command, *given, *NEEDED.get(command, [])]))
    return {name: value for name, value in args.items() if name not in ("parser", "arguments")}


@pytest.mark.parametrize(("command", "former", "today"), FORMER)
def test_a_former_name_gives_the_same_options(command, former, today):
    assert options_of(command, former) == options_of(command, today)


@pytest.mark.parametrize(("command", "former", "today"), [each for each in FORMER if "dynamic" not in each[1]])
def test_both_names_at_once_are_refused(command, former, today, capsys):
    for both in (former + today, today + former):
        with pytest.raises(SystemExit) as end:
            options_of(command, both)
        err = capsys.readouterr().err
        assert end.value.code == 2 and "not allowed with argument" in err and err.count("\n") == 1


def actions_of(command):
    parser = argparse.ArgumentParser(prog="p")
    importlib.import_module(f"fcnxs.tools.{command.replace('-', '_')}").add_arguments(parser)
    return parser, [action for action in parser._actions if action.option_strings]


def test_former_names_are_hidden_and_each_has_one_of_today():
    found = set()
    for command in COMMANDS:
        parser, actions = actions_of(command)
        shown = {action.dest for action in actions if action.help != argparse.SUPPRESS}
        hidden = [action for action in actions if action.help == argparse.SUPPRESS]
        for action in hidden:
            if action.option_strings == ["--part"]:  # of the benchmarks' own processes
                continue
            assert action.dest in shown
            found.add((command, action.option_strings[0]))
            words = parser.format_help().replace("[", " ").replace("]", " ").split()
            assert not {*action.option_strings} & {*words}, command
    told = {(command, former[0].partition("=")[0]) for command, former, _ in FORMER}
    assert found <= told | {("finetune", "--mirror")}


def test_an_option_s_name_has_one_meaning_in_all_commands():
    """By its form: the metavar says what a value is."""
    forms = {}
    for command in COMMANDS:
        for action in actions_of(command)[1]:
            if action.help != argparse.SUPPRESS:
                for name in action.option_strings:
                    forms.setdefault(name, {}).setdefault(action.metavar, []).append(command)
    several = {name: form for name, form in forms.items() if len(form) > 1}
    # Places to write, numbers or lists of the same thing, and one kind of data set where others can be any.
    assert {*several} <= {"--output", "--data", "--epoch", "--epochs", "--precision", "--image-size"}, several


def test_help_of_an_option_stands_alone():
    for command in COMMANDS:
        for action in actions_of(command)[1]:
            assert action.help and not re.match("of |the same|default|that |instead ", action.help), action


def test_the_order_of_the_former_size_of_an_export_is_told(capsys):
    options_of("export", ["--size", "375x500"])
    assert capsys.readouterr().out == (
        "--size 375x500 is height x width; --image-size 500x375 means the same\n"
    )
    assert options_of("export", ["--size", "375x"])["image_size"] == "375x"  # which the command refuses
    assert not capsys.readouterr().out


def resumed(tmp_path, began, *now):
    """Options of a run that began with some, by its run.json, and is resumed with others."""
    options = {"data": "/d", "prefix": "/p", "epoch": 0, "output": str(tmp_path), **began}
    write_plan(
        tmp_path,
        {"run": "0" * 32, "options": options, "stages": [], "meta": asdict(Meta()), "data": {}, "skipped": {}},
    )
    return restored(parse(["finetune", "--resume", str(tmp_path), *now]))[0]


def test_run_json_of_an_earlier_version_gives_the_options_of_today(tmp_path):
    args = resumed(tmp_path, {"gpus": "0,1", "keep": 2, "mirror": True, "random_mirror": True})
    assert (args.device, args.keep_epochs, args.recompute, args.random_flip) == ("gpu:0,1", 2, True, True)
    assert resumed(tmp_path, {"cpus": 2}).device == "cpu:0,1"
    assert resumed(tmp_path, {"cpus": None, "gpus": "1", "seed": None}).device == "gpu:1"
    assert resumed(tmp_path, {"gpus": "0"}, "--device=cpu").device == "cpu"
    assert resumed(tmp_path, {"cpus": 3}, "--gpus=1").device == "gpu:1"
    assert resumed(tmp_path, {"device": "gpu:3", "keep_epochs": 4}, "--keep=5").keep_epochs == 5


@pytest.mark.parametrize(
    ("began", "now", "told"),
    [
        ({"seed": 2, "keep": 2}, "--seed=3", "--seed 3: the run in .* began with 2;"),
        ({}, "--no-trim", "--no-trim: the run in .* began without it;"),
        ({}, "--random-mirror", "--random-flip: the run in .* began without it;"),
        (
            {"operators": ["Custom"]},
            "--allow-operator=Pad",
            "--allow-operator Pad: the run in .* with .*Custom",
        ),
        ({}, "--ignore-label=11", "--ignore-label 11: the run in .* began without it;"),
    ],
)
def test_an_option_that_a_run_did_not_begin_with_is_told_as_it_is_written(began, now, told, tmp_path):
    with pytest.raises(FCNXSError, match=told):
        resumed(tmp_path, began, now)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cpus": 10**9}, "options.cpus"),
        ({"cpus": 0}, "options.cpus"),
        ({"cpus": "2"}, "options.cpus"),
        ({"gpus": 1}, "options.gpus"),
        ({"keep": "2"}, "options.keep_epochs"),
        ({"device": 1}, "options.device"),
    ],
)
def test_run_json_with_other_values_is_refused(options, told, tmp_path):
    with pytest.raises(FCNXSError, match=f"run.json: not the record of a run of this version, .*{told}"):
        resumed(tmp_path, options)


def test_a_run_of_an_earlier_version_goes_on(voc, run_folder, tmp_path):
    run = tmp_path / "run"
    command = [
        *finetune(voc, run_folder),
        "--stages",
        "fcn32s",
        "--epochs",
        "1",
        "--no-val",
        "--output",
        str(run),
    ]
    assert main([*command, "--device", "cpu:0,1", "--keep-epochs", "1"]) == 0
    plan = json.loads((run / "run.json").read_text())
    assert plan["options"].pop("device") == "cpu:0,1" and plan["options"].pop("keep_epochs") == 1
    plan["options"].update(cpus=2, keep=1)
    write_plan(run, plan)
    assert main(["finetune", "--resume", str(run)]) == 0


def test_one_device_is_asked_for_where_one_computes(monkeypatch):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 2)
    assert device("cpu") == mx.cpu(0) and device("gpu:1") == mx.gpu(1)
    with pytest.raises(FCNXSError, match="--device gpu:1,0: this command computes on one device; give gpu:1"):
        device("gpu:1,0")
    assert [processors_shared_by(each) for each in (None, "cpu", "cpu:0,1", "gpu:0,1")] == [1, 1, 2, 1]

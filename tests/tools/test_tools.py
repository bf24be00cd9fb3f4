"""The commands, as a user runs them."""

import json
import re

import mxnet as mx
import numpy as np
import pytest
from conftest import FC, WIDTH, random_params
from PIL import Image

from fcnxs import FCNXSError, checkpoint
from fcnxs.data import reader
from fcnxs.finetune import make_solver
from fcnxs.score import NAMES
from fcnxs.stages import RECIPES
from fcnxs.symbols import get_fcn32s_symbol
from fcnxs.tools import finetune as finetune_command
from fcnxs.tools.main import COMMANDS, main, parse
from fcnxs.tools.shared.devices import device
from fcnxs.vis import voc_palette

CLASSES = ["background", "disc", "square", "triangle", "star"]


def test_convert_writes_trunk_parameters_and_meta(run_folder, caffemodel, tmp_path, capsys):
    assert main(["convert", str(caffemodel), str(tmp_path / "again")]) == 0
    out = capsys.readouterr().out
    assert "fc8[0] (7, 16)" in out and "dropped: the classifier's scores" in out and "BGR to RGB" in out
    assert f"VGG-16 of width {WIDTH:g} and fc {FC}" in out
    symbol, args, auxs = mx.model.load_checkpoint(str(run_folder / "vgg"), 0)
    assert symbol.list_outputs() == ["relu7_output"] and len(args) == 30 and auxs == {}
    meta = json.loads((run_folder / "vgg-meta.json").read_text())
    assert meta["mean"] == [123.68, 116.779, 103.939] and meta["classes"] is None
    assert meta["source"] == checkpoint.source_of(caffemodel) and meta["ignore_label"] == 255


def test_finetune_writes_checkpoints_metrics_and_summary(run_folder):
    run = run_folder / "run"
    files = {file.name for file in run.iterdir()}
    stages = {
        f"{stage}-{end}" for stage in ("fcn32s", "fcn16s", "fcn8s") for end in ("symbol.json", "meta.json")
    }
    stages |= {file.replace("-", "-best-") for file in stages}
    params = {"fcn32s-0001.params", "fcn32s-0002.params", "fcn16s-0001.params", "fcn8s-0001.params"}
    params |= {f"{stage}-best-0000.params" for stage in ("fcn32s", "fcn16s", "fcn8s")}
    last = {"fcn32s": ("0002-000006", "0003-000000")}  # before the last evaluation, and after it
    last.update(dict.fromkeys(("fcn16s", "fcn8s"), ("0001-000006", "0002-000000")))
    states = {f"{stage}-last.{at}.{end}" for stage in last for at in last[stage] for end in ("json", "state")}
    assert files == stages | params | states | {"metrics.jsonl", "summary.json", "run.json", "run.log"}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in lines] == [
        ("fcn32s", 1),
        ("fcn32s", 2),
        ("fcn16s", 1),
        ("fcn8s", 1),
    ]
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary) == {"stages"}
    for row, line in zip(summary["stages"], (lines[1], lines[2], lines[3])):
        assert set(row) == {"name", "epoch", "seconds", *NAMES}
        assert row["name"] == line["stage"] and row["epoch"] == line["epoch"]
        assert all(row[name] == line[name] for name in NAMES)
    meta = checkpoint.load(run / "fcn8s", 1).meta
    assert meta.classes == CLASSES and meta.palette == voc_palette(5)
    assert meta.source["file"] == "vgg-0000.params"


def test_each_stage_starts_from_the_one_before(run_folder):
    """Adam moves a weight by at most about its rate a step: six steps, 5e-4 each."""
    load = [checkpoint.load(run_folder / "run" / name, epoch) for name, epoch in (("fcn32s", 2), ("fcn16s", 1))]
    before, after = (c.arg_params["conv3_1_weight"].asnumpy() for c in load)
    assert 0 < np.abs(after - before).max() < 6 * 5e-4 * 3.2
    bias = load[1].arg_params["score_pool4_bias"].asnumpy()
    assert 0 < np.abs(bias).max() < 6 * 5e-4 * 3.2  # was zero


def test_stages_keep_the_parent_s_pooling_convention_unless_told(run_folder, caffemodel, voc, tmp_path):
    def run(prefix, output, *more):
        arguments = ["--prefix", str(prefix), "--epoch", "0" if "vgg" in str(prefix) else "1", *more]
        arguments += [
            "--data",
            str(voc),
            "--num-classes",
            "5",
            "--output",
            str(tmp_path / output),
            "--epochs",
            "1",
        ]
        assert main(["finetune", *arguments]) == 0

    def rounds_up(prefix):
        return '"pooling_convention": "full"' in (tmp_path / f"{prefix}-symbol.json").read_text()

    run(run_folder / "vgg", "full", "--stages", "fcn32s", "--pooling-convention", "full")
    run(tmp_path / "full" / "fcn32s", "child", "--stages", "fcn16s")
    run(tmp_path / "full" / "fcn32s", "changed", "--stages", "fcn16s", "--pooling-convention", "valid")
    assert [rounds_up(p) for p in ("full/fcn32s", "child/fcn16s", "changed/fcn16s")] == [True, True, False]


def test_segment_writes_palette_masks_and_overlays_and_names_what_fails(run_folder, voc, tmp_path, capsys):
    images = sorted((voc / "JPEGImages").glob("val_*.jpg"))
    (tmp_path / "bad.jpg").write_text("no picture")
    Image.new("RGB", (9, 9)).save(tmp_path / "tiny.png")
    prefix = [
        "--prefix",
        str(run_folder / "run" / "fcn32s"),
        "--epoch",
        "2",
        "--output",
        str(tmp_path / "masks"),
    ]
    files = [images[0], tmp_path / "bad.jpg", tmp_path / "tiny.png", images[1]]
    assert main(["segment", *prefix, *map(str, files)]) == 1
    err = capsys.readouterr().err.splitlines()
    assert "bad.jpg: not an image" in err[0] and "tiny.png: 9x9 pixels is too small" in err[1]
    assert err[2:] == ["fcnxs: 2 of 4 failed:", f"  {files[1]}", f"  {files[2]}"]
    written = sorted(file.name for file in (tmp_path / "masks").iterdir())
    assert written == [f"val_000{i}{end}.png" for i in (0, 1) for end in ("", "_overlay")]
    for image in images[:2]:
        mask, overlay = (Image.open(tmp_path / "masks" / f"{image.stem}{end}.png") for end in ("", "_overlay"))
        assert mask.mode == "P" and overlay.mode == "RGB"
        assert mask.size == overlay.size == Image.open(image).size
        assert mask.getpalette()[:15] == [value for entry in voc_palette(5) for value in entry]
    assert main(["segment", *prefix, str(images[0])]) == 0
    assert main(["segment", *prefix, str(images[0]), str(tmp_path / "val_0000.png")]) == 2
    assert "masks/val_0000.png; use different folders" in capsys.readouterr().err


def test_export_says_the_difference(run_folder, tmp_path, capsys):
    prefix = str(run_folder / "run" / "fcn16s")
    assert main(["export", "--prefix", prefix, "--epoch", "1", "--output", str(tmp_path / "net")]) == 0
    assert "largest difference of a probability" in capsys.readouterr().out
    symbol, args, _ = mx.model.load_checkpoint(str(tmp_path / "net"), 0)
    assert set(symbol.list_arguments()) - set(args) == {"data"}


def test_an_fcn_is_a_parent_and_later_runs_add_to_the_summary(run_folder, voc, tmp_path):
    images = sorted((voc / "JPEGImages").glob("train_*.jpg"))  # in a list, which has no classes.txt and no val
    labels = [voc / "SegmentationClass" / f"{image.stem}.png" for image in images]
    data = tmp_path / "train.lst"
    data.write_text("".join(f"0\t{image}\t{label}\n" for image, label in zip(images, labels)))
    for stage, parent, epoch in (("fcn32s", run_folder / "vgg", 0), ("fcn16s", tmp_path / "fcn32s", 1)):
        arguments = ["--data", str(data), "--output", str(tmp_path), "--stages", stage, "--epochs", "1"]
        if epoch == 0:
            arguments += ["--num-classes", "5"]
        assert main(["finetune", "--prefix", str(parent), "--epoch", str(epoch), *arguments]) == 0
    rows = json.loads((tmp_path / "summary.json").read_text())["stages"]
    assert [row["name"] for row in rows] == ["fcn32s", "fcn16s"]
    assert all(row[name] is None for row in rows for name in NAMES)  # no validation data
    assert checkpoint.load(tmp_path / "fcn16s", 1).meta.classes == [f"class {i}" for i in range(5)]


@pytest.mark.usefixtures("in_process")
def test_the_mean_belongs_to_the_checkpoint(run_folder, voc, tmp_path, monkeypatch):
    """A parent with the mean of Caffe's FCNs hands it down to training, segmentation and export."""
    mean = (122.67892, 116.66877, 104.00699)
    parent = checkpoint.load(run_folder / "run" / "fcn32s", 2)
    meta = checkpoint.Meta(parent.meta.classes, parent.meta.palette, mean)
    used = []
    preprocess = reader.preprocess
    monkeypatch.setattr(reader, "preprocess", lambda image, mean: used.append(mean) or preprocess(image, mean))
    checkpoint.save(tmp_path / "p", 0, parent.symbol, parent.arg_params, {}, meta)
    arguments = ["--data", str(voc), "--stages", "fcn16s", "--epochs", "1", "--output", str(tmp_path / "run")]
    arguments.append("--no-val")
    assert main(["finetune", "--prefix", str(tmp_path / "p"), "--epoch", "0", *arguments]) == 0
    net = str(tmp_path / "run" / "fcn16s")
    assert main(["export", "--prefix", net, "--epoch", "1", "--output", str(tmp_path / "out")]) == 0
    for prefix, epoch in ((net, 1), (tmp_path / "out", 0)):
        assert checkpoint.load(prefix, epoch).meta.mean == mean
    assert main(["evaluate", "--prefix", net, "--epoch", "1", "--data", str(voc)]) == 0
    assert len(used) == 6 + 3 and set(used) == {mean}


@pytest.mark.parametrize("recipe", ["mxnet", "caffe", "adam"])
def test_the_solver_gets_the_settings_of_its_stage(recipe):
    symbol = get_fcn32s_symbol(3, width=WIDTH, fc=FC)
    for stage in RECIPES[recipe].values():
        solver = make_solver(stage, symbol, random_params(symbol), {}, mx.cpu())
        expected = {"learning_rate": stage.learning_rate, "wd": stage.wd, "momentum": stage.momentum}
        assert solver.kwargs == {key: value for key, value in expected.items() if value is not None}
        assert solver.optimizer == stage.optimizer and solver.num_epoch == stage.epochs
        assert solver.fixed == {*stage.fixed} & {*solver.arg_params} and solver.unnormalised == (
            recipe == "caffe"
        )
        biases = {name: 2.0 for name in solver.arg_params if name.endswith("_bias")}
        assert solver.lr_mult == (biases if recipe == "caffe" else {})
        assert solver.wd_mult == (dict.fromkeys(biases, 0.0) if recipe == "caffe" else {})


@pytest.mark.usefixtures("in_process")
def test_a_checkpoint_of_the_original_works_and_the_mean_is_said(voc, tmp_path, capsys):
    symbol = get_fcn32s_symbol(5, width=WIDTH, fc=FC)
    params = {**random_params(symbol), "data": mx.nd.ones((1, 3, 5, 5)), "softmax_label": mx.nd.ones((1, 25))}
    mx.model.save_checkpoint(str(tmp_path / "FCN32s"), 31, symbol, params, {})
    old = ["--prefix", str(tmp_path / "FCN32s"), "--epoch", "31"]
    image = str(voc / "JPEGImages" / "val_0000.jpg")
    for command in (
        ["segment", *old, image, "--output", str(tmp_path / "masks")],
        ["evaluate", *old, "--data", str(voc)],
        ["export", *old, "--output", str(tmp_path / "out")],
        [
            "finetune",
            *old,
            "--data",
            str(voc),
            "--output",
            str(tmp_path / "run"),
            "--stages",
            "fcn16s",
            "--epochs",
            "1",
        ],
    ):
        assert main(command) == 0
        said = "FCN32s-meta.json is missing: using the original example's mean, RGB (123.68, 116.779, 103.939)"
        assert said in capsys.readouterr().out


def test_gpu_is_gpu_0(monkeypatch):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 2)
    assert device("gpu") == device("gpu:0") == mx.gpu(0) and device("gpu:1") == mx.gpu(1)
    assert device(None) == device("cpu") == mx.cpu()
    with pytest.raises(FCNXSError, match="--device gpu:2: MXNet sees 2 GPUs"):
        device("gpu:2")


def options(*arguments):
    base = ["finetune", "--data", "d", "--prefix", "p", "--epoch", "0", "--output", "o"]
    return finetune_command.plan(parse([*base, *arguments]))


def test_recipes_have_the_published_settings():
    mxnet, caffe, adam = (options("--recipe", name) for name in ("mxnet", "caffe", "adam"))
    assert [stage.name for stage in mxnet] == ["fcn32s", "fcn16s", "fcn8s"]
    assert [stage.learning_rate for stage in mxnet] == [1e-4, 1e-5, 1e-6]
    assert [stage.learning_rate for stage in caffe] == [1e-10, 1e-12, 1e-14]
    assert {(stage.momentum, stage.wd, stage.optimizer) for stage in mxnet + caffe} == {(0.99, 5e-4, "sgd")}
    assert {stage.fixed for stage in mxnet} == {("bigscore_weight",)}
    assert {stage.fixed for stage in caffe} == {("bigscore_weight", "score2_weight", "score4_weight")}
    assert {(stage.optimizer, stage.momentum) for stage in adam} == {("adam", None)}
    rules = caffe[0].multipliers(["fc6_bias", "fc6_weight"])
    assert rules == {"lr_mult": {"fc6_bias": 2.0}, "wd_mult": {"fc6_bias": 0.0}}
    assert mxnet[0].multipliers(["fc6_bias"]) == {"lr_mult": {}, "wd_mult": {}}
    assert options() == mxnet


def test_options_override_the_recipe():
    assert [stage.learning_rate for stage in options("--lr", "3e-4,2e-4,1e-4")] == [3e-4, 2e-4, 1e-4]
    assert [stage.learning_rate for stage in options("--lr", "1e-3")] == pytest.approx([1e-3, 1e-4, 1e-5])
    assert [stage.epochs for stage in options("--epochs", "3")] == [3, 3, 3]
    stages = options(
        "--stages", "fcn32s,fcn8s", "--epochs", "3,4", "--optimizer", "nag", "--momentum", "0.5", "--wd", "0"
    )
    assert [(s.name, s.epochs, s.optimizer, s.momentum, s.wd) for s in stages] == [
        ("fcn32s", 3, "nag", 0.5, 0),
        ("fcn8s", 4, "nag", 0.5, 0),
    ]
    assert options("--optimizer", "rmsprop")[0].momentum is None


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_worked_example(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert re.search(rf"Examples?:\n    fcnxs {command}", capsys.readouterr().out)

"""The commands, as a user runs them: whole runs, and mistakes."""

import json
import os
import signal
import subprocess
import sys
import time

import mxnet as mx
import numpy as np
import pytest
from conftest import FC, WIDTH, random_params
from PIL import Image

from fcnxs import FCNXSError, checkpoint, data
from fcnxs.finetune import make_solver
from fcnxs.score import NAMES
from fcnxs.stages import RECIPES
from fcnxs.symbols import get_fcn32s_symbol
from fcnxs.tools import finetune as finetune_command
from fcnxs.tools.demo import demo
from fcnxs.tools.main import COMMANDS, main, parse
from fcnxs.tools.options import device
from fcnxs.vis import save_mask, voc_palette

CLASSES = ["background", "disc", "square", "triangle", "star"]


@pytest.fixture(scope="module")
def run_folder(caffemodel, voc, tmp_path_factory):
    """What convert and then finetune make, with one epoch each."""
    folder = tmp_path_factory.mktemp("run")
    assert main(["convert", str(caffemodel), str(folder / "vgg")]) == 0
    assert main(finetune(voc, folder, "--val-split", "val", "--epochs", "2,1,1", "--seed", "3")) == 0
    return folder


def finetune(voc, folder, *more):
    return [
        *(
            "finetune",
            "--data",
            str(voc),
            "--classes",
            str(voc / "classes.txt"),
            "--prefix",
            str(folder / "vgg"),
        ),
        *("--epoch", "0", "--output", str(folder / "run"), "--recipe", "adam", *more),
    ]


def test_convert_writes_trunk_parameters_and_meta(run_folder, caffemodel, capsys):
    assert main(["convert", str(caffemodel), str(run_folder / "again")]) == 0
    out = capsys.readouterr().out
    assert "fc8[0] (7, 16)" in out and "dropped: the classifier's scores" in out and "BGR to RGB" in out
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
    params = {"fcn32s-0001.params", "fcn32s-0002.params", "fcn16s-0001.params", "fcn8s-0001.params"}
    assert files == stages | params | {"metrics.jsonl", "summary.json"}
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


def test_evaluate_gives_the_scores_of_training(run_folder, voc, tmp_path, capsys):
    prefix = str(run_folder / "run" / "fcn8s")
    code = main(
        ["evaluate", "--prefix", prefix, "--epoch", "1", "--data", str(voc), "--json", str(tmp_path / "s")]
    )
    assert code == 0
    result = json.loads((tmp_path / "s").read_text())
    row = json.loads((run_folder / "run" / "summary.json").read_text())["stages"][2]
    for name in NAMES:
        assert result[name] == pytest.approx(row[name], abs=1e-6)
    assert [entry["class"] for entry in result["per_class"]] == CLASSES and result["images"] == 3
    out = capsys.readouterr().out
    assert "star" in out and f"{result['mean_iu']:.4f}" in out


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
    assert len(err) == 3
    written = sorted(file.name for file in (tmp_path / "masks").iterdir())
    assert written == [f"val_000{i}{end}.png" for i in (0, 1) for end in ("", "_overlay")]
    for image in images[:2]:
        mask, overlay = (Image.open(tmp_path / "masks" / f"{image.stem}{end}.png") for end in ("", "_overlay"))
        assert mask.mode == "P" and overlay.mode == "RGB"
        assert mask.size == overlay.size == Image.open(image).size
        assert mask.getpalette()[:15] == [value for entry in voc_palette(5) for value in entry]
    assert main(["segment", *prefix, str(images[0])]) == 0
    assert main(["segment", *prefix, str(images[0]), str(tmp_path / "val_0000.png")]) == 2
    assert "masks/val_0000.png; segment them into different folders" in capsys.readouterr().err


def test_export_says_the_difference(run_folder, tmp_path, capsys):
    prefix = str(run_folder / "run" / "fcn16s")
    assert main(["export", "--prefix", prefix, "--epoch", "1", "--output", str(tmp_path / "net")]) == 0
    assert "largest difference of a probability" in capsys.readouterr().out
    symbol, args, _ = mx.model.load_checkpoint(str(tmp_path / "net"), 0)
    assert set(symbol.list_arguments()) - set(args) == {"data"}


def test_an_fcn_is_a_parent_and_later_runs_add_to_the_summary(run_folder, voc, tmp_path):
    for stage, parent, epoch in (("fcn32s", run_folder / "vgg", 0), ("fcn16s", tmp_path / "fcn32s", 1)):
        arguments = ["--data", str(voc), "--output", str(tmp_path), "--stages", stage, "--epochs", "1"]
        if epoch == 0:
            arguments += ["--num-classes", "5"]
        assert main(["finetune", "--prefix", str(parent), "--epoch", str(epoch), *arguments]) == 0
    rows = json.loads((tmp_path / "summary.json").read_text())["stages"]
    assert [row["name"] for row in rows] == ["fcn32s", "fcn16s"]
    assert all(row[name] is None for row in rows for name in NAMES)  # no validation data
    assert checkpoint.load(tmp_path / "fcn16s", 1).meta.classes == [f"class {i}" for i in range(5)]


def test_the_mean_belongs_to_the_checkpoint(run_folder, voc, tmp_path, monkeypatch):
    """A parent with the mean of Caffe's FCNs hands it down to training, segmentation and export."""
    mean = (122.67892, 116.66877, 104.00699)
    parent = checkpoint.load(run_folder / "run" / "fcn32s", 2)
    meta = checkpoint.Meta(parent.meta.classes, parent.meta.palette, mean)
    used = []
    preprocess = data.preprocess
    monkeypatch.setattr(data, "preprocess", lambda image, mean: used.append(mean) or preprocess(image, mean))
    checkpoint.save(tmp_path / "p", 0, parent.symbol, parent.arg_params, {}, meta)
    arguments = ["--data", str(voc), "--stages", "fcn16s", "--epochs", "1", "--output", str(tmp_path / "run")]
    assert main(["finetune", "--prefix", str(tmp_path / "p"), "--epoch", "0", *arguments]) == 0
    net = str(tmp_path / "run" / "fcn16s")
    assert main(["export", "--prefix", net, "--epoch", "1", "--output", str(tmp_path / "out")]) == 0
    for prefix, epoch in ((net, 1), (tmp_path / "out", 0)):
        assert checkpoint.load(prefix, epoch).meta.mean == mean
    assert main(["evaluate", "--prefix", net, "--epoch", "1", "--data", str(voc)]) == 0
    assert len(used) > 6 + 3 and set(used) == {mean}


@pytest.mark.parametrize("recipe", ["mxnet", "caffe", "adam"])
def test_the_solver_gets_the_settings_of_its_stage(recipe):
    symbol = get_fcn32s_symbol(3, width=WIDTH, fc=FC)
    for stage in RECIPES[recipe].values():
        solver = make_solver(stage, symbol, random_params(symbol), {}, mx.cpu())
        expected = {"learning_rate": stage.learning_rate, "wd": stage.wd, "momentum": stage.momentum}
        assert solver.kwargs == {key: value for key, value in expected.items() if value is not None}
        assert solver.optimizer == stage.optimizer and solver.num_epoch == stage.epochs
        assert solver.fixed == set(stage.fixed) and solver.unnormalised == (recipe == "caffe")
        biases = {name: 2.0 for name in solver.arg_params if name.endswith("_bias")}
        assert solver.lr_mult == (biases if recipe == "caffe" else {})
        assert solver.wd_mult == (dict.fromkeys(biases, 0.0) if recipe == "caffe" else {})


def test_a_run_that_diverges_stops_and_names_the_image(run_folder, voc, tmp_path, capsys):
    arguments = finetune(voc, run_folder, "--output", str(tmp_path), "--lr", "1e9", "--epochs", "3")
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "not finite" in err and "try a smaller --lr than 1e+09" in err and err.count("\n") == 1
    for file in tmp_path.glob("*.params"):  # those of epochs before it are whole
        assert all(np.isfinite(array.asnumpy()).all() for array in mx.nd.load(str(file)).values())


def test_labels_of_255_alone_stop_the_run(run_folder, voc, tmp_path, capsys):
    image = sorted((voc / "JPEGImages").glob("train_*.jpg"))[0]
    save_mask(tmp_path / "label.png", np.full(Image.open(image).size[::-1], 255), voc_palette())
    (tmp_path / "void.lst").write_text(f"0\t{image}\tlabel.png\n")
    void = ["--data", str(tmp_path / "void.lst"), "--output", str(tmp_path / "run")]
    assert main(finetune(voc, run_folder, *void)) == 2
    assert "every pixel of the training labels is 255" in capsys.readouterr().err


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
        said = "FCN32s-meta.json is not there: taking the original's mean, RGB (123.68, 116.779, 103.939)"
        assert said in capsys.readouterr().out


def test_gpus_0_is_a_gpu(monkeypatch):
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 2)
    assert device("0") == mx.gpu(0) and device("1") == mx.gpu(1)
    assert device(None) == mx.cpu()
    with pytest.raises(FCNXSError, match="--gpus 2: MXNet sees 2 GPUs"):
        device("2")


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


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--stages", "fcn4s"], "--stages fcn4s: want some of fcn32s,fcn16s,fcn8s"),
        (["--stages", "fcn16s,fcn32s"], "fcn32s cannot start from fcn16s, which has more layers"),
        (["--stages", "fcn8s,fcn8s"], "--stages fcn8s,fcn8s: want"),
        (["--lr", "1e-3,1e-4"], "--lr 1e-3,1e-4: want 1 or 3 numbers"),
        (["--lr", "fast"], "--lr fast: want"),
        (["--lr", "nan"], "--lr nan: want"),
        (["--epochs", "0"], "--epochs 0: want"),
        (["--epochs", "1.5"], "--epochs 1.5: want"),
        (["--momentum", "0.9"], "--momentum 0.9: the optimizer adam has none"),
        (["--momentum", "1.5", "--optimizer", "sgd"], "--momentum 1.5: want a number from 0 to below 1"),
        (["--optimizer", "magic"], "--optimizer magic: want one of adadelta"),
        (["--seed", "-1"], "--seed -1: want"),
        (["--gpus", "99"], "--gpus 99: MXNet sees"),
        (["--gpus", "x"], "--gpus x: want the number"),
        (["--num-classes", "5"], "--classes and --num-classes: give one"),
        (["--split", "nix"], "nix.txt: no such file"),
        (["--val", "nix.lst"], "nix.lst: cannot read this list"),
        (["--val", "nix.lst", "--val-split", "val"], "--val and --val-split: give one"),
        (["--prefix", "nix"], "nix-symbol.json: no such file"),
        (["--epoch", "7"], "vgg-0007.params: no such file"),
        (["--classes", "nix"], "--classes nix: cannot read it"),
        (["--cut-off-size", "0"], "--cut-off-size 0: want"),
        (["--cut-off-size", "20"], ".jpg: 20x20 pixels is too small; the smallest for this net is 26x26"),
    ],
)
def test_a_mistake_ends_in_one_line_and_exit_code_2(more, message, run_folder, voc, tmp_path, capsys):
    arguments = [*finetune(voc, run_folder), *more, "--output", str(tmp_path / "run")]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.err.startswith("fcnxs: ")
    assert not list(tmp_path.rglob("*.params")) and not list(tmp_path.rglob(".*"))


def test_more_mistakes(run_folder, voc, caffemodel, tmp_path, capsys):
    net = ["--prefix", str(run_folder / "run" / "fcn8s"), "--epoch", "1"]
    vgg = ["--prefix", str(run_folder / "vgg"), "--epoch", "0"]
    (tmp_path / "two.txt").write_text("a\nb\n")
    (tmp_path / "bad.caffemodel").write_bytes(caffemodel.read_bytes()[:5000])
    (tmp_path / "lst.lst").write_text("0\ta\tb\n")
    again = finetune(voc, run_folder, "--epochs", "1")
    for arguments, message in (
        (
            ["convert", str(tmp_path / "bad.caffemodel"), str(tmp_path / "o")],
            "bad.caffemodel: not a caffemodel, or cut",
        ),
        (["convert", "nix", str(tmp_path / "o")], "nix: cannot read this caffemodel: No such file"),
        (again, "fcn32s-0001.params is there already; choose another --output"),
        (
            ["evaluate", *net, "--data", str(voc), "--classes", str(tmp_path / "two.txt")],
            "two.txt: 2 classes, but",
        ),
        (["evaluate", *net, "--data", str(tmp_path / "lst.lst"), "--split", "val"], "--split val:"),
        (["evaluate", *vgg, "--data", str(voc)], "ends in Activation 'relu7', not in one softmax"),
        (["evaluate", *net, "--data", str(tmp_path / "lst.lst")], "a: no such file"),
        (["export", *vgg, "--output", str(tmp_path / "o")], "ends in Activation 'relu7'"),
        (["demo", "--output", str(voc)], "is there already and not empty"),
        ([*again[:-1], "1", "--output", str(tmp_path / "two.txt" / "run")], "two.txt/run"),
    ):
        assert main(arguments) == 2, arguments
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1, err
    assert not list(tmp_path.glob("o*"))
    wrong = finetune(voc, run_folder)
    wrong[wrong.index(str(run_folder / "vgg"))] = str(run_folder / "run" / "fcn32s")
    wrong[wrong.index("0")] = "2"
    wrong[wrong.index(str(voc / "classes.txt"))] = str(tmp_path / "two.txt")
    assert main([*wrong, "--output", str(tmp_path / "x")]) == 2
    assert "is an fcn32s for 5 classes, not 2; start from VGG-16" in capsys.readouterr().err


def test_labels_out_of_range_stop_the_run_by_file_and_value(run_folder, voc, tmp_path, capsys):
    image = sorted((voc / "JPEGImages").glob("train_*.jpg"))[0]
    save_mask(tmp_path / "label.png", np.full(Image.open(image).size[::-1], 77), voc_palette())
    (tmp_path / "bad.lst").write_text(f"0\t{image}\tlabel.png\n")
    arguments = finetune(
        voc, run_folder, "--data", str(tmp_path / "bad.lst"), "--output", str(tmp_path / "run")
    )
    assert main(arguments) == 2
    assert "label.png: value 77 in" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_worked_example(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"Example:\n    fcnxs {command}" in capsys.readouterr().out


def test_wrong_usage_is_exit_code_2(capsys):
    for arguments in ([], ["fly"], ["evaluate"], ["convert", "a", "b", "c"], ["segment", "--epoch", "x"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        err = capsys.readouterr().err
        assert ended.value.code == 2 and err.startswith("fcnxs: ") and err.count("\n") == 1


def test_segment_never_writes_over_an_image(run_folder, tmp_path, capsys):
    Image.new("RGB", (40, 40), (9, 9, 9)).save(tmp_path / "photo.png")
    prefix = ["--prefix", str(run_folder / "run" / "fcn32s"), "--epoch", "2"]
    assert main(["segment", *prefix, str(tmp_path / "photo.png"), "--output", str(tmp_path)]) == 2
    assert "would write over the image" in capsys.readouterr().err
    assert Image.open(tmp_path / "photo.png").mode == "RGB" and len(list(tmp_path.iterdir())) == 1


def test_a_checkpoint_of_other_shapes_is_refused(run_folder, voc, tmp_path, capsys):
    source = checkpoint.load(run_folder / "run" / "fcn32s", 2)
    source.arg_params["fc7_bias"] = mx.nd.zeros((3,))
    checkpoint.save(tmp_path / "net", 0, source.symbol, source.arg_params, {}, source.meta)
    net, image = ["--prefix", str(tmp_path / "net"), "--epoch", "0"], str(voc / "JPEGImages" / "val_0000.jpg")
    for command in (
        ["segment", *net, image, "--output", str(tmp_path / "o")],
        ["export", *net, "--output", str(tmp_path / "o")],
        ["finetune", *net, "--data", str(voc), "--output", str(tmp_path / "o")],
    ):
        assert main(command) == 2
        assert (
            "net-0000.params: parameter fc7_bias is float32 (3,), but the net needs" in capsys.readouterr().err
        )
    assert not list(tmp_path.glob("o*"))


def test_nohup_is_respected(caffemodel, tmp_path):
    code = (
        "import os, signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from fcnxs.tools.main import main; "
        f"code = main(['convert', {str(caffemodel)!r}, {str(tmp_path / 'vgg')!r}]); "
        "os.kill(os.getpid(), signal.SIGHUP); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.endswith("alive\n") and done.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_with_128_and_its_number_and_leaves_whole_files(number, run_folder, voc, tmp_path):
    arguments = finetune(voc, run_folder, "--epochs", "500", "--output", str(tmp_path))
    process = subprocess.Popen([sys.executable, "-m", "fcnxs", *arguments], stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 60
    while not list(tmp_path.glob("fcn32s-0003.params")) and time.time() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err.count("\n") == 1 and ("SIGTERM" in err or "interrupted" in err)
    assert not list(tmp_path.glob(".*"))
    for epoch in range(1, len(list(tmp_path.glob("*.params"))) + 1):
        assert len(checkpoint.load(tmp_path / "fcn32s", epoch).arg_params) == 33


def test_output_into_a_closed_pipe_is_no_traceback(caffemodel, tmp_path):
    command = f"{sys.executable} -m fcnxs convert {caffemodel} {tmp_path}/vgg | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env={**os.environ})
    assert "Traceback" not in done.stderr and done.returncode in (0, 128 + signal.SIGPIPE)


def test_demo_makes_what_it_says(tmp_path, capsys):
    """With few pictures; `.ci/run` runs the whole of it."""
    assert demo(tmp_path / "demo", train=12, val=6, epochs=(2, 1, 1)) == 0
    out = capsys.readouterr().out
    for command in ("convert", "finetune", "evaluate", "export"):
        assert f"$ fcnxs {command} " in out
    assert Image.open(tmp_path / "demo" / "comparison.png").size[0] > 5 * 160
    rows = json.loads((tmp_path / "demo" / "run" / "summary.json").read_text())["stages"]
    assert [row["name"] for row in rows] == ["fcn32s", "fcn16s", "fcn8s"]
    assert (tmp_path / "demo" / "deploy" / "fcn8s-symbol.json").is_file()
    assert len(list((tmp_path / "demo" / "pictures" / "JPEGImages").iterdir())) == 18

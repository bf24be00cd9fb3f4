"""The command convert: what it refuses, and what --verify is able to see."""

import re
import shutil

import numpy as np
from conftest import as_checkpoint, photo
from PIL import Image

from fcnxs import checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.convert.conversion import read
from fcnxs.convert.verify import compare, verify
from fcnxs.tools.main import main


def test_verify_finds_a_difference_and_nothing_is_written(caffemodel, tmp_path, capsys, monkeypatch):
    """The channel order of the first layer is what a conversion most easily gets wrong."""
    image = tmp_path / "photo.png"
    Image.fromarray(photo()).save(image)
    out = tmp_path / "out"
    arguments = ["convert", str(caffemodel), str(out / "vgg"), "--verify", str(image)]
    monkeypatch.setattr("fcnxs.convert.arrays.FIRST", {"conv1": 96})
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert "differs in its scores; nothing was written" in captured.err and "largest difference" in captured.out
    assert not out.exists()
    monkeypatch.undo()
    assert main(arguments) == 0
    assert sorted(file.name for file in out.iterdir()) == [
        "vgg-0000.params",
        "vgg-meta.json",
        "vgg-symbol.json",
    ]


def test_a_conversion_takes_no_other_net_s_place(caffemodel, run_folder, tmp_path, capsys):
    """Neither its source's, nor that of a run, whose parameters would be left without their symbol."""
    run = tmp_path / "run"
    shutil.copytree(run_folder / "run", run)
    before = {file: file.read_bytes() for file in run.iterdir()}
    assert main(["convert", str(caffemodel), str(run / "fcn8s"), "--overwrite"]) == 2
    assert "fcn8s-symbol.json: belongs to another net, with fcn8s-0001.params" in capsys.readouterr().err
    at = ["--prefix", str(run / "fcn8s"), "--epoch", "1"]
    assert main(["export", *at, "--output", str(run / "fcn16s"), "--overwrite"]) == 2
    assert "fcn16s-symbol.json: belongs to another net" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in run.iterdir()} == before
    named = tmp_path / "vgg-0000.params"
    named.write_bytes(caffemodel.read_bytes())
    assert main(["convert", str(named), str(tmp_path / "vgg")]) == 2
    assert "would be overwritten" in capsys.readouterr().err and named.read_bytes() == caffemodel.read_bytes()
    for _ in range(2):  # one's own may be made anew
        assert main(["convert", str(caffemodel), str(tmp_path / "mine")]) == 0


def test_options_that_do_not_go_together_are_refused(fcn, caffemodel, tmp_path, capsys):
    image, names, out = tmp_path / "photo.png", tmp_path / "names.txt", str(tmp_path / "out" / "net")
    Image.fromarray(photo()).save(image)
    names.write_text("a\nb\nc\nd\ne\nf\ng\n")
    file = str(fcn("fcn32s"))
    for arguments, message in (
        (
            [file, out, "--verify", str(image), "--pooling-convention", "valid"],
            "leave out --pooling-convention",
        ),
        ([str(caffemodel), out, "--classes", str(names)], "7 classes, but .* is VGG-16"),
        ([str(caffemodel), f"{out}/"], "not a prefix; give a folder and a name"),
        ([str(caffemodel), ""], "one of the values: is empty; is a shell variable"),
    ):
        assert main(["convert", *arguments]) == 2
        assert re.search(message, capsys.readouterr().err) and not (tmp_path / "out").exists()
    file = str(fcn("fcn32s"))
    assert main(["convert", file, out, "--classes", str(names)]) == 0
    assert checkpoint.load(out, 0).meta.classes == [*"abcdefg"]
    assert main(["convert", f"{out}-0000.params", str(tmp_path / "again")]) == 2
    assert "already a checkpoint of MXNet; use it with --prefix" in capsys.readouterr().err


def test_verify_runs_the_net_that_was_written(caffemodel, tmp_path):
    """Another symbol under the same parameters is seen, and so is another answer of one pixel."""
    vgg16 = read(caffemodel)
    written = as_checkpoint(vgg16, tmp_path)
    assert verify(caffemodel, vgg16, written, photo()).equal
    written.symbol = mx.sym.load_json(vgg16.symbol.tojson().replace('"act_type": "relu"', '"act_type": "tanh"'))
    assert not verify(caffemodel, vgg16, written, photo()).equal
    scores = np.array([1.0, 2.0, 0.5]).reshape(1, 3, 1, 1)
    assert compare(scores, scores, "itself").equal
    assert not compare(scores[:, ::-1], scores, "another").equal
    tie = np.array([2.0, 2.0, 0.5]).reshape(1, 3, 1, 1)
    assert compare(tie, tie + np.array([0, 1e-6, 0]).reshape(1, 3, 1, 1), "a tie").equal

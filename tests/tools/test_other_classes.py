"""An FCN as the parent of nets for other classes: its VGG-16 is kept, its scores begin anew."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import WIDTH, finetune
from runs import params_of

from fcnxs import FCNXSError, FCNXSWarning, checkpoint, gluon
from fcnxs.convert import read
from fcnxs.data.layouts import open_samples
from fcnxs.data.loader import Loader
from fcnxs.stages import RECIPES
from fcnxs.tools.main import main


@pytest.fixture
def classes(tmp_path):
    def write(text):
        (tmp_path / "names.txt").write_text("\n".join(text))
        return tmp_path / "names.txt"

    return write


def begun(voc, run_folder, output, parent, epoch, names, *more):
    """Exit code of a run from a parent."""
    words = finetune(voc, run_folder, "--epochs", "1", "--no-val", "--output", str(output), *more)
    places = {str(run_folder / "vgg"): str(parent), "0": str(epoch), str(voc / "classes.txt"): str(names)}
    return main([places.get(word, word) for word in words])


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_a_run_for_other_classes_is_the_run_from_the_parents_vgg_16(voc, run_folder, tmp_path, classes, capsys):
    """As --trunk takes it out of the checkpoint; the line and run.log say what is kept."""
    parent, names = run_folder / "run" / "fcn8s", classes("abcdefg")
    assert main(["convert", "--trunk", f"{parent}-0001.params", str(tmp_path / "trunk")]) == 0
    out = capsys.readouterr().out
    assert "score_pool3_weight (5, 16, 1, 1)" in out and "9 were dropped" in out
    for prefix, epoch in ((parent, 1), (tmp_path / "trunk", 0)):
        folder = tmp_path / prefix.name
        assert begun(voc, run_folder, folder, prefix, epoch, names, "--stages", "fcn32s,fcn16s") == 0
    assert_equal(*(params_of(tmp_path / name, "fcn16s", 1) for name in ("fcn8s", "trunk")))
    said = "fcn8s-0001.params: an fcn8s for 5 classes, and these are 7: its VGG-16 (conv1_1 to fc7) is kept"
    assert capsys.readouterr().out.count(said) == 1
    log = (tmp_path / "fcn8s" / "run.log").read_text()
    for text in (
        "weights of fcn32s: 30 parameters copied from",
        "begun anew: score_weight, score_bias, bigscore_weight; left out, since they are of 5 classes, not 7: ",
        "weights of fcn16s: 32 parameters copied from",
    ):
        assert log.count(text) == 1


def test_other_names_of_as_many_classes_warn(voc, run_folder, tmp_path, classes, capsys):
    names = (voc / "classes.txt").read_text().split()
    parent, stage = run_folder / "run" / "fcn8s", ("--stages", "fcn8s")
    assert begun(voc, run_folder, tmp_path / "a", parent, 1, classes(names), *stage) == 0
    assert "other names" not in capsys.readouterr().err
    swapped = [names[0], names[2], names[1], *names[3:]]
    assert begun(voc, run_folder, tmp_path / "b", parent, 1, classes(swapped), *stage) == 0
    err = capsys.readouterr().err
    assert f"other names for 2 of its 5 classes: class 1 is {names[1]!r} there, and {names[2]!r} here" in err
    assert "its scores are kept" in err and "convert --trunk" in err
    assert_equal(params_of(tmp_path / "a", "fcn8s", 1), params_of(tmp_path / "b", "fcn8s", 1))


def test_gluons_finetune_keeps_the_vgg_16_too(voc, run_folder, tmp_path):
    parent = run_folder / "run" / "fcn8s"
    trunk = read(f"{parent}-0001.params", trunk=True)
    checkpoint.save(tmp_path / "trunk", 0, trunk.symbol, trunk.arg_params, {}, checkpoint.Meta())
    meta = checkpoint.Meta(classes=[*"abcdefg"], palette=[[i, i, i] for i in range(7)])
    samples = open_samples(voc).subset(range(3))
    with pytest.warns(FCNXSWarning, match="for 5 classes, and these are 7: its VGG-16 .* is kept"):
        train = Loader(samples, meta.mean, num_classes=7, shuffle=True, seed=1)
        stages = [replace(RECIPES["adam"]["fcn32s"], epochs=1)]
        gluon.finetune(parent, 1, stages, train, tmp_path / "a", meta)
    gluon.finetune(tmp_path / "trunk", 0, stages, train, tmp_path / "b", meta)
    assert_equal(params_of(tmp_path / "a", "fcn32s", 1), params_of(tmp_path / "b", "fcn32s", 1))
    with pytest.raises(FCNXSError, match="for 5 classes, not numclass=7"):
        gluon.get_fcn32s(7, run_folder / "run" / "fcn32s", 1)


def test_the_trunk_of_a_checkpoint_has_its_mean_and_refuses_what_it_cannot_take(run_folder, tmp_path, capsys):
    file = f"{run_folder / 'run' / 'fcn16s'}-0001.params"
    converted = read(file, trunk=True)
    assert (converted.net, converted.width, converted.framework) == ("vgg16fc", WIDTH, "mxnet")
    assert converted.mean == checkpoint.load(run_folder / "run" / "fcn16s", 1).meta.mean
    assert read(file, trunk=True, mean=(1, 2, 3)).mean == (1, 2, 3)
    out = str(tmp_path / "x")
    (tmp_path / "alone.params").write_bytes((run_folder / "run" / "fcn16s-0001.params").read_bytes())
    for arguments, message in (
        ([file, out], "already a checkpoint of MXNet; use it with --prefix and --epoch (of an FCN, --trunk"),
        ([str(tmp_path / "alone.params"), out, "--trunk"], "should be PREFIX-NNNN.params"),
        ([file, out, "--trunk", "--prototxt", file], "--prototxt"),
        ([file, file.removesuffix("-0001.params"), "--trunk"], "is there already"),
    ):
        assert main(["convert", *arguments]) == 2
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1, err
    assert not list(tmp_path.glob("x*"))

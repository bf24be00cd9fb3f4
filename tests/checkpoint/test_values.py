"""Values of parameters and means that no net can work with, and types other than float32."""

import json

import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from PIL import Image
from safetensors.numpy import save_file

from fcnxs import FCNXSError, Segmenter, checkpoint, gluon
from fcnxs.checkpoint import Checkpoint, Meta
from fcnxs.checkpoint.params_file import usable
from fcnxs.compat import mxnet as mx
from fcnxs.convert.arrays import iterate_tensors
from fcnxs.data import FileIter
from fcnxs.finetune.state import State, load_state, save_state
from fcnxs.gluon import get_fcn8s, transform
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.tools.main import main

SYMBOL = get_fcn8s_symbol(3, width=WIDTH, fc=FC)


@pytest.fixture
def saved(tmp_path):
    """Write a checkpoint whose parameters are changed by a function, as MXNet writes it; returns its prefix."""

    def save(change, meta=None):
        params = random_params(SYMBOL)
        change(params)
        mx.model.save_checkpoint(str(tmp_path / "net"), 1, SYMBOL, params, {})
        if meta:
            (tmp_path / "net-meta.json").write_text(meta)
        return tmp_path / "net"

    return save


def with_value(name, value):
    def change(params):
        values = params[name].asnumpy()
        values.flat[-1] = value
        params[name] = mx.nd.array(values)

    return change


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["conv1_1_weight", "score_pool3_bias"])
def test_weights_that_are_not_finite_are_refused_on_loading(saved, value, name):
    prefix = saved(with_value(name, value))
    message = f"net-0001.params: 1 of the .* values of parameter {name} are not finite \\({value}\\)"
    for load in (checkpoint.load, Segmenter, lambda *source: get_fcn8s(prefix=source[0], epoch=source[1])):
        with pytest.raises(FCNXSError, match=message):
            load(prefix, 1)
    with pytest.raises(FCNXSError, match="take an earlier epoch"):
        checkpoint.load(prefix, 1, mapped=True)
    params = random_params(SYMBOL)
    with_value(name, value)(params)
    with pytest.raises(FCNXSError, match=f"memory: .*{name}"):
        Checkpoint(SYMBOL, params, {}, Meta(), "memory")
    assert checkpoint.load(saved(lambda params: None), 1).arg_params.keys() == params.keys()


def test_every_command_refuses_them(saved, voc, tmp_path, capsys):
    prefix, image = str(saved(with_value("fc7_weight", np.nan))), tmp_path / "image.png"
    Image.fromarray(photo()).save(image)
    net, out = ["--prefix", prefix, "--epoch", "1"], str(tmp_path / "out")
    for arguments in (
        ["segment", *net, str(image), "--output", out],
        ["evaluate", *net, "--data", str(voc), "--split", "val"],
        ["export", *net, "--output", out],
        ["finetune", *net, "--data", str(voc), "--output", out, "--stages", "fcn8s"],
    ):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert "net-0001.params: 1 of the 256 values of parameter fc7_weight are not finite (nan)" in err


def test_states_and_gluon_s_own_files_are_looked_at_too(tmp_path):
    params = random_params(SYMBOL)
    good = State("run", "fcn8s", 1, symbol="", arg_params=params)
    save_state(tmp_path, good)
    bad = {**params, "score_bias": mx.nd.array([0, np.nan, 0])}
    save_state(tmp_path, State("run", "fcn8s", 2, symbol="", arg_params=bad))
    with pytest.raises(
        FCNXSError, match="arg:score_bias are not finite .*; the last good one is .*0001-000000"
    ):
        load_state(tmp_path, "run", ["fcn8s"])
    net = gluon.get_fcn8s(3, width=WIDTH, fc=FC)
    net.save_parameters(str(tmp_path / "good.params"))
    net.load_parameters(tmp_path / "good.params")
    net.collect_params()["score_bias"].set_data(mx.nd.array([0, np.inf, 0]))
    net.save_parameters(str(tmp_path / "bad.params"))
    net.cast("float64")
    net.collect_params()["score_bias"].set_data(mx.nd.array([0, 0.1, 0], dtype="float64"))
    net.save_parameters(str(tmp_path / "double.params"))
    net.load_parameters(tmp_path / "double.params")
    assert net.collect_params()["score_bias"].data().asnumpy()[1] == 0.1
    with pytest.raises(FCNXSError, match="bad.params: 1 of the 3 values of parameter score_bias"):
        net.load_parameters(tmp_path / "bad.params", ctx=mx.cpu())


@pytest.mark.parametrize(
    "mean", ["[NaN, 1, 2]", "[1, Infinity, 2]", "[1e39, 1, 2]", "[1e30, 1, 2]", "[true, 1, 2]", "[1, 2]"]
)
def test_means_that_are_not_finite_are_refused(mean, saved, voc):
    prefix = saved(lambda params: None)
    checkpoint.save(prefix, 1, SYMBOL, random_params(SYMBOL), {}, Meta())
    file = prefix.with_name("net-meta.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "mean": "here"}).replace('"here"', mean))
    values = json.loads(mean)
    for make in (
        lambda: checkpoint.load(prefix, 1),
        lambda: Meta(mean=values),
        lambda: transform(values),
        lambda: FileIter(voc, "ImageSets/Segmentation/train.txt", rgb_mean=values),
    ):
        with pytest.raises(FCNXSError, match="mean.*: expected (three|a list of 3|a finite)|no number of JSON"):
            make()
    assert Meta(mean=np.float32([1, 2, 3])).mean == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_other_floats_are_read_where_nothing_is_lost(kind, saved):
    """Weights of few bits have the same values in all three types; so have the class maps."""
    coarse = {name: array.astype("float16").astype("float32") for name, array in random_params(SYMBOL).items()}
    prefix = saved(lambda params: params.update({name: array.astype(kind) for name, array in coarse.items()}))
    for mapped in (False, True):
        loaded = checkpoint.load(prefix, 1, mapped=mapped)
        for name, array in loaded.arg_params.items():
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array.asnumpy(), coarse[name].asnumpy())
    expected = Segmenter(Checkpoint(SYMBOL, coarse, {}, Meta(), "coarse")).probabilities(photo())
    np.testing.assert_array_equal(Segmenter(prefix, 1).probabilities(photo()), expected)


@pytest.mark.parametrize("value", [0.1, 1e300, 1e-300])
def test_what_float32_does_not_hold_is_refused(value):
    for good in (0.5, 2.0**-149, 1 - 2.0**-24, -0.0, float(np.float32(0.1))):
        array = mx.nd.array([good], dtype="float64")
        assert usable({"fc6_bias": array}, "here")["fc6_bias"].asscalar() == good
    array = mx.nd.array([1, value], dtype="float64")
    message = f"here: parameter fc6_bias is float64, and 1 of its 2 values .* such as {value}".replace(
        "+", r"\+"
    )
    with pytest.raises(FCNXSError, match=message):
        usable({"fc6_bias": array}, "here")


def test_weights_of_other_frameworks_are_read_alike(tmp_path):
    file = tmp_path / "net.safetensors"
    exact = np.random.default_rng(0).normal(size=50).astype(np.float16)
    for kind in ("float16", "float32", "float64"):
        save_file({"w": exact.astype(kind)}, file)
        (read,) = dict(iterate_tensors(file, "safetensors")).values()
        assert read.dtype == np.float32 and (read == exact).all()
    for value, message in (
        (0.1, "1 of its 1 values are no numbers of float32, such as 0.1"),
        (1e39, "are no numbers of float32"),
    ):
        save_file({"w": np.array([value])}, file)
        with pytest.raises(FCNXSError, match=f"net.safetensors: .*{message}"):
            dict(iterate_tensors(file, "safetensors"))


def test_integers_are_no_weights(saved):
    prefix = saved(lambda params: params.update(fc6_bias=params["fc6_bias"].astype("int32")))
    with pytest.raises(FCNXSError, match=r"fc6_bias is int32 \(16,\), but the net needs float32"):
        Segmenter(prefix, 1)

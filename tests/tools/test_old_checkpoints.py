"""What commands and the library make of checkpoints of 2015 and 2016."""

import json
import warnings

import numpy as np
import pytest
from conftest import photo, random_params, random_vgg16
from old_symbols import as_saved
from PIL import Image

from fcnxs import FCNXSError, Segmenter, checkpoint, gluon
from fcnxs.compat import mxnet as mx
from fcnxs.conventions import IMAGE_MEANS
from fcnxs.convert.caffe_schema import CLASSES
from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.data import preprocess
from fcnxs.errors import FCNXSWarning
from fcnxs.init import init_from_fcnxs, init_from_vgg16
from fcnxs.net import net_of
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.legacy import loadable
from fcnxs.tools.main import main

TOLD = "does not say whether its poolings round sizes up"


@pytest.fixture
def saved(tmp_path):
    """Write a checkpoint of the original example, as it was in a month; returns its prefix."""

    def save(net, month="2016-06", change=lambda text: text, **options):
        prefix, file = tmp_path / net, tmp_path / f"{net}-symbol.json"
        file.write_text(change(as_saved(net, month, **options)))
        params = random_params(mx.sym.load_json(loadable(file.read_text())))
        mx.nd.save(f"{prefix}-0003.params", {f"arg:{name}": array for name, array in params.items()})
        return prefix

    return save


def of(prefix):
    return ["--prefix", str(prefix), "--epoch", "3"]


def test_a_net_of_hha_images_without_means_is_told(tmp_path, voc, capsys):
    """Earlier versions wrote its mean alone. With `means` in the file, commands take it as one of HHA."""
    net, prefix, image = NETS["fcn32s"](numclass=21, width=1 / 16, fc=16), tmp_path / "net", tmp_path / "a.png"
    checkpoint.save(prefix, 0, net, random_params(net), {}, checkpoint.Meta(mean=IMAGE_MEANS["hha"]))
    Image.fromarray(photo(90, 61)).save(image)
    start, file = ["--prefix", str(prefix), "--epoch", "0"], tmp_path / "net-meta.json"
    segment = ["segment", *start, str(image), "--output", str(tmp_path / "masks")]
    evaluate = ["evaluate", *start, "--data", str(voc), "--split", "val"]
    for command in (segment, evaluate):
        assert main(command) == 0
        assert f"{file}: the mean (132.431, 94.076, 118.477) is that of HHA images" in capsys.readouterr().out
    meta = json.loads(file.read_text())
    file.write_text(json.dumps({**meta, "means": {"hha": meta["mean"]}}))
    assert main([*segment, "--overwrite"]) == 0 and main(evaluate) != 0  # which has no HHA images
    told = capsys.readouterr()
    assert "the net takes HHA images: each IMAGE is read as one" in told.out
    assert "is that of HHA images" not in told.out and "/hha/" in told.err
    assert main(["convert", "--trunk", f"{prefix}-0000.params", str(tmp_path / "trunk")]) == 0
    assert "mean HHA (132.431, 94.076, 118.477)" in capsys.readouterr().out
    assert checkpoint.load(tmp_path / "trunk", 0).meta.images == ("hha",)
    checkpoint.save(prefix, 0, net, random_params(net), {}, checkpoint.Meta())
    assert main([*segment, "--overwrite"]) == 0
    told = capsys.readouterr()
    assert "HHA" not in told.out + told.err


@pytest.mark.parametrize("convention", [None, "full", "valid"])
def test_commands_tell_what_they_take(convention, saved, voc, tmp_path, capsys, in_process):
    prefix, option = saved("fcn32s"), ["--pooling-convention", convention] if convention else []
    Image.fromarray(photo(90, 61)).save(tmp_path / "image.png")
    for command in (
        ["segment", *of(prefix), str(tmp_path / "image.png"), "--output", str(tmp_path / "masks")],
        [
            "evaluate",
            *of(prefix),
            "--data",
            str(voc),
            "--split",
            "val",
            "--json",
            str(tmp_path / "scores.json"),
        ],
        ["export", *of(prefix), "--output", str(tmp_path / "export")],
        ["explain", f"{prefix}-symbol.json"],
    ):
        assert main([*command, *option]) == 0
        assert (TOLD in capsys.readouterr().out) == (convention is None), command
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        segmenter = Segmenter(prefix, 3, pooling_convention=convention)
    assert [each.category for each in told] == [FCNXSWarning] * (convention is None)
    mask = np.asarray(Image.open(tmp_path / "masks" / "image.png"))
    np.testing.assert_array_equal(mask, segmenter(photo(90, 61)))
    source = checkpoint.load(prefix, 3, pooling_convention=convention or "full")
    today = NETS["fcn32s"](5, width=1 / 16, fc=16, pooling_convention=convention or "full")
    source.symbol = today
    assert (mask == Segmenter(source)(photo(90, 61))).mean() > 0.999
    exported = (tmp_path / "export-symbol.json").read_text()
    assert ('"pooling_convention": "full"' in exported) == (convention != "valid")


def test_the_two_readings_differ_and_another_one_than_the_file_s_is_refused(saved, tmp_path, capsys):
    prefix, image = saved("fcn32s"), photo(90, 61)
    up, down = (Segmenter(prefix, 3, pooling_convention=each)(image) for each in ("full", "valid"))
    assert 0.01 < (up != down).mean() < 0.5
    prefix = saved("fcn16s", "2016-10")
    with pytest.raises(FCNXSError, match="fcn16s-symbol.json: pooling_convention full: .*valid: it is written"):
        Segmenter(prefix, 3, pooling_convention="full")
    with pytest.raises(FCNXSError, match="give it where the Checkpoint is loaded"):
        Segmenter(checkpoint.load(prefix, 3), pooling_convention="valid")


@pytest.mark.parametrize("convention", [None, "valid"])
def test_finetune_tells_it_and_a_run_keeps_the_option(convention, saved, voc, tmp_path, capsys):
    option = ["--pooling-convention", convention] if convention else []
    run = [*of(saved("fcn32s")), "--data", str(voc), "--num-classes", "5", "--stages", "fcn16s"]
    run += ["--epochs", "1", "--output", str(tmp_path / "run"), "--no-val"]
    assert main(["finetune", *run, *option]) == 0
    assert (TOLD in capsys.readouterr().out) == (convention is None)
    symbol = checkpoint.load(tmp_path / "run" / "fcn16s", 1).symbol
    assert Graph.of(symbol).rounds_up == (convention is None)
    assert (
        json.loads((tmp_path / "run" / "run.json").read_text())["options"].get("pooling_convention")
        == convention
    )


@pytest.mark.parametrize("offset", [(19, 19), (34, 34)])
def test_the_first_fcn_32s_is_read_by_its_first_names(offset, saved, voc, tmp_path, in_process):
    prefix = saved("fcn32s", "2015-12", offset=offset, first=True)
    raw = mx.nd.load(f"{prefix}-0003.params")
    assert {"arg:fc8_weight", "arg:fc8_bias", "arg:deconv8_weight"} <= raw.keys()
    loaded, image = checkpoint.load(prefix, 3), photo(70, 52)
    np.testing.assert_array_equal(loaded.arg_params["score_weight"].asnumpy(), raw["arg:fc8_weight"].asnumpy())
    np.testing.assert_array_equal(
        loaded.arg_params["bigscore_weight"].asnumpy(), raw["arg:deconv8_weight"].asnumpy()
    )
    assert not {"fc8", "deconv8", "crop8"} & {node["name"] for node in Graph.of(loaded.symbol).nodes}
    plain = mx.sym.load_json(as_saved("fcn32s", "2016-01", offset=offset, first=True))  # rounded up by hand
    text = plain.tojson().replace('"pool_type": "max"', '"pool_type": "max", "pooling_convention": "full"')
    args = {key[4:]: array for key, array in raw.items()}
    args.update(data=mx.nd.array(preprocess(image)), softmax_label=mx.nd.zeros((1, 70 * 52)))
    expected = mx.sym.load_json(text).bind(mx.cpu(), args, grad_req="null").forward()[0].asnumpy()[0]
    np.testing.assert_allclose(Segmenter(prefix, 3).probabilities(image), expected, atol=1e-4)
    net = gluon.get_fcn32s(prefix=prefix, epoch=3)
    scores = net(mx.nd.array(preprocess(image))).softmax(axis=1).asnumpy()[0]
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    Image.fromarray(image).save(tmp_path / "image.png")
    assert main(["segment", *of(prefix), str(tmp_path / "image.png"), "--output", str(tmp_path / "masks")]) == 0
    mask = np.asarray(Image.open(tmp_path / "masks" / "image.png"))
    assert (mask == expected.argmax(0)).mean() > 0.999
    assert main(["export", *of(prefix), "--output", str(tmp_path / "export")]) == 0
    run = [*of(prefix), "--data", str(voc), "--num-classes", "5", "--stages", "fcn16s", "--epochs", "1"]
    assert main(["finetune", *run, "--output", str(tmp_path / "run"), "--no-val", "--lr", "1e-9"]) == 0
    child = checkpoint.load(tmp_path / "run" / "fcn16s", 1).arg_params["score_weight"].asnumpy()
    np.testing.assert_allclose(child, raw["arg:fc8_weight"].asnumpy(), rtol=1e-3)  # not zero


@pytest.mark.parametrize("month", ["2015-12", "2016-06", "2016-09"])
@pytest.mark.parametrize("net", ["fcn16s", "fcn8s"])
def test_gluon_s_blocks_have_the_graph_that_was_saved(net, month, saved):
    prefix, image = saved(net, month, offset=(34, 34)), photo(47, 60)
    for convention in ("full", "valid") if month == "2016-06" else (None,):
        options = {"pooling_convention": convention} if convention else {}
        block = gluon.zoo.get_fcnxs(net, prefix=prefix, epoch=3, **options)
        scores = block(mx.nd.array(preprocess(image))).softmax(axis=1).asnumpy()[0]
        expected = Segmenter(prefix, 3, **options).probabilities(image)
        np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_what_upsamples_is_no_classifier(saved, voc, tmp_path, capsys):
    """An FCN whose layers have names that nobody knows."""

    def renamed(text):
        return text.replace('"score', '"classes').replace('"bigscore', '"up')

    prefix, message = saved("fcn32s", "2015-12", renamed), "upsamples in the layer up, so it is an FCN"
    loaded = checkpoint.load(prefix, 3)
    for make in (
        lambda: net_of(loaded.arg_params, "here"),
        lambda: net_of(loaded.arg_params, "here", loaded.symbol),
        lambda: init_from_vgg16(mx.cpu(), NETS["fcn32s"](5, width=1 / 16, fc=16), loaded.arg_params, {}),
        lambda: init_from_fcnxs(mx.cpu(), NETS["fcn16s"](5, width=1 / 16, fc=16), loaded.arg_params, {}),
        lambda: gluon.get_fcn32s(5, prefix=prefix, epoch=3),
    ):
        with pytest.raises(FCNXSError, match=message):
            make()
    Image.fromarray(photo()).save(tmp_path / "image.png")
    for command, why in (
        (["finetune", "--data", str(voc), "--stages", "fcn32s"], message),
        (["segment", str(tmp_path / "image.png")], "has no parameter score_weight: not an FCN, or one whose"),
    ):
        assert main([*command, *of(prefix), "--output", str(tmp_path / "out")]) == 2
        err = capsys.readouterr().err
        assert "fcn32s-0003.params: " in err and why in err


@pytest.mark.parametrize("kind", ["Deconvolution", "InnerProduct"])
def test_convert_takes_no_fcn_for_a_classifier(kind, tmp_path, capsys):
    """By the type of a layer: its name alone says nothing."""
    file, blobs = tmp_path / "net.caffemodel", random_vgg16()
    write_caffemodel(file, {**blobs, "more": [np.ones((7, 1, 4, 4), np.float32)]})
    net = CLASSES["NetParameter"].FromString(file.read_bytes())
    next(layer for layer in net.layer if layer.name == "more").type = kind
    file.write_bytes(net.SerializeToString())
    assert main(["convert", str(file), str(tmp_path / "out")]) == (2 if kind == "Deconvolution" else 0)
    err = capsys.readouterr().err
    assert ("has layers of an FCN, but lacks score_fr; --trunk" in err) == (kind == "Deconvolution")
    assert main(["convert", str(file), str(tmp_path / "out"), "--trunk"]) == 0


def test_both_names_of_a_layer_are_refused(saved):
    def twice(text):
        return text.replace('"name": "relu7"', '"name": "score"')

    with pytest.raises(
        FCNXSError, match="fcn32s-symbol.json: fc8 is the first name of score, and the net has both"
    ):
        checkpoint.load(saved("fcn32s", "2015-12", twice, first=True), 3)

import json
import re

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params

from fcnxs import FCNXSError, checkpoint, gluon
from fcnxs.compat import mxnet as mx
from fcnxs.deploy.form import Form
from fcnxs.predict import Segmenter
from fcnxs.symbols import get_fcn32s_symbol
from fcnxs.tools.main import main

NARROW = {"width": WIDTH, "fc": FC}


@pytest.fixture(scope="module")
def net(run_folder):
    return gluon.get_fcn8s(prefix=run_folder / "run/fcn8s", epoch=1)


def graph(prefix):
    return json.loads(open(f"{prefix}-symbol.json").read())


@pytest.mark.parametrize(
    "options, form",
    [
        (["--head", "logits"], None),
        ([], Form()),
        (
            ["--head", "argmax", "--raw-input", "--image-size", "96x64", "--trim"],
            Form(head="argmax", raw="uint8", size=(64, 96), trimmed=True),
        ),
    ],
)
def test_an_export_is_that_of_fcnxs_export(run_folder, net, tmp_path, in_process, capsys, options, form):
    command = ["export", "--prefix", str(run_folder / "run/fcn8s"), "--epoch", "1"]
    assert main([*command, "--output", str(tmp_path / "theirs"), *options]) == 0
    report = net.export(tmp_path / "ours", form=form)
    ends = ("-0000.params", "-meta.json", "-mxnet_compat.py", "-symbol.json")
    assert sorted(report.files) == [str(tmp_path / f"ours{end}") for end in ends]
    assert graph(tmp_path / "ours") == graph(tmp_path / "theirs")
    own, theirs = (mx.nd.load(f"{tmp_path / name}-0000.params") for name in ("ours", "theirs"))
    assert {*own} == {*theirs}
    for key, array in theirs.items():
        assert own[key].dtype == array.dtype
        np.testing.assert_array_equal(own[key].asnumpy(), array.asnumpy(), err_msg=key)
    metas = [json.loads((tmp_path / f"{name}-meta.json").read_text()) for name in ("ours", "theirs")]
    for meta in metas:
        del meta["checksums"], meta["source"]["file"]
    assert metas[0] == metas[1]  # the source's hash, too: the parameters are the checkpoint's to the bit


def test_an_export_of_what_was_trained_gives_its_scores_in_plain_mxnet(tmp_path, in_process):
    net = gluon.get_fcn32s(3, **NARROW)
    for name, array in random_params(net.symbol, 2).items():
        net.params[name].set_data(array)
    net.hybridize()
    for epoch in (3, 12):  # as a training loop exports
        net.export(str(tmp_path / "net"), epoch=epoch)
    x = mx.nd.array(np.random.default_rng(0).normal(0, 40, (1, 3, 45, 60)))
    block = mx.gluon.SymbolBlock.imports(f"{tmp_path}/net-symbol.json", ["data"], f"{tmp_path}/net-0003.params")
    np.testing.assert_array_equal(block(x).asnumpy(), net(x).asnumpy())
    assert sorted(tmp_path.glob("*.params")) == [tmp_path / "net-0003.params", tmp_path / "net-0012.params"]
    assert "Dropout" not in {node["op"] for node in graph(tmp_path / "net")["nodes"]}
    net.export(tmp_path / "probabilities", form=Form())
    block = mx.gluon.SymbolBlock.imports(
        f"{tmp_path}/probabilities-symbol.json", ["data"], f"{tmp_path}/probabilities-0000.params"
    )
    np.testing.assert_array_equal(block(x).asnumpy(), mx.nd.softmax(net(x), axis=1).asnumpy())
    refused(lambda: net.export(tmp_path / "net", -1), "epoch=-1: expected 0 or more")
    refused(lambda: net.export(tmp_path / "net", 5, Form(format="mar")), "epoch=5: expected 0 for mar")


def test_dropout_of_imports_is_drawn_from_mxnet_s_seed(net, tmp_path):
    """On GPUs too, where cuDNN would draw it otherwise."""
    file = net.save_checkpoint(tmp_path / "net", 0)
    block = gluon.FCNxs.imports(tmp_path / "net-symbol.json", ["data", "softmax_label"], file)
    nodes = json.loads(block(mx.sym.var("data"), mx.sym.var("softmax_label")).tojson())["nodes"]
    dropouts = [node["attrs"].get("cudnn_off") for node in nodes if node["op"] == "Dropout"]
    assert dropouts == ["True", "True"]


def test_an_export_of_scores_is_a_checkpoint_too(net, voc, run_folder, tmp_path, in_process, capsys):
    """With the answers of the checkpoint that it was made from."""
    net.export(tmp_path / "scores", epoch=3)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    ours, theirs = Segmenter(tmp_path / "scores"), Segmenter(run_folder / "run/fcn8s", 1)
    np.testing.assert_array_equal(ours.probabilities(image), theirs.probabilities(image))
    assert ours.classes == theirs.classes and ours.palette == theirs.palette
    scores = []
    for prefix, epoch in ((tmp_path / "scores", 3), (run_folder / "run/fcn8s", 1)):
        evaluate = ["evaluate", "--prefix", str(prefix), "--epoch", str(epoch), "--data", str(voc)]
        assert main([*evaluate, "--json", str(tmp_path / "scores.json")]) == 0
        scores.append(json.loads((tmp_path / "scores.json").read_text())["mean_iu"])
    assert scores[0] == scores[1]
    maps = []
    picture = next((voc / "JPEGImages").glob("*.jpg"))
    for prefix, epoch in ((tmp_path / "scores", 3), (run_folder / "run/fcn8s", 1)):
        segment = ["segment", "--prefix", str(prefix), "--epoch", str(epoch), "--overwrite", str(picture)]
        assert main([*segment, "--output", str(tmp_path / "masks")]) == 0
        maps.append((tmp_path / "masks" / f"{picture.stem}.png").read_bytes())
    assert maps[0] == maps[1]


def test_a_segmenter_takes_the_net(net, run_folder):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    loaded = checkpoint.load(run_folder / "run/fcn8s", 1)
    np.testing.assert_array_equal(Segmenter(net.checkpoint())(image), Segmenter(loaded)(image))


def refused(call, *words):
    with pytest.raises(FCNXSError) as caught:
        call()
    assert "\n" not in str(caught.value) and all(re.search(word, str(caught.value)) for word in words)


def test_mistakes_are_said_in_one_line(run_folder, net, tmp_path):
    run = run_folder / "run"
    refused(lambda: gluon.get_fcn8s(21, run / "fcn8s", 1), "for 5 classes, not numclass=21", "VGG-16")
    refused(lambda: gluon.get_fcn8s(21, run / "fcn16s", 1), "for 5 classes, not numclass=21")
    refused(lambda: gluon.get_fcn32s(5, run / "fcn8s", 1), "of fcn8s; fcn32s starts from fcn32s or vgg16")
    refused(lambda: gluon.get_fcn_alexnet(5, run / "fcn8s", 1), "of fcn8s; fcn_alexnet starts from fcn_alexnet")
    refused(lambda: gluon.get_fcn8s(5, run / "fcn8s", 9), "fcn8s-0009.params: no such file")
    refused(lambda: gluon.get_fcnxs("fcn7s"), "net 'fcn7s': expected fcn32s, ")
    refused(lambda: gluon.get_fcn8s(0, **NARROW), "0 channels")
    refused(lambda: net(mx.nd.zeros((1, 3, 25, 60))), "60x25 pixels is too small", "26x26")
    refused(lambda: net(mx.nd.zeros((1, 4, 40, 60))), r"shape \(1, 4, 40, 60\): expected \(N, 3, H, W\)")
    refused(lambda: net(mx.nd.zeros((3, 40, 60))), r"shape \(3, 40, 60\)")
    refused(lambda: net(np.zeros((1, 3, 40, 60))), "expected an mx.nd.NDArray", "ndarray")
    refused(lambda: net(mx.nd.zeros((1, 3, 40, 60), dtype="uint8")), "type uint8: the net is float32")
    fresh = gluon.FCNxs(get_fcn32s_symbol(5, **NARROW))
    refused(lambda: fresh(mx.nd.zeros((1, 3, 40, 60))), "conv1_1_weight has no value yet: call initialize")
    refused(lambda: fresh.save_checkpoint(tmp_path / "no", 1), "conv1_1_weight has no value yet")
    refused(lambda: gluon.FCNxs(mx.sym.Variable("data") * 2), "not in one softmax")
    assert not [*tmp_path.iterdir()]

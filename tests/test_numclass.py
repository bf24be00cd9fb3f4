"""At most 255 classes, 0 to 254, at every door: class maps and labels have 8 bits, and 255 is no class."""

import json

import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from PIL import Image

from fcnxs import FCNXSError, Segmenter, checkpoint, gluon, symbols
from fcnxs.checkpoint import Meta
from fcnxs.compat import mxnet as mx
from fcnxs.data import FileIter
from fcnxs.net import net_of
from fcnxs.symbols import NETS
from fcnxs.tools.main import main

NARROW = {"width": WIDTH, "fc": FC}
MESSAGE = "(256|300) classes; class maps and labels hold at most 255"


def many(numclass, net="fcn2s"):  # whose upsampling has the smallest kernels
    """A net of so many classes and its parameters, as other code than this package's would build it."""
    symbol = json.loads(NETS[net](5, **NARROW).tojson())
    for node in symbol["nodes"]:
        if node.get("attrs", {}).get("num_filter") == "5":
            node["attrs"]["num_filter"] = str(numclass)
    symbol = mx.sym.load_json(json.dumps(symbol))
    return symbol, random_params(symbol)


@pytest.mark.parametrize("net", ["fcn32s", "fcn16s", "fcn8s", "fcn4s", "fcn2s", "fcn8s_atonce", "fcn_alexnet"])
def test_builders(net):
    assert NETS[net](255, **NARROW).infer_shape(data=(1, 3, 60, 60))[1] == [(1, 255, 60, 60)]
    with pytest.raises(FCNXSError, match=f"numclass: {MESSAGE}"):
        NETS[net](256, **NARROW)
    if net not in ("fcn4s", "fcn2s"):
        with pytest.raises(FCNXSError, match=MESSAGE):
            getattr(gluon, f"get_{net}")(300, **NARROW)


def test_masks_have_the_limit_and_classifiers_have_none():
    with pytest.raises(FCNXSError, match=MESSAGE):
        symbols.get_mask_regression_symbol(8, 256, width=WIDTH)
    assert symbols.get_vgg16_symbol(1000, **NARROW).infer_shape(data=(1, 3, 224, 224))[1] == [(1, 1000)]


def test_the_last_class_is_found(tmp_path):
    """Class 254 at every pixel, by its bias, is 254 in the map, and 255 is the first that is refused."""
    symbol, params = many(255)
    params["score_bias"] = mx.nd.array(np.arange(255) == 254) * 1e4
    for name in ("score2_weight", "score4_weight", "score8_weight", "score16_weight", "bigscore_weight"):
        params[name] = mx.nd.array(symbols.interpolation.bilinear((255, 255, 4, 4)))
    checkpoint.save(tmp_path / "net", 0, symbol, params, {}, Meta())
    image = photo(90, 90)
    assert (Segmenter(tmp_path / "net", 0)(image)[:60, :60] == 254).all()


def test_every_door_refuses_more(tmp_path, voc, capsys):
    symbol, params = many(300)
    checkpoint.save(tmp_path / "net", 0, symbol, params, {}, Meta())
    net, out = ["--prefix", str(tmp_path / "net"), "--epoch", "0"], str(tmp_path / "out")
    for make in (
        lambda: Segmenter(tmp_path / "net", 0),
        lambda: net_of(params, "here"),
        lambda: gluon.FCNxs(symbol),
        lambda: gluon.get_fcn32s(prefix=tmp_path / "net"),
        lambda: FileIter(voc, "ImageSets/Segmentation/train.txt", num_classes=300),
        lambda: Meta(classes=[f"class {i}" for i in range(300)]),
    ):
        with pytest.raises(FCNXSError, match=MESSAGE):
            make()
    Image.fromarray(photo()).save(tmp_path / "image.png")
    for arguments in (
        ["segment", *net, str(tmp_path / "image.png"), "--output", out],
        ["evaluate", *net, "--data", str(voc), "--split", "val"],
        ["export", *net, "--output", out],
        ["export", *net, "--output", out, "--format", "onnx", "--head", "argmax", "--raw-input"],
        ["finetune", *net, "--data", str(voc), "--output", out, "--stages", "fcn16s"],
    ):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert "net-0000.params: 300 classes; class maps and labels hold at most 255" in err, arguments
    meta = tmp_path / "net-meta.json"
    content = {**json.loads(meta.read_text()), "classes": ["c"] * 300, "palette": [[0, 0, 0]] * 300}
    meta.write_text(json.dumps(content))
    with pytest.raises(FCNXSError, match=f"net-meta.json: .*{MESSAGE}"):
        checkpoint.load(tmp_path / "net", 0)

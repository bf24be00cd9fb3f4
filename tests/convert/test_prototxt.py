"""Descriptions of nets that are old, incomplete, damaged or contradict each other; and the command."""

import re

import numpy as np
import pytest
from conftest import as_checkpoint, photo
from PIL import Image
from strangers import DATA, LOSS, MEAN, PYTHON, blobs_of, changed, check, net, snapshot

from fcnxs import FCNXSError, checkpoint, gluon
from fcnxs.compat import mxnet as mx
from fcnxs.convert.caffe_layers import layers_of_text
from fcnxs.convert.caffe_schema import CLASSES
from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.convert.conversion import read
from fcnxs.convert.verify import verify
from fcnxs.symbols.graph.rewrite import with_settings
from fcnxs.tools.main import main

V1 = ["Convolution", "Deconvolution", "ReLU", "Pooling", "Dropout", "Eltwise", "Crop", "SoftmaxWithLoss"]


def as_v1(text):
    """The old format, with the crop of the branch that had no offsets."""
    for kind in V1:
        text = text.replace(f'type: "{kind}"', f"type: {'SOFTMAX_LOSS' if 'Loss' in kind else kind.upper()}")
    text = re.sub(r"crop_param \{[^}]*\}|param \{ lr[^}]*\}", "", text)
    return text.replace("layer { name", "layers { name")


@pytest.mark.parametrize("name", ["fcn32s", "fcn8s"])
def test_v1_layers_and_their_crops_without_offsets(name, tmp_path):
    """In text and in a snapshot; the second crop is derived on a changed net."""
    text = changed(net(name), "conv1_1", "pad: 100", "pad: 104")
    offset = {"fcn32s": 23, "fcn8s": 35}[name]
    (tmp_path / "old.prototxt").write_text('input: "data" input_dim: 1\n' + as_v1(text))
    write_caffemodel(tmp_path / "net.caffemodel", blobs_of(name), v1=True)
    by_text = read(tmp_path / "net.caffemodel", prototxt=tmp_path / "old.prototxt", mean=MEAN[::-1])
    by_itself = read(snapshot(tmp_path / "net.caffemodel", as_v1(text), blobs_of(name)), mean=MEAN[::-1])
    for found in (by_text, by_itself):
        assert found.told == ["layer conv1_1: pad 104, not 100 as in " + found.told[0].split()[-1]]
        assert f'"offset": "({offset}, {offset})"' in found.symbol.tojson()
    expected = changed(text, "score", r"offset: \d+", f"offset: {offset}")
    if name == "fcn8s":
        expected = changed(
            changed(expected, "cropped", "offset: 5", "offset: 5"), "cropped3", "offset: 9", "offset: 9"
        )
    check(by_itself, tmp_path / "net.caffemodel", expected)


TOPOLOGY, PARAMS = "^(bottom|top)$", "_param$"


@pytest.mark.parametrize("without", [TOPOLOGY, PARAMS, f"{TOPOLOGY}|{PARAMS}", f"{TOPOLOGY}|type|{PARAMS}"])
def test_incomplete_files_are_completed_by_our_description(without, tmp_path):
    """Weights alone are the published net. Settings without bottoms and tops count by the layers' names."""
    text = changed(net("fcn32s"), "conv1_1", "pad: 100", "pad: 103")
    file = snapshot(tmp_path / "net.caffemodel", DATA + text + LOSS, blobs_of("fcn32s"), without)
    found = read(file)
    described = without == TOPOLOGY
    assert ('"pad": "(103, 103)"' in found.symbol.tojson()) == described
    assert found.mean == (MEAN[::-1] if described else (122.67892, 116.66877, 104.00699))
    result = verify(file, found, as_checkpoint(found, file), photo())
    assert result.equal and result.described_by == (f"{file} (the rest is ours)" if described else "")
    assert ("maps give 22" in str(found.told)) == described


def test_a_file_with_weights_and_settings_alone_has_derived_crops(tmp_path):
    """No layer without blobs is in it, and so no crop."""
    text = changed(net("fcn16s"), "conv1_1", "pad: 100", "pad: 104")
    layers = [part for part in text.splitlines() if re.match(r'layer \{ name: "(conv|fc|score_|up)', part)]
    file = snapshot(tmp_path / "net.caffemodel", "\n".join(layers), blobs_of("fcn16s"))
    found = read(file, mean=MEAN[::-1])
    assert found.told == ["layer conv1_1: pad 104, not 100 as in FCN-16s"]
    check(found, file, changed(text, "score", "offset: 27", "offset: 31"))


def test_a_net_without_layers_that_ours_has_is_no_incomplete_description(tmp_path):
    """All ReLUs left out of the net; of a prototxt also all poolings; and a layer too many beside weights."""
    no_relu = "".join(line for line in net("fcn32s").splitlines(True) if '"ReLU"' not in line)
    file = snapshot(tmp_path / "net.caffemodel", no_relu, blobs_of("fcn32s"))
    with pytest.raises(FCNXSError, match="layer fc7 is Convolution, where FCN-32s has ReLU"):
        read(file)
    bare = "".join(line for line in no_relu.splitlines(True) if '"Pooling"' not in line)
    (tmp_path / "val.prototxt").write_text(re.sub(r'bottom: "pool\d"', 'bottom: "conv1_2"', bare))
    with pytest.raises(FCNXSError, match="val.prototxt: layer fc7 is Convolution, where FCN-32s has ReLU"):
        read(file, prototxt=tmp_path / "val.prototxt")
    weights = [line for line in net("fcn32s").splitlines(True) if re.search(r"Convol|Decon", line)]
    weights.insert(1, 'layer { name: "bn" type: "BatchNorm" bottom: "conv1_1" top: "conv1_1" }\n')
    file = snapshot(tmp_path / "net.caffemodel", "".join(weights), blobs_of("fcn32s", bn=[np.ones(4)]))
    with pytest.raises(FCNXSError, match="layer bn is BatchNorm, which FCN-32s does not have"):
        read(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            changed(net("fcn32s"), "fc6", "pad: 0", "hole: 2"),
            "convolution_param has a setting 'hole', which Caffe",
        ),
        (changed(net("fcn32s"), "pool1", "pool: MAX", "ceil_mode: false"), "pooling_param .* 'ceil_mode'"),
        (changed(net("fcn32s"), "pool1", "pool: MAX", "pool: MEAN"), 'no value named "?MEAN'),
        (net("fcn32s")[:-6], r"cannot read this prototxt: \d+:\d+ : Expected"),
        ("", "describes no layers; give the net's own prototxt"),
        ('net: "train.prototxt"\nbase_lr: 1e-10\n', "describes no layers"),
        ("x { " * 5000, "cannot read this prototxt: maximum recursion depth"),
        (b"\x89PNG\r\n\x1a\n", "cannot read this prototxt"),
        (b"\xa2\x06\x05\x00", "cannot read this prototxt"),
        (None, "cannot read this prototxt: No such file"),
    ],
)
def test_other_texts_are_refused(content, message, tmp_path):
    file = tmp_path / "net.prototxt"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FCNXSError, match=f"net.prototxt: .*{message}") as caught:
        layers_of_text(file)
    assert len(str(caught.value)) < 600


def test_settings_that_caffe_does_not_have_are_not_passed_over_in_a_snapshot(tmp_path):
    """A branch's field of the convolution, by its number alone; a prototxt in Caffe's words is the way out."""
    text = DATA + net("fcn32s") + LOSS
    file = snapshot(tmp_path / "net.caffemodel", text, blobs_of("fcn32s"))
    message = CLASSES["NetParameter"].FromString(file.read_bytes())
    param = message.layer[1].convolution_param
    param.MergeFromString(param.SerializeToString() + b"\xc0\x3e\x02")  # field 1000: 2
    file.write_bytes(message.SerializeToString())
    with pytest.raises(FCNXSError, match="layer conv1_1: convolution_param has a setting that Caffe does not"):
        read(file)
    (tmp_path / "val.prototxt").write_text(text)
    assert read(file, prototxt=tmp_path / "val.prototxt").told == []


def test_a_prototxt_counts_and_what_the_snapshot_says_otherwise_is_told(tmp_path):
    other = changed(net("fcn32s"), "conv1_1", "pad: 100", "pad: 104")
    file = snapshot(tmp_path / "net.caffemodel", DATA + other + LOSS, blobs_of("fcn32s"))
    (tmp_path / "val.prototxt").write_text(DATA + net("fcn32s"))
    found = read(file, prototxt=tmp_path / "val.prototxt")
    assert '"pad": "(100, 100)"' in found.symbol.tojson() and len(found.told) == 1
    assert re.match("layer conv1_1: pad 100 of .*val.prototxt was taken, not 104 of .*net.caff", found.told[0])


def test_vgg_16_may_have_other_pads_alone(tmp_path):
    """FCNs are built on its weights, with layers of their own."""
    for name, old, new, message in (
        ("conv1_1", "pad: 100", "pad: 1", None),
        ("fc6", "pad: 0", "pad: 3", "layer fc6: pad 3, not 0, which is the pad of FCNs"),
        (
            "pool4",
            "stride: 2",
            "stride: 2 round_mode: FLOOR",
            "round_mode FLOOR, not CEIL; .*--pooling-convention",
        ),
    ):
        text = changed(net("fcn32s"), name, old, new)
        file = snapshot(tmp_path / "net.caffemodel", DATA + text + LOSS, blobs_of("fcn32s"))
        found = read(file, trunk=True)
        assert bool(found.told) == bool(message) and (not message or re.search(message, found.told[0]))
        assert verify(file, found, as_checkpoint(found, file), photo()).equal
    for name, old, new in (("fc6", "pad: 0", "dilation: 2"), ("pool4", "stride: 2", "stride: 1")):
        text = changed(net("fcn32s"), name, old, new)
        file = snapshot(tmp_path / "net.caffemodel", DATA + text + LOSS, blobs_of("fcn32s"))
        with pytest.raises(FCNXSError, match=f"not VGG-16: layer {name}: .*only pad, round_mode of our"):
            read(file, trunk=True)


def test_verify_runs_the_layers_of_the_file(tmp_path, capsys):
    """It finds that a net is another than they are, which our own description would not show."""
    text = changed(net("fcn32s"), "conv1_1", "pad: 100", "pad: 104")
    file = snapshot(tmp_path / "net.caffemodel", DATA + text + LOSS, blobs_of("fcn32s"))
    found = read(file)
    assert verify(file, found, as_checkpoint(found, file), photo()).equal
    found.symbol = with_settings(found.symbol, {"conv1_1": {"pad": (103, 103)}})
    assert not verify(file, found, as_checkpoint(found, file), photo()).equal
    image = str(tmp_path / "photo.png")
    Image.fromarray(photo()).save(image)
    out = str(tmp_path / "out")
    assert main(["convert", str(file), out, "--verify", image]) == 0
    told = capsys.readouterr()
    assert f"OpenCV runs the source by {file}" in told.out and "is ours" not in told.out
    assert "warning: layer conv1_1: pad 104, not 100 as in FCN-32s" in told.err
    assert f"mean RGB {MEAN[::-1]}, of layer data of {file} (VOCSegDataLayer)" in told.out
    assert checkpoint.load(out, 0).meta.mean == MEAN[::-1]
    write_caffemodel(file, blobs_of("fcn32s"))
    assert main(["convert", str(file), out, "--verify", image]) == 0
    told = capsys.readouterr()
    assert "the description of the layers that OpenCV ran is ours" in told.out and "--prototxt" in told.out
    assert "says no mean, and its net has 7 classes" in told.err


def test_options_of_the_command(tmp_path, capsys):
    (tmp_path / "train.prototxt").write_text(
        PYTHON % ("NYUDSegDataLayer", "{'tops': ['hha', 'label']}") + net("fcn32s")
    )
    file, out = tmp_path / "net.caffemodel", str(tmp_path / "out")
    write_caffemodel(file, blobs_of("fcn32s"))
    proto = ["--prototxt", str(tmp_path / "train.prototxt")]
    assert main(["convert", str(file), out, *proto]) == 0
    assert "mean HHA (132.431, 94.076, 118.477)" in capsys.readouterr().out
    assert main(["convert", str(file), out, *proto, "--mean", "1,2.5,3"]) == 0
    assert checkpoint.load(out, 0).meta.mean == (1, 2.5, 3)
    for wrong, message in (
        (["--mean", "1,2"], "--mean 1.0,2.0: expected R,G,B, three finite numbers"),
        (["--mean-file", str(tmp_path / "nix")], "nix: cannot read this mean: No such file"),
        (["--prototxt", str(tmp_path / "nix")], "nix: cannot read this prototxt: No such file"),
    ):
        assert main(["convert", str(file), out, *wrong]) == 2 and message in capsys.readouterr().err
    for wrong in (["--mean", "a,b,c"], ["--mean", "1,2,3", "--mean-file", "x"]):
        with pytest.raises(SystemExit):
            main(["convert", str(file), out, *wrong])
    mx.nd.save(str(tmp_path / "vgg.params"), {"vgg0_conv0_weight": mx.nd.zeros((4, 3, 3, 3))})
    assert main(["convert", str(tmp_path / "vgg.params"), out, *proto]) == 2
    assert "describes files of Caffe; " in capsys.readouterr().err


def test_a_net_with_other_layers_is_not_trained_on_as_the_published_one(voc, tmp_path, capsys):
    """Its weights would go into a net with the published pads; Gluon takes it as it is."""
    out, message = str(tmp_path / "out"), "layer conv1_1 is another here: .*3, 1, 104.*, not .*3, 1, 100"
    data = ["--data", str(voc), "--num-classes", "7", "--epochs", "1", "--stages", "fcn16s", "--no-val"]
    text = changed(net("fcn32s"), "conv1_1", "pad: 100", "pad: 104")
    file = snapshot(tmp_path / "net.caffemodel", DATA + text + LOSS, blobs_of("fcn32s"))
    assert main(["convert", str(file), out]) == 0
    assert main(["finetune", *data, "--prefix", out, "--epoch", "0", "--output", str(tmp_path / "run")]) == 2
    assert re.search(message, capsys.readouterr().err)
    with pytest.raises(FCNXSError, match=message):
        gluon.get_fcn16s(prefix=out)
    assert gluon.get_fcn32s(prefix=out)
    write_caffemodel(file, blobs_of("fcn32s"))
    assert main(["convert", str(file), str(tmp_path / "published")]) == 0
    assert gluon.get_fcn16s(prefix=tmp_path / "published")

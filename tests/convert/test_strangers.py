"""Files of Caffe whose layers differ from the published nets: OpenCV runs them as they are, MXNet our net."""

import json
import re

import numpy as np
import pytest
from conftest import as_checkpoint, photo
from strangers import DATA, LOSS, MEAN, before, blobs_of, changed, check, layer, net, snapshot

from fcnxs import FCNXSError
from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.convert.conversion import read
from fcnxs.convert.verify import verify


def converted(tmp_path, text, blobs, as_text=False):
    """The net that we make of a snapshot of a stranger's net, or of its weights beside its prototxt."""
    file, whole = tmp_path / "net.caffemodel", DATA + text + LOSS
    if not as_text:
        return read(snapshot(file, whole, blobs)), file
    write_caffemodel(file, blobs)
    (tmp_path / "val.prototxt").write_text(whole)
    return read(file, prototxt=tmp_path / "val.prototxt"), file


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_what_agrees_passes_silently(name, as_text, tmp_path):
    blobs = blobs_of(name)
    found, file = converted(tmp_path, net(name), blobs, as_text)
    assert found.net == name and found.told == [] and found.mean == MEAN[::-1]
    write_caffemodel(tmp_path / "weights", blobs)
    assert found.symbol.tojson() == read(tmp_path / "weights").symbol.tojson()
    check(found, file, net(name))


def floor(name):
    for i in range(1, 6):
        yield f"pool{i}", "stride: 2", "stride: 2 round_mode: FLOOR"


rng = np.random.default_rng(0)
SMALL_STRIDE = [
    ("pool5", "kernel_size: 2 stride: 2", "kernel_size: 3 stride: 1 pad: 1"),
    ("fc6", "pad: 0", "pad: 12 dilation: 4"),
    ("upscore", "kernel_size: 64 stride: 32", "kernel_size: 32 stride: 16 pad: 8"),
    ("score", "offset: 19", "offset: 92"),
]


@pytest.mark.parametrize(
    ("name", "changes", "blobs", "told"),
    [
        (
            "fcn32s",
            [
                ("conv1_1", "pad: 100", "pad: 1"),
                ("fc6", "pad: 0", "pad: 6 dilation: 2"),
                ("score", "offset: 19", "offset: 0"),
            ],
            {},
            ["pad 1, not 100", "dilation 2, not 1", "score: offset 0 is kept, but the coordinate maps give 16"],
        ),
        ("fcn32s", [("conv1_1", "pad: 100", "pad_h: 90 pad_w: 110")], {}, ["pad 90, 110", "maps give 9, 29"]),
        ("fcn16s", [("conv1_1", "pad: 100", "pad: 100 pad: 104")], {}, ["pad 100, 104", "maps give 27, 31"]),
        (
            "fcn32s",
            [("conv3_2", "kernel_size: 3 pad: 1", "kernel_h: 3 kernel_w: 5 pad_h: 1 pad_w: 2")],
            {"conv3_2": [rng.normal(0, 0.1, (16, 16, 3, 5)), np.zeros(16)]},
            ["kernel_size 3, 5, not 3", "pad 1, 2, not 1"],
        ),
        (
            "fcn32s",
            [("upscore", "stride: 32", "stride: 32 pad: 16"), ("score", "offset: 19", "offset: 3")],
            {},
            ["upscore: pad 16, not 0"],
        ),
        ("fcn8s", [("score", "offset: 31", "offset: 31 offset: 30")], {}, ["offset 31, 30 is kept"]),
        ("fcn8s", [("score", "offset: 31", "")], {}, ["offset 0 is kept, but the coordinate maps give 31"]),
        ("fcn8s", [("cropped", "offset: 5", "offset: 4")], {}, ["cropped: offset 4 is kept, .* give 5"]),
        ("fcn8s", [("score", "axis: 2", "axis: -2")], {}, []),
        ("fcn16s", [("pool1", "kernel_size: 2", "kernel_size: 3")], {}, ["kernel_size 3", "give 53/2"]),
        ("fcn32s", SMALL_STRIDE, {"upscore": [rng.normal(0, 0.1, (7, 7, 32, 32))]}, ["maps give 99"]),
        ("fcn32s", floor("fcn32s"), {}, ["pool3: round_mode FLOOR, not CEIL"]),
        (
            "fcn32s",
            [("score_fr", "kernel_size", "bias_term: false kernel_size")],
            {"score_fr": blobs_of("fcn32s")["score_fr"][:1]},
            [],
        ),
    ],
)
def test_what_differs_becomes_the_net_of_the_file(name, changes, blobs, told, tmp_path):
    text = net(name)
    for change in changes:
        text = changed(text, *change)
    found, file = converted(tmp_path, text, blobs_of(name, **blobs))
    assert found.net == name and bool(found.told) == bool(told)
    for sentence in told:
        assert any(re.search(sentence, each) for each in found.told), found.told
    check(found, file, text)


def test_the_weights_of_a_net_that_no_image_fits_are_read_and_it_is_told(tmp_path):
    """Pads and dilations that leave the crop too few cells, as Caffe would find when it runs."""
    text = changed(net("fcn32s"), "conv1_1", "pad: 100", "pad: 1")
    text = changed(changed(text, "fc6", "pad: 0", "dilation: 2"), "score", "offset: 19", "offset: 0")
    found, file = converted(tmp_path, text, blobs_of("fcn32s"))
    attrs = {node["name"]: node.get("attrs") for node in json.loads(found.symbol.tojson())["nodes"]}
    assert (attrs["conv1_1"]["pad"], attrs["fc6"]["dilate"], attrs["upscore"]["offset"]) == (
        *("(1, 1)", "(2, 2)"),
        "(0, 0)",
    )
    assert found.mean == MEAN[::-1] and "the coordinate maps give -176" in str(found.told)
    assert "no image up to 4096 pixels fits" in found.told[-1]
    for size, message in (((61, 75), "'fc6' has a kernel of 13 rows"), ((501, 375), "'upscore' cuts 501 rows")):
        with pytest.raises(FCNXSError, match=f"{size[1]}x{size[0]} does not fit its net: {message}"):
            verify(file, found, as_checkpoint(found, file), photo(*size))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("pool1", "MAX", "AVE"), "layer pool1: pool AVE, not MAX"),
        (("pool1", "kernel_size: 2", "kernel_size: 2 pad: 1"), "layer pool1: pad 1 with kernel 2, stride 2"),
        (("pool5", "pool: MAX.*stride: 2", "global_pooling: true"), "pool5: .*global_pooling True, not False"),
        (("conv3_2", "pad: 1", "pad: 1 group: 2"), "layer conv3_2: group 2, not 1"),
        (("conv3_2", "num_output: 16", "num_output: 12"), "layer conv3_2: num_output 12, not 16"),
        (("conv1_1", "pad: 100", "pad: 100 pad_h: 104"), "layer conv1_1: gives both pad and pad_h or pad_w"),
        (("conv1_1", "pad: 100", "pad: 5000"), "layer conv1_1: pad 5000, not 100"),
        (("conv1_1", "pad: 100", "pad: 1 pad: 1 pad: 1"), "layer conv1_1: pad 1, not 100"),
        (("conv3_2", "pad: 1", "dilation: 0"), "conv3_2: .*dilation 0, not 1"),
        (("score", "axis: 2", "axis: 3"), "layer score: axis 3, not 2"),
        (("score", "offset: 31", "offset: 31 offset: 3 offset: 3"), "score: offset 31, 3, 3, not 31"),
        (("score", "offset: 31", "offset: 4000000000"), "layer score: offset 4000000000, not 31"),
        (("sum3", "coeff: 1 }", "coeff: 0.5 }"), "layer sum3: coeff 1.0, 0.5, not none"),
        (("sum3", "SUM", "PROD"), "layer sum3: operation PROD, not SUM"),
        (("relu_of_fc6", 'top: "fc6"', 'top: "fc6" relu_param { negative_slope: 0.1 }'), "negative_slope 0.1"),
        (("relu_of_fc6", "ReLU", "Sigmoid"), "layer relu_of_fc6 is Sigmoid, where FCN-8s has ReLU"),
        (("relu_of_fc6", "ReLU", "Dropout"), "layer fc6 is Convolution, where FCN-8s has ReLU"),
        (("score_pool4", 'bottom: "pool4"', 'bottom: "pool3"'), "where FCN-8s has Convolution conv4_3"),
        (
            ("score_fr", "kernel_size", "bias_term: false kernel_size"),
            "score_fr: bias_term false, but .* a bias",
        ),
        (("score", 'type: "Crop"', 'type: "Interp"'), "layer score is Interp, where FCN-8s has Crop score"),
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_what_our_layers_cannot_do_is_refused_with_both_values(change, message, as_text, tmp_path):
    with pytest.raises(FCNXSError, match=f"(net.caffemodel|val.prototxt): .*{message}"):
        converted(tmp_path, changed(net("fcn8s"), *change), blobs_of("fcn8s"), as_text)


@pytest.mark.parametrize(
    ("place", "added", "message"),
    [
        ("relu_of_conv1_1", layer("bn", "BatchNorm", "conv1_1", "conv1_1"), "layer bn is BatchNorm, where"),
        ("conv2_1", layer("norm", "LRN", "pool1", "pool1"), "layer norm is LRN, where FCN-8s has Pooling"),
        (
            "cropped",
            layer("less", "Power", "score_pool4", "score_pool4", "power_param { scale: 0.01 }"),
            "layer less is Power, where FCN-8s has Convolution score_pool4",
        ),
        (
            "conv1_1",
            layer("p", "Power", "data", "data", "power_param { power: 2 }"),
            "layer p .* power of 2",
        ),
        ("conv1_1", layer("p", "Power", "data", "data", "power_param { scale: 0 }"), "the image by .0.0, 0.0"),
        ("conv1_1", layer("c", "Concat", "data", "data"), "layer c is Concat, where FCN-8s has Input"),
    ],
)
def test_layers_in_between_are_refused(place, added, message, tmp_path):
    with pytest.raises(FCNXSError, match=message):
        converted(tmp_path, before(net("fcn8s"), place, added), blobs_of("fcn8s"))


def test_layers_that_change_nothing_are_passed(tmp_path):
    same = layer("same", "Power", "score_pool4", "score_pool4", "power_param { scale: 1 }")
    text = before(net("fcn8s"), "cropped", same)
    split = 'layer { name: "s" type: "Split" bottom: "pool3" top: "pool3_0" top: "pool3_1" }\n'
    text = before(text, "conv4_1", split)
    text = changed(text, "conv4_1", 'bottom: "pool3"', 'bottom: "pool3_0"')
    text = changed(text, "score_pool3", 'bottom: "pool3"', 'bottom: "pool3_1"')
    training = layer("bn", "BatchNorm", "pool2", "pool2", "include { phase: TRAIN }")
    found, file = converted(tmp_path, before(text, "conv3_1", training), blobs_of("fcn8s"))
    assert found.told == []
    check(found, file, text)


def test_a_prototxt_for_another_net_is_refused(tmp_path):
    nets = ("fcn16s fcn32s", "fcn32s fcn16s", "fcn32s fcn8s", "fcn8s fcn8s_atonce")
    for text, blobs in map(str.split, nets):
        with pytest.raises(FCNXSError, match="val.prototxt: "):
            converted(tmp_path, net(text), blobs_of(blobs), as_text=True)


@pytest.mark.parametrize("kind", ["Power", "Scale"])
def test_at_once_is_told_by_the_layers_that_scale_its_skips(kind, tmp_path):
    """A Power layer has no blobs by which it could be told."""
    text, blobs = net("fcn8s"), blobs_of("fcn8s_atonce")
    for pool, factor in (("pool4", 0.01), ("pool3", 0.0001)):
        param = f"scale: {factor}" if kind == "Power" else f"filler {{ value: {factor} }}"
        scale = layer(f"scale_{pool}", kind, pool, "", f"{kind.lower()}_param {{ {param} }}")
        text = before(text, f"score_{pool}", scale)
        text = changed(text, f"score_{pool}", f'bottom: "{pool}"', f'bottom: "scale_{pool}"')
        if kind == "Power":
            del blobs[f"scale_{pool}"]
    found, file = converted(tmp_path, text, blobs)
    assert found.net == "fcn8s_atonce" and found.told == []
    check(found, file, text)
    if kind == "Power":
        with pytest.raises(FCNXSError, match="scale_pool4: scale and shift 0.02, 0.0, not 0.01"):
            converted(tmp_path, changed(text, "scale_pool4", "0.01", "0.02"), blobs)

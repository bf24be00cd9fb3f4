import json
import re
from math import prod
from pathlib import Path

import pytest

from fcnxs import FCNXSError, symbols
from fcnxs.compat import mxnet as mx
from fcnxs.symbols.symbol_fcnxs import FCNXS

GRAPHS = Path(__file__).parent.parent / "graphs"


def as_lines(symbol: mx.sym.Symbol) -> list:
    nodes = json.loads(symbol.tojson())["nodes"]
    lines = []
    for node in nodes:
        attrs = " ".join(
            f"{key}={value.replace(' ', '')}" for key, value in sorted(node.get("attrs", {}).items())
        )
        inputs = " ".join(nodes[entry[0]]["name"] for entry in node["inputs"])
        lines.append(f"{node['op']} {node['name']} | {attrs} | {inputs}".rstrip())
    return lines


@pytest.mark.parametrize("name", FCNXS)
def test_graph_equals_the_original_s_node_for_node(name):
    """tests/graphs has what apache/mxnet 1.4.1 builds, a node a line: operator, name, settings, inputs."""
    symbol = FCNXS[name]()
    expected = (GRAPHS / f"{name}.txt").read_text().splitlines()
    assert as_lines(symbol) == expected
    assert symbol.list_arguments() == [line.split()[1] for line in expected if line.startswith("null ")]
    assert symbol.list_outputs() == ["softmax_output"]


def test_numclass_and_workspace_reach_every_layer():
    nodes = json.loads(symbols.get_fcn8s_symbol(5, 77).tojson())["nodes"]
    layers = [node for node in nodes if node["op"] in ("Convolution", "Deconvolution")]
    assert {node["attrs"]["workspace"] for node in layers} == {"77"}
    classes = [node["attrs"]["num_filter"] for node in layers if "score" in node["name"]]
    assert classes == ["5"] * 6


def test_offsets_are_those_of_the_original():
    assert symbols.offset() == {
        "fcn32s_upscore": (19, 19),
        "score_pool4c": (5, 5),
        "fcn16s_upscore": (27, 27),
        "score_pool3c": (9, 9),
        "fcn8s_upscore": (31, 31),
    }


def test_maps_of_the_layers():
    maps = symbols.coordinate_maps(symbols.get_fcn8s_symbol())
    assert maps["data"] == maps["upscore"] == maps["softmax"] == (1, 0)
    assert maps["conv1_1"] == (1, -99)
    assert maps["pool3"] == (8, -99)
    assert maps["pool4"] == (16, -99)
    assert maps["score"] == (32, -3)
    assert maps["score2"] == maps["score_pool4c"] == maps["score_fused"] == (16, -19)
    assert maps["bigscore"] == (1, -31)
    assert "conv1_1_weight" not in maps and "softmax_label" not in maps


@pytest.mark.parametrize("name", FCNXS)
def test_output_has_the_size_of_the_image_at_every_size(name):
    symbol = FCNXS[name]()
    for height in range(26, 301):
        width = 26 + (7 * height) % 275  # all remainders of 32 against all others
        _, outputs, _ = symbol.infer_shape(data=(1, 3, height, width))
        assert outputs == [(1, 21, height, width)]


def test_the_smallest_size_is_26():
    for build in FCNXS.values():
        with pytest.raises(mx.MXNetError):
            build().infer_shape(data=(1, 3, 25, 100))


def test_width_and_fc_scale_the_channels_and_nothing_else():
    narrow, full = symbols.get_fcn16s_symbol(width=1 / 8, fc=32), symbols.get_fcn16s_symbol()
    shapes = dict(zip(narrow.list_arguments(), narrow.infer_shape(data=(1, 3, 64, 64))[0]))
    assert narrow.list_arguments() == full.list_arguments()
    assert shapes["conv1_1_weight"] == (8, 3, 3, 3)
    assert shapes["conv5_3_weight"] == (64, 64, 3, 3)
    assert shapes["fc6_weight"] == (32, 64, 7, 7)
    assert shapes["score_pool4_weight"] == (21, 64, 1, 1)
    with pytest.raises(FCNXSError, match="width=0.3: 64 channels become 19.2"):
        symbols.get_fcn8s_symbol(width=0.3)


def test_pieces_mix_with_plain_mxnet():
    """A 16s net of the pieces and of MXNet's own operators has the original's offsets."""
    data = mx.sym.Variable("data")
    pool4 = symbols.vgg16_pool4(symbols.vgg16_pool3(data))
    score = symbols.vgg16_score(pool4, 21)
    up = mx.sym.Deconvolution(score, kernel=(4, 4), stride=(2, 2), adj=(1, 1), num_filter=21, name="up")
    skip = mx.sym.Convolution(mx.sym.BatchNorm(pool4), kernel=(1, 1), num_filter=21, name="skip")
    cropped = symbols.crop(skip, up, "cropped")
    assert cropped.attr("offset") == "(5, 5)"
    net = symbols.fcnxs_score(symbols.add(up, cropped, "sum"), data, (27, 27), (32, 32), (16, 16))
    assert net.infer_shape(data=(1, 3, 100, 70))[1] == [(1, 21, 100, 70)]


def test_fcnxs_score_refuses_an_offset_that_the_maps_do_not_give():
    data = mx.sym.Variable("data")
    score = mx.sym.Convolution(data, kernel=(1, 1), num_filter=21, stride=(32, 32), pad=(0, 0), name="s")
    score = mx.sym.Crop(score, h_w=(1, 1), offset=(1, 1), name="shifted")
    with pytest.raises(FCNXSError, match=r"negative"):
        symbols.fcnxs_score(score, data)
    pool4 = symbols.vgg16_pool4(symbols.vgg16_pool3(data))
    score = symbols.vgg16_score(pool4, 21)
    with pytest.raises(
        FCNXSError, match=r"offset=\(18, 18\) of crop 'upscore': the coordinate maps give \(19, 19\)"
    ):
        symbols.fcnxs_score(score, data, (18, 18))
    assert symbols.fcnxs_score(score, data, (19, 19)).tojson() == symbols.fcnxs_score(score, data).tojson()


def conv(x, name, **settings):
    return mx.sym.Convolution(x, num_filter=2, name=name, **{"kernel": (3, 3), **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"pad": (1, 1), "stride": (2, 2)},
            r"'fine', map \(2, -1/2\), like 'data', map \(1, 0\): .* factor of 2",
        ),
        ({}, r"'fine', map \(1, 1\), like 'data', map \(1, 0\): the offset would be -1, negative"),
        ({"kernel": (2, 2), "pad": (2, 2)}, r"'fine', map \(1, -3/2\), like 'data'.* 3/2, not whole"),
    ],
)
def test_crop_refuses_what_cannot_be_aligned(settings, message):
    data = mx.sym.Variable("data")
    with pytest.raises(FCNXSError, match=message):
        symbols.crop(conv(data, "fine", **settings), data, "c")
    assert symbols.crop(conv(data, "fine", pad=(3, 3)), data, "c").attr("offset") == "(2, 2)"


def test_rows_and_columns_have_offsets_of_their_own():
    data = mx.sym.Variable("data")
    x = conv(data, "x", kernel=(3, 5), pad=(3, 8), dilate=(1, 2))
    assert symbols.crop(x, data, "c").attr("offset") == "(2, 4)"
    assert symbols.coordinate_maps(x, axis=0)["x"] == (1, -2)
    assert symbols.coordinate_maps(x, axis=1)["x"] == (1, -4)


def test_a_crop_of_a_crop_and_a_deconvolution_of_a_convolution():
    data = mx.sym.Variable("data")
    down = conv(data, "down", kernel=(6, 6), stride=(3, 3), pad=(2, 2))
    up = mx.sym.Deconvolution(down, kernel=(6, 6), stride=(3, 3), pad=(2, 2), num_filter=2, name="up")
    assert symbols.coordinate_maps(up)["up"] == (1, 0)
    x = mx.sym.Crop(conv(data, "wide", pad=(10, 10)), data, offset=(4, 4), name="first")
    assert symbols.crop(x, data, "second").attr("offset") == "(5, 5)"


def test_a_sum_of_layers_that_do_not_align_is_refused():
    data = mx.sym.Variable("data")
    a, b = conv(data, "a", pad=(1, 1)), conv(data, "b", pad=(2, 2))
    with pytest.raises(FCNXSError, match=r"sum 'c' joins 'a', map \(1, 0\), and 'b', map \(1, -1\)"):
        symbols.add(a, b, "c")
    with pytest.raises(FCNXSError, match=r"elemwise_add 'd' joins 'a'.* 'b'"):
        symbols.coordinate_maps(mx.sym.elemwise_add(a, b, name="d"))
    assert symbols.add(a, conv(data, "e", pad=(1, 1)), "f").list_outputs() == ["f_output"]
    assert symbols.add(a, symbols.crop(b, a)).infer_shape(data=(1, 3, 8, 9))[1] == [(1, 2, 8, 9)]


def test_an_operator_without_a_map_is_named():
    data = mx.sym.Variable("data")
    with pytest.raises(FCNXSError, match="Flatten 'flat' .* has no known coordinate map"):
        symbols.coordinate_maps(mx.sym.Flatten(data, name="flat"))
    joined = mx.sym.Concat(data, data, dim=1, name="joined")
    assert symbols.coordinate_maps(joined)["joined"] == (1, 0)
    with pytest.raises(FCNXSError, match="Concat 'tall' along axis 2"):
        symbols.coordinate_maps(mx.sym.Concat(data, data, dim=2, name="tall"))
    with pytest.raises(FCNXSError, match="Pooling 'all' .* has no known coordinate map"):
        symbols.coordinate_maps(mx.sym.Pooling(data, global_pool=True, kernel=(1, 1), name="all"))


def test_classifier_takes_224_and_shares_the_names_of_the_trunk():
    classifier, trunk = symbols.get_vgg16_symbol(), symbols.get_vgg16fc_symbol()
    assert classifier.infer_shape(data=(2, 3, 224, 224))[1] == [(2, 1000)]
    assert trunk.list_outputs() == ["relu7_output"]
    assert trunk.infer_shape(data=(1, 3, 224, 224))[1] == [(1, 4096, 7, 7)]
    assert [
        name for name in classifier.list_arguments() if name in trunk.list_arguments()
    ] == trunk.list_arguments()


def test_classifier_has_the_layers_and_the_weights_of_the_paper():
    """VGG-16, configuration D: 13 convolutions and 3 fully connected layers, 138 million parameters."""
    symbol = symbols.get_vgg16_symbol()
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(1, 3, 224, 224))[0]))
    channels = [shape[0] for name, shape in shapes.items() if name.endswith("weight")]
    assert channels == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6 + [4096] * 2 + [1000]
    parameters = [prod(shape) for name, shape in shapes.items() if name.endswith(("weight", "bias"))]
    assert sum(parameters) == 138_357_544


def test_skips_go_on_to_pool2_and_pool1():
    """What the two further nets add: a score, a crop and an upsampling each, with offsets from the maps."""
    nets = {stride: symbols.get_fcnxs_symbol(stride) for stride in (32, 16, 8, 4, 2)}
    for stride, name in ((32, "fcn32s"), (16, "fcn16s"), (8, "fcn8s")):
        assert nets[stride].tojson() == FCNXS[name]().tojson()
    layers = {stride: set(net.get_internals().list_outputs()) for stride, net in nets.items()}
    assert layers[4] - layers[8] == {
        *(f"score_pool2_{what}" for what in ("weight", "bias", "output")),
        *("score_pool2c_output", "score8_weight", "score8_output", "score_fused_pool2_output"),
    }
    assert {line for line in layers[2] - layers[4] if line.endswith("weight")} == {
        "score_pool1_weight",
        "score16_weight",
    }
    offsets = {
        node["name"]: node["attrs"]["offset"]
        for node in json.loads(nets[2].tojson())["nodes"]
        if node["op"] == "Crop"
    }
    assert offsets == {
        **{"score_pool4c": "(5, 5)", "score_pool3c": "(9, 9)", "score_pool2c": "(17, 17)"},
        **{"score_pool1c": "(33, 33)", "upscore": "(34, 34)"},
    }
    shapes = dict(zip(nets[2].list_arguments(), nets[2].infer_shape(data=(1, 3, 64, 64))[0]))
    assert shapes["bigscore_weight"] == (21, 21, 4, 4) and shapes["score_pool1_weight"] == (21, 64, 1, 1)


@pytest.mark.parametrize("name", symbols.NETS)
def test_pooling_convention_changes_rounding_and_adj_and_nothing_else(name):
    build = symbols.NETS[name]
    valid, full = (as_lines(build(pooling_convention=convention)) for convention in ("valid", "full"))
    assert as_lines(build()) == valid
    changed = [
        re.sub(r" adj=\S+", "", line).replace("pool_type=max", "pool_type=max pooling_convention=full")
        if line.startswith("Pooling")
        else re.sub(r"adj=\S+ ", "", line)
        for line in valid
    ]
    assert [" ".join(sorted(line.split())) for line in changed] == [
        " ".join(sorted(line.split())) for line in full
    ]
    assert sum("pooling_convention=full" in line for line in full) == (
        {"fcn_alexnet": 3, "alexnetfc": 3, "mask_regression": 4, "nyud_fcn32s_color_hha": 10}.get(name, 5)
    )


def test_builders_refuse_what_they_do_not_have():
    for stride in (64, 3, "8", None):
        with pytest.raises(FCNXSError, match="expected 32, 16, 8, 4 or 2"):
            symbols.get_fcnxs_symbol(stride)
    for build in symbols.NETS.values():
        with pytest.raises(FCNXSError, match="pooling_convention='same': expected 'valid' or 'full'"):
            build(pooling_convention="same")
    with pytest.raises(FCNXSError, match="layer score: 0 channels; expected 1 or more"):
        symbols.get_fcn8s_symbol(numclass=0)
    data = mx.sym.Variable("data")
    with pytest.raises(FCNXSError, match="both must be square"):
        symbols.fcnxs_score(data, data, kernel=(64, 32))

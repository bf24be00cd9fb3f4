"""Three derivations of every crop offset: they agree with each other, and see a wrong one."""

import json
import re
from ast import literal_eval
from fractions import Fraction

import pytest

from fcnxs import symbols
from fcnxs.compat import mxnet as mx

NETS = [(name, convention) for name in symbols.NETS for convention in ("valid", "full")]


@pytest.mark.parametrize(("name", "convention"), NETS)
def test_three_derivations_give_every_offset(name, convention):
    symbol = symbols.NETS[name](pooling_convention=convention)
    crops = [symbols.crop_derivations(symbol, axis) for axis in (0, 1)]
    assert crops[0] == crops[1] and symbols.misaligned(symbol) == []
    for crop in crops[0]:
        assert crop.from_sizes == crop.from_sum == crop.from_maps == crop.offset and crop.agrees
    expected = {"fcn32s": [19], "fcn16s": [5, 27], "fcn8s": [5, 9, 31], "fcn8s_atonce": [5, 9, 31]}
    expected.update({"fcn4s": [5, 9, 17, 33], "fcn2s": [5, 9, 17, 33, 34], "fcn_alexnet": [18]})
    for stride in (32, 16, 8):  # two heads, each with its own
        expected[f"siftflow_fcn{stride}s"] = 2 * expected[f"fcn{stride}s"]
    expected.update(dict.fromkeys(("nyud_fcn32s_color_hha", "nyud_fcn32s_color_d"), [19]))
    assert [crop.offset for crop in crops[0]] == expected.get(name, [])


def caffe_map(nodes, i):
    """(scale, shift) from pixels to cells, between centres: the formulas of Caffe's coord_map.py, for rows."""
    if nodes[i]["op"] == "null":
        return (Fraction(1), Fraction(0))
    attrs = nodes[i].get("attrs", {})
    kernel, stride, pad, offset = (
        Fraction(literal_eval(attrs.get(key, f"({default},)"))[0])
        for key, default in (("kernel", 1), ("stride", 1), ("pad", 0), ("offset", 0))
    )
    scale, shift = {
        "Convolution": (1 / stride, (pad - (kernel - 1) / 2) / stride),
        "Pooling": (1 / stride, (pad - (kernel - 1) / 2) / stride),
        "Deconvolution": (stride, (kernel - 1) / 2 - pad),
        "Crop": (1, -offset),
    }.get(nodes[i]["op"], (1, 0))
    before = caffe_map(nodes, nodes[i]["inputs"][0][0])
    return (scale * before[0], scale * before[1] + shift)


@pytest.mark.parametrize(("name", "convention"), NETS)
def test_caffes_numbers_are_others_and_give_the_same_offsets(name, convention):
    symbol = symbols.NETS[name](pooling_convention=convention)
    nodes = json.loads(symbol.tojson())["nodes"]
    by_name = {node["name"]: i for i, node in enumerate(nodes)}
    for crop in symbols.crop_derivations(symbol):
        (scale, shift), (like_scale, like_shift) = (caffe_map(nodes, by_name[x]) for x in (crop.x, crop.like))
        assert (scale, shift - like_shift) == (like_scale, crop.offset)
    maps = symbols.coordinate_maps(symbol) if "fcn" in name else {}
    for layer, (stride, edge) in maps.items():  # the middle of a pixel is half a pixel from its edge
        scale, shift = caffe_map(nodes, by_name[layer])
        assert (1 / scale, -shift / scale) == (stride, edge + (stride - 1) / 2)


def test_the_terms_of_the_sum_are_the_layers():
    (crop,) = symbols.crop_derivations(symbols.get_fcn32s_symbol())
    assert [(term.name, term.shift) for term in crop.paths[0].terms] == [
        ("conv1_1", -99),
        ("fc6", 96),
        ("bigscore", -16),
    ]
    assert crop.paths[1].terms == [] and (crop.x, crop.like) == ("bigscore", "data")


def fcn16s_with(offset):
    """FCN-16s with another offset of its skip's crop."""
    text = symbols.get_fcn16s_symbol().tojson()
    assert text.count('"offset": "(5, 5)"') == 1
    return mx.sym.load_json(text.replace('"offset": "(5, 5)"', f'"offset": "{offset}"'))


def test_a_wrong_offset_is_seen_and_each_derivation_is_one_of_its_own():
    symbol = fcn16s_with((5, 6))
    skip, upscore = symbols.crop_derivations(symbol, axis=1)
    assert skip.from_sizes == skip.from_sum == skip.from_maps == 5 and skip.offset == 6 and not skip.agrees
    assert upscore.from_sizes == upscore.from_sum == upscore.offset == 27  # they do not see the skip
    assert upscore.from_maps is None and upscore.agrees  # a sum that does not align has no map
    (message,) = symbols.misaligned(symbol, axis=1)
    assert re.match(r"elemwise_add 'score_fused' joins 'score2', map \(16, -19\), and 'score_pool4c'", message)
    assert all(crop.agrees for crop in symbols.crop_derivations(symbol, axis=0)) and not symbols.misaligned(
        symbol
    )
    data = mx.sym.Variable("data")
    wide = mx.sym.Convolution(data, kernel=(3, 3), pad=(10, 10), num_filter=2, name="wide")
    first = mx.sym.Crop(wide, data, offset=(4, 4), name="first")
    (wrong, second) = symbols.crop_derivations(mx.sym.Crop(first, data, offset=(0, 0), name="second"))
    assert wrong.from_sizes == wrong.from_sum == wrong.from_maps == 9 and not wrong.agrees
    assert (second.from_sizes, second.from_sum, second.from_maps) == (0, 5, 5) and not second.agrees


def test_strides_that_differ_have_no_offset():
    data = mx.sym.Variable("data")
    x = mx.sym.Pooling(data, kernel=(2, 2), stride=(2, 2), pool_type="max", name="x")
    y = mx.sym.Convolution(data, kernel=(3, 3), num_filter=2, stride=(4, 4), name="y")
    (crop,) = symbols.crop_derivations(mx.sym.Crop(x, y, offset=(0, 0), name="c"))
    assert crop.from_sizes is crop.from_sum is crop.from_maps is None and not crop.agrees

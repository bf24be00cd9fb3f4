"""The nets in MXNet against Caffe's description of them in OpenCV: numbers, sizes, borders."""

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params
from odd_graphs import crops_that_do_not_fit

from fcnxs.compat import mxnet as mx
from fcnxs.convert.caffe_prototxt import prototxt
from fcnxs.init import bilinear
from fcnxs.net import DECONVOLUTIONS, Net, scores_of
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.tools.benchmarks.parity import FCNS, SIZES, comparisons

CROPPING = [net for net in NETS if net.startswith("fcn")]


@pytest.mark.parametrize("net", FCNS)
def test_scores_equal_opencv_s_caffe_runtime(net):
    """36 sizes, whose heights, and whose widths, have all remainders of 32; from 1x1, square and not."""
    assert all({size[axis] % 32 for size in SIZES} == set(range(32)) for axis in (0, 1)) and (1, 1) in SIZES
    same = pixels = 0
    for (height, width), result in comparisons(net, SIZES, WIDTH, FC, 7):
        classes = result.shape[1]  # of the head that differs most
        assert result.runtime == "OpenCV" and result.shape == (1, classes, height, width)
        assert classes in ((7, 8) if net.startswith("siftflow") else (7,))
        assert result.difference <= 1e-5 * result.largest and result.largest > 0.01
        same += result.agreement * height * width
        pixels += height * width
    assert same / pixels >= 0.9999


def test_a_wrong_net_is_seen(monkeypatch):
    """What the comparison is able to find: an offset, the rounding, a constant, the normalisation."""
    for net, right, wrong in (
        ("fcn8s", "offset: 9", "offset: 8"),
        ("fcn16s", "pool: MAX", "pool: MAX ceil_mode: false"),
        ("fcn8s_atonce", 'bottom: "scale_pool3"', 'bottom: "pool3"'),
        ("fcn_alexnet", "alpha: 0.0001", "alpha: 0.0002"),
    ):
        text = prototxt(net, dict.fromkeys(OUTPUTS, 8), 40, 40)
        assert right in text and text.replace(right, wrong) != text
        monkeypatch.setattr(
            "fcnxs.convert.verify.prototxt",
            lambda *a, r=right, w=wrong, **k: prototxt(*a, **k).replace(r, w),
        )
        assert not all(result.equal for _, result in comparisons(net, ((51, 67),), WIDTH, FC, 7))


OUTPUTS = [
    *("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv4_1", "conv4_2"),
    *("conv4_3", "conv5_1", "conv5_2", "conv5_3", "conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"),
    *(
        "score_fr",
        "score_pool4",
        "score_pool3",
        "upscore",
        "upscore2",
        "upscore_pool4",
        "upscore16",
        "upscore8",
    ),
]


@pytest.mark.parametrize("net", CROPPING)
def test_full_pooling_runs_at_every_size_and_valid_from_the_smallest_on(net):
    smallest = 27 if net == "fcn_alexnet" else 26
    full, valid = (NETS[net](pooling_convention=convention) for convention in ("full", "valid"))
    assert full.list_arguments() == valid.list_arguments()
    for height in range(1, 161):
        width = 1 + (7 * height) % 160
        assert full.infer_shape_partial(data=(1, 3, height, width))[1] == [(1, 21, height, width)]
        assert crops_that_do_not_fit(full, height, width) == []
        if min(height, width) >= smallest:
            assert crops_that_do_not_fit(valid, height, width) == []
    with pytest.raises(mx.MXNetError):
        valid.infer_shape_partial(data=(1, 3, smallest - 1, 100))


@pytest.mark.parametrize("net", CROPPING)
def test_full_pooling_leaves_no_border_without_scores(net):
    """Coarse scores of 1 reach every pixel; with pooling that rounds down, not the last rows of FCN-32s."""

    def smallest_score(size, convention):
        symbol = scores_symbol(NETS[net](3, width=1 / 16, fc=4, pooling_convention=convention))
        params = random_params(symbol)
        for name, array in params.items():
            layer = name.rpartition("_")[0]
            if layer in DECONVOLUTIONS:
                array[:] = bilinear(array.shape)
            elif "score" in layer:
                array[:] = name == "score_bias"
        return scores_of(Net(symbol, params, {}), np.zeros((1, 3, *size), np.float32)).min()

    for size in ((1, 1), (32, 50), (57, 89), (58, 90)):
        assert smallest_score(size, "full") > 0
    if net == "fcn32s":
        assert smallest_score((57, 89), "valid") == 0

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.init import init_from_fcnxs, init_from_vgg16, trunk_of, upsample_filt
from fcnxs.net import net_of
from fcnxs.symbols import NETS, get_fcn8s_symbol, get_fcn16s_symbol, get_fcn32s_symbol, get_vgg16fc_symbol

NARROW = {"width": WIDTH, "fc": FC}


def values(params):
    return {name: array.asnumpy() for name, array in params.items()}


def test_upsample_filt_of_known_sizes():
    np.testing.assert_array_equal(upsample_filt(3), np.outer([0.5, 1, 0.5], [0.5, 1, 0.5]))
    np.testing.assert_array_equal(upsample_filt(4), np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16)


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_upsampling_keeps_a_plane(factor):
    """Bilinear interpolation is exact on linear functions: inside, x * factor + (factor - 1) / 2."""
    ramp = mx.nd.array(np.arange(8.0)).reshape((1, 1, 1, 8)).broadcast_to((1, 1, 8, 8))
    size = 2 * factor
    weight = mx.nd.array(upsample_filt(size)).reshape((1, 1, size, size))
    out = mx.nd.Deconvolution(ramp, weight, kernel=(size, size), stride=(factor, factor), num_filter=1)
    inside = out.asnumpy()[0, 0, size:-size, size:-size]
    columns = np.arange(size, size + inside.shape[1])
    expected = (columns + 0.5) / factor - 1
    np.testing.assert_allclose(inside, np.broadcast_to(expected, inside.shape), atol=1e-5)


def test_from_vgg16_zero_scores_bilinear_deconvolutions_the_rest_copied(ctx):
    trunk = get_vgg16fc_symbol(**NARROW)
    parent = random_params(trunk, 1)
    parent["fc8_weight"] = mx.nd.ones((3, 3))
    args, auxs = init_from_vgg16(ctx, get_fcn8s_symbol(5, **NARROW), parent, {})
    assert auxs == {}
    for name, value in values(args).items():
        if name in parent:
            np.testing.assert_array_equal(value, parent[name].asnumpy())
            assert args[name] is not parent[name]
        elif name in ("bigscore_weight", "score2_weight", "score4_weight"):
            kernel = upsample_filt(value.shape[-1])
            for i in range(5):
                for j in range(5):
                    np.testing.assert_array_equal(value[i, j], kernel * (i == j))
        else:
            assert name.startswith("score") and not value.any()
    assert set(args) == set(get_fcn8s_symbol().list_arguments()) - {"data", "softmax_label"}


def test_from_fcnxs_copies_trained_scores_and_deconvolutions(ctx):
    parent = random_params(get_fcn16s_symbol(5, **NARROW), 2)
    args = values(init_from_fcnxs(ctx, get_fcn8s_symbol(5, **NARROW), parent, {})[0])
    for name in ("score_weight", "score_pool4_bias", "score2_weight", "fc6_weight"):
        np.testing.assert_array_equal(args[name], parent[name].asnumpy())
    assert not args["score_pool3_weight"].any()
    np.testing.assert_array_equal(args["score4_weight"][3, 3], upsample_filt(4))
    np.testing.assert_array_equal(args["bigscore_weight"][0, 0], upsample_filt(16))


def test_an_fcn_32s_can_be_trained_on(ctx):
    symbol = get_fcn32s_symbol(5, **NARROW)
    parent = random_params(symbol, 2)
    args = values(init_from_fcnxs(ctx, symbol, parent, {})[0])
    assert set(args) == set(parent)
    for name in set(parent) - {"bigscore_weight"}:
        np.testing.assert_array_equal(args[name], parent[name].asnumpy())


@pytest.mark.parametrize("name", ["score_bias", "score2_weight", "score_pool4_weight", "score_pool4_bias"])
def test_a_parameter_that_the_parent_should_have_is_never_made_new(name, ctx):
    parent = random_params(get_fcn16s_symbol(5, **NARROW), 2)
    del parent[name]
    with pytest.raises(FCNXSError, match=f"parameter {name} .* of the net is missing"):
        init_from_fcnxs(ctx, get_fcn8s_symbol(5, **NARROW), parent, {})


def test_parameters_of_another_type_are_refused(ctx):
    parent = random_params(get_vgg16fc_symbol(**NARROW))
    parent["fc6_bias"] = parent["fc6_bias"].astype("float16")
    with pytest.raises(FCNXSError, match=r"fc6_bias is float16 \(16,\), but the net needs float32"):
        init_from_vgg16(ctx, get_fcn32s_symbol(5, **NARROW), parent, {})


def test_a_parameter_that_is_missing_or_of_another_shape_is_named(ctx):
    parent = random_params(get_vgg16fc_symbol(**NARROW))
    symbol = get_fcn32s_symbol(5, **NARROW)
    with pytest.raises(FCNXSError, match=r"conv2_1_weight \(8, 4, 3, 3\) of the net is missing"):
        init_from_vgg16(ctx, symbol, {k: v for k, v in parent.items() if k != "conv2_1_weight"}, {})
    with pytest.raises(
        FCNXSError, match=r"conv1_1_weight is float32 \(4, 3, 3, 3\), but the net needs float32 \(8, 3, 3, 3\)"
    ):
        init_from_vgg16(ctx, get_fcn32s_symbol(5, width=2 * WIDTH, fc=FC), parent, {})
    with pytest.raises(FCNXSError, match="use init_from_vgg16"):
        init_from_fcnxs(ctx, symbol, parent, {})
    other = random_params(get_fcn32s_symbol(4, **NARROW))
    with pytest.raises(
        FCNXSError, match=r"score_weight is float32 \(4, 16, 1, 1\).*other classes starts from VGG-16"
    ):
        init_from_fcnxs(ctx, symbol, other, {})


def test_net_is_told_by_its_parameters():
    for build, name in (
        (get_fcn32s_symbol, "fcn32s"),
        (get_fcn16s_symbol, "fcn16s"),
        (get_fcn8s_symbol, "fcn8s"),
    ):
        net = net_of(random_params(build(5, **NARROW)), "here")
        assert (net.name, net.width, net.fc, net.numclass) == (name, WIDTH, FC, 5)
    for name in ("fcn4s", "fcn2s"):
        assert net_of(random_params(NETS[name](5, **NARROW)), "here").name == name
    symbol = NETS["fcn8s_atonce"](5, pooling_convention="full", **NARROW)
    net = net_of(random_params(symbol), "here", symbol)
    assert (net.name, net.pooling_convention) == ("fcn8s_atonce", "full")
    net = net_of(random_params(NETS["fcn_alexnet"](5, **NARROW)), "here")
    assert (net.name, net.width, net.fc, net.numclass) == ("fcn_alexnet", WIDTH, FC, 5)
    net = net_of(random_params(NETS["alexnetfc"](**NARROW)), "here")
    assert (net.name, net.width, net.fc, net.numclass) == ("alexnet", WIDTH, FC, None)
    net = net_of(random_params(get_vgg16fc_symbol(**NARROW)), "here")
    assert (net.name, net.width, net.fc, net.numclass) == ("vgg16", WIDTH, FC, None)
    with pytest.raises(FCNXSError, match="here: no conv1_1_weight"):
        net_of({}, "here")


def test_finer_nets_start_from_coarser_ones(ctx):
    """FCN-2s from FCN-8s: all is copied but the two new skips and bigscore."""
    parent = random_params(get_fcn8s_symbol(5, **NARROW), 2)
    args = values(init_from_fcnxs(ctx, NETS["fcn2s"](5, **NARROW), parent, {})[0])
    new = {"score_pool2_weight", "score_pool2_bias", "score_pool1_weight", "score_pool1_bias"}
    assert set(args) - set(parent) == {*new, "score8_weight", "score16_weight"}
    for name in set(parent) - {"bigscore_weight"}:
        np.testing.assert_array_equal(args[name], parent[name].asnumpy())
    assert not any(args[name].any() for name in new)
    for name, kernel in (("score8_weight", 4), ("score16_weight", 4), ("bigscore_weight", 4)):
        np.testing.assert_allclose(args[name][2, 2], upsample_filt(kernel))


def test_a_net_of_the_same_stride_is_trained_on(ctx):
    """Skips and their upsampling are copied; the original makes them anew, as it does from a coarser net."""
    symbol = get_fcn16s_symbol(5, **NARROW)
    parent = random_params(symbol, 2)
    args = values(init_from_fcnxs(ctx, symbol, parent, {})[0])
    for name in ("score_pool4_weight", "score_pool4_bias", "score2_weight", "score_weight"):
        np.testing.assert_array_equal(args[name], parent[name].asnumpy())
    np.testing.assert_array_equal(args["bigscore_weight"][0, 0], upsample_filt(32))


@pytest.mark.parametrize("name", ["fcn32s", "fcn8s", "fcn2s", "fcn8s_atonce"])
@pytest.mark.parametrize("pooling", ["valid", "full"])
def test_the_trunk_of_an_fcn_is_its_vgg_16(name, pooling):
    symbol = NETS[name](**NARROW, pooling_convention=pooling)
    params = random_params(symbol, 4)
    net, trunk = trunk_of(symbol, params, "parent")
    assert (net.name, net.width, net.fc, net.numclass, net.pooling_convention) == (
        *("vgg16", WIDTH, FC, None, pooling),
    )
    assert list(trunk) == [name for name in get_vgg16fc_symbol().list_arguments() if name != "data"]
    assert all(array is params[name] for name, array in trunk.items())


def test_a_trunk_with_other_layers_is_refused():
    symbol = get_fcn8s_symbol(5, **NARROW)
    params = random_params(symbol, 4)
    other = mx.sym.load_json(symbol.tojson().replace('"pad": "(100, 100)"', '"pad": "(81, 81)"'))
    with pytest.raises(
        FCNXSError, match="parent: cannot be trained on, since VGG-16's layer conv1_1 is another"
    ):
        trunk_of(other, params, "parent")
    del params["fc7_bias"]
    with pytest.raises(FCNXSError, match="parent: parameter fc7_bias .* is missing"):
        trunk_of(symbol, params, "parent")

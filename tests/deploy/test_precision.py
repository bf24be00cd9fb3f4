"""bfloat16 and int8 against what their roundings must give, and the choice of the layers that stay."""

import json

import numpy as np
import pytest
from conftest import FC, LOWER, WIDTH, bf16, int8_exact, random_params

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.deploy import precision
from fcnxs.deploy.precision import (
    KEEP,
    MODES,
    calibrate,
    convolutions,
    kept_layers,
    losses,
    quantized,
    to_bf16,
    to_int8,
)
from fcnxs.net import Net, scores_of
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.symbols.graph.rewrite import scores_symbol

KEPT = ["conv1_1", "score", "score_pool4", "score_pool3"]


@pytest.fixture(scope="module")
def net():
    symbol = scores_symbol(get_fcn8s_symbol(5, width=WIDTH, fc=FC))
    return Net(symbol, random_params(symbol, 3), {})


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    return [rng.normal(0, 50, (1, 3, *size)).astype(np.float32) for size in ((48, 64), (64, 40))]


def one_layer(weight):
    """A 1x1 convolution without activation."""
    x = mx.sym.Convolution(
        mx.sym.Variable("data"), kernel=(1, 1), num_filter=len(weight), no_bias=True, name="only"
    )
    return Net(x, {"only_weight": mx.nd.array(weight.reshape(*weight.shape, 1, 1))}, {})


def rounded(values):
    """Nearest bfloat16, ties to even, as float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


def test_ranges_are_those_of_all_images_and_each_size_is_bound_once(net, batches, monkeypatch):
    bound, images = [], [batches[0], -3 * batches[0], batches[1]]
    bind = precision.bind
    monkeypatch.setattr(precision, "bind", lambda net, shape: bound.append(shape) or bind(net, shape))
    found, alone = calibrate(net, images), [calibrate(net, [image]) for image in images]
    assert bound[:2] == [batches[0].shape, batches[1].shape] and len(bound) == 2 + len(alone)
    for name, (low, high) in found.items():
        np.testing.assert_allclose(low, min(each[name][0] for each in alone), rtol=1e-6)
        np.testing.assert_allclose(high, max(each[name][1] for each in alone), rtol=1e-6)


@bf16
def test_the_first_layer_multiplies_halves_as_exactly_as_float32(net):
    """But for its bias and output, which are bfloat16; a product of rounded numbers is farther off."""
    data = np.random.default_rng(1).normal(0, 50, (1, 3, 40, 50)).astype(np.float32)
    results = []
    for each in (net, to_bf16(net, keep=("first", "score*")), to_bf16(net, keep=("score*",))):
        output = mx.sym.amp_cast(each.symbol.get_internals()["relu1_1_output"], dtype="float32")
        args = {name: each.arg_params[name] for name in output.list_arguments() if name != "data"}
        results.append(scores_of(Net(output, args, {}), data))
    exact, halves, rounded_off = results
    bias = np.abs(net.arg_params["conv1_1_bias"].asnumpy()).max()
    allowed = 2.0**-8 * (exact + bias) + 1e-5 * exact.max()
    assert (np.abs(halves - exact) <= allowed).all()
    assert (np.abs(rounded_off - exact) > 10 * allowed).any()


@bf16
def test_bf16_is_the_product_of_rounded_numbers():
    rng = np.random.default_rng(1)
    weight, data = rng.normal(0, 1, (4, 3)), rng.normal(0, 50, (1, 3, 8, 9))
    ours = scores_of(to_bf16(one_layer(weight), keep=()), data)
    exact = np.einsum("oc,nchw->nohw", rounded(weight).astype(np.float64), rounded(data).astype(np.float64))
    np.testing.assert_allclose(ours, exact, rtol=2**-8, atol=1e-4)  # the sum is rounded too
    np.testing.assert_array_equal(ours, rounded(ours))
    assert np.abs(ours - np.einsum("oc,nchw->nohw", weight, data)).max() > 1e-2


@int8_exact
@pytest.mark.parametrize("mode", MODES)
def test_int8_is_exact_to_a_step_of_the_output(mode):
    """Whole numbers up to 127 are their own 8 bits: what is left is the rounding of the output.

    MXNet divides by 127 and multiplies by 127.5: 1/255 of a value more.
    """
    rng = np.random.default_rng(1)
    weight, data = rng.integers(-127, 128, (4, 3)), rng.integers(-127, 128, (1, 3, 32, 32))
    weight[:, 0], data[0, :, 0, 0] = 127, 127
    net = one_layer(weight)
    ours = scores_of(quantized(net, {"data": (-127, 127), "sg_mkldnn_conv_0_output": (-5e4, 5e4)}, ()), data)
    exact = np.einsum("oc,nchw->nohw", weight, data)
    assert (np.abs(ours - exact) <= 5e4 / 127 + np.abs(exact) / 255).all()
    found = calibrate(net, [data], mode)  # which has these numbers, or cuts them
    assert set(found) == {"data", "sg_mkldnn_conv_0_output"}
    if mode == "minmax":
        assert found == {"data": (data.min(), 127), "sg_mkldnn_conv_0_output": (exact.min(), exact.max())}
    else:
        assert 0 < found["data"][1] <= 128 and found["data"][0] == -found["data"][1]


@pytest.mark.parametrize(
    "lower", [to_bf16, lambda net, keep: to_int8(net, [np.ones((1, 3, 32, 32))], keep=keep)]
)
def test_a_net_whose_layers_are_all_kept_is_the_net(lower, net, batches):
    np.testing.assert_allclose(scores_of(lower(net, ("*",)), batches[0]), scores_of(net, batches[0]), atol=1e-5)


def test_kept_layers_are_float32_and_the_others_are_not(net, batches):
    bf16 = to_bf16(net)
    types = {name: array.dtype for name, array in bf16.arg_params.items()}
    upsampling = {"score2_weight", "score4_weight", "bigscore_weight"}
    whole = {f"{layer}_{kind}" for layer in KEPT[1:] for kind in ("weight", "bias")} | upsampling
    assert {name for name, kind in types.items() if kind == np.float32} == whole
    assert {name for name in types if name.startswith("conv1_1")} == {"conv1_1_halves_weight", "conv1_1_bias"}
    assert all(array.dtype == np.float32 for array in net.arg_params.values())  # the net is left as it was
    nodes = json.loads(to_int8(net, batches, keep=("conv2_*", "fc7")).symbol.tojson())["nodes"]
    in_float = [n for n in nodes if n["op"] == "_sg_mkldnn_conv" and "quantized" not in n["attrs"]]
    inner = [each for n in in_float for each in n["subgraphs"][0]["nodes"]]
    assert [each["name"] for each in inner if each["op"] == "Convolution"] == ["conv2_1", "conv2_2", "fc7"]


def lowered(net, precision, batches):
    """The net in that precision, and how far its scores may be off, as a part of the largest."""
    return (to_bf16(net), 0.02) if precision == "bf16" else (to_int8(net, batches), 0.1)


@pytest.mark.parametrize("precision", LOWER)
def test_both_agree_with_the_net(precision, net, batches):
    lower, most = lowered(net, precision, batches)
    for batch in batches:
        ours, scores = scores_of(lower, batch), scores_of(net, batch)
        assert ours.dtype == np.float32
        assert 0 < np.abs(ours - scores).max() <= most * np.abs(scores).max()


def test_a_layer_that_loses_much_is_told(net, batches):
    ranges = calibrate(net, batches)
    assert "sg_mkldnn_conv_act_8_output" in ranges  # relu4_2
    cut = {**ranges, "sg_mkldnn_conv_act_8_output": (0.0, ranges["sg_mkldnn_conv_act_8_output"][1] / 20)}
    result = {loss.layer: loss for loss in losses(net, lambda keep: quantized(net, cut, keep), batches)}
    assert list(result) == [name for name in convolutions(net.symbol) if name not in KEPT]
    assert max(result.values(), key=lambda loss: loss.error).layer in ("conv4_2", "conv4_3")
    assert min(loss.error for loss in result.values()) < 0.05 < result["conv4_2"].error


def test_a_layer_that_gives_only_zeros_is_no_trouble(net, batches):
    dead = dict(net.arg_params, conv3_2_bias=mx.nd.full(net.arg_params["conv3_2_bias"].shape, -1e6))
    dead = Net(net.symbol, dead, {})
    ours, exact = scores_of(to_int8(dead, batches), batches[0]), scores_of(dead, batches[0])
    assert np.abs(ours - exact).max() <= 0.1 * np.abs(exact).max()


@pytest.mark.parametrize("precision", LOWER)
def test_layers_of_trimmed_nets_are_taken_too(precision):
    """Pads, rebasing by batch normalisation, and a frame that is added."""
    sym, rng = mx.sym, np.random.default_rng(0)

    def conv(x, name, channels, pad=0):
        x = sym.Convolution(x, kernel=(3, 3), num_filter=channels, pad=(pad, pad), name=name)
        return sym.Activation(x, act_type="relu", name=f"{name}_relu")

    def rebased(x, name):
        return sym.BatchNorm(x, use_global_stats=True, fix_gamma=True, eps=1e-3, name=name)

    def padded(x, pad):
        return sym.Pad(x, mode="constant", pad_width=(0, 0, 0, 0, *[pad] * 4))

    x = conv(conv(padded(sym.Variable("data"), 4), "a", 8), "b", 8)
    x = rebased(sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max", name="pool"), "r1")
    x = conv(rebased(conv(x, "c", 16, 4), "r2"), "d", 16)
    x = sym.broadcast_add(padded(x, 3), sym.Variable("frame_weight", shape=(1, 16, 44, 52)), name="framed")
    symbol = sym.Convolution(x, kernel=(1, 1), num_filter=5, name="score")
    shapes, _, aux_shapes = symbol.infer_shape(data=(1, 3, 64, 80))
    args = {
        name: mx.nd.array(rng.normal(0, 0.1 if len(shape) == 1 else (2 / np.prod(shape[1:])) ** 0.5, shape))
        for name, shape in zip(symbol.list_arguments(), shapes)
        if name != "data"
    }
    args.update({name: mx.nd.ones_like(array) for name, array in args.items() if name.endswith("gamma")})
    auxs = {
        name: mx.nd.full(shape, 1 - 1e-3) if name.endswith("var") else mx.nd.array(rng.uniform(0, 9, shape))
        for name, shape in zip(symbol.list_auxiliary_states(), aux_shapes)
    }
    net, data = Net(symbol, args, auxs), rng.normal(0, 50, (1, 3, 64, 80)).astype(np.float32)
    exact = scores_of(net, data)
    lower, most = lowered(net, precision, [data])
    assert 0 < np.abs(scores_of(lower, data) - exact).max() <= most * np.abs(exact).max()


def test_names_of_layers(net, batches):
    assert kept_layers(net.symbol, KEEP) == KEPT
    assert kept_layers(net.symbol, ("fc*", "conv3_2")) == ["conv3_2", "fc6", "fc7"]
    assert kept_layers(net.symbol, ()) == []
    with pytest.raises(
        FCNXSError, match=r"no convolution of the net matches 'conv9'; there are conv1_1, conv1_2"
    ):
        to_bf16(net, ("conv9",))
    with pytest.raises(FCNXSError, match="calibration mode 'kl' with 2 images: expected minmax or entropy"):
        calibrate(net, batches, "kl")
    with pytest.raises(FCNXSError, match="with 0 images"):
        to_int8(net, [])

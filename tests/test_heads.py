"""Nets of several heads, of two images and of depth: their parameters at the start, and one head alone."""

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.heads import heads_of, net_of_head
from fcnxs.init import init_from_fcnxs, init_from_images, init_from_vgg16
from fcnxs.net import Net, outputs_of, scores_of
from fcnxs.symbols import NETS, get_fcnxs_symbol, get_vgg16fc_symbol

NARROW = {"width": WIDTH, "fc": FC}
HEADS = {"sem": 5, "geo": 3}


def numpy_of(params):
    return {name: array.asnumpy() for name, array in params.items()}


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_each_head_is_the_fcn_of_its_classes(stride, ctx):
    """Its graph is that of the net of one head, and each output is that net's with its parameters."""
    net = get_fcnxs_symbol(stride, heads=HEADS, **NARROW)
    assert heads_of(net) == ["sem", "geo"] and heads_of(get_fcnxs_symbol(stride)) == []
    params = random_params(net)
    image = np.random.default_rng(0).normal(0, 50, (1, 3, 45, 70)).astype(np.float32)
    labels = {f"softmax_{head}_label": mx.nd.zeros((1, 45 * 70)) for head in HEADS}
    whole = outputs_of(Net(net, {**params, **labels}, {}), {"data": image})
    for (head, classes), output in zip(HEADS.items(), whole):
        alone = get_fcnxs_symbol(stride, classes, **NARROW)
        assert net_of_head(net, head).tojson() == alone.tojson()
        own = {
            name: params.get(
                name, params.get(name.replace("_weight", f"_{head}_weight").replace("_bias", f"_{head}_bias"))
            )
            for name in alone.list_arguments()
        }
        own.update({"softmax_label": mx.nd.zeros((1, 45 * 70)), "data": mx.nd.zeros(1)})
        np.testing.assert_array_equal(scores_of(Net(alone, own, {}), image), output)
    with pytest.raises(FCNXSError, match="head 'sky': the net has the heads sem and geo"):
        net_of_head(net, "sky")


def test_the_gradient_of_the_trunk_is_the_sum_of_the_heads_gradients(ctx):
    """Two losses, each with its label: what Caffe's net sums."""
    net = get_fcnxs_symbol(16, heads=HEADS, **NARROW)
    net = mx.sym.load_json(net.tojson().replace('"p": "0.5"', '"p": "0"'))  # no dropout
    params, rng = random_params(net), np.random.default_rng(0)
    image = mx.nd.array(rng.normal(0, 50, (1, 3, 40, 50)))
    labels = {head: mx.nd.array(rng.integers(0, classes, (1, 2000))) for head, classes in HEADS.items()}

    def gradient(symbol, labels):
        args = {
            **{name: params[name] for name in symbol.list_arguments() if name in params},
            "data": image,
            **labels,
        }
        grads = {"conv4_1_weight": mx.nd.zeros_like(params["conv4_1_weight"])}
        executor = symbol.bind(mx.cpu(), args, grads, dict.fromkeys(grads, "write"))
        executor.forward(is_train=True)
        executor.backward()
        return grads["conv4_1_weight"].asnumpy()

    whole = gradient(net, {f"softmax_{head}_label": label for head, label in labels.items()})
    alone = [gradient(net[f"softmax_{head}_output"], {f"softmax_{head}_label": labels[head]}) for head in HEADS]
    assert all(abs(each).max() > 0 for each in alone)
    np.testing.assert_allclose(whole, sum(alone), rtol=0, atol=1e-5 * abs(whole).max())


def test_heads_begin_from_vgg_16_and_from_the_net_before(ctx):
    """Scores zero, upsampling bilinear for each head; a later net takes the heads of the net before."""
    vgg16 = random_params(get_vgg16fc_symbol(**NARROW))
    first = get_fcnxs_symbol(32, heads=HEADS, **NARROW)
    begun, _ = init_from_vgg16(ctx, first, vgg16, {})
    assert set(begun) == {name for name in first.list_arguments() if not name.endswith(("data", "label"))}
    for head in HEADS:
        assert not begun[f"score_{head}_weight"].asnumpy().any()
        assert begun[f"bigscore_{head}_weight"].asnumpy()[0, 0].sum() == pytest.approx(32 * 32)
    trained = random_params(first, 1)
    later, _ = init_from_fcnxs(ctx, get_fcnxs_symbol(16, heads=HEADS, **NARROW), trained, {})
    for name in ("score_sem_weight", "score_geo_bias", "fc7_weight"):
        np.testing.assert_array_equal(later[name].asnumpy(), trained[name].asnumpy())
    assert not later["score_pool4_geo_weight"].asnumpy().any()
    assert later["score2_sem_weight"].asnumpy()[0, 0].sum() == pytest.approx(4)
    with pytest.raises(FCNXSError, match="score_sem_weight or score_geo_weight is missing"):
        init_from_fcnxs(ctx, first, vgg16, {})


def test_depth_begins_as_the_mean_of_the_colours(ctx):
    net = NETS["nyud_fcn32s_color_d"](numclass=4, **NARROW)
    vgg16 = random_params(get_vgg16fc_symbol(**NARROW))
    begun = numpy_of(init_from_vgg16(ctx, net, vgg16, {})[0])
    colour = vgg16["conv1_1_weight"].asnumpy().astype(np.float64)
    np.testing.assert_array_equal(begun["conv1_1_weight"][:, :3], vgg16["conv1_1_weight"].asnumpy())
    np.testing.assert_allclose(begun["conv1_1_weight"][:, 3], colour.mean(axis=1), rtol=0, atol=1e-6)
    trained = random_params(net, 2)
    np.testing.assert_array_equal(
        numpy_of(init_from_fcnxs(ctx, net, trained, {})[0])["conv1_1_weight"],
        trained["conv1_1_weight"].asnumpy(),
    )
    with pytest.raises(
        FCNXSError, match=r"conv1_1_weight is float32 \(4, 4, 3, 3\), but the net needs .*\(4, 3, 3, 3\)"
    ):
        init_from_fcnxs(ctx, get_fcnxs_symbol(32, 4, **NARROW), trained, {})


def test_late_fusion_begins_from_two_nets_and_averages_their_scores(ctx):
    """With bilinear upsampling its scores are the mean of the two nets' own."""
    from fcnxs.symbols.graph.rewrite import scores_symbol
    from fcnxs.symbols.interpolation import bilinear

    alone, rng = get_fcnxs_symbol(32, 4, **NARROW), np.random.default_rng(0)
    parents = {"color": random_params(alone, 1), "hha": random_params(alone, 2)}
    for params in parents.values():
        params["bigscore_weight"] = mx.nd.array(bilinear(params["bigscore_weight"].shape))
    fusion = NETS["nyud_fcn32s_color_hha"](numclass=4, **NARROW)
    begun, _ = init_from_images(ctx, fusion, parents)
    images = {name: rng.normal(0, 50, (1, 3, 50, 61)).astype(np.float32) for name in parents}
    fused = outputs_of(
        Net(scores_symbol(fusion), begun, {}), {f"{name}_data": each for name, each in images.items()}
    )[0]
    single = [
        scores_of(Net(scores_symbol(alone), parents[name], {}), images[name]).astype(np.float64)
        for name in images
    ]
    np.testing.assert_allclose(fused, sum(single) / 2, rtol=0, atol=1e-5 * abs(fused).max())
    with pytest.raises(FCNXSError, match="parameter conv1_1hha_weight .* is missing"):
        init_from_images(ctx, fusion, {"color": parents["color"]})


@pytest.mark.parametrize(
    ("name", "images", "labels"),
    [
        ("siftflow_fcn16s", {"data": 3}, ["softmax_sem_label", "softmax_geo_label"]),
        ("nyud_fcn32s_color_hha", {"color_data": 3, "hha_data": 3}, ["softmax_label"]),
        ("nyud_fcn32s_color_d", {"data": 4}, ["softmax_label"]),
    ],
)
def test_mxnet_s_module_trains_them(name, images, labels):
    """After a step every head and every trunk has changed."""
    net, rng = NETS[name](**NARROW), np.random.default_rng(0)
    data = [mx.nd.array(rng.normal(0, 50, (1, channels, 40, 50))) for channels in images.values()]
    truth = [mx.nd.array(rng.integers(0, 3, (1, 40 * 50))) for _ in labels]
    module = mx.mod.Module(net, data_names=[*images], label_names=labels)
    shapes = [(each, array.shape) for each, array in zip([*images, *labels], data + truth)]
    module.bind(shapes[: len(images)], shapes[len(images) :])
    module.init_params(arg_params=random_params(net))
    before = numpy_of(module.get_params()[0])
    module.init_optimizer(optimizer_params={"learning_rate": 1e-3})
    module.forward_backward(mx.io.DataBatch(data, truth))
    module.update()
    after = numpy_of(module.get_params()[0])
    learning = [key for key in after if key.startswith(("score", "conv1_1")) and key.endswith("weight")]
    assert len(learning) >= 2 and all((after[key] != before[key]).any() for key in learning)

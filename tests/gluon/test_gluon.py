import threading

import numpy as np
import pytest
from conftest import CTX, FC, WIDTH, random_params, several

from fcnxs import FCNXSError, checkpoint, gluon
from fcnxs.compat import mxnet as mx
from fcnxs.data.images import preprocess
from fcnxs.net import Net
from fcnxs.solver.executors import Executors
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.symbols.interpolation import bilinear

NARROW = {"width": WIDTH, "fc": FC, "ctx": CTX}
NAMES = ["fcn32s", "fcn16s", "fcn8s", "fcn8s_atonce", "fcn_alexnet"]
SIZES = [(1, 3, 40, 60), (2, 3, 64, 33), (1, 3, 27, 27), (3, 3, 40, 60), (1, 3, 40, 60)]


def build(name):
    return getattr(gluon, f"get_{name}")


def random_input(shape, seed=0):
    return mx.nd.array(np.random.default_rng(seed).normal(0, 40, shape), CTX)


def scores_of(net, shape, x):
    """What an executor of the project's gives, of the graph without dropout."""
    own = net.checkpoint()
    params = {name: array.as_in_context(CTX) for name, array in own.arg_params.items()}
    executor = Executors(Net(scores_symbol(own.symbol), params, {}), CTX).get("data", shape)
    return executor.forward(is_train=False, data=x)[0].asnumpy()


@pytest.fixture(scope="module")
def net():
    """An FCN-8s for five classes whose parameters are all random."""
    net = gluon.get_fcn8s(5, **NARROW)
    for name, array in random_params(net.symbol, 3).items():
        net.params[name].set_data(array)
    return net


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_net_has_msra_s_trunk_zero_scores_and_bilinear_upsampling(name):
    net = build(name)(7, **NARROW)
    symbol = NETS[name](7, width=WIDTH, fc=FC)
    assert list(net.collect_params()) == [
        key for key in symbol.list_arguments() if key not in ("data", "softmax_label")
    ]
    assert net.nclass == 7 and net.classes is None and net.mean == (123.68, 116.779, 103.939)
    for key, parameter in net.collect_params().items():
        value = parameter.data().asnumpy()
        assert parameter.grad_req == ("null" if key == "bigscore_weight" else "write")
        if key in ("bigscore_weight", "score2_weight", "score4_weight"):
            np.testing.assert_array_equal(value, bilinear(value.shape))
        elif key.startswith("score") or key.endswith("bias"):
            assert not value.any(), key
        elif value.size > 2000:
            assert value.std() == pytest.approx((2 / np.prod(value.shape[1:])) ** 0.5, rel=0.1), key
    assert not net(random_input((1, 3, 40, 60))).asnumpy().any()  # as after init_from_vgg16


@pytest.mark.parametrize(
    "how", [None, {}, {"static_alloc": True}, {"static_alloc": True, "static_shape": True}]
)
def test_sizes_one_after_the_other_give_what_an_executor_gives(net, how):
    net.hybridize(how is not None, **(how or {}))
    kept = []
    for seed, shape in enumerate(SIZES):
        x = random_input(shape, seed)
        expected = scores_of(net, shape, x)
        kept += [(net(x), expected), (net.demo(x), expected)]
        probabilities = mx.nd.softmax(mx.nd.array(expected), axis=1).asnumpy()
        np.testing.assert_allclose(net.evaluate(x).exp().asnumpy(), probabilities, atol=1e-6)
    for scores, expected in kept:  # which later passes have not overwritten
        np.testing.assert_array_equal(scores.asnumpy(), expected)
    net.hybridize(False)


def test_a_checkpoint_gives_what_its_segmenter_gives(run_folder):
    loaded = checkpoint.load(run_folder / "run/fcn8s", 1)
    net = gluon.get_fcn8s(prefix=run_folder / "run/fcn8s", epoch=1, ctx=CTX)
    assert (net.nclass, net.mean, net.classes) == (5, loaded.meta.mean, loaded.meta.classes)
    assert net.palette == loaded.meta.palette
    assert net.symbol.tojson() == loaded.symbol.tojson()
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    data = preprocess(image, net.mean)
    x = gluon.transform(net.mean)(mx.nd.array(image, CTX, "uint8")).expand_dims(0)
    np.testing.assert_array_equal(x.asnumpy(), data)
    symbol = scores_symbol(loaded.symbol)
    params = {name: array.as_in_context(CTX) for name, array in loaded.arg_params.items()}
    executor = Executors(Net(symbol, params, {}), CTX).get("data", x.shape)
    expected = executor.forward(is_train=False, data=mx.nd.array(data, CTX))[0].asnumpy()
    # The block's upsampling is two products (test_gluon_products.py), which round otherwise.
    np.testing.assert_allclose(net(x).asnumpy(), expected, rtol=0, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name, parent", [("fcn32s", "vgg"), ("fcn16s", "run/fcn32s"), ("fcn8s_atonce", "vgg")])
def test_a_net_starts_from_its_parent(run_folder, name, parent):
    epoch = 0 if parent == "vgg" else 2
    loaded = checkpoint.load(run_folder / parent, epoch)
    net = build(name)(None if epoch else 3, run_folder / parent, epoch)
    assert net.nclass == (5 if epoch else 3) and net.mean == loaded.meta.mean
    own = net.checkpoint().arg_params
    for key, array in own.items():
        if key in loaded.arg_params and key != "bigscore_weight":
            np.testing.assert_array_equal(array.asnumpy(), loaded.arg_params[key].asnumpy())
        elif key in ("bigscore_weight", "score2_weight", "score4_weight"):
            np.testing.assert_array_equal(array.asnumpy(), bilinear(array.shape))
        else:
            assert key.startswith("score") and not array.asnumpy().any()


def test_a_checkpoint_s_variant_is_kept(tmp_path):
    for name in ("fcn_alexnet", "fcn32s"):
        net = build(name)(4, width=1 / 16, fc=9, pooling_convention="full")
        net.save_checkpoint(tmp_path / name, 3)
        again = build(name)(4, tmp_path / name, 3)
        assert again.symbol.tojson() == net.symbol.tojson()
        np.testing.assert_array_equal(
            again.params["fc6_weight"].data().asnumpy(), net.params["fc6_weight"].data().asnumpy()
        )


def test_parameters_are_saved_and_loaded_by_their_own_names(net, run_folder, tmp_path):
    net.save_parameters(str(tmp_path / "net.params"))
    assert {*mx.nd.load(str(tmp_path / "net.params"))} == {*net.collect_params()}
    other, x = gluon.get_fcn8s(5, **NARROW), random_input(SIZES[0])
    other.load_parameters(str(tmp_path / "net.params"), CTX)
    np.testing.assert_array_equal(other(x).asnumpy(), net(x).asnumpy())
    other.load_parameters(str(run_folder / "run/fcn8s-0001.params"), CTX)  # a checkpoint's
    expected = gluon.get_fcn8s(prefix=run_folder / "run/fcn8s", epoch=1, ctx=CTX)(x)
    np.testing.assert_array_equal(other(x).asnumpy(), expected.asnumpy())


def test_dropout_is_active_in_training_alone(net):
    x = random_input(SIZES[0])

    def run(mode, seed):
        mx.random.seed(seed)
        with mode():
            return net(x).asnumpy()

    predict, train = mx.autograd.predict_mode, mx.autograd.record
    np.testing.assert_array_equal(run(predict, 1), run(predict, 2))
    np.testing.assert_array_equal(run(train, 1), run(train, 1))
    assert (run(train, 1) != run(train, 2)).any() and (run(train, 1) != run(predict, 1)).any()
    with mx.autograd.record(train_mode=False):
        np.testing.assert_array_equal(net(x).asnumpy(), run(predict, 1))


def test_other_types(net):
    x = random_input(SIZES[0])
    expected = net(x).asnumpy()
    try:
        net.cast("float64")
        scores = net(x.astype("float64"))
        assert scores.dtype == np.float64
        np.testing.assert_allclose(scores.asnumpy(), expected, atol=1e-5 * np.abs(expected).max())
        with pytest.raises(FCNXSError, match="input of type float32: the net is float64; cast one of them"):
            net(x)
        net.cast(np.float16)
        if CTX.device_type == "cpu":
            with pytest.raises(FCNXSError, match="MXNet computes float16 only on GPUs"):
                net(x.astype("float16"))
        with pytest.raises(FCNXSError, match="cast.'bfloat16'.: expected float16"):
            net.cast("bfloat16")
    finally:
        net.cast("float32")
    np.testing.assert_allclose(net(x).asnumpy(), expected, atol=1e-2 * np.abs(expected).max())


def test_several_devices_and_threads(net):
    devices = several(2)
    other = gluon.get_fcn8s(5, **{**NARROW, "ctx": devices})
    for name, parameter in net.collect_params().items():
        other.params[name].set_data(parameter.data())
    xs = [random_input(SIZES[0], seed).as_in_context(ctx) for seed, ctx in enumerate(devices)]
    outputs = {}

    def work(i):
        outputs[i] = other(xs[i]).asnumpy()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, x in enumerate(xs):
        np.testing.assert_array_equal(outputs[i], net(x.as_in_context(CTX)).asnumpy())
    other.collect_params().reset_ctx(devices[1])
    kind = CTX.device_type
    with pytest.raises(FCNXSError, match=rf"input on {kind}\(0\), parameters on {kind}\(1\): collect_params"):
        other(random_input(SIZES[1]).as_in_context(devices[0]))


def test_images_of_a_data_loader_s_workers_are_taken():
    """They are in shared memory, for a net on the CPU."""
    net, x = gluon.get_fcn8s(5, width=WIDTH, fc=FC), random_input(SIZES[0]).as_in_context(mx.cpu())
    net.params["score_bias"].set_data(mx.nd.arange(5))
    np.testing.assert_array_equal(net(x.as_in_context(mx.Context("cpu_shared", 0))).asnumpy(), net(x).asnumpy())


def test_it_is_a_part_of_other_blocks(net):
    class Classes(mx.gluon.HybridBlock):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def hybrid_forward(self, F, x):
            return F.argmax(self.net(x), axis=1)

    block, x = Classes(net), random_input(SIZES[0])
    expected = net(x).asnumpy().argmax(1)
    np.testing.assert_array_equal(block(x).asnumpy(), expected)
    block.hybridize()
    np.testing.assert_array_equal(block(x).asnumpy(), expected)
    assert {*block.collect_params()} == {*net.collect_params()}

from dataclasses import replace

import numpy as np
import pytest
from conftest import CTX, FC, WIDTH, Images, largest_ratio, random_params, several

from fcnxs import FCNXSError, checkpoint, gluon
from fcnxs.compat import mxnet as mx
from fcnxs.data.layouts import open_samples
from fcnxs.data.loader import Loader
from fcnxs.finetune import Data, Output, Settings, finetune, make_solver
from fcnxs.stages import RECIPES
from fcnxs.symbols import NETS

# With which every parameter changes, and the decay is seen in a change; those of adam are its own.
LARGER = {"mxnet": {"learning_rate": 1e-2}, "caffe": {"learning_rate": 1e-6, "wd": 50.0}, "adam": {}}


def batches(*shapes, classes=3):
    """Random images and labels, with 255 among these."""
    rng = np.random.default_rng(0)
    return [
        {
            "data": rng.normal(0, 2, (n, 3, height, width)).astype(np.float32),
            "softmax_label": rng.choice([*range(classes), 255], (n, height, width)).astype(np.float32),
        }
        for n, height, width in shapes
    ]


def stage_of(recipe, name):
    return replace(RECIPES[recipe][name], **LARGER[recipe])


def net_of(name, ctx=CTX, dropout="0.5"):
    symbol = NETS[name](3, width=WIDTH, fc=FC).tojson().replace('"p": "0.5"', f'"p": "{dropout}"')
    net = gluon.FCNxs(mx.sym.load_json(symbol))
    net.initialize(ctx=ctx)
    for key, array in random_params(net.symbol, 5).items():
        net.params[key].set_data(array)
    return net


def gluon_step(net, trainer, stage, batch, seed, class_weights=None):
    """One step as `gluon.finetune` makes it."""
    criterion = gluon.PixelLoss(class_weights)
    criterion.initialize(ctx=CTX)
    data, label = (mx.nd.array(batch[name], CTX) for name in ("data", "softmax_label"))
    mx.random.seed(seed, CTX)
    with mx.autograd.record():
        loss = criterion(net(data), label)
    loss.backward()
    n, _, height, width = batch["data"].shape
    trainer.step(n / (height * width if stage.unnormalised else 1))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
@pytest.mark.parametrize("class_weights", [None, (0.3, 3.1, 7.7)])
def test_every_parameter_changes_as_by_the_solver_bit_for_bit(class_weights, name, recipe):
    """Steps of one image, of three, and of one of another size; with dropout and what the optimizer keeps."""
    stage, net = stage_of(recipe, name), net_of(name)
    before = {key: array.asnumpy() for key, array in net.checkpoint().arg_params.items()}
    params = {key: mx.nd.array(array) for key, array in before.items()}
    solver = make_solver(stage, net.symbol, params, {}, CTX, trim=False, class_weights=class_weights)
    trainer = gluon.make_trainer(net, stage)
    for seed, batch in enumerate(batches((1, 40, 50), (3, 33, 47), (1, 29, 64))):
        mx.random.seed(seed, CTX)
        solver.step(batch, Images([]))
        gluon_step(net, trainer, stage, batch, seed, class_weights)
        for key, ours in solver.arg_params.items():
            np.testing.assert_array_equal(net.params[key].data().asnumpy(), ours.asnumpy(), err_msg=key)
            changed = (ours.asnumpy() != before[key]).any()
            assert changed == (key not in stage.fixed), key


def test_a_step_is_that_of_the_trimmed_solver_to_rounding():
    """With a rate so large that the change is not lost in the rounding of what is changed."""
    stage, net = replace(RECIPES["mxnet"]["fcn8s"], learning_rate=1e3), net_of("fcn8s")
    before = {key: array.asnumpy() for key, array in net.checkpoint().arg_params.items()}
    params = {key: mx.nd.array(array) for key, array in before.items()}
    solver, trainer = make_solver(stage, net.symbol, params, {}, CTX), gluon.make_trainer(net, stage)
    (batch,) = batches((1, 40, 50))
    mx.random.seed(1, CTX)
    solver.step(batch, Images([]))
    gluon_step(net, trainer, stage, batch, 1)
    ours = {key: array.asnumpy() for key, array in solver.arg_params.items()}
    changes = {key: array - before[key] for key, array in ours.items()}
    differences = {key: net.params[key].data().asnumpy() - array for key, array in ours.items()}
    assert all(changes[key].any() == (key not in stage.fixed) for key in changes)
    assert largest_ratio(differences, changes) <= 1e-5


@pytest.mark.parametrize("static", [False, True])
def test_gradients_do_not_depend_on_the_sizes_before(static):
    """Nor on memory that is allocated once."""

    def gradients(net, batch):
        data, label = (mx.nd.array(batch[name], CTX) for name in ("data", "softmax_label"))
        mx.random.seed(7, CTX)
        with mx.autograd.record():
            loss = gluon.PixelLoss()(net(data), label)
        loss.backward()
        return {key: p.grad().asnumpy() for key, p in net.params.items() if p.grad_req != "null"}

    net, first, other = net_of("fcn16s"), *batches((1, 40, 50), (2, 29, 64))
    expected = gradients(net, first)
    assert len(expected) == 35 and all(grad.any() for grad in expected.values())
    net.hybridize(static_alloc=static, static_shape=static)
    for batch in (other, first):
        again = gradients(net, batch)
    for key, grad in again.items():
        np.testing.assert_array_equal(grad, expected[key], err_msg=key)


def loss_and_gradient(criterion, scores, label, head=None):
    scores.attach_grad()
    with mx.autograd.record():
        loss = criterion(scores, label)
    loss.backward(head)
    return loss.asnumpy(), scores.grad.asnumpy().copy()


@pytest.mark.parametrize("hybrid", [False, True])
def test_the_loss_is_gluon_s_own_with_weights_and_its_gradient_follows_what_is_made_of_it(hybrid):
    (batch,) = batches((2, 5, 7))
    scores = mx.nd.array(np.random.default_rng(1).normal(0, 3, (2, 3, 5, 7)), CTX)
    label = batch["softmax_label"]
    on_device = mx.nd.array(label, CTX)
    criterion, counted = gluon.PixelLoss(), mx.nd.array(label != 255, CTX).expand_dims(1)
    criterion.hybridize(hybrid)
    theirs = mx.gluon.loss.SoftmaxCrossEntropyLoss(axis=1)
    value, slope = loss_and_gradient(criterion, scores, on_device)
    expected = loss_and_gradient(lambda s, y: theirs(s, y, counted), scores, on_device)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    np.testing.assert_allclose(slope, expected[1], atol=1e-6 * np.abs(slope).max())
    assert not slope.transpose(0, 2, 3, 1)[label == 255].any()
    minus_one = gluon.gluoncv_label(on_device)
    assert minus_one.dtype == np.int32 and (minus_one.asnumpy() == np.where(label == 255, -1, label)).all()
    for given, wanted in zip(loss_and_gradient(criterion, scores, minus_one), (value, slope)):
        np.testing.assert_array_equal(given, wanted)
    _, scaled = loss_and_gradient(criterion, scores, on_device, mx.nd.array([4, 0.5], CTX))
    np.testing.assert_array_equal(scaled, slope * np.float32([4, 0.5]).reshape(2, 1, 1, 1))


@pytest.fixture(scope="module")
def small(voc):
    """Four pictures, cut to squares, two at a time."""
    samples = open_samples(voc, "train").subset([0, 1, 2, 3])
    return lambda: Loader(samples, batch_size=2, cut_off_size=48, shuffle=True, seed=3, num_classes=5)


@pytest.fixture(scope="module")
def meta():
    return checkpoint.Meta(classes=list("abcde"), palette=[[i, 0, 0] for i in range(5)])


STAGES = [replace(stage, epochs=2 if name == "fcn32s" else 1) for name, stage in RECIPES["adam"].items()]


def test_three_stages_write_the_checkpoints_that_fcnxs_finetune_writes(run_folder, small, meta, tmp_path):
    history = gluon.finetune(run_folder / "vgg", 0, STAGES, small(), tmp_path / "gluon", meta, CTX)
    finetune(
        lambda: checkpoint.load(run_folder / "vgg", 0),
        STAGES,
        Data(small()),
        Output(tmp_path / "ours", meta),
        Settings(trim=False, devices=CTX),
    )
    assert [(row["stage"], row["epoch"]) for row in history] == [
        ("fcn32s", 1), ("fcn32s", 2), ("fcn16s", 1), ("fcn8s", 1)
    ]  # fmt: skip
    for row in history:
        theirs, own = (
            checkpoint.load(tmp_path / run / row["stage"], row["epoch"]) for run in ("ours", "gluon")
        )
        assert own.meta.classes == theirs.meta.classes and own.meta.mean == theirs.meta.mean
        assert own.symbol.tojson() == theirs.symbol.tojson()
        assert {*own.arg_params} == {*theirs.arg_params}
        for key, array in theirs.arg_params.items():
            np.testing.assert_array_equal(own.arg_params[key].asnumpy(), array.asnumpy(), err_msg=key)
    with pytest.raises(FCNXSError, match="exists already"):
        gluon.finetune(run_folder / "vgg", 0, STAGES, small(), tmp_path / "gluon", meta)


def test_both_take_parent_and_devices_alike(run_folder, small, meta, tmp_path):
    """A prefix, a Checkpoint, which is left as it was, and a function; in Gluon also by the older names."""
    stages, two = STAGES[:1], [mx.cpu(0), mx.cpu(1)]
    source = checkpoint.load(run_folder / "vgg", 0)
    before = {name: array.asnumpy() for name, array in source.arg_params.items()}
    parents = (
        (run_folder / "vgg", 0),
        (str(run_folder / "vgg"), "last"),
        (source, None),
        (lambda: replace(source), None),
    )
    trained = {"ours": [], "gluon": []}
    for parent, epoch in parents:
        output = tmp_path / f"{len(trained['ours'])}"
        data, how = Data(small()), {"epoch": epoch, "devices": two}
        finetune(parent, stages, data, Output(output, meta), Settings(trim=False), **how)
        trained["ours"].append(checkpoint.load(output / "fcn32s", 2))
        gluon.finetune(parent, epoch, stages, small(), output / "gluon", meta, devices=two)
        trained["gluon"].append(checkpoint.load(output / "gluon/fcn32s", 2))
        for name, array in before.items():
            np.testing.assert_array_equal(source.arg_params[name].asnumpy(), array)
    older = {"prefix": source, "epoch": None, "stages": stages, "train": small(), "meta": meta, "ctx": two}
    gluon.finetune(output=tmp_path / "older", **older)
    trained["gluon"].append(checkpoint.load(tmp_path / "older/fcn32s", 2))
    for first, *others in trained.values():
        for other in others:
            for name, array in first.arg_params.items():
                np.testing.assert_array_equal(array.asnumpy(), other.arg_params[name].asnumpy())


@pytest.mark.parametrize(
    ("parent", "epoch", "devices", "message"),
    [
        (3, None, None, "a int: expected the prefix of a checkpoint, or a Checkpoint"),
        (lambda: None, 1, None, "epoch 1: give an epoch only with a prefix"),
        ("missing", None, None, "missing: there is no missing-NNNN.params of any epoch"),
        ("vgg", 0, "gpu:0", "devices: 'gpu:0' is no device; give mx.cpu"),
        ("vgg", 0, ["gpu:0"], "devices: 'gpu:0' is no device; give mx.cpu"),
        ("vgg", 0, [], "devices : name one or more"),
        ("vgg", 0, [mx.cpu(), mx.cpu(0)], r"devices cpu\(0\), cpu\(0\): name one or more, each only once"),
    ],
)
def test_both_refuse_alike(small, meta, tmp_path, parent, epoch, devices, message):
    with pytest.raises(FCNXSError, match=f"^{message}"):
        gluon.finetune(parent, epoch, STAGES, small(), tmp_path, meta, devices)
    with pytest.raises(FCNXSError, match=f"^{message}"):
        finetune(parent, STAGES, Data(small()), Output(tmp_path, meta), epoch=epoch, devices=devices)


def test_class_weights_train_as_by_fcnxs_finetune(run_folder, small, meta, tmp_path):
    weights, stages = [0.2, 3, 1.7, 5, 0.9], [replace(STAGES[0], epochs=1)]
    of_checkpoint = (run_folder / "vgg", 0)
    history = gluon.finetune(*of_checkpoint, stages, small(), tmp_path / "gluon", meta, class_weights=weights)
    plain = gluon.finetune(*of_checkpoint, stages, small(), tmp_path / "plain", meta)
    settings = Settings(trim=False, class_weights=weights)
    finetune(
        lambda: checkpoint.load(*of_checkpoint),
        stages,
        Data(small()),
        Output(tmp_path / "ours", meta),
        settings,
    )
    own, theirs, unweighted = (
        checkpoint.load(tmp_path / run / "fcn32s", 1).arg_params for run in ("gluon", "ours", "plain")
    )
    for key, array in theirs.items():
        np.testing.assert_array_equal(own[key].asnumpy(), array.asnumpy(), err_msg=key)
    assert (own["fc7_weight"] != unweighted["fc7_weight"]).asnumpy().any()
    assert {*history[0]} - {*plain[0]} == {"weighted_loss"} and history[0]["weighted_loss"] != history[0][
        "loss"
    ]
    with pytest.raises(FCNXSError, match="2 weights, but there are 5 classes"):
        gluon.finetune(*of_checkpoint, stages, small(), tmp_path / "no", meta, class_weights=[1, 2])


@pytest.mark.parametrize("hybrid", [False, True])
def test_the_weighted_loss_equals_float64(hybrid):
    (batch,) = batches((2, 5, 7))
    label, weights = batch["softmax_label"].astype(int), np.array([0.3, 3.1, 7.7])
    scores = np.random.default_rng(1).normal(0, 3, (2, 3, 5, 7)).astype(np.float32)
    criterion = gluon.PixelLoss(weights)
    criterion.initialize()
    criterion.hybridize(hybrid)
    for ignored in (255, -1):
        given = mx.nd.array(np.where(label == 255, ignored, label))
        value, slope = loss_and_gradient(criterion, mx.nd.array(scores), given)
        p = np.exp(scores.astype(np.float64))
        p /= p.sum(1, keepdims=True)
        truth = np.arange(3)[:, None, None] == label[:, None]
        of_pixel = np.append(weights, np.zeros(253))[label]
        losses = -np.log((p * truth).sum(1) + (label == 255)) * of_pixel
        np.testing.assert_allclose(value, losses.mean((1, 2)), rtol=1e-5)
        np.testing.assert_allclose(slope, (p - truth) * of_pixel[:, None] / 35, atol=1e-6)


def test_two_devices_share_a_batch(run_folder, small, meta, tmp_path):
    """As one device that has all of it, but for dropout."""
    (batch,), stage, nets = batches((2, 40, 50)), stage_of("mxnet", "fcn8s"), []
    for devices in ([CTX], several(2)):
        net = net_of("fcn8s", devices, dropout="0")
        trainer = gluon.make_trainer(net, stage)
        parts = [mx.gluon.utils.split_and_load(array, devices) for array in batch.values()]
        with mx.autograd.record():
            losses = [gluon.PixelLoss()(net(x), y) for x, y in zip(*parts)]
        mx.autograd.backward(losses)
        trainer.step(2)
        nets.append(net)
    one, two = nets
    before = net_of("fcn8s").checkpoint().arg_params
    for key, parameter in one.params.items():
        expected, (first, second) = parameter.data().asnumpy(), two.params[key].list_data()
        np.testing.assert_array_equal(first.asnumpy(), second.asnumpy())
        change = expected - before[key].asnumpy()
        assert np.linalg.norm(first.asnumpy() - expected) <= 1e-3 * np.linalg.norm(change), key
    gluon.finetune(run_folder / "vgg", 0, STAGES[:1], small(), tmp_path / "run", meta, several(2))
    assert checkpoint.load(tmp_path / "run/fcn32s", 2).meta.classes == meta.classes
    with pytest.raises(FCNXSError, match="batches of 2 of 4 images: one has less than 3"):
        gluon.finetune(
            run_folder / "vgg", 0, STAGES, small(), tmp_path / "no", meta, [mx.cpu(i) for i in range(3)]
        )

"""Gluon's Estimator with this project's net and loss."""

import numpy as np
from conftest import FC, WIDTH, random_params

from fcnxs import gluon
from fcnxs.compat import mxnet as mx

NARROW = {"width": WIDTH, "fc": FC}
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(0, 40, (4, 3, 30, 30)).astype(np.float32)
LABELS = RNG.choice([0, 1, 2, 255], (4, 30, 30)).astype(np.float32)


def made():
    net = gluon.get_fcn32s(3, **NARROW)
    for name, array in random_params(net.symbol).items():
        net.params[name].set_data(array)
    return net, mx.gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.05, "momentum": 0.9})


def test_an_estimator_takes_net_and_loss_and_makes_the_steps_of_a_loop():
    from mxnet.gluon.contrib.estimator import Estimator

    batches = mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(IMAGES, LABELS), batch_size=2)
    net, trainer = made()
    loss = gluon.PixelLoss()
    assert isinstance(loss, mx.gluon.loss.Loss)
    estimator = Estimator(net, loss, train_metrics=mx.metric.Accuracy(), trainer=trainer, context=mx.cpu())
    mx.random.seed(7)  # of dropout
    estimator.fit(batches, val_data=batches, epochs=1)

    other, trainer = made()
    mx.random.seed(7)
    for images, labels in batches:
        with mx.autograd.record():
            losses = gluon.PixelLoss()(other(images), labels)
        losses.backward()
        trainer.step(2)
    for name, parameter in other.params.items():
        np.testing.assert_array_equal(
            net.params[name].data().asnumpy(), parameter.data().asnumpy(), err_msg=name
        )
    hits = [other(x).argmax(axis=1).asnumpy() == y.asnumpy() for x, y in batches]
    (measured,) = estimator.val_metrics
    np.testing.assert_allclose(measured.get()[1], np.mean(hits))


def test_an_estimator_takes_a_weighted_loss():
    from mxnet.gluon.contrib.estimator import Estimator

    net, trainer = made()
    loss = gluon.PixelLoss([1.0, 2.0, 0.5])
    loss.initialize(ctx=mx.cpu())
    batches = mx.gluon.data.DataLoader(mx.gluon.data.ArrayDataset(IMAGES, LABELS), batch_size=4)
    before = net.params["conv1_1_weight"].data().asnumpy()
    Estimator(net, loss, train_metrics=mx.metric.Accuracy(), trainer=trainer).fit(batches, epochs=1)
    assert np.abs(net.params["conv1_1_weight"].data().asnumpy() - before).max() > 0

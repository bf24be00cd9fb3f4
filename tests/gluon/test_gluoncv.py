import numpy as np
import pytest
from conftest import CTX, FC, WIDTH, random_params, several

from fcnxs import gluon, score
from fcnxs.compat import gluoncv
from fcnxs.compat import mxnet as mx

N, SIZE = 3, 48


@pytest.fixture(scope="module")
def net():
    """An FCN-16s for five classes with random parameters, for images of one size."""
    net = gluon.get_fcn16s(5, width=WIDTH, fc=FC, ctx=CTX, base_size=SIZE, crop_size=SIZE)
    for name, array in random_params(net.symbol, 3).items():
        net.params[name].set_data(array)
    return net


@pytest.fixture(scope="module")
def images():
    return mx.nd.array(np.random.default_rng(0).normal(0, 5, (N, 3, SIZE, SIZE)), CTX)


@pytest.fixture(scope="module")
def labels():
    """Classes 0 to 3 and 255: the last class is absent."""
    return np.random.default_rng(1).choice([0, 1, 2, 3, 255], (N, SIZE, SIZE)).astype(np.float32)


def test_multi_eval_model_gives_probabilities_and_multiplies_those_of_mirror_images(net, images):
    from gluoncv.model_zoo.segbase import MultiEvalModel

    p = mx.nd.softmax(net(images[:1]), axis=1).asnumpy()
    mirrored = mx.nd.softmax(net(images[:1].flip(3)), axis=1).asnumpy()[..., ::-1]
    for flip, expected in ((False, p), (True, p * mirrored)):
        model = MultiEvalModel(net, 5, [CTX], flip=flip, scales=[1.0])
        np.testing.assert_allclose(model(images[0]).asnumpy(), expected, atol=1e-6)


def test_data_parallel_model_gives_what_the_net_gives(net, images):
    from gluoncv.utils.parallel import DataParallelModel

    expected = net(images).asnumpy()
    devices = several(2)
    try:
        for sync in (False, True):
            outputs = DataParallelModel(net, devices, sync)(images)
            assert [scores.context for (scores,) in outputs] == devices
            given = np.concatenate([scores.asnumpy() for (scores,) in outputs])
            np.testing.assert_allclose(given, expected, atol=1e-5 * np.abs(expected).max())
    finally:
        net.collect_params().reset_ctx(CTX)


def test_its_loss_is_ours_but_averaged_over_the_pixels_that_count(net, images, labels):
    slopes = []
    for criterion, label in (
        (gluon.PixelLoss(), mx.nd.array(labels, CTX)),
        (gluoncv.loss.MixSoftmaxCrossEntropyLoss(aux=False), gluon.gluoncv_label(mx.nd.array(labels, CTX))),
    ):
        scores = net(images)
        scores.attach_grad()
        with mx.autograd.record():
            loss = criterion(scores, label)
        loss.backward()
        slopes.append((loss.asnumpy(), scores.grad.asnumpy()))
    (value, slope), (their_value, their_slope) = slopes
    np.testing.assert_allclose(their_value, value, rtol=1e-5)
    counted = (labels != 255).sum()
    np.testing.assert_allclose(
        their_slope, slope * SIZE * SIZE / counted, atol=1e-5 * np.abs(their_slope).max()
    )


def test_its_metric_is_ours_but_for_absent_classes(net, images, labels):
    own_scores = net(images)
    label = gluon.gluoncv_label(mx.nd.array(labels))
    # the absent class is not predicted either, so that it has no IU
    own_scores[:, 4] = -1e6
    metric = gluoncv.utils.metrics.SegmentationMetric(5)
    metric.update([label], [own_scores])
    ours = score.scores(score.confusion_matrix(labels, own_scores.asnumpy().argmax(1), 5))
    pixel_accuracy, mean_iu = metric.get()
    assert pixel_accuracy == pytest.approx(ours.pixel_accuracy)
    assert mean_iu == pytest.approx(ours.mean_iu * 4 / 5)

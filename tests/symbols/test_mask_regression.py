"""Regression of masks, the baseline before FCNs: its gradient, and that it learns."""

import numpy as np
from conftest import Images, random_params

from fcnxs.compat import mxnet as mx
from fcnxs.data.generated import picture
from fcnxs.data.images import preprocess
from fcnxs.metric import SegmentationMetric
from fcnxs.score import confusion_matrix, scores
from fcnxs.solver.solver import Solver
from fcnxs.symbols import get_mask_regression_symbol


class Figures(Images):
    """Batches of eight 64x64 pictures of a disc, with masks of 16x16: 1 on the disc, 0 on the ground."""

    def __init__(self, count, seed):
        super().__init__([])
        rng = np.random.default_rng(seed)
        for _ in range(count):
            pictures = [picture(rng, 64, 64, shapes=1, kind=1, radii=(0.25, 0.4)) for _ in range(8)]
            images = np.concatenate([preprocess(image) / 60 for image, _ in pictures])
            masks = np.stack([label[2::4, 2::4] > 0 for _, label in pictures]).astype(np.float32)
            self.batches.append({"data": images, "softmax_label": masks})
        self.reset()


def test_regression_of_masks_learns_figure_and_ground(ctx):
    """The baseline before FCNs, on pictures it has not seen, against the best mask that is always the same."""
    symbol = get_mask_regression_symbol(16, 2, width=1 / 16)
    params, train, val = random_params(symbol, 7, ctx), Figures(32, 0), Figures(4, 1)
    params["mask_weight"][:] *= 0.1
    metric = SegmentationMetric(2)
    solver = Solver(symbol, ctx, num_epoch=9, arg_params=params, optimizer="adam", learning_rate=1e-3)
    solver.fit(train, eval_metric=metric)
    solver.evaluate(val, metric)

    truth = np.concatenate([batch["softmax_label"] for batch in val.batches])
    frequency = np.concatenate([batch["softmax_label"] for batch in train.batches]).mean(0)
    constant = np.broadcast_to(frequency > 0.5, truth.shape)
    assert metric.matrix.sum() == truth.size
    assert scores(metric.matrix).mean_iu > 0.8 > scores(confusion_matrix(truth, constant, 2)).mean_iu + 0.1


def test_the_gradient_of_masks_is_that_of_caffe_s_euclidean_loss(ctx):
    """Masks minus their target and nothing at 255, summed over an image's pixels and over the images."""
    symbol = get_mask_regression_symbol(3, 4, width=1 / 64)
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=(2, 3, 32, 32))[0]))
    assert shapes["mask_weight"] == (36, 8 * 2 * 2) and shapes["softmax_label"] == (2, 3, 3)
    params = random_params(symbol, 1, ctx, size=32)
    rng = np.random.default_rng(0)
    label = rng.choice([0, 1, 2, 3, 255], (2, 3, 3))
    args = {
        **params,
        "data": mx.nd.array(rng.normal(size=(2, 3, 32, 32)), ctx),
        "softmax_label": mx.nd.array(label, ctx),
    }
    grads = {"mask_weight": mx.nd.zeros((36, 32), ctx), "mask_bias": mx.nd.zeros(36, ctx)}
    executor = symbol.bind(ctx, args, grads, {key: "write" if key in grads else "null" for key in args})
    masks = executor.forward(is_train=True)[0].asnumpy()
    executor.backward()
    target = (np.arange(4)[:, None, None] == label[:, None]).astype(float)
    of_masks = ((masks - target) * (label != 255)[:, None]).reshape(2, 36)
    np.testing.assert_allclose(grads["mask_bias"].asnumpy(), of_masks.sum(0), rtol=1e-4, atol=1e-5)
    features = symbol.get_internals()["relu5_3_output"]
    args = {key: value for key, value in args.items() if key in features.list_arguments()}
    relu5 = features.bind(ctx, args).forward()[0].asnumpy().reshape(2, 32)
    np.testing.assert_allclose(grads["mask_weight"].asnumpy(), of_masks.T @ relu5, rtol=1e-4, atol=1e-5)

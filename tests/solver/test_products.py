"""Training with bilinear upsampling as two products: gradients, and what sees the probabilities behind it."""

import numpy as np
import pytest
from conftest import FC, WIDTH, Images, fresh_probabilities, random_params
from test_solver import values, without_dropout

from fcnxs.compat import mxnet as mx
from fcnxs.metric import SegmentationMetric
from fcnxs.solver import Solver
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.symbols.interpolation import bilinear
from fcnxs.tools.benchmarks.gpu import numpy_reference

RATE, SIZE = 0.5, (40, 56)


@pytest.fixture(scope="module")
def batch():
    """Two images: of other counts than one, the order of rows and images matters."""
    one, two = Images([SIZE, SIZE], seed=3).batches
    return {name: np.concatenate([one[name], two[name]]) for name in one}


def net(ctx):
    symbol = without_dropout(get_fcn8s_symbol(3, width=WIDTH, fc=FC))
    params = random_params(symbol, 1, ctx)
    for key in params:
        params[key][:] *= 0.1 if key.startswith("score") else 1  # or probabilities reach the metric's least
    params["bigscore_weight"][:] = bilinear(params["bigscore_weight"].shape)
    return symbol, params


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("trim", [False, True])
def test_steps_equal_numpys_in_float64_while_the_kernel_changes(trim, recompute, batch, ctx):
    symbol, params = net(ctx)
    kernel = params["bigscore_weight"]
    solver = Solver(symbol, ctx, arg_params=params, learning_rate=RATE, wd=0, trim=trim, recompute=recompute)
    metric = SegmentationMetric(3)
    for change in (0, 0.05, -0.05):  # bilinear, another kernel, bilinear again; changed in place
        kernel[0, 1, 2:5] += change
        before = values(params)
        label = batch["softmax_label"].reshape(2, -1)
        outputs, grads = numpy_reference.run(symbol.tojson(), {**before, **batch, "softmax_label": label})
        metric.reset()
        loss = solver.step(batch, Images, metric)
        assert solver.replicas[0].executors._bilinear == (set() if change > 0 else {"bigscore_weight"})
        for key in set(before) - {"bigscore_weight"}:
            expected = RATE / 2 * grads[key]
            scale = np.linalg.norm(expected) + np.linalg.norm(before[key]) * 1e-3
            assert np.linalg.norm(before[key] - params[key].asnumpy() - expected) <= 1e-4 * scale, key
        p, counted = outputs["softmax"].reshape(2, 3, -1), label != 255
        of_label = np.take_along_axis(p, np.minimum(label, 2)[:, None].astype(int), 1)[:, 0]
        assert loss == pytest.approx(-np.log(of_label[counted]).mean(), rel=1e-5)
        predicted = p.argmax(axis=1)[counted]
        right = np.bincount(label[counted].astype(int) * 3 + predicted, minlength=9).reshape(3, 3)
        assert np.abs(metric.matrix - right).sum() <= 2  # ties


def test_an_evaluation_gives_probabilities_of_images_and_mxnets_metrics_those_of_pixels(batch, ctx):
    symbol, params = net(ctx)
    solver, data = Solver(symbol, ctx, arg_params=params, learning_rate=RATE), Images([SIZE])
    data.batches = [batch]
    expected = fresh_probabilities(symbol, params, batch["data"], ctx)
    given, metric = [], mx.metric.Accuracy()
    solver.evaluate(data, metric, lambda _, probabilities: given.append(probabilities.asnumpy()))
    assert solver.replicas[0].executors._bilinear
    np.testing.assert_allclose(given[0], expected, atol=1e-6)
    label = batch["softmax_label"]
    right = (expected.argmax(axis=1) == label)[label != 255].mean()
    assert metric.get()[1] == pytest.approx(right, abs=1e-3)


def test_class_weights_multiply_the_gradient_of_products_too(batch, ctx):
    """A weight of 2 for all classes doubles the step."""
    changes = []
    for weights in (None, [2, 2, 2]):
        symbol, params = net(ctx)
        before = values(params)
        Solver(symbol, ctx, arg_params=params, learning_rate=1e-2, wd=0, class_weights=weights).step(
            batch, Images
        )
        changes.append({key: params[key].asnumpy() - before[key] for key in before})
    for key, change in changes[0].items():
        np.testing.assert_allclose(changes[1][key], 2 * change, atol=1e-3 * np.abs(change).max() + 1e-7)

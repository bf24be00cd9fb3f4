"""Class weights in the loss: values and gradients against NumPy in float64, in every way to train."""

import json

import numpy as np
import pytest
from conftest import FC, WIDTH, Images, random_params
from test_solver import without_dropout

from fcnxs import FCNXSError
from fcnxs.class_weights import check_weights, median_frequency, read_weights
from fcnxs.compat import mxnet as mx
from fcnxs.metric import SegmentationMetric
from fcnxs.solver import Solver
from fcnxs.symbols import NETS, get_mask_regression_symbol
from fcnxs.tools.benchmarks.gpu import numpy_reference

WEIGHTS = [0.25, 3.0, 7.3]


def values(params):
    return {name: array.asnumpy() for name, array in params.items()}


def trained(symbol, params, batches, per_step=1, ctx=None, **how):
    """Parameters after a step of plain SGD for each `per_step` batches, and the metric."""
    data = Images([batch["data"].shape[2:] for batch in batches])
    copies = {name: array.copy() for name, array in params.items()}
    solver = Solver(symbol, ctx, arg_params=copies, learning_rate=0.5, wd=0, fixed=(), **how)
    metric = SegmentationMetric(3, how.get("class_weights"))
    for first in range(0, len(batches), per_step):
        solver.step(batches[first : first + per_step], data, metric)
    return values(solver.arg_params), metric


@pytest.fixture(scope="module")
def net():
    symbol = without_dropout(NETS["fcn8s"](3, width=WIDTH, fc=FC))
    return symbol, random_params(symbol, 1)


def weighted_reference(symbol, params, batch, monkeypatch):
    """Gradients in float64 NumPy: softmax minus truth, times the weight of the label, divided by H*W."""
    plain = numpy_reference.softmax_output

    def weighted(attrs, x, label):
        p, grads = plain(attrs, x, label)
        of_pixel = np.append(np.float32(WEIGHTS), np.zeros(253))[label.astype(int)].reshape(x[:, :1].shape)
        return p, lambda dy: (grads(dy)[0] * of_pixel, grads(dy)[1])

    monkeypatch.setitem(numpy_reference.OPERATORS, "SoftmaxOutput", weighted)
    given = {**values(params), **batch, "softmax_label": batch["softmax_label"].reshape(1, -1)}
    return numpy_reference.run(symbol.tojson(), given)


@pytest.mark.parametrize("unnormalised", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("trim", [False, True])
def test_loss_and_gradients_of_a_step_equal_numpys_in_float64(
    trim, recompute, unnormalised, net, ctx, monkeypatch
):
    symbol, params = net
    batch = Images([(40, 56)], seed=3).batches[0]
    outputs, grads = weighted_reference(symbol, params, batch, monkeypatch)
    how = {"trim": trim, "recompute": recompute, "unnormalised": unnormalised, "class_weights": WEIGHTS}
    after, metric = trained(symbol, params, [batch], ctx=ctx, **how)
    for name, before in values(params).items():
        expected = 0.5 * grads[name] * (40 * 56 if unnormalised else 1)
        scale = np.linalg.norm(expected) + np.linalg.norm(before) * 1e-3
        assert np.linalg.norm(before - after[name] - expected) <= 1e-4 * scale, name
    label, p = batch["softmax_label"][0].astype(int), outputs["softmax"][0]
    counted = label != 255
    losses = -np.log(np.take_along_axis(p, np.minimum(label, 2)[None], 0)[0][counted])
    expected = {
        "loss": losses.mean(),
        "weighted_loss": (np.array(WEIGHTS)[label[counted]] * losses).sum() / counted.sum(),
    }
    for name, value in expected.items():
        assert dict(metric.get_name_value())[name] == pytest.approx(value, rel=1e-5)


def test_weights_of_one_are_no_weights_bit_for_bit(net, ctx):
    symbol, params = net
    batches = Images([(40, 56), (33, 47)], seed=3).batches
    plain, _ = trained(symbol, params, batches, ctx=ctx)
    ones, _ = trained(symbol, params, batches, ctx=ctx, class_weights=[1, 1, 1])
    for name in plain:
        np.testing.assert_array_equal(plain[name], ones[name], err_msg=name)


@pytest.mark.parametrize("recompute", [False, True])
def test_devices_and_accumulation_weigh_alike(recompute, net):
    symbol, params = net
    batches = Images([(40, 56), (33, 47), (40, 41)], seed=3).batches
    how = {"class_weights": WEIGHTS, "recompute": recompute, "per_step": 3}
    one, metric = trained(symbol, params, batches, ctx=mx.cpu(0), **how)
    three, others = trained(symbol, params, batches, ctx=[mx.cpu(0), mx.cpu(1), mx.cpu(2)], **how)
    plain, _ = trained(symbol, params, batches, 3, ctx=mx.cpu(0), recompute=recompute)
    for name, before in values(params).items():
        change = np.linalg.norm(one[name] - before)
        assert np.linalg.norm(one[name] - three[name]) <= 1e-5 * change
        assert np.linalg.norm(one[name] - plain[name]) > 1e-2 * change
    assert metric.state() == others.state()


def test_weights_that_do_not_fit_are_refused(net, ctx):
    symbol, params = net
    batches = Images([(40, 56)]).batches
    for weights, message in (
        ([1, 2], "2 weights, but there are 3 classes"),
        ([1, 2, -1], "a weight is -1; expected numbers from 0"),
        ([1, 2, float("nan")], "a weight is nan"),
        ([0, 0, 0], "all weights are 0"),
    ):
        with pytest.raises(FCNXSError, match=message):
            trained(symbol, params, batches, ctx=ctx, class_weights=weights)
    masks = get_mask_regression_symbol(mask_size=4, numclass=3, width=WIDTH)
    with pytest.raises(FCNXSError, match="does not end in one SoftmaxOutput"):
        solver = Solver(masks, ctx, arg_params=random_params(masks), class_weights=[1, 2, 3])
        solver.replicas[0].bind()


def test_median_frequency_by_hand():
    """Images of 4 and of 10 pixels: the class 0 has 3 of 4 and 4 of 10, 1 has 1 of 4, 2 has 6 of 10, 3 none."""
    weights = median_frequency(np.array([7, 1, 6, 0]), np.array([14, 4, 10, 0]))
    np.testing.assert_allclose(weights, [0.5 / (7 / 14), 0.5 / (1 / 4), 0.5 / (6 / 10), 1], rtol=1e-15)


CLASSES = ["sky", "traffic light", "road"]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"road": 3, "sky": 0.5, "traffic light": 2e1}),
        "sky 0.5\n\ntraffic light\t20\nroad   3\n",
        "\ufeffroad 3\nsky 0.5\ntraffic light 20",
    ],
)
def test_weights_are_read_by_name(text, tmp_path):
    (tmp_path / "weights").write_text(text, encoding="utf-8")
    assert read_weights(tmp_path / "weights", CLASSES) == [0.5, 20, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sky 1\nroad 1\n", "it lacks the class 'traffic light'"),
        ("sky 1\nroad 1\ntraffic light 1\ncar 2\n", "it has 'car', which is none of the 3 classes"),
        ("sky 1\nsky 2\nroad 1\ntraffic light 1\n", "it has the class 'sky' twice"),
        ('{"sky": 1, "sky": 2, "road": 1, "traffic light": 1}', "it has the class 'sky' twice"),
        ("sky 1\nroad,1\ntraffic light 1\n", "line 2: 'road,1' is not a name and a number"),
        ("sky 1\nroad -1\ntraffic light 1\n", "'road': expected a finite number from 0"),
        ("sky 1\nroad nan\ntraffic light 1\n", "'road': expected a finite number from 0"),
        ('{"sky": 1, "road": "2", "traffic light": 1}', "'road': expected a finite number from 0"),
        ('{"sky": 1, "road": 1e7, "traffic light": 1}', "'road': expected a finite number from 0"),
        ("[1, 2, 3]", "it is JSON, but not an object"),
        ("{1, 2", "weights of classes"),
        ("sky 0\nroad 0\ntraffic light 0\n", "all weights are 0"),
        ("", "it lacks the class 'sky'"),
    ],
)
def test_files_that_do_not_weigh_these_classes_are_refused_by_name(text, message, tmp_path):
    (tmp_path / "weights.txt").write_text(text)
    with pytest.raises(FCNXSError) as error:
        read_weights(tmp_path / "weights.txt", CLASSES)
    assert str(error.value).startswith(str(tmp_path / "weights.txt")) and message in str(error.value)


def test_check_weights_returns_numbers():
    assert check_weights(np.float32([1, 2]), 2) == [1.0, 2.0]

"""Training nets of several heads: a step adds the gradients of the heads' own nets, each with its labels."""

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params, several

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.heads import net_of_head, with_head
from fcnxs.metric import HeadsMetric, SegmentationMetric
from fcnxs.score import confusion_matrix, scores
from fcnxs.solver import Solver
from fcnxs.symbols import get_fcnxs_symbol

HEADS = {"sem": 5, "geo": 3}
SIZE = (40, 50)


class Scenes:
    """Batches of one image and the labels of both heads, of which a tenth is ignored."""

    data_name, label_names = "data", ["softmax_geo_label", "softmax_sem_label"]  # in another order than the net

    def __init__(self, count=1):
        rng = np.random.default_rng(0)
        self.batches = []
        for _ in range(count):
            batch = {"data": rng.normal(0, 50, (1, 3, *SIZE)).astype(np.float32)}
            for head, classes in HEADS.items():
                label = rng.integers(0, classes, (1, *SIZE)).astype(np.float32)
                batch[f"softmax_{head}_label"] = np.where(rng.random(label.shape) < 0.1, 255, label)
            self.batches.append(batch)

    def __iter__(self):
        return iter(self.batches)

    def reset(self):
        pass

    def of(self, head):
        """The batches as a net of this head takes them."""
        alone = Scenes(0)
        alone.label_names, label = ["softmax_label"], f"softmax_{head}_label"
        alone.batches = [{"data": each["data"], "softmax_label": each[label]} for each in self.batches]
        return alone


def net(stride=8):
    symbol = get_fcnxs_symbol(stride, heads=HEADS, width=WIDTH, fc=FC)
    return mx.sym.load_json(symbol.tojson().replace('"p": "0.5"', '"p": "0"'))  # no dropout


def changes(symbol, params, data, devices=None, **how):
    """Change of every parameter by a step with a learning rate of 1."""
    params = {name: array.copy() for name, array in params.items()}
    before = {name: array.asnumpy().astype(np.float64) for name, array in params.items()}
    solver = Solver(symbol, devices, arg_params=params, fixed=(), learning_rate=1, **how)
    solver.step(data.batches, data)
    return {name: solver.arg_params[name].asnumpy() - before[name] for name in before}


@pytest.mark.parametrize(
    "how",
    [{}, {"trim": False}, {"recompute": True}, {"unnormalised": True}],
    ids=["trimmed", "whole", "recomputed", "unnormalised"],
)
def test_a_step_is_the_sum_of_the_heads_steps(how, ctx):
    symbol, data = net(), Scenes()
    params = random_params(symbol)
    whole, expected = changes(symbol, params, data, **how), {}
    for head in HEADS:
        alone = net_of_head(symbol, head)
        there = {name: with_head(name, head) for name in alone.list_arguments()}
        there = {name: other if other in params else name for name, other in there.items()}
        own = {name: params[other] for name, other in there.items() if other in params}
        for name, change in changes(alone, own, data.of(head), **how).items():
            expected[there[name]] = expected.get(there[name], 0) + change
    assert whole.keys() == expected.keys()
    for name, change in whole.items():
        assert abs(expected[name]).max() > 0, name
        atol = 2e-4 * abs(expected[name]).max() + 1e-7  # the values themselves are rounded
        np.testing.assert_allclose(change, expected[name], rtol=0, atol=atol, err_msg=name)


def test_two_devices_train_as_one_does(ctx):
    symbol, data = net(16), Scenes(2)
    params = random_params(symbol)
    one, two = (changes(symbol, params, data, several(count)) for count in (1, 2))
    for name, change in one.items():
        np.testing.assert_allclose(
            two[name], change, rtol=0, atol=2e-4 * abs(change).max() + 1e-7, err_msg=name
        )


def test_the_metric_has_loss_and_scores_of_each_head(ctx):
    """Against NumPy, from the outputs; the state brings all counts back."""
    symbol, data, outputs = net(), Scenes(2), []
    solver, metric = Solver(symbol, arg_params=random_params(symbol)), HeadsMetric(HEADS)
    solver.evaluate(data, metric, lambda _, *each: outputs.append([x.asnumpy() for x in each]))
    values, losses, found = dict(metric.get_name_value()), [], []
    for number, (head, classes) in enumerate(HEADS.items()):
        truth = np.concatenate([batch[f"softmax_{head}_label"] for batch in data.batches])
        probabilities = np.concatenate([each[number] for each in outputs]).astype(np.float64)
        counted = truth != 255
        own = np.take_along_axis(probabilities, np.where(counted, truth, 0)[:, None].astype(int), 1)[:, 0]
        losses.append(-np.log(np.maximum(own, 1e-37))[counted].mean())
        matrix = confusion_matrix(truth, probabilities.argmax(1), classes)
        found.append(scores(matrix).mean_iu)
        np.testing.assert_array_equal(metric.heads[head].matrix, matrix)
        assert dict(metric.heads[head].get_name_value())["loss"] == pytest.approx(losses[-1], rel=1e-5)
    assert values["loss"] == pytest.approx(sum(losses), rel=1e-5)
    assert values["mean_iu"] == pytest.approx(np.mean(found))
    again = HeadsMetric(HEADS)
    again.restore(metric.state())
    assert again.get() == metric.get()
    assert HeadsMetric({"": 5}).state().keys() == SegmentationMetric(5).state().keys()


def test_metrics_of_mxnet_count_all_heads_and_what_does_not_fit_is_refused(ctx):
    symbol, data = net(32), Scenes()
    solver = Solver(symbol, arg_params=random_params(symbol))
    accuracy = mx.metric.create("acc")
    solver.step(data.batches, data, accuracy)
    assert accuracy.num_inst == sum((data.batches[0][name] != 255).sum() for name in data.label_names)
    with pytest.raises(FCNXSError, match="SegmentationMetric: is of one head, the net has 2"):
        solver.step(data.batches, data, SegmentationMetric(5))
    one, params = data.of("sem"), random_params(symbol)
    with pytest.raises(
        FCNXSError, match="takes the labels softmax_sem_label, softmax_geo_label, .*softmax_label$"
    ):
        Solver(symbol, arg_params=params).step(one.batches, one)
    with pytest.raises(FCNXSError, match="takes one label, and the data has softmax_geo_label, softmax_sem"):
        Solver(net_of_head(symbol, "sem")).step(data.batches, data)
    for name in ("class_weights", "labelled"):
        with pytest.raises(
            FCNXSError, match=f"{name}: a net with the heads sem and geo; its losses are summed"
        ):
            Solver(symbol, **{name: [1.0] * 5})

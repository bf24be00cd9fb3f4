"""Solver with what programs for MXNet give to a module: iterators, monitors, callbacks, schedules."""

import logging

import numpy as np
import pytest
from conftest import FC, WIDTH, Images, random_params

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.metric import SegmentationMetric
from fcnxs.solver.solver import Solver
from fcnxs.symbols import get_fcn32s_symbol

NET = get_fcn32s_symbol(3, width=WIDTH, fc=FC)
NO_DROPOUT = mx.sym.load_json(NET.tojson().replace('"p": "0.5"', '"p": "0"'))
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(0, 40, (5, 3, 33, 40)).astype(np.float32)
LABELS = RNG.choice([0, 1, 2, 255], (5, 33, 40)).astype(np.float32)


def solver_of(**more):
    settings = {"num_epoch": 1, "learning_rate": 0.05, "momentum": 0.9, **more}
    return Solver(NO_DROPOUT, arg_params={k: v.copy() for k, v in random_params(NET).items()}, **settings)


def values(solver):
    return {name: array.asnumpy() for name, array in solver.arg_params.items()}


def by_hand(batches):
    """Parameters after a step on each of these lists of image numbers."""
    solver, names = solver_of(), Images([(33, 40)])
    for numbers in batches:
        solver.step({"data": IMAGES[numbers], "softmax_label": LABELS[numbers]}, names)
    return values(solver)


@pytest.mark.parametrize(
    ("handle", "batches"),
    [("pad", [[0, 1], [2, 3], [4]]), ("discard", [[0, 1], [2, 3]])],
)
def test_it_fits_the_images_of_mxnet_s_iterators_and_not_what_fills_them_up(handle, batches):
    solver, metric = solver_of(), SegmentationMetric(3)
    data = mx.io.NDArrayIter(IMAGES, LABELS, 2, last_batch_handle=handle, label_name="softmax_label")
    solver.fit(data, data, metric)
    for name, array in by_hand(batches).items():
        np.testing.assert_array_equal(values(solver)[name], array, err_msg=name)
    used = sum(batches, [])
    assert metric.matrix.sum() == (LABELS[used] != 255).sum()


def test_what_is_rolled_over_is_trained_on_in_the_next_epoch():
    solver = solver_of(num_epoch=2)
    data = mx.io.NDArrayIter(IMAGES, LABELS, 2, last_batch_handle="roll_over", label_name="softmax_label")
    solver.fit(data)
    for name, array in by_hand([[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]).items():
        np.testing.assert_array_equal(values(solver)[name], array, err_msg=name)


def test_an_iterator_around_an_iterator_names_its_arrays():
    solver = solver_of()
    data = mx.io.NDArrayIter(IMAGES, LABELS, 1, label_name="softmax_label")
    solver.fit(mx.io.ResizeIter(mx.io.PrefetchingIter(data), 7))
    for name, array in by_hand([[0], [1], [2], [3], [4], [0], [1]]).items():
        np.testing.assert_array_equal(values(solver)[name], array, err_msg=name)


def test_an_iterator_with_other_arrays_is_refused_by_name():
    two = mx.io.NDArrayIter({"data": IMAGES, "depth": IMAGES}, LABELS, 1)
    with pytest.raises(FCNXSError, match="the net takes one array, and the data has the images data, depth"):
        solver_of().fit(two)
    with pytest.raises(FCNXSError, match="its provide_label has nothing"):
        solver_of().fit(mx.io.NDArrayIter(IMAGES, None, 1))
    with pytest.raises(FCNXSError, match="the net has no input 'label'"):
        solver_of().fit(mx.io.NDArrayIter(IMAGES, LABELS, 1, label_name="label"))


@pytest.mark.parametrize("trim", [False, True])
def test_a_monitor_sees_the_layers_of_every_second_step(trim, caplog):
    seen = []

    def largest(array):
        seen.append(float(array.max().asscalar()))
        return mx.nd.array(seen[-1:])

    monitor = mx.mon.Monitor(2, largest, pattern="relu5_3_output|score_bias|softmax_output", sort=True)
    plain, watched = solver_of(trim=trim), solver_of(trim=trim, monitor=monitor)
    data, losses = Images([(33, 40), (40, 33), (33, 40), (50, 44)]), []
    caplog.set_level(logging.INFO)
    for batch in data:
        before, first = float(watched.arg_params["score_bias"].max().asscalar()), len(seen)
        losses.append([solver.step(batch, data, SegmentationMetric(3)) for solver in (plain, watched)])
        assert len(seen) - first == (3 if len(losses) % 2 else 0)  # of relu5_3, score_bias and softmax
        if len(losses) % 2:  # parameters are read after the step
            assert (
                float(watched.arg_params["score_bias"].max().asscalar()) in seen[first:]
                and before not in (seen[first:])
            )
            assert max(seen[first:]) > 0
    assert all(a == b for a, b in losses) and not monitor.exes
    told = [record.message for record in caplog.records if record.message.startswith("Batch:")]
    assert [line.split()[2] for line in told] == ["relu5_3_output", "score_bias", "softmax_output"] * 2
    with pytest.raises(FCNXSError, match="monitor: with recompute"):
        solver_of(monitor=monitor, recompute=True)


def test_a_monitor_s_statistics_are_those_of_mxnet_s_own_executor():
    monitor = mx.mon.Monitor(1, lambda x: x.sum(), pattern="pool3_output")
    batch = {"data": IMAGES[:1], "softmax_label": LABELS[:1]}
    found = []
    monitor.toc_print = lambda: found.extend(monitor.toc())
    solver_of(trim=False, monitor=monitor).step(batch, Images([(33, 40)]))
    pool3 = NO_DROPOUT.get_internals()["pool3_output"]
    params = {k: v for k, v in random_params(NET).items() if k in pool3.list_arguments()}
    (expected,) = pool3.bind(mx.cpu(), {**params, "data": mx.nd.array(batch["data"])}).forward()
    assert [name for _, name, _ in found] == ["pool3_output"]
    assert float(found[0][2]) == pytest.approx(float(expected.sum().asscalar()), rel=1e-5)


def test_evaluations_call_back_after_each_batch_and_at_their_end():
    calls = []
    data, val = Images([(33, 40)] * 2), Images([(33, 40)] * 3, seed=1)
    metric = SegmentationMetric(3)
    solver_of(num_epoch=2).fit(
        data,
        val,
        metric,
        eval_batch_end_callback=lambda p: calls.append((p.epoch, p.nbatch, int(p.eval_metric.matrix.sum()))),
        eval_end_callback=[lambda p: calls.append((p.epoch, p.nbatch, "end")), lambda p: calls.append(p)],
    )
    pixels = np.cumsum([(batch["softmax_label"] != 255).sum() for batch in val.batches])
    one = [(0, 1, pixels[0]), (0, 2, pixels[1]), (0, 3, pixels[2]), (0, 3, "end")]
    assert calls[:4] == one and calls[5:9] == [(1, *rest) for _, *rest in one]
    assert calls[4].eval_metric is metric


def test_arguments_beside_an_optimizer_that_was_made_already_are_refused():
    symbol = get_fcn32s_symbol(3, width=WIDTH, fc=FC)
    for arguments in ({"learning_rate": 0.1}, {"wd": 0.0}):
        message = f"{next(iter(arguments))}: goes with an optimizer that is given by name; this SGD was made"
        with pytest.raises(FCNXSError, match=message):
            Solver(symbol, arg_params=random_params(symbol), optimizer=mx.optimizer.SGD(0.01), **arguments)


def test_a_schedule_of_mxnet_s_sets_the_rate_of_each_step():
    data = Images([(33, 40)] * 3)
    schedule = mx.lr_scheduler.MultiFactorScheduler([1, 2], 0.5, base_lr=0.05)  # 0.05, 0.025, 0.0125
    scheduled, plain = solver_of(lr_scheduler=schedule), solver_of()
    for rate, batch in zip((0.05, 0.025, 0.0125), data):
        scheduled.step(batch, data)
        plain.replicas[0].optimizer.set_learning_rate(rate)
        plain.step(batch, data)
    for name, array in values(plain).items():
        np.testing.assert_array_equal(values(scheduled)[name], array, err_msg=name)

"""What goes between the host and a GPU: the image and its label once, class maps and a few numbers back."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from conftest import FC, WIDTH, Images, photo, random_params

from fcnxs import Segmenter, checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.finetune.run import all_finite
from fcnxs.gluon.training import _split
from fcnxs.metric import SegmentationMetric
from fcnxs.solver import Solver
from fcnxs.symbols import get_fcn8s_symbol

NDArray = mx.nd.NDArray
SIZES = [(40, 50), (64, 33), (40, 50)]
KERNEL = 16 * 16 * 3 * 4  # bytes of the last upsampling's kernels, which are looked at before each pass


def size_of(array):
    return array.size * np.dtype(array.dtype).itemsize


@contextmanager
def counted():
    """Bytes that go "up" to GPUs and "down" from them in the block, and how often Python waits for them."""
    moved, asnumpy, fill, copyto = Counter(), NDArray.asnumpy, NDArray._sync_copyfrom, NDArray.copyto

    def count_down(array):
        if array.context.device_type == "gpu":
            moved.update(down=size_of(array), waits=1)
        return asnumpy(array)

    def count_up(array, source):
        if array.context.device_type == "gpu":
            moved.update(up=size_of(array))
        fill(array, source)

    def count_copy(array, other):
        there = other if isinstance(other, mx.Context) else other.context
        if there != array.context:
            moved.update(down=size_of(array) * (array.context.device_type == "gpu"))
            moved.update(up=size_of(array) * (there.device_type == "gpu"))
        return copyto(array, other)

    counting = {"asnumpy": count_down, "_sync_copyfrom": count_up, "copyto": count_copy}
    with mock.patch.multiple(NDArray, **counting):
        yield moved


def trained(ctx, recompute=False, metric=None):
    """Parameters, metric and transfers of steps on images of `SIZES`, without dropout."""
    symbol = mx.sym.load_json(
        get_fcn8s_symbol(3, width=WIDTH, fc=FC).tojson().replace('"p": "0.5"', '"p": "0"')
    )
    params, data, found = random_params(symbol, 1, ctx), Images(SIZES), []
    how = {"arg_params": params, "recompute": recompute, "learning_rate": 1e-2, "momentum": 0.9}
    solver, metric = Solver(symbol, ctx, **how), metric or SegmentationMetric(3)
    for batch in data.batches:
        with counted() as moved:
            solver.step(batch, data, metric)
        found.append(moved)
    return solver, metric, found


@pytest.mark.parametrize("recompute", [False, True])
def test_a_step_uploads_image_and_label_and_downloads_class_map_and_loss(recompute, gpus):
    solver, metric, found = trained(mx.gpu(0), recompute)
    for (height, width), moved in zip(SIZES, found):
        pixels = height * width
        assert moved == {"up": (3 + 1) * 4 * pixels, "down": pixels + 8 + KERNEL, "waits": 3}
    with counted() as moved:
        assert all_finite([solver.arg_params[name] for name in solver.arg_params if name.endswith("_bias")])
    assert moved == {"down": 4, "waits": 1}
    on_cpu, same_metric, _ = trained(mx.cpu(), recompute)
    assert metric.state() == same_metric.state()
    for name, array in on_cpu.arg_params.items():
        np.testing.assert_array_equal(solver.arg_params[name].asnumpy(), array.asnumpy(), err_msg=name)


def test_an_evaluation_downloads_class_maps_and_losses(gpus):
    solver, _, _ = trained(mx.gpu(0))
    with counted() as moved:
        solver.evaluate(Images(SIZES), SegmentationMetric(3))
    pixels = sum(height * width for height, width in SIZES)
    passes = len(SIZES)
    assert moved == {"up": 16 * pixels, "down": pixels + (8 + KERNEL) * passes, "waits": 3 * passes}


def test_metrics_of_mxnet_get_the_pixels_that_count_on_the_gpu(gpus):
    """Accuracy downloads labels and classes, 8 bytes a pixel; probabilities of 21 classes would be 84."""
    solver, _, _ = trained(mx.gpu(0))
    metric, ours = mx.metric.Accuracy(), SegmentationMetric(3)
    solver.evaluate(Images(SIZES), ours)
    with counted() as moved:
        solver.evaluate(Images(SIZES), metric)
    assert moved["down"] == (4 + 4) * ours.matrix.sum() + KERNEL * len(SIZES)
    assert metric.get()[1] == pytest.approx(dict(ours.get_name_value())["pixel_accuracy"])


def test_a_batch_without_pixels_that_count_leaves_metrics_of_mxnet_alone(ctx):
    symbol, data, metric = get_fcn8s_symbol(3, width=WIDTH, fc=FC), Images(SIZES[:1]), mx.metric.Accuracy()
    data.batches[0]["softmax_label"][:] = 255
    solver = Solver(symbol, ctx, arg_params=random_params(symbol, 1, ctx), learning_rate=0)
    assert np.isnan(solver.step(data.batches[0], data, metric))
    assert metric.num_inst == 0


def test_segmenting_uploads_the_image_once_and_downloads_the_class_map(gpus):
    """Upsampling weights are looked at once, not for each size. Results are the CPU's."""
    symbol = get_fcn8s_symbol(3, width=WIDTH, fc=FC)
    params = random_params(symbol, 1)
    answers = []
    for ctx in (mx.cpu(), mx.gpu(0)):
        source = checkpoint.Checkpoint(symbol, dict(params), {}, checkpoint.Meta(), Path("net-0000.params"))
        with counted() as moved:
            segmenter = Segmenter(source, ctx=ctx)
        assert moved["waits"] == (0 if ctx == mx.cpu() else 3)  # bigscore, score2, score4
        answers.append([])
        for height, width in SIZES:
            with counted() as moved:
                answers[-1].append(segmenter(photo(height, width)))
            if ctx != mx.cpu():
                assert moved == {"up": 12 * height * width, "down": height * width, "waits": 1}
    for on_cpu, on_gpu in zip(*answers):
        assert on_gpu.dtype == np.uint8
        np.testing.assert_array_equal(on_gpu, on_cpu)


def test_each_gpu_gets_its_share_of_a_batch_alone(gpus):
    batch, devices = np.arange(5 * 12, dtype=np.float32).reshape(5, 3, 2, 2), [mx.gpu(0), mx.gpu(1)]
    with counted() as moved:
        first, second = _split(batch, devices)
    assert moved["up"] == batch.nbytes and not moved["down"]
    assert (first.context, second.context) == tuple(devices)
    np.testing.assert_array_equal(np.concatenate([first.asnumpy(), second.asnumpy()]), batch)

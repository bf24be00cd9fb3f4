"""Executors that a GPU keeps, and what counts as its free memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params

from fcnxs import FCNXSError, Segmenter, checkpoint, device_memory
from fcnxs.compat import mxnet as mx
from fcnxs.net import Net
from fcnxs.solver.executors import Executors
from fcnxs.symbols import get_fcn8s_symbol

GB = 10**9
SIZES = [(50, 50), (40, 50), (50, 40), (30, 30)]


class Memory:
    """Memory of a GPU: 16 GB, of which some are in use, and some are cached until the pool gives them back."""

    def __init__(self, monkeypatch, used=0, cached=0):
        self.used, self.cached, self.given_back = used * GB, cached * GB, 0
        monkeypatch.setattr(mx.context, "gpu_memory_info", self.info)
        monkeypatch.setattr(mx.Context, "empty_cache", lambda ctx: self.give_back())

    def info(self, device_id=0):
        return (16 * GB - self.used - self.cached, 16 * GB)

    def give_back(self):
        self.given_back += 1
        self.cached = 0


@pytest.fixture
def executors():
    symbol = get_fcn8s_symbol(3, width=WIDTH, fc=FC)

    def make(ctx, trim=True):
        return Executors(Net(symbol, random_params(symbol, 1, ctx), {}), ctx, {}, trim)

    return make


def bound(executors):
    """Numbers of executors that are bound in three rounds over `SIZES`, and how many are kept at the end."""
    found = set()
    for _ in range(3):
        found.update(executors.get("data", (1, 3, *size)) for size in SIZES)
    return len(found), len(executors._kept)


def test_a_gpu_keeps_trimmed_executors_of_many_sizes(executors, monkeypatch, gpus):
    memory = Memory(monkeypatch)
    assert bound(executors(mx.gpu(0))) == bound(executors(mx.gpu(0), trim=False)) == (4, 4)
    assert len(executors(mx.cpu())._kept) == 0 and bound(executors(mx.cpu()))[1] == 1
    monkeypatch.setattr(device_memory, "ON_GPU", 3)
    kept = executors(mx.gpu(0))
    assert bound(kept)[1] == 3 and list(kept._kept) == [(1, 3, *size) for size in SIZES[1:]]
    assert memory.given_back == 0


def test_a_gpu_short_of_memory_keeps_one_executor(executors, monkeypatch, gpus):
    """Short is less than an eighth free; what MXNet's pool caches is free when it is given back."""
    assert bound(executors(mx.gpu(0)))[1] == 4
    memory = Memory(monkeypatch, used=13, cached=2)
    assert bound(executors(mx.gpu(0)))[1] == 4 and memory.given_back == 1
    memory = Memory(monkeypatch, used=15)
    assert bound(executors(mx.gpu(0)))[1] == 1 and memory.given_back > 1


def made(**how):
    symbol = get_fcn8s_symbol(3, width=WIDTH, fc=FC)
    net = (symbol, random_params(symbol, 1), {}, checkpoint.Meta(), Path("net-0000.params"))
    return Segmenter(checkpoint.Checkpoint(*net), ctx=mx.gpu(0), **how)


@pytest.fixture
def segmenter(gpus):
    return made()


def test_an_image_is_not_tiled_because_of_cached_blocks(segmenter, monkeypatch):
    """Blocks are given back only if an image does not seem to fit, so not for each that does."""
    memory = Memory(monkeypatch)
    for size in SIZES:
        segmenter(photo(*size))
    assert memory.given_back == 0
    memory = Memory(monkeypatch, cached=15.999)
    assert segmenter.fits((60, 70)) and memory.given_back == 1
    memory.cached = 15.999 * GB
    segmenter(photo(61, 70))
    assert len(segmenter._net.passes._kept) == 1 and memory.given_back == 2
    segmenter(photo(61, 70))
    assert memory.given_back == 2
    memory.used = 15.97 * GB
    assert not segmenter.fits((300, 400))


def test_a_limit_is_not_what_is_free(segmenter, monkeypatch):
    """With a memory limit, the device is not asked, and nothing is dropped to answer whether an image fits."""
    Memory(monkeypatch, cached=16)
    segmenter.memory_limit = 2e9
    segmenter(photo(60, 70))
    assert not segmenter.fits((20000, 20000)) and len(segmenter._net.passes._kept) == 1


def test_scores_on_the_host_take_no_memory_of_the_gpu(gpus, monkeypatch):
    """Averages and tiled scores are summed in NumPy, beside which the GPU has its own memory to compute in."""
    segmenter = made(flip=True)
    expected = segmenter.probabilities(photo(60, 70))
    Memory(monkeypatch, cached=15.9999)  # less is free than the probabilities take
    np.testing.assert_array_equal(segmenter.probabilities(photo(60, 70)), expected)
    monkeypatch.setattr("fcnxs.predict.within_memory.available_memory", lambda: 80_000)
    with pytest.raises(FCNXSError, match="for every pixel take 0.000 GB"):
        segmenter.probabilities(photo(60, 70))

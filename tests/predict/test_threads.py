"""Threads that share a Segmenter: each gets the answer for its own image."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import CTX, FC, LONG, WIDTH, fresh_probabilities, photo, random_params

from fcnxs import checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.data.images import preprocess
from fcnxs.gluon import FCNxs
from fcnxs.predict import Segmenter, inputs
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.vis import overlay

SIZES = ((40, 50), (52, 34), (33, 61))
LARGE, LIMIT = (150, 190), 18e6  # a size that needs tiles under this limit
SECONDS = 120  # after which a thread counts as stuck


@pytest.fixture(scope="module")
def source():
    symbol = get_fcn8s_symbol(3, width=WIDTH, fc=FC)
    params = random_params(symbol)
    params["bigscore_weight"] *= 0.02  # small scores: probabilities between 0 and 1
    return checkpoint.Checkpoint(symbol, params, {}, checkpoint.Meta(), "weights")


@pytest.fixture(scope="module")
def images(source, ctx):
    """Images of three sizes, each with its probabilities, computed alone by a new executor."""
    found = []
    for number in range(15):
        image = photo(*SIZES[number % 3], number)
        data = preprocess(image, source.meta.mean)
        found.append((image, fresh_probabilities(source.symbol, source.arg_params, data, ctx)[0]))
    return found


def in_threads(work, count):
    """Run `work(number)` in `count` threads at once; an error of one of them is raised."""
    with ThreadPoolExecutor(count) as pool:
        return [future.result(SECONDS) for future in [pool.submit(work, number) for number in range(count)]]


def assert_class_map(class_map, probabilities):
    """The map names the most probable class, but where two are equal to float32's rounding."""
    wanted = np.take_along_axis(probabilities, class_map[np.newaxis].astype(int), 0)[0]
    np.testing.assert_allclose(wanted, probabilities.max(axis=0), atol=1e-5)


def test_eight_threads_get_the_maps_of_their_own_images(source, images):
    segmenter = Segmenter(source, ctx=CTX)

    def work(thread):
        for number in range(2000 // 8 if LONG else 40):
            image, probabilities = images[(number * 7 + thread) % len(images)]
            assert_class_map(segmenter(image), probabilities)

    in_threads(work, 8)


def test_every_method_with_tiles_and_averages_and_beside_other_nets(source, images):
    whole, tiled = Segmenter(source, ctx=CTX), Segmenter(source, ctx=CTX, memory_limit=LIMIT, trim=False)
    averaged, block = Segmenter(source, ctx=CTX, scales=(1, 1.5), flip=True), FCNxs(source.symbol)
    block.initialize(ctx=CTX)
    for name, parameter in block.params.items():
        parameter.set_data(source.arg_params[name])
    large, averages = photo(*LARGE), [averaged.probabilities(image) for image, _ in images[:3]]
    expected = whole(large)

    def scores_of_block(image, number):
        scores = block(mx.nd.array(preprocess(image, source.meta.mean), CTX)).softmax(axis=1)[0]
        np.testing.assert_allclose(scores.asnumpy(), images[number][1], atol=1e-5)

    def check(image, number):
        probabilities = images[number][1]
        np.testing.assert_allclose(whole.probabilities(image), probabilities, atol=1e-5)
        assert_class_map(np.concatenate([band for _, band in whole.bands(image)]), probabilities)
        drawn = whole.overlay(image, 1)
        np.testing.assert_array_equal(drawn, overlay(image, whole(image), whole.palette, 1))
        for each, (_, wanted) in zip(whole([image, images[0][0]]), [(image, probabilities), images[0]]):
            assert_class_map(each, wanted)

    def average(_, number):
        found = averaged.probabilities(images[number % 3][0])
        np.testing.assert_allclose(found, averages[number % 3], atol=1e-6)

    def tile(*_):
        assert not tiled.fits(LARGE)
        assert (tiled(large) == expected).mean() > 0.999

    tasks = (check, check, average, scores_of_block, tile, tile)

    def work(thread):
        for number in range(2 if tasks[thread] is tile else 6):
            tasks[thread](images[number][0], number)

    in_threads(work, len(tasks))


def test_an_iterator_left_unfinished_keeps_nobody_waiting(source, images):
    segmenter, large = (
        Segmenter(source, ctx=CTX, memory_limit=LIMIT, trim=False),
        (photo(*LARGE, 1), photo(*LARGE, 2)),
    )
    expected = [Segmenter(source, ctx=CTX, trim=False)(image) for image in large]
    next(segmenter.bands(large[0]))  # plans the tiles; the last phase of so small a net is one tile
    tiling = segmenter._net._tiling
    last = tiling.phases[-1]
    tiling.tiles[-1] = tuple(tiling._spans(last, axis, 4 * tiling._unit(last, axis)) for axis in (0, 1))
    begun = segmenter.bands(large[0])
    first = next(begun)
    assert len(first[1]) < LARGE[0]

    def work(_):
        image, probabilities = images[0]
        assert_class_map(segmenter(image), probabilities)
        np.testing.assert_array_equal(segmenter(large[1]), expected[1])

    in_threads(work, 1)
    np.testing.assert_array_equal(np.concatenate([first[1], *(band for _, band in begun)]), expected[0])


def test_files_are_read_ahead_while_another_thread_computes(source, images):
    segmenter, asked, all_read = Segmenter(source, ctx=CTX), itertools.count(1), threading.Event()

    def camera():
        for image, _ in images[:5]:
            if next(asked) == 1 + inputs.AHEAD:
                all_read.set()
            yield image

    with ThreadPoolExecutor(1) as pool:
        with segmenter._net.turn:  # as another thread holds it during its pass
            maps = pool.submit(lambda: [*segmenter(camera())])
            assert all_read.wait(SECONDS)
            assert not maps.done()
        for class_map, (_, probabilities) in zip(maps.result(SECONDS), images):
            assert_class_map(class_map, probabilities)

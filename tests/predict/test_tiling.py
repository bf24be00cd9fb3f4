"""Tiles give what the whole image gives."""

import json
import re

import numpy as np
import pytest
from conftest import CTX, FC, LONG, WIDTH, photo, random_params

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.net import Net
from fcnxs.predict.forward import peak_bytes
from fcnxs.predict.tiling import Tiling, reader, windows
from fcnxs.solver.executors import Executors
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.graph.rewrite import scores_symbol

FCNS = ("fcn32s", "fcn16s", "fcn8s", "fcn4s", "fcn2s", "fcn8s_atonce", "fcn_alexnet")


def net_of(name, convention="valid", classes=3):
    symbol = scores_symbol(NETS[name](numclass=classes, width=WIDTH, fc=FC, pooling_convention=convention))
    return Net(symbol, random_params(symbol, ctx=CTX), {})


def scores_of(net, data):
    executor = Executors(net, CTX).get("data", data.shape)
    return executor.forward(is_train=False, data=mx.nd.array(data, CTX))[0].asnumpy()[0]


def random_data(size, dtype=np.float32):
    return np.random.default_rng(sum(size)).normal(0, 50, (1, 3, *size)).astype(dtype)


def tiled(net, data, tiles):
    """Scores, and numbers of rows and columns of tiles of every phase, where it has about so many of both."""
    tiling = Tiling(net, data.shape[2:], 1e12, CTX)
    for number, phase in enumerate(tiling.phases):
        units = [tiling._unit(phase, axis) for axis in (0, 1)]
        cells = [tiling._shape(phase.outputs[0])[axis] for axis in (0, 1)]
        sides = [-(-cells[axis] // units[axis] // tiles) * units[axis] for axis in (0, 1)]
        tiling.tiles[number] = tuple(tiling._spans(phase, axis, sides[axis]) for axis in (0, 1))
    counts = [(len(rows), len(columns)) for rows, columns in tiling.tiles]
    return np.concatenate([band for _, band in tiling.bands(windows(data))], axis=1), counts


@pytest.mark.parametrize("convention", ["valid", "full"])
@pytest.mark.parametrize("name", FCNS)
def test_tiles_equal_the_whole_image(name, convention):
    """Tiles of three of the coarsest cells, and of one: each with one convention, both with both for FCN-8s."""
    net, both = net_of(name, convention), (((97, 150), 3), ((40, 27), 9))
    for size, tiles in both if LONG or name == "fcn8s" else (both[convention == "full"],):
        data = random_data(size)
        expected = scores_of(net, data)
        scores, counts = tiled(net, data, tiles)
        assert min(counts[0]) > 2
        np.testing.assert_allclose(scores, expected, atol=1e-5 * np.abs(expected).max())


def test_every_remainder_of_a_period():
    """Whatever pooling drops at the end, or `full` makes of a single row, is dropped or made."""
    for convention in ("valid", "full"):
        net = net_of("fcn8s", convention)
        for remainder in range(0, 32, 5):
            data = random_data((32 + remainder, 32 + (7 * remainder) % 32))
            expected = scores_of(net, data)
            scores, _ = tiled(net, data, 3)
            np.testing.assert_allclose(scores, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["fcn32s", "fcn8s", "fcn8s_atonce"])
def test_in_float64_tiles_equal_the_whole_to_rounding(name):
    """The parts have no Crop, which takes no float64; the whole image as one tile is compared with many."""
    net = net_of(name)
    net = Net(net.symbol, {key: array.astype("float64") for key, array in net.arg_params.items()}, {})
    data = random_data((101, 140), np.float64)
    whole, counts = tiled(net, data, 1)
    assert set(counts) == {(1, 1)}
    scores, counts = tiled(net, data, 4)
    assert min(counts[0]) > 2
    np.testing.assert_allclose(scores, whole, rtol=0, atol=1e-12 * np.abs(whole).max())


def test_class_maps_of_an_image_within_a_limit_and_the_smallest_limit():
    """What a limit allows is planned so that no part is estimated above it, and as few tiles as possible."""
    net, image, mean = net_of("fcn16s"), photo(230, 310), (120.0, 110.0, 100.0)
    data = image.astype(np.float32).transpose(2, 0, 1)[np.newaxis] - np.reshape(np.float32(mean), (1, 3, 1, 1))
    expected = scores_of(net, data).argmax(0)
    counts = []
    for limit in (1e9, 20e6, 13.6e6):
        tiling = Tiling(net, (230, 310), limit, CTX)
        bands = [*tiling.class_maps(reader(image, mean))]
        np.testing.assert_array_equal(np.concatenate([band for _, band in bands]), expected)
        assert [row for row, _ in bands] == [
            each[tiling.phases[-1].outputs[0]][0] for each in tiling.tiles[-1][0]
        ]
        counts.append(sum(len(rows) * len(columns) for rows, columns in tiling.tiles))
        for phase, tiles in zip(tiling.phases, tiling.tiles):
            assert tiling._most(phase, tiles) <= limit
    assert counts[0] == 3 and counts[0] < counts[1] < counts[2]
    with pytest.raises(FCNXSError, match=r"310x230 pixels need 0.01\d GB, even in the smallest tiles") as error:
        Tiling(net, (230, 310), 1e6)
    least = float(re.search(r"need ([\d.]+) GB", str(error.value))[1]) * 1e9 + 1e6
    assert Tiling(net, (230, 310), least).tiles


def test_the_parts_have_no_pad_but_at_the_image_s_border():
    """An inner tile computes nothing that is not needed; all inner tiles are one graph."""
    tiling = Tiling(net_of("fcn8s"), (900, 900), 25e6, CTX)
    phase, (rows, columns) = tiling.phases[0], tiling.tiles[0]
    part = tiling._subgraph(phase, rows[len(rows) // 2], columns[len(columns) // 2])
    corner = tiling._subgraph(phase, rows[0], columns[0])
    layers = {node["name"]: node for node in json.loads(part.text)["nodes"]}
    assert all(layers[name]["attrs"]["pad"] == "(0, 0)" for name in layers if name + "_weight" in layers)
    assert all(name.startswith("score_pool") for name in layers if layers[name]["op"] == "slice")
    at_the_border = {node["name"]: node for node in json.loads(corner.text)["nodes"]}
    assert at_the_border["conv1_1"]["attrs"]["pad"] == "(0, 0)"  # its input has it
    assert at_the_border["conv1_2"]["attrs"]["pad"] == "(1, 1)"
    assert part.text == tiling._subgraph(phase, rows[1], columns[2]).text


def test_the_estimate_of_memory_is_that_of_the_layers():
    """Conv1_1's and conv1_2's outputs, 16 channels each as oneDNN keeps them, and conv1_2's weights anew."""
    symbol = net_of("fcn32s").symbol
    cells = 16 * (300 + 198) * (400 + 198) * 4
    image, weights = 3 * 3 * 300 * 400 * 4, (4 * 4 * 9 + 4) * 4
    assert peak_bytes(symbol, Graph.of(symbol), {"data": (1, 3, 300, 400)}) == 2 * cells + image + weights


def test_what_cannot_be_cut_is_refused():
    x = mx.sym.Variable("data")
    x = mx.sym.InstanceNorm(mx.sym.Convolution(x, kernel=(3, 3), num_filter=3, name="conv"), name="norm")
    params = random_params(x)
    with pytest.raises(FCNXSError, match="InstanceNorm 'norm': this layer cannot be computed tile by tile"):
        Tiling(Net(x, params, {}), (50, 50), 1e9)

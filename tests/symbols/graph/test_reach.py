"""What a cell sees, and which pixels no cell reaches: against gradients, and nets that are run."""

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params

from fcnxs import symbols
from fcnxs.compat import mxnet as mx
from fcnxs.symbols.graph.nodes import Graph

NETS = [(name, convention) for name in symbols.NETS for convention in ("valid", "full")]
FCNS = [(name, convention) for name, convention in NETS if "fcn" in name]


def test_receptive_fields_follow_the_recurrence():
    """The textbook's: r grows by (K - 1) times the product of the strides before."""
    field = jump = 1
    rows = symbols.describe(symbols.get_vgg16fc_symbol(), (64, 64))
    for row in rows:
        if row.kernel is not None:
            field, jump = field + (row.kernel - 1) * jump, jump * row.stride
        assert row.receptive_field == field and row.map[0] == jump
    assert field == 404


def tiny():
    """Convolutions, a pooling, a dilated kernel, two deconvolutions, a skip and crops."""
    data = mx.sym.Variable("data")
    x = mx.sym.Convolution(data, kernel=(3, 3), pad=(12, 12), num_filter=1, name="a")
    skip = mx.sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="avg", name="b")
    x = mx.sym.Convolution(skip, kernel=(3, 3), dilate=(2, 2), stride=(3, 3), num_filter=1, name="c")
    x = mx.sym.Deconvolution(x, kernel=(5, 5), stride=(3, 3), num_filter=1, name="d")
    x = symbols.add(x, symbols.crop(skip, x, "e"), "f")
    x = mx.sym.Deconvolution(x, kernel=(4, 4), stride=(2, 2), pad=(1, 1), num_filter=1, name="g")
    return symbols.crop(x, data, "h")


@pytest.mark.parametrize("layer", "abcdefgh")
def test_receptive_fields_are_where_gradients_come_from(layer, ctx):
    """Weights are 1, so that a pixel that is seen has a gradient."""
    symbol, size = tiny(), 36
    output = symbol.get_internals()[f"{layer}_output"]
    row = {row.name: row for row in symbols.describe(output, (size, size))}[layer]
    shapes, _, _ = output.infer_shape(data=(1, 3, size, size))
    args = {name: mx.nd.ones(shape, ctx) for name, shape in zip(output.list_arguments(), shapes)}
    grads = {"data": mx.nd.zeros((1, 3, size, size), ctx)}
    executor = output.bind(ctx, args, grads, {name: "write" if name == "data" else "null" for name in args})
    executor.forward(is_train=True)
    spans = []
    for cell in range(row.shape[2]):
        head = mx.nd.zeros(row.shape, ctx)
        head[0, 0, cell] = 1
        executor.backward([head])
        seen = np.flatnonzero(grads["data"].asnumpy().sum((0, 1, 3)))
        if len(seen) and seen[0] > 0 and seen[-1] < size - 1:  # all of it inside the image
            spans.append(seen[-1] - seen[0] + 1)
    assert spans and row.receptive_field == max(spans)


@pytest.mark.parametrize(("name", "convention"), FCNS)
def test_rows_and_columns_without_a_score_are_those_that_are_zero(name, convention, ctx):
    options = {"heads": {"a": 2, "b": 3}} if name.startswith("siftflow") else {"numclass": 2}
    symbol = symbols.NETS[name](**options, width=max(WIDTH, 1 / 32), fc=FC, pooling_convention=convention)
    params = {key: mx.nd.abs(array) for key, array in random_params(symbol, ctx=ctx).items()}
    upscore = symbol.get_internals()["upscore_a_output" if "heads" in options else "upscore_output"]
    for size in ((57, 58), (89, 33)):
        images = Graph.of(symbol).image_shapes(size).items()
        args = {**params, **{key: mx.nd.random.uniform(1, 2, shape, ctx=ctx) for key, shape in images}}
        scores = upscore.bind(ctx, args, grad_req="null").forward()[0].asnumpy()[0].sum(0)
        zeros = [np.flatnonzero(scores.sum(axis) != 0) for axis in (1, 0)]
        found = tuple((int(rows[0]), length - 1 - int(rows[-1])) for rows, length in zip(zeros, size))
        assert symbols.unscored_border(symbol, size) == found
        assert convention == "valid" or found == ((0, 0), (0, 0))
    if (name, convention) == ("fcn32s", "valid"):
        assert symbols.unscored_border(symbol, (57, 58)) == ((0, 12), (0, 0))


def brute(layers, size):
    """For each cell of the last of several layers, the set of pixels that it comes from, cell by cell."""
    cells = [{pixel} for pixel in range(size)]
    for up, kernel, stride, pad in layers:
        if up:
            found = [set() for _ in range((len(cells) - 1) * stride + kernel - 2 * pad)]
            for i, pixels in enumerate(cells):
                for k in range(kernel):
                    if 0 <= i * stride + k - pad < len(found):
                        found[i * stride + k - pad] |= pixels
            cells = found
        else:
            padded = [{-size}] * pad + cells + [{-size}] * pad  # not compared
            windows = [padded[i : i + kernel] for i in range(0, len(padded) - kernel + 1, stride)]
            cells = [set().union(*window) for window in windows]
    return cells


@pytest.mark.parametrize("seed", range(30))
def test_receptive_fields_are_those_of_a_search_cell_by_cell(seed):
    """Of random layers, also of deconvolutions that leave cells out."""
    draw = np.random.default_rng(seed)
    layers = [
        (draw.random() < 0.4, *map(int, (draw.integers(2, 6), draw.integers(1, 4), draw.integers(0, 2))))
        for _ in range(4)
    ]
    x = mx.sym.Variable("data")
    for up, kernel, stride, pad in layers:
        op = mx.sym.Deconvolution if up else mx.sym.Convolution
        x = op(x, kernel=(kernel,) * 2, stride=(stride,) * 2, pad=(pad,) * 2, num_filter=1)
    size = 160
    inner = [cell for cell in brute(layers, size) if cell and min(cell) > 9 and max(cell) < size - 9]
    widths = [max(cell) - min(cell) + 1 for cell in inner]
    assert symbols.describe(x, (size, size))[-1].receptive_field == max(widths, default=None)

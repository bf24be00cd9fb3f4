"""Which sizes of images fit a net: against what MXNet runs."""

import pytest
from odd_graphs import gaps, once

from fcnxs import FCNXSError, symbols
from fcnxs.compat import mxnet as mx
from fcnxs.symbols.graph.layer_sizes import misfit, telling
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.graph.reach import most_unscored

NETS = [(name, convention) for name in symbols.NETS for convention in ("valid", "full")]
FCNS = [(name, convention) for name, convention in NETS if "fcn" in name]


@pytest.mark.parametrize(("name", "convention"), NETS)
def test_the_smallest_input_is_the_smallest_that_mxnet_takes(name, convention):
    symbol = symbols.NETS[name](pooling_convention=convention)
    rows, columns = symbols.smallest_input(symbol)
    assert rows == columns == {"vgg16": {"valid": 224, "full": 193}}.get(name, {}).get(convention, rows)
    images = Graph.of(symbol).image_shapes
    symbol.infer_shape_partial(**images((rows, columns)))
    for size in ((rows - 1, 300), (300, columns - 1)):
        if min(size) > 0:  # 0 is MXNet's for a size that is not known
            with pytest.raises(mx.MXNetError):
                symbol.infer_shape_partial(**images(size))


def test_sizes_that_do_not_fit_are_those_that_mxnet_refuses(ctx):
    """Without adj a crop refuses sizes in between, when it runs: shape inference lets some of them pass."""
    data = mx.sym.Variable("data")
    x = mx.sym.Convolution(data, kernel=(3, 3), pad=(4, 4), num_filter=2, name="a")
    x = mx.sym.Pooling(x, kernel=(8, 8), stride=(8, 8), pool_type="max", name="b")
    x = mx.sym.Deconvolution(x, kernel=(10, 10), stride=(8, 8), num_filter=2, name="c")
    x = symbols.crop(x, data, "d")
    refused = []
    for height in range(1, 60):
        try:
            x.infer_shape_partial(data=(1, 3, height, 10))
            x.simple_bind(ctx, data=(1, 3, height, 10), grad_req="null").forward()[0].wait_to_read()
        except mx.MXNetError:
            refused.append(height)
            with pytest.raises(FCNXSError, match=f"image of {height} rows and 10 columns does not fit"):
                symbols.describe(x, (height, 10))
        else:
            assert symbols.describe(x, (height, 10))[-1].shape == (1, 2, height, 10)
    assert (
        refused and symbols.smallest_input(x)[0] not in refused and max(refused) > symbols.smallest_input(x)[0]
    )


def test_a_crop_to_a_given_size_fits_where_mxnet_runs_it(ctx):
    """Shape inference looks at the size, and the operator at the offset when it runs."""
    data = mx.sym.Variable("data")
    for settings in ({"offset": (2, 3)}, {"center_crop": True}, {}):
        x = mx.sym.Crop(data, h_w=(20, 30), num_args=1, **settings)
        least = symbols.smallest_input(x)
        assert least == ((22, 33) if "offset" in settings else (20, 30))
        for size in (least, (least[0] - 1, least[1]), (least[0], least[1] - 1)):
            if size == least:
                x.simple_bind(ctx, data=(1, 3, *size)).forward()[0].wait_to_read()
            else:
                with pytest.raises((mx.MXNetError, RuntimeError)):
                    x.simple_bind(ctx, data=(1, 3, *size)).forward()[0].wait_to_read()
                with pytest.raises(
                    FCNXSError, match=rf"cuts \d\d .*; the smallest .* {least[0]} .* {least[1]} col"
                ):
                    symbols.describe(x, size)


def test_a_size_between_those_that_fit_is_refused_with_the_nearest():
    with pytest.raises(FCNXSError, match="'cut' cuts 65 rows out of 64, from 0 on; .* 66 rows and 70 columns"):
        symbols.describe(gaps(), (65, 70))
    with pytest.raises(FCNXSError, match="the nearest size that fits has 70 rows and 66 columns"):
        symbols.describe(gaps(), (70, 65))
    assert symbols.describe(gaps(), (66, 70))[-1].shape == (1, 2, 66, 70)


@pytest.mark.parametrize("net", [gaps, once, symbols.get_fcn32s_symbol, symbols.get_fcn_alexnet_symbol])
def test_the_sizes_of_a_period_tell_of_all(net):
    symbol = net()
    graph, (least, columns) = Graph.of(symbol), symbols.smallest_input(symbol)
    fitting, missing = telling(graph, 0)
    every = range(least, 300)
    sizes = [n for n in every if misfit(graph, 0, n) is None]
    assert least in fitting and bool(missing) == (len(sizes) < len(every)) == (net in (gaps, once))
    assert all((misfit(graph, 0, n) is None) == (n in fitting) for n in (*fitting, *missing))
    borders = [symbols.unscored_border(symbol, (n, columns)) for n in sizes]
    assert most_unscored(symbol) == max(sum(rows) for rows, _ in borders)

"""What is refused before a pass, with the layer's name: MXNet would end the process."""

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params

from fcnxs import FCNXSError, feasible
from fcnxs.compat import mxnet as mx
from fcnxs.net import Net, bind, scores_of
from fcnxs.predict.forward import Passes, peak_bytes
from fcnxs.solver.executors import Executors
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.graph.rewrite import scores_symbol, with_settings

SHAPE = (1, 3, 40, 52)


def changed(layer, **settings):
    """FCN-8s with other settings of a layer."""
    return with_settings(scores_symbol(NETS["fcn8s"](4, width=WIDTH, fc=FC)), {layer: settings})


def check(symbol, shape=SHAPE):
    feasible.check_layers(symbol, Graph.of(symbol), {"data": shape}, "photo.jpg")


def test_a_sound_net_passes():
    check(changed("upscore", offset=(31, 31)))
    check(NETS["fcn8s"](4, width=WIDTH, fc=FC))


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        ((0, 60_000), "photo.jpg: Crop 'upscore' cuts 52 columns out of 119, from 60000 on"),
        ((100, 0), "photo.jpg: Crop 'upscore' cuts 40 rows out of 119, from 100 on"),
    ],
)
def test_a_crop_that_begins_too_late_is_named(offset, words):
    with pytest.raises(FCNXSError) as raised:
        check(changed("upscore", offset=offset))
    assert str(raised.value) == words


def test_every_way_to_a_pass_checks_the_layers(ctx):
    symbol = changed("upscore", offset=(0, 60_000))
    net = Net(symbol, random_params(symbol, ctx=ctx), {})
    data = mx.nd.zeros(SHAPE, ctx)
    for way in (
        lambda: bind(net, SHAPE),
        lambda: scores_of(net, np.zeros(SHAPE, np.float32)),
        lambda: Passes(net, ctx, trim=False).scores(data),
        lambda: Executors(net, ctx).get("data", SHAPE),
    ):
        with pytest.raises(FCNXSError, match="Crop 'upscore' cuts 52 columns"):
            way()


def test_a_crop_like_a_layer_without_rows_is_named():
    data = mx.sym.Variable("data")
    symbol = mx.sym.Crop(data, mx.sym.sum(data, axis=1), num_args=2, name="cut")
    with pytest.raises(FCNXSError, match="'cut' takes layers of shapes|infers no shapes"):
        check(symbol)


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_groups_that_do_not_divide_are_named(kind):
    settings = {"kernel": (1, 1), "num_filter": 4, "num_group": 2, "name": "grouped"}
    symbol = getattr(mx.sym, kind)(mx.sym.Variable("data"), **settings)
    with pytest.raises(
        FCNXSError, match=r"photo.jpg: .*layer 'grouped': input num_filter must divide group size"
    ):
        check(symbol)


def test_a_layer_without_room_is_named_with_both_sizes(monkeypatch):
    symbol = changed("conv1_1", pad=(9000, 9000))
    with monkeypatch.context() as patch:
        patch.setattr(feasible, "available_memory", lambda: 10**9)
        with pytest.raises(
            FCNXSError, match=r"takes 10.419 GB at least, layer '\w+' .* 5.209 GB.* 1.000 GB of"
        ):
            check(symbol)
    with pytest.raises(FCNXSError, match="layer 'conv1_1' has .* numbers, more than MXNet can count"):
        check(changed("conv1_1", pad=(60_000, 60_000)))


def test_what_a_pass_needs_is_counted_by_hand():
    """data 3, conv 4, relu in place; pool a quarter; the sum needs both its inputs."""
    data = mx.sym.Variable("data")
    x = mx.sym.Convolution(data, kernel=(1, 1), num_filter=4, name="conv")
    x = mx.sym.Activation(x, act_type="relu", name="relu")
    y = mx.sym.Convolution(x, kernel=(1, 1), num_filter=2, name="narrow")
    x = mx.sym.Concat(x, y, name="both")
    graph = Graph.of(x)
    needed = feasible.need(graph, feasible.output_shapes(x, graph, data=(1, 3, 10, 10)))
    assert needed == (400 + 200 + 600, 600, "both")


def test_nets_with_flat_layers_and_layers_beyond_counting_have_a_need():
    flat = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=5, name="flat")
    assert 0 < peak_bytes(flat, Graph.of(flat), {"data": SHAPE}) < 10**6
    symbol = changed("conv1_1", pad=(60_000, 60_000))
    assert peak_bytes(symbol, Graph.of(symbol), {"data": SHAPE}) > 1 << 60

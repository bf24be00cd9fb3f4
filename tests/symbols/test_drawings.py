"""MXNet's own drawings and tables of the nets: `mx.viz.plot_network` and `mx.viz.print_summary`."""

import re

import numpy as np
import pytest
from conftest import FC, WIDTH

from fcnxs import gluon
from fcnxs.compat import mxnet as mx
from fcnxs.net import fixed_size
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.nodes import Graph


def built(name):
    """A net, narrow where its builder can be, and the shape of each image for it."""
    whole = ("fcn_alexnet", "vgg16", "vgg16fc", "mask_regression")
    narrow = {} if name in whole else {"width": WIDTH, "fc": FC}
    symbol = NETS[name](**narrow)
    size = (224, 224) if name == "vgg16" else fixed_size(symbol) or (64, 80)
    return symbol, Graph.of(symbol).image_shapes(size)


def layers_of(symbol):
    return [node["name"] for node in Graph.of(symbol).nodes if node["op"] != "null"]


@pytest.mark.parametrize("name", NETS)
def test_every_net_is_summarised_with_its_sizes(name, capsys):
    symbol, shapes = built(name)
    mx.viz.print_summary(symbol, shape=shapes)
    rows = capsys.readouterr().out
    internals = symbol.get_internals()
    _, found, _ = internals.infer_shape(**shapes)
    sizes = dict(zip(internals.list_outputs(), found))
    for layer in layers_of(symbol):
        channels_and_size = "x".join(map(str, sizes[f"{layer}_output"][1:]))
        row = re.search(rf"^{layer}\((\w+)\) +([\dx]+)", rows, re.MULTILINE)
        assert row is not None and channels_and_size.startswith(row[2]), (layer, row)
    nodes = Graph.of(symbol).nodes
    if "FullyConnected" in Graph.of(symbol).ops or len(shapes) > 1:
        return  # MXNet counts them wrongly, and those of the convolution on a second image
    inputs = [entry[0] for node in nodes if node["op"] == "Convolution" for entry in node["inputs"][1:]]
    counted = {nodes[number]["name"] for number in inputs}  # MXNet counts no others
    params, _, _ = symbol.infer_shape(**shapes)
    total = sum(np.prod(size) for arg, size in zip(symbol.list_arguments(), params) if arg in counted)
    assert f"Total params: {total}" in rows


@pytest.mark.parametrize("name", NETS)
def test_every_net_is_drawn(name):
    pytest.importorskip("graphviz")
    symbol, shapes = built(name)
    source = mx.viz.plot_network(symbol, shape=shapes).source
    assert {*re.findall(r"^\t([\w.]+) \[", source, re.MULTILINE)} >= {*layers_of(symbol)}


def test_a_gluon_net_is_summarised(capsys):
    net = gluon.get_fcn8s(5, width=WIDTH, fc=FC)
    mx.viz.print_summary(net(mx.sym.var("data")), shape={"data": (1, 3, 64, 80)})
    assert "upscore(" in capsys.readouterr().out
    net.summary(mx.nd.zeros((1, 3, 64, 80)))
    assert "FCNxs" in capsys.readouterr().out

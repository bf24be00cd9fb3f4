"""Trimmed nets against the whole ones: scores and gradients in float64, and what users run in float32."""

import json

import numpy as np
import pytest
from conftest import FC, LONG, WIDTH, Images, random_params

from fcnxs.compat import mxnet as mx
from fcnxs.metric import SegmentationMetric
from fcnxs.net import Net, outputs_of
from fcnxs.predict.forward import trim
from fcnxs.solver.solver import Solver
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.graph.rewrite import scores_symbol, symbol_of
from fcnxs.symbols.interpolation import bilinear
from fcnxs.symbols.trimming import trunk
from fcnxs.symbols.trimming.trimmed import Trimmer, fixed_params

FCNS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s_atonce", "fcn4s", "fcn2s", "fcn_alexnet")
CONVENTIONS = ("valid", "full")
PIXELS = (32, 40)  # rows and columns, to which remainders of 16 are added


def net_of(name, convention="valid", width=WIDTH, fc=FC, seed=1, ctx=None):
    symbol = NETS[name](3, width=width, fc=fc, pooling_convention=convention)
    return Net(scores_symbol(symbol), random_params(symbol, seed, ctx), {})


def photo_like(shape, seed=0):
    return np.random.default_rng(seed).normal(0, 60, shape)


def with_slices(symbol):
    """The same graph without Crop and, in AlexNet, LRN: they take no float64."""
    graph, nodes, number = json.loads(symbol.tojson()), [], []
    for node in graph["nodes"]:
        node["inputs"] = [[number[entry[0]], entry[1], 0] for entry in node["inputs"]]
        if node["op"] == "LRN":
            number.append(node["inputs"][0][0])
            continue
        if node["op"] == "Crop":
            x, like = node["inputs"]
            begin = "(None, None, " + node["attrs"]["offset"].strip("(")
            attrs = {"begin": begin, "end": "(None, None, None, None)"}
            nodes.append({"op": "slice", "name": f"{node['name']}_from", "attrs": attrs, "inputs": [x]})
            attrs = {"axes": "(2, 3)"}
            inputs = [[len(nodes) - 1, 0, 0], like]
            node = {"op": "slice_like", "name": node["name"], "attrs": attrs, "inputs": inputs}
        nodes.append(node)
        number.append(len(nodes) - 1)
    heads = [[number[head[0]], head[1], 0] for head in graph["heads"]]
    variables = [i for i, node in enumerate(nodes) if node["op"] == "null"]
    return mx.sym.load_json(json.dumps({**graph, "nodes": nodes, "heads": heads, "arg_nodes": variables}))


def scores_and_gradients(symbol, params, image):
    """In float64, of a sum of all heads' scores with random weights."""
    symbol = with_slices(symbol)
    args, auxs = (
        {name: array.astype("float64") for name, array in each.items()}
        for each in fixed_params(symbol, {"data": image.shape}, mx.cpu())
    )
    known = {**{name: array.astype("float64") for name, array in params.items()}, "data": mx.nd.array(image)}
    known["data"] = mx.nd.array(image, dtype="float64")
    grads = {name: mx.nd.zeros(array.shape, dtype="float64") for name, array in known.items()}
    req = {name: "write" if name in grads else "null" for name in symbol.list_arguments()}
    executor = symbol.bind(mx.cpu(), {**known, **args}, grads, req, auxs)
    heads, rng = executor.forward(is_train=True), np.random.default_rng(5)
    executor.backward([mx.nd.array(rng.normal(size=each.shape), dtype="float64") for each in heads])
    scores = {f"scores {i}": each.asnumpy() for i, each in enumerate(heads)}
    return {**scores, **{name: grad.asnumpy() for name, grad in grads.items()}}


def largest_differences(net, trimmer, remainders, batch=1):
    """Of the scores and of every gradient, the image's too, relative to the largest of each."""
    size = tuple(least + more for least, more in zip(PIXELS, remainders))
    image = photo_like((batch, 3, *size), seed=sum(remainders))
    whole = scores_and_gradients(net.symbol, net.arg_params, image)
    trimmed = scores_and_gradients(symbol_of(trimmer.for_training(size)), net.arg_params, image)
    assert whole.keys() == trimmed.keys()
    assert all(np.abs(array).max() > 0 for array in whole.values())
    return {name: np.abs(whole[name] - trimmed[name]).max() / np.abs(whole[name]).max() for name in whole}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_scores_and_gradients_are_equal_in_float64_at_all_remainders(convention):
    """Every remainder of rows and of columns; with FCNXS_LONG all pairs of them."""
    net = net_of("fcn8s", convention, width=1 / 32, fc=8)
    trimmer = Trimmer(Graph.of(net.symbol))
    for row in range(16):
        for column in range(16) if LONG else (row, (3 * row + 11) % 16):
            assert max(largest_differences(net, trimmer, (row, column)).values()) < 1e-12, (row, column)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("name", FCNS)
def test_every_net_is_equal_in_float64(name, convention):
    """Every remainder of both axes with one of the conventions, all pairs with FCNXS_LONG; a batch of two."""
    net = net_of(name, convention, width=1 / 16 if name == "fcn_alexnet" else 1 / 32, fc=8)
    trimmer = Trimmer(Graph.of(net.symbol))
    pairs = [(i, (7 * i + 3) % 16) for i in range(CONVENTIONS.index(convention), 16, 2)]
    pairs = [(i, j) for i in range(16) for j in range(16)] if LONG else pairs
    for batch, pair in ((2, (5, 12)), *((1, pair) for pair in pairs)):
        assert max(largest_differences(net, trimmer, pair, batch).values()) < 1e-12, pair


def test_every_head_of_a_net_is_trimmed():
    """Its last upsampling too: scores that reach no pixel are cut off, bilinear kernels become products."""
    symbol = NETS["fcn16s"](heads={"sem": 3, "geo": 2}, width=1 / 32, fc=8)
    net = Net(scores_symbol(symbol, several=True), random_params(symbol), {})
    trimmer = Trimmer(Graph.of(net.symbol))
    for pair in ((0, 0), (3, 14)):
        assert max(largest_differences(net, trimmer, pair).values()) < 1e-12, pair
    trained = trim(net, (1, 3, 64, 96), trimmer).symbol.get_internals().list_outputs()
    assert {"bigscore_sem_window_output", "bigscore_geo_window_output"} <= {*trained}
    names = {f"bigscore_{head}_weight" for head in ("sem", "geo")}
    for name in names:
        net.arg_params[name][:] = bilinear(net.arg_params[name].shape)
    trimmed, image = trim(net, (1, 3, 64, 96), trimmer), {"data": photo_like((2, 3, 64, 96))}
    assert not names & {*trimmed.symbol.list_arguments()}
    for whole, cut in zip(outputs_of(net, image), outputs_of(trimmed, image)):
        assert np.abs(whole - cut).max() <= 1e-5 * np.abs(whole).max()


def test_a_smaller_canvas_would_not_do(monkeypatch):
    """The plateau has to be one cell at least: with 16 rows and columns less its gradients are wrong."""
    smaller = trunk.smaller
    monkeypatch.setattr(trunk, "smaller", lambda *args: smaller(*args) - 16)
    net = net_of("fcn8s", width=1 / 32, fc=8)
    differences = [largest_differences(net, Trimmer(Graph.of(net.symbol)), (i, i)) for i in (1, 6, 11)]
    assert all(max(each.values()) > 1e-6 for each in differences)


@pytest.mark.parametrize("last", ["trained", "bilinear"])
@pytest.mark.parametrize("name", FCNS)
def test_trimmed_for_inference_in_float32(name, last, ctx):
    """The smallest size, odd ones, wide ones; one graph for any batch."""
    net = net_of(name, ctx=ctx)
    if last == "bilinear":
        weight = net.arg_params["bigscore_weight"]
        weight[:] = bilinear(weight.shape)
    trimmer = Trimmer(Graph.of(net.symbol))
    for size in ((27, 27), (61, 350), (200, 33)):
        trimmed = trim(net, (1, 3, *size), trimmer)
        assert ("bigscore_weight" in trimmed.symbol.list_arguments()) == (last == "trained")
        for batch in (1, 2):
            image = photo_like((batch, 3, *size))
            a, b = (outputs(each, image, ctx) for each in (net, trimmed))
            assert np.abs(a - b).max() <= 1e-5 * np.abs(a).max()
            assert (a.argmax(1) == b.argmax(1)).mean() >= 0.9999


def outputs(net, image, ctx):
    args = {name: net.arg_params[name] for name in net.symbol.list_arguments() if name != "data"}
    args["data"] = mx.nd.array(image, ctx)
    return net.symbol.bind(ctx, args, grad_req="null", aux_states=net.aux_params).forward()[0].asnumpy()


def test_a_net_that_cannot_be_trimmed_is_given_back():
    """VGG-16 as a classifier pads by 1, and another net is none of ours."""
    for symbol in (
        NETS["vgg16"](width=WIDTH, fc=FC),
        mx.sym.Convolution(kernel=(3, 3), num_filter=2, name="c"),
    ):
        net = Net(symbol, {}, {})
        assert trim(net, (1, 3, 224, 224)) is net


@pytest.mark.parametrize("recompute", [False, True])
def test_training_is_the_same_and_new_weights_meet_no_old_plateau(recompute, ctx):
    """Steps of the solver at several sizes, and an evaluation with the weights that they leave."""
    data, results = Images([(60, 70), (41, 50), (60, 70), (33, 90)]), []
    for trimmed in (False, True):
        symbol = NETS["fcn8s"](3, width=WIDTH, fc=FC)
        params, metric = random_params(symbol, 2, ctx), SegmentationMetric(3)
        before = {name: array.asnumpy() for name, array in params.items()}
        solver = Solver(symbol, ctx, arg_params=params, recompute=recompute, trim=trimmed, learning_rate=0.02)
        mx.random.seed(3, ctx)
        losses = [solver.step(batch, data, metric) for batch in data.batches]
        probabilities = []
        solver.evaluate(data, metric, lambda _, output: probabilities.append(output.asnumpy()))
        changes = {name: array.asnumpy() - before[name] for name, array in params.items()}
        results.append({**changes, **dict(enumerate([*losses, *probabilities]))})
    whole, trimmed = results
    assert np.abs(whole["conv1_1_weight"]).max() > 1e-4  # something was learnt
    for name in whole:
        np.testing.assert_allclose(trimmed[name], whole[name], rtol=0, atol=1e-4 * np.abs(whole[name]).max())

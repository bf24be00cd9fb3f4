"""Bilinear upsampling as two products in Gluon, against the same net with the deconvolution."""

import warnings

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params

from fcnxs import gluon
from fcnxs.compat import mxnet as mx
from fcnxs.symbols.interpolation import bilinear


def pair(ctx):
    """A net whose upsampling is fixed, and one with the same values whose upsampling is trained."""
    nets = [gluon.get_fcn8s(3, width=WIDTH, fc=FC, ctx=ctx) for _ in range(2)]
    for net in nets:
        for name, array in random_params(net.symbol, 3).items():
            net.params[name].set_data(bilinear(array.shape) if name == "bigscore_weight" else array)
    nets[1].params["bigscore_weight"].grad_req = "write"
    return nets


def scores_and_gradients(net, x, head):
    mx.random.seed(5, x.context)  # of dropout
    with mx.autograd.record():
        scores = net(x)
    scores.backward(head)
    grads = {name: each.grad().asnumpy() for name, each in net.params.items() if name != "bigscore_weight"}
    return {"scores": scores.asnumpy(), **grads}


@pytest.mark.parametrize("hybrid", [False, True])
def test_scores_and_gradients_equal_those_of_the_deconvolution_while_the_kernel_changes(hybrid, ctx):
    nets, rng = pair(ctx), np.random.default_rng(0)
    for net in nets:
        net.hybridize(hybrid)
    for change in (0, 0.05, 0):  # bilinear, another kernel, bilinear again
        for size in ((40, 56), (61, 45)):
            x, head = (mx.nd.array(rng.normal(size=(2, 3, *size)), ctx) for _ in range(2))
            for net in nets:
                kernel = bilinear(net.params["bigscore_weight"].shape)
                kernel[0, 1, 2:5] = change
                net.params["bigscore_weight"].data(ctx)[:] = kernel
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                products, plain = (scores_and_gradients(net, x, head) for net in nets)
            assert bool(nets[0]._bilinear) == (change == 0) and not nets[1]._bilinear
            for name, expected in plain.items():
                assert np.abs(products[name] - expected).max() <= 2e-5 * np.abs(expected).max(), name


def test_the_graph_for_symbols_and_other_types_has_the_deconvolution(ctx):
    net, other = pair(ctx)
    x = mx.nd.random.normal(shape=(1, 3, 40, 56), ctx=ctx)
    expected = other(x).asnumpy()
    np.testing.assert_allclose(net(x).asnumpy(), expected, atol=2e-5 * np.abs(expected).max())
    assert "bigscore_weight" in net(mx.sym.var("image")).list_arguments()
    np.testing.assert_allclose(net(x).asnumpy(), expected, atol=2e-5 * np.abs(expected).max())
    net.cast("float64")
    np.testing.assert_allclose(net(x.astype("float64")).asnumpy(), expected, atol=2e-5 * np.abs(expected).max())

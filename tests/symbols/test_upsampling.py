"""Upsampling as two products, and the softmax over rows behind it, against NumPy in float64."""

import numpy as np
import pytest
from conftest import FC, WIDTH

from fcnxs.compat import mxnet as mx
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.graph.rewrite import symbol_of
from fcnxs.symbols.interpolation import bilinear, upsample_filt
from fcnxs.symbols.upsampling import upsamples_bilinearly, upsamplings, with_products

SHAPE, SIZE, OFFSET = (2, 3, 4, 5), (19, 30), (5, 2)  # of the scores, of the image; of the crop
WINDOWS = [(16, 8, 0, 7), (8, 8, 2, 3), (13, 7, 1, 6), (63, 32, 0, 0)]  # kernel, stride, pad, adj


def head(kernel, stride, pad, adj, loss=True):
    """Scores, deconvolution, crop like the image, softmax; rows and columns have other sizes and offsets."""
    both = {"kernel": (kernel, kernel), "stride": (stride, stride), "pad": (pad, pad), "adj": (adj, adj)}
    x = mx.sym.Deconvolution(mx.sym.Variable("scores"), name="up", num_filter=SHAPE[1], no_bias=True, **both)
    x = mx.sym.Crop(x, mx.sym.Variable("data"), offset=OFFSET, name="crop")
    if loss:
        x = mx.sym.SoftmaxOutput(x, multi_output=True, use_ignore=True, ignore_label=255, name="p")
    return Graph.of(x)


def kernels(x, kernel, stride, pad, adj):
    """Each cell (i, j) of the scores, with its factors in the cells of the cropped result."""
    padded = [stride * (n - 1) + kernel + adj for n in x.shape[2:]]
    for i, j in np.ndindex(*x.shape[2:]):
        whole = np.zeros(padded)
        whole[i * stride : i * stride + kernel, j * stride : j * stride + kernel] = upsample_filt(kernel)
        yield i, j, whole[pad + OFFSET[0] :, pad + OFFSET[1] :][: SIZE[0], : SIZE[1]]


def run(graph, size, label, grad):
    """Output for random scores, and their gradient."""
    scores = np.random.default_rng(0).normal(0, 3, SHAPE).astype(np.float32)
    symbol, shapes = symbol_of(graph), {"scores": SHAPE, "data": (SHAPE[0], 3, *size)}
    args = {
        name: mx.nd.zeros(shape)
        for name, shape in zip(symbol.list_arguments(), symbol.infer_shape(**shapes)[0])
    }
    args["scores"][:] = scores
    if "p_label" in args:
        args["p_label"][:] = label.reshape(args["p_label"].shape)
    grads = {"scores": mx.nd.zeros(SHAPE)}
    executor = symbol.bind(mx.cpu(), args, grads)
    output = executor.forward(is_train=True)[0].asnumpy()
    executor.backward(None if "p_label" in args else mx.nd.array(grad))
    return scores.astype(np.float64), output, grads["scores"].asnumpy()


@pytest.mark.parametrize("loss", [True, False])
@pytest.mark.parametrize("window", WINDOWS)
def test_products_give_the_output_and_the_gradient_of_the_deconvolution(window, loss):
    rng = np.random.default_rng(1)
    label, grad = rng.choice([0, 1, 2, 255], (2, *SIZE)), rng.normal(size=(*SHAPE[:2], *SIZE))
    graph = with_products(head(*window, loss), ["up_weight"], SIZE)
    x, output, gradient = run(graph, SIZE, label, grad)
    expected = sum(x[:, :, i, j, None, None] * under for i, j, under in kernels(x, *window))
    if loss:
        exp = np.exp(expected - expected.max(axis=1, keepdims=True))
        expected = exp / exp.sum(axis=1, keepdims=True)
        truth = label[:, None] == np.arange(3)[:, None, None]
        grad = (expected - truth) * (label != 255)[:, None] / np.prod(SIZE)
        output = output.reshape(2, *SIZE, 3).transpose(0, 3, 1, 2)
    assert np.abs(output - expected).max() <= 2e-6 * np.abs(expected).max()
    wanted = np.zeros(SHAPE)
    for i, j, under in kernels(x, *window):
        wanted[:, :, i, j] = (grad * under).sum(axis=(2, 3))
    assert np.abs(gradient - wanted).max() <= 2e-6 * np.abs(wanted).max()


def test_without_a_size_the_graph_serves_all_sizes():
    graph = with_products(head(16, 8, 0, 7), ["up_weight"])
    for size in ((19, 30), (33, 20)):
        assert run(graph, size, np.zeros((2, *size)), None)[1].shape == (2, 3, *size)
    assert "up_weight" not in symbol_of(graph).list_arguments()


def test_weights_that_are_not_named_keep_their_deconvolution():
    graph = head(16, 8, 0, 7)
    assert with_products(graph, []).content["nodes"] == graph.content["nodes"]


def test_upsamplings_are_those_that_a_crop_alone_takes():
    narrow = {"width": WIDTH, "fc": FC}
    assert [*upsamplings(Graph.of(get_fcn8s_symbol(3, **narrow)))] == ["bigscore_weight"]
    assert len(upsamplings(Graph.of(get_fcn8s_symbol(heads={"a": 3, "b": 2}, **narrow)))) == 2
    scores, data, weight = map(mx.sym.Variable, ("scores", "data", "weight"))
    how = {"num_filter": 3, "kernel": (4, 4), "stride": (2, 2)}

    def cropped(**more):
        return mx.sym.Crop(mx.sym.Deconvolution(scores, weight, no_bias=True, **{**how, **more}), data)

    assert [*upsamplings(Graph.of(cropped()))] == ["weight"]
    shared = mx.sym.Group([cropped(), mx.sym.Deconvolution(scores, weight, no_bias=True, **how)])
    biased = mx.sym.Crop(mx.sym.Deconvolution(scores, weight, no_bias=False, **how), data)
    for other in (cropped(num_group=3), cropped(target_shape=(9, 9)), shared, biased):
        assert upsamplings(Graph.of(other)) == {}


@pytest.mark.parametrize("classes", [1, 4])
def test_any_other_number_in_a_weight_is_seen(classes, ctx):
    weight = mx.nd.array(bilinear((classes, classes, 4, 4)), ctx)
    assert upsamples_bilinearly(weight)
    for index in np.ndindex(*weight.shape[:2], 2, 2):
        before = weight[index].asscalar()
        for value in (before + 1e-6, np.nan):
            weight[index] = value
            assert not upsamples_bilinearly(weight)
        weight[index] = before
    assert upsamples_bilinearly(weight)
    assert not upsamples_bilinearly(mx.nd.ones((classes, classes + 1, 4, 4), ctx))

"""Averages over scales and mirror images, compared with GluonCV's `MultiEvalModel` where both are to agree.

It resizes with the corner pixels' centres in their place, pads with values that are not this net's mean, cuts
what is larger than its crop into overlapping windows, and multiplies the probabilities of mirror images,
as it adds their log-softmax. So the images here are squares that fill its crop at every scale.
"""

import numpy as np
import pytest
from conftest import CTX, FC, WIDTH, photo, random_params

from fcnxs.checkpoint import Checkpoint, Meta
from fcnxs.compat import gluoncv
from fcnxs.compat import mxnet as mx
from fcnxs.data.images import preprocess
from fcnxs.predict import Segmenter
from fcnxs.predict.multiscale import resized
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.symbols.graph.rewrite import scores_symbol

SIDE, CLASSES = 64, 4
IMAGE = photo(SIDE, SIDE)


@pytest.fixture(scope="module")
def source():
    symbol = get_fcn8s_symbol(CLASSES, width=WIDTH, fc=FC)
    params = random_params(symbol)
    params["bigscore_weight"] *= 0.02  # probabilities between 0 and 1
    return Checkpoint(symbol, params, {}, Meta(), "random weights")


@pytest.fixture(scope="module")
def their_probabilities(source):
    """Function: what MultiEvalModel gives for an input (1, 3, H, W) at one scale, which fills its crop."""
    net = mx.gluon.SymbolBlock(scores_symbol(source.symbol), [mx.sym.Variable("data", dtype="float32")])
    for name, parameter in net.collect_params().items():
        parameter._load_init(source.arg_params[name], CTX)

    class Model:
        """As much of a GluonCV segmentation model as is asked for."""

        base_size = SIDE

        def __init__(self, crop_size):
            self.crop_size = crop_size

        def collect_params(self):
            return net.collect_params()

        def evaluate(self, x):
            return mx.nd.log_softmax(net(x), axis=1)

    def probabilities(data, scale=1, flip=False):
        model = gluoncv.model_zoo.segbase.MultiEvalModel(
            Model(round(SIDE * scale)), CLASSES, [CTX], flip=flip, scales=[scale]
        )
        return model(mx.nd.array(data[0], CTX)).asnumpy()[0]

    return probabilities


def test_it_is_their_sum_over_scales_divided_by_the_number(source, their_probabilities, monkeypatch):
    def resize(image, height, width):
        return mx.nd.array(resized(image.asnumpy()[0], (height, width))[np.newaxis], CTX)

    data, scales = preprocess(IMAGE), (0.5, 0.75, 1, 1.25)
    np.testing.assert_allclose(
        their_probabilities(data), Segmenter(source, ctx=CTX).probabilities(IMAGE), atol=1e-5
    )
    monkeypatch.setattr(gluoncv.model_zoo.segbase, "_resize_image", resize)
    expected = sum(their_probabilities(data, scale) for scale in scales) / len(scales)
    found = Segmenter(source, ctx=CTX, scales=scales).probabilities(IMAGE)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - their_probabilities(data)).max() > 0.1


def test_of_mirror_images_it_is_the_mean_where_theirs_is_the_product(source, their_probabilities):
    data = preprocess(IMAGE)
    straight, mirrored = their_probabilities(data), their_probabilities(data[..., ::-1])[..., ::-1]
    found = Segmenter(source, ctx=CTX, flip=True).probabilities(IMAGE)
    np.testing.assert_allclose(found, (straight + mirrored) / 2, atol=1e-5)
    np.testing.assert_allclose(their_probabilities(data, flip=True), straight * mirrored, atol=1e-5)
    assert (found.argmax(axis=0) != (straight * mirrored).argmax(axis=0)).any()  # which is another choice

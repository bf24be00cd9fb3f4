"""The rounding of `fcnxs benchmark tf32`, against bits that NumPy rounds."""

import re

import numpy as np
import pytest
from conftest import FC, WIDTH

from fcnxs.compat import mxnet as mx
from fcnxs.net import Net, scores_of
from fcnxs.tools.benchmarks.tf32 import rounded
from fcnxs.tools.main import main


def nearest(x):
    """Float32 numbers with 10 bits of mantissa, by their bits: the last 13 are rounded away, to the nearest."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


@pytest.mark.parametrize("layer", ["Convolution", "Deconvolution"])
def test_data_and_weights_are_rounded_and_biases_are_not(layer):
    """A kernel of 1x1 multiplies one number by one; the product and the sum are float32's."""
    rng = np.random.default_rng(0)
    x = (rng.normal(0, 1, (1, 1, 40, 50)) * 10.0 ** rng.integers(-6, 6, (40, 50))).astype(np.float32)
    weight, bias = np.float32([[[[1.2345678]]]]), np.float32([0.1234567])
    assert not np.array_equal(nearest(x), x) and nearest(1 + 2**-10) == 1 + 2**-10 and nearest(1 + 2**-12) == 1
    net = getattr(mx.sym, layer)(mx.sym.var("data"), kernel=(1, 1), num_filter=1, no_bias=False, name="layer")
    params = {"layer_weight": mx.nd.array(weight), "layer_bias": mx.nd.array(bias)}
    exact = nearest(x).astype(np.float64) * nearest(weight) + bias
    found = scores_of(Net(rounded(net), params, {}), x)
    np.testing.assert_allclose(found, exact, rtol=3e-7, atol=1e-7)
    plain = scores_of(Net(net, params, {}), x)
    assert np.abs(plain / exact - 1).max() > 2e-4  # which the rounding changes


def test_the_command_measures(capsys):
    assert main(["benchmark", "tf32", "--image-size", "64x48", "--width", str(WIDTH), "--fc", str(FC)]) == 0
    told = re.fullmatch(
        rf"FCN-8s, 64x48, width {WIDTH:g}, TF32 against float32: scores differ by at most (\S+) of the "
        r"largest; (\S+)% of the pixels have another class\n",
        capsys.readouterr().out,
    )
    assert 1e-5 < float(told[1]) < 1e-2 and float(told[2]) < 5

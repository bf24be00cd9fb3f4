"""Operations of nets, against counts by hand."""

from fcnxs.compat import mxnet as mx
from fcnxs.net import Net
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.tools.benchmarks.infer.ours import operations


def test_operations_of_each_kind_of_layer_are_those_counted_by_hand():
    x = mx.sym.Convolution(mx.sym.var("data"), name="c", kernel=(3, 3), stride=(2, 2), pad=(1, 1), num_filter=8)
    x = mx.sym.Activation(x, act_type="relu", name="r")  # (2, 8, 5, 6)
    x = mx.sym.Convolution(x, name="g", kernel=(1, 1), num_group=4, num_filter=12, no_bias=True)
    x = mx.sym.Deconvolution(x, name="d", kernel=(4, 4), stride=(2, 2), num_filter=5)  # (2, 5, 12, 14)
    x = mx.sym.FullyConnected(mx.sym.Pooling(x, global_pool=True, kernel=(1, 1)), name="f", num_hidden=7)
    assert operations(Net(x, {}, {}), (2, 3, 10, 11)) == {
        "c": 2 * (2 * 8 * 5 * 6) * (3 * 3 * 3),
        "g": 2 * (2 * 12 * 5 * 6) * 2,  # each of 4 groups has 2 of the 8 channels
        "d": 2 * (2 * 12 * 5 * 6) * (5 * 4 * 4),  # every cell of its input is spread over 4x4, in 5 channels
        "f": 2 * (2 * 7) * 5,
    }


def test_operations_of_a_layer_whose_input_s_size_only_its_parameters_tell():
    """As in a graph with constants of its weights."""
    x = mx.sym.Convolution(
        mx.sym.concat(mx.sym.var("data"), mx.sym.var("k"), dim=0), kernel=(1, 1), num_filter=4, name="c"
    )
    net = Net(x, {"k": mx.nd.zeros((5, 3, 6, 7))}, {})
    assert operations(net, (1, 3, 6, 7)) == {"c": 2 * (6 * 4 * 6 * 7) * 3}


def test_operations_of_fcn_8s_at_full_width():
    """By the sizes of the figure: the canvas of 375x500 halves four times, rounded down; fc6 leaves 11x15."""
    counts = operations(Net(scores_symbol(get_fcn8s_symbol(21)), {}, {}), (1, 3, 375, 500))
    expected, channels, (height, width) = {}, 3, (375 + 198, 500 + 198)
    for group, (layers, filters) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1):
        for layer in range(1, layers + 1):
            expected[f"conv{group}_{layer}"] = 2 * height * width * filters * 9 * channels
            channels = filters
        height, width = height // 2, width // 2
    expected["fc6"] = 2 * 11 * 15 * 4096 * 49 * 512
    expected["fc7"], expected["score"] = 2 * 11 * 15 * 4096 * 4096, 2 * 11 * 15 * 21 * 4096
    expected["score2"] = 2 * 11 * 15 * 21 * 21 * 16
    expected["score_pool4"], expected["score4"] = 2 * 35 * 43 * 21 * 512, 2 * 25 * 33 * 21 * 21 * 16
    expected["score_pool3"], expected["bigscore"] = 2 * 71 * 87 * 21 * 256, 2 * 53 * 69 * 21 * 21 * 256
    assert counts == expected

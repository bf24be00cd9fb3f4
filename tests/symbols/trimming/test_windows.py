"""Windows against what the cells of a chain do when its image changes: in one dimension, brute force."""

import numpy as np
import pytest

from fcnxs.symbols import NETS
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.trimming.trunk import Trunks
from fcnxs.symbols.trimming.windows import Step, cells, contains, needed, plan, smaller

# Two stages of a net like VGG-16's first: kernels of 3, and poolings.
CHAIN = [Step(3, 1, 20), Step(3, 1, 1), Step(2, 2), Step(3, 1, 1, rebased=True), Step(3, 1, 1), Step(2, 2)]


def sizes(image, chain=CHAIN):
    found = []
    for step in chain:
        image = (image + 2 * step.pad - step.kernel) // step.stride + 1
        found.append(image)
    return found


def signal(image, chain=CHAIN):
    """Values of each layer of a chain with one channel. Poolings are sums too, in which every cell shows."""
    found, x = [], image
    for step in chain:
        padded = np.pad(x, step.pad)
        windows = np.lib.stride_tricks.sliding_window_view(padded, step.kernel)[:: step.stride]
        x = windows @ (np.arange(step.kernel) + 1) + 1
        found.append(x)
    return found


@pytest.mark.parametrize("image", range(1, 30))
def test_support_and_plateau_are_what_changes_and_what_is_constant(image):
    rng = np.random.default_rng(image)
    flat, changed = signal(np.zeros(image)), signal(rng.uniform(1, 2, image))
    for layer, a, b in zip(cells(CHAIN, sizes(image), image), flat, changed):
        assert layer.size == len(a)
        assert [*np.flatnonzero(a != b)] == [*range(*layer.support)]
        start, end = layer.plateau
        assert np.ptp(a[start:end]) == 0
        assert start == 0 or a[start - 1] != a[start]
        assert end == len(a) or a[end] != a[end - 1]


@pytest.mark.parametrize("image", range(1, 30))
def test_windows_hold_the_support_and_no_ring_and_a_smaller_image_has_the_same_rings(image):
    found = plan(CHAIN, sizes(image), image)
    length = sum(found.zeros) + image
    for step, pad, window, layer in zip(CHAIN, found.pads, found.windows, found.cells):
        length = (length + 2 * pad - step.kernel) // step.stride + 1
        assert window[1] - window[0] == length
        assert contains(window, layer.support)
    assert contains(found.cells[-1].plateau, found.windows[-1])
    small = smaller(CHAIN, sizes, image)
    assert small <= image and (image - small) % 4 == 0
    for whole, part in zip(found.cells, cells(CHAIN, sizes(small), small)):
        centre = part.size // 2
        assert whole.plateau[0] == part.plateau[0] <= centre < part.plateau[1]
        assert whole.size - whole.plateau[1] == part.size - part.plateau[1]


def test_a_pad_that_leaves_no_room_has_no_plan():
    chain = [Step(3, 1, 1), *CHAIN[1:]]
    assert plan(chain, sizes(20, chain), 20) is None


def test_needed_cells_of_a_deconvolution():
    """By brute force: those whose kernel meets the span."""
    for kernel, stride, pad, span in ((16, 8, 0, (31, 71)), (4, 2, 1, (3, 9)), (64, 32, 0, (19, 400))):
        reached = {
            x
            for x in range(12)
            for y in range(x * stride - pad, x * stride - pad + kernel)
            if y in range(*span)
        }
        start, end = needed(Step(kernel, stride, pad), span, 12)
        assert reached == {*range(start, end)}


@pytest.mark.parametrize("convention", ["valid", "full"])
@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s", "fcn8s_atonce", "fcn4s", "fcn2s"])
def test_every_size_is_trimmed_up_to_pool4(name, convention):
    graph = Graph.of(NETS[name](3, width=1 / 16, fc=16, pooling_convention=convention))
    trunks = Trunks(graph)
    least = 1 if convention == "full" else 26
    for size in (*range(least, least + 48), *range(1000, 1016), *range(4080, 4097)):
        trunk = trunks.get((size, 4097 - size + least))
        assert graph.nodes[trunk.layers[-1]]["name"] == "pool4"
        assert len(trunk.skips) == {"fcn8s": 1, "fcn8s_atonce": 1, "fcn4s": 2, "fcn2s": 3}.get(name, 0)


def test_what_leaves_the_trunk_otherwise_ends_it_before():
    """A net of somebody else's, which takes something of pool3 that is no skip, is trimmed up to pool3."""
    from fcnxs.compat import mxnet as mx

    net = NETS["fcn8s"](3, width=1 / 16, fc=16)
    pool3 = net.get_internals()["pool3_output"]
    graph = Graph.of(mx.sym.Group([net, mx.sym.tanh(pool3, name="mine")]))
    trunk = Trunks(graph).get((60, 70))
    assert graph.nodes[trunk.layers[-1]]["name"] == "pool3"

"""Dropout is drawn from MXNet's seeded numbers wherever a net is trained: cuDNN's own takes no seed."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import FC, WIDTH, Images, random_params

from fcnxs import checkpoint, gluon
from fcnxs.compat import CUDA_VARIABLES
from fcnxs.compat import mxnet as mx
from fcnxs.metric import SegmentationMetric
from fcnxs.solver import replica
from fcnxs.solver.solver import Solver
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.symbols.graph.nodes import Graph, flag

SIZE = (40, 50)


def stranger():
    """A net with dropout of each kind, between layers that are not VGG-16's."""
    x = mx.sym.Dropout(mx.sym.var("data"), p=0.1, mode="always", name="at_first")
    x = mx.sym.Convolution(x, kernel=(3, 3), pad=(1, 1), num_filter=3, name="conv")
    x = mx.sym.Dropout(x, p=0.3, axes=(2, 3), name="of_channels")
    x = mx.sym.Dropout(mx.sym.relu(x), p=0.5, cudnn_off=False, name="at_last")
    return mx.sym.SoftmaxOutput(x, multi_output=True, use_ignore=True, ignore_label=255, name="softmax")


def off(symbol):
    """Of each dropout of a graph, whether cuDNN is kept from drawing it."""
    return {n["name"]: flag(n, "cudnn_off") for n in Graph.of(symbol).nodes if n["op"] == "Dropout"}


def trained(symbol, ctx, **how):
    """Parameters after two steps, and the net's checkpointed graph."""
    solver = Solver(symbol, ctx, arg_params=random_params(symbol, 2, ctx), learning_rate=1e-2, **how)
    for number, batch in enumerate(Images([SIZE, SIZE]).batches):
        mx.random.seed(number, ctx)
        solver.step(batch, Images([SIZE]), SegmentationMetric(3))
    return {name: array.asnumpy() for name, array in solver.arg_params.items()}, solver.symbol


NETS = {"fcn8s": lambda: get_fcn8s_symbol(3, width=WIDTH, fc=FC), "a stranger's": stranger}


@pytest.mark.parametrize(
    ("net", "how"),
    [
        ("fcn8s", {"trim": False}),
        ("fcn8s", {}),
        ("fcn8s", {"recompute": True}),
        ("a stranger's", {}),
        ("a stranger's", {"trim": False}),
    ],
)
def test_every_dropout_that_is_bound_for_training_leaves_cudnn_alone(net, how, ctx, monkeypatch, tmp_path):
    """And no other result: on the CPU the parameters are those without the setting, bit for bit."""
    symbol, bound, bind = NETS[net](), [], mx.sym.Symbol.bind
    monkeypatch.setattr(mx.sym.Symbol, "bind", lambda self, *a, **k: bound.append(self) or bind(self, *a, **k))
    before = symbol.tojson()
    params, saved = trained(symbol, ctx, **how)
    found = [off(each) for each in bound]
    assert {name for each in found for name in each} == {*off(symbol)} and off(symbol)
    assert all(all(each.values()) for each in found)
    assert saved is symbol and symbol.tojson() == before and not any(off(saved).values())
    if ctx == mx.cpu():
        monkeypatch.setattr(replica, "with_seeded_dropout", lambda symbol: symbol)
        for name, value in trained(symbol, ctx, **how)[0].items():
            np.testing.assert_array_equal(params[name], value, err_msg=name)


def test_on_several_gpus_the_bound_dropouts_leave_cudnn_alone_too(gpus, monkeypatch):
    symbol, bound, bind = NETS["fcn8s"](), [], mx.sym.Symbol.bind
    monkeypatch.setattr(
        mx.sym.Symbol, "bind", lambda self, ctx, *a, **k: bound.append((ctx, self)) or bind(self, ctx, *a, **k)
    )
    solver = Solver(symbol, [mx.gpu(0), mx.gpu(1)], arg_params=random_params(symbol, 2))
    solver.step(Images([SIZE, SIZE]).batches, Images([SIZE]))
    found = [(ctx, off(each)) for ctx, each in bound]
    assert {ctx for ctx, names in found if names} == {mx.gpu(0), mx.gpu(1)}
    assert all(all(names.values()) for _, names in found)
    assert solver.symbol is symbol and not any(off(symbol).values())


@pytest.mark.parametrize("hybridized", [False, True])
def test_a_gluon_block_computes_such_a_dropout_and_saves_none(hybridized, ctx, tmp_path):
    net = gluon.get_fcn8s(3, width=WIDTH, fc=FC, ctx=ctx)
    if hybridized:
        net.hybridize()
    drawn = []
    for _ in range(2):
        mx.random.seed(7, ctx)
        with mx.autograd.record():
            drawn.append(net(mx.nd.ones((1, 3, *SIZE), ctx)).asnumpy())
    np.testing.assert_array_equal(*drawn)
    computed = net._cached_graph[1]
    assert len(off(computed)) == 2 and all(off(computed).values())
    net.cast("float64")
    assert all(off(net._cached_graph[1]).values())
    net.cast("float32")
    net.save_checkpoint(tmp_path / "net", 1)
    saved = off(checkpoint.load(tmp_path / "net", 1).symbol)
    assert len(saved) == 2 and not any(saved.values())


ROUND_ROBIN = """
from fcnxs.compat import mxnet as mx
x = mx.nd.ones((1, 1000))
def bound():
    return mx.sym.Dropout(mx.sym.var("x")).bind(mx.cpu(), {"x": x}, grad_req="null")
def drawn(executor):
    mx.random.seed(3, mx.cpu())
    return executor.forward(is_train=True)[0].asnumpy().tolist()
first, second = bound(), bound()
print(drawn(first) == drawn(second))
"""


@pytest.mark.parametrize("generators", [4, 1])
def test_with_one_generator_dropout_does_not_depend_on_what_was_bound_before(generators):
    """Of several, each layer that is bound gets the next. MXNet has one for CPUs, by default four for a GPU."""
    path = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": path, "MXNET_CPU_PARALLEL_RAND_COPY": str(generators)}
    done = subprocess.run(
        [sys.executable, "-c", ROUND_ROBIN], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(generators == 1)
    assert CUDA_VARIABLES["MXNET_GPU_PARALLEL_RAND_COPY"] == "1"

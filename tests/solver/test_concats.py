"""Training leaves no memory behind in nets with Concat, whose backward pass leaks in oneDNN."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
from conftest import WIDTH, Images, random_params

from fcnxs.compat import mxnet as mx
from fcnxs.solver import replica
from fcnxs.solver.solver import Solver
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.symbols.graph.nodes import Graph, setting
from fcnxs.symbols.trimming.trimmed import Trimmer

STEPS, INPUTS = 300, 64


def of_a_stranger():
    x = mx.sym.Convolution(mx.sym.var("data"), kernel=(3, 3), pad=(1, 1), num_filter=3, name="conv")
    x = mx.sym.Convolution(
        mx.sym.Concat(*[x] * INPUTS, name="joined"), kernel=(1, 1), num_filter=3, name="score"
    )
    return mx.sym.SoftmaxOutput(x, multi_output=True, use_ignore=True, ignore_label=255, name="softmax")


def trained():
    """Parameters after some steps, and bytes that the process has grown by in each of them."""
    symbol, data = of_a_stranger(), Images([(8, 8)])
    solver = Solver(symbol, arg_params=random_params(symbol, 2), learning_rate=1e-2)
    for step in range(STEPS + 50):
        if step == 50:
            mx.nd.waitall()
            before = psutil.Process().memory_info().rss
        solver.step(data.batches[0], data)
    mx.nd.waitall()
    grown = psutil.Process().memory_info().rss - before
    return {name: array.asnumpy() for name, array in solver.arg_params.items()}, grown / STEPS


def show():
    """Print by how many bytes a step grows, without and with MXNet's leak, and whether parameters are equal."""
    params, grown = trained()
    replica.with_freed_concats = lambda symbol, **_: symbol
    of_mxnet, leaked = trained()
    print(grown, leaked, all(np.array_equal(params[name], of_mxnet[name]) for name in params))


def test_a_step_through_a_concat_leaks_nothing():
    """And changes no bit of the result. In a new process, whose memory has no room that a leak could fill."""
    command = [sys.executable, "-c", "import test_concats; test_concats.show()"]
    folders = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": folders})
    grown, leaked, equal = done.stdout.split()
    assert float(grown) < 100 * INPUTS < 500 * INPUTS < float(leaked), done.stdout
    assert equal == "True"


def test_the_frame_of_a_trimmed_net_is_joined_in_the_same_way():
    graph = Graph.of(Trimmer(Graph.of(get_fcn8s_symbol(3, width=WIDTH, fc=16))).for_training((40, 50)))
    axes = [setting(node, "dim", 0, 1) for node in graph.nodes if node["op"] == "Concat"]
    assert axes == [-2, -1]

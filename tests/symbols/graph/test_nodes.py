"""Reading graphs: JSON of any version, damage, no MXNet; and how often MXNet is asked to write one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import FC, WIDTH, Images, random_params

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.net import Net
from fcnxs.predict.forward import peak_bytes
from fcnxs.predict.within_memory import Bounded
from fcnxs.solver.solver import Solver
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.graph.rewrite import Writer, scores_symbol

SYMBOLS = Path(__file__).parents[3] / "symbols"


def as_json(**pool):
    """A graph of a variable and a pooling, with the pooling's keys given."""
    data = {"op": "null", "name": "data", "inputs": []}
    pool = {"op": "Pooling", "name": "pool", "inputs": [[0, 0]], **pool}
    return {"nodes": [data, pool], "heads": [[1, 0]]}


@pytest.mark.parametrize("key", ["attrs", "attr", "param"])
def test_settings_are_read_from_the_key_of_every_version(key):
    content = as_json(**{key: {"kernel": "(2, 2)", "pool_type": "max"}})
    for given in (content, json.dumps(content)):
        graph = Graph.read(given)
        assert graph.nodes[1] == {
            **{"op": "Pooling", "name": "pool", "inputs": [[0, 0, 0]]},
            "attrs": {"kernel": "(2, 2)", "pool_type": "max"},
        }
        assert graph.nodes[0]["attrs"] == {} and graph.heads == [[1, 0, 0]]
        assert (graph.image, graph.layers, graph.consumers, graph.ops) == (
            0,
            [1],
            [[1], []],
            ["null", "Pooling"],
        )


def test_settings_under_two_keys_are_joined():
    """MXNet before 0.9 kept an operator's own settings as param, and what a user added as attr."""
    graph = Graph.read(as_json(param={"kernel": "(2, 2)"}, attr={"lr_mult": 2}))
    assert graph.nodes[1]["attrs"] == {"kernel": "(2, 2)", "lr_mult": "2"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "not a symbol JSON: Expecting value"),
        ("[" * 100_000, "not a symbol JSON: "),
        ("[]", "it has no nodes"),
        ('{"nodes": {}}', "it has no nodes"),
        ('{"nodes": []}', "it has no heads"),
        ({"nodes": [7], "heads": []}, "node 0 has no op"),
        (as_json(name=None), "node 1 has no name"),
        (as_json(inputs=3), "node 1 has no inputs"),
        (as_json(attrs="(2, 2)"), "the attrs of node 1, 'pool', are not settings"),
        (as_json(inputs=[[0]]), r"node 1, 'pool', is made of \[0\], which is no node before it"),
        (as_json(inputs=[[1, 0, 0]]), r"node 1, 'pool', is made of \[1, 0, 0\], which is no node before it"),
        (as_json(inputs=[["data", 0]]), r"node 1, 'pool', is made of \['data', 0\]"),
        ({**as_json(), "heads": [[2, 0]]}, r"the output is made of \[2, 0\], which is no node before it"),
    ],
)
def test_damage_is_named(given, message):
    with pytest.raises(FCNXSError, match=message):
        Graph.read(given)


def test_a_graph_is_read_where_mxnet_cannot_be_imported():
    """In a fresh process. fcnxs.symbols builds nets when it is imported, so the module is imported alone."""
    script = f"""
import sys, types
sys.modules["mxnet"] = None  # importing it fails
import fcnxs
for name, folder in (("fcnxs.symbols", {str(SYMBOLS)!r}), ("fcnxs.symbols.graph", {str(SYMBOLS / "graph")!r})):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
from fcnxs.symbols.graph.nodes import Graph
print(Graph.read(sys.stdin.read()).named("Pooling"))
"""
    text = NETS["fcn8s"]().tojson()
    done = subprocess.run([sys.executable, "-c", script], input=text, capture_output=True, text=True)
    assert done.stdout == "['pool1', 'pool2', 'pool3', 'pool4', 'pool5']\n", done.stderr


def test_a_graph_that_is_written_again_is_the_same():
    symbol = NETS["fcn8s_atonce"]()
    writer = Writer()
    assert writer.symbol(writer.write(Graph.of(symbol), lambda *_: None)).tojson() == symbol.tojson()


@pytest.fixture
def calls(monkeypatch):
    """Sizes of the texts that MXNet has written of graphs."""
    found, tojson = [], mx.sym.Symbol.tojson

    def counted(symbol, **settings):
        text = tojson(symbol, **settings)
        found.append(len(text))
        return text

    monkeypatch.setattr(mx.sym.Symbol, "tojson", counted)
    return found


def test_images_of_new_sizes_are_segmented_without_serialising_a_graph(calls, ctx):
    """Each call leaks 51 kB: one for the net is enough, for whole images, for tiles and to plan both."""
    symbol = scores_symbol(NETS["fcn8s"](3, width=1 / 32, fc=8))
    limit = peak_bytes(symbol, Graph.of(symbol), {"data": (1, 3, 320, 320)})
    net = Bounded(Net(symbol, random_params(symbol, 0, ctx), {}), 3, ctx, True, limit)
    calls.clear()
    for size in (*range(40, 96, 2), 350, 360):
        net.check_size((size, size), "an image")
        assert net.fits((size, size)) == (size < 100)
        if size < 100:
            net.scores(np.zeros((1, 3, size, size), np.float32), "an image")
        else:
            next(net.class_bands((size, size), lambda box: np.zeros((1, 3, *(b - a + 1 for a, b in box))), ""))
    assert calls == []


@pytest.mark.parametrize("settings", [{}, {"mirror": True}])
def test_images_of_new_sizes_train_without_serialising_a_graph(settings, calls, ctx):
    symbol, sizes = NETS["fcn8s"](3, width=WIDTH, fc=FC), [(30 + i, 40) for i in range(6)]
    data = Images(sizes)
    solver = Solver(symbol, ctx, arg_params=random_params(symbol, 2, ctx), trim=True, **settings)
    solver.step(data.batches[0], data)
    calls.clear()
    for batch in data.batches[1:]:
        solver.step(batch, data)
    assert calls == []

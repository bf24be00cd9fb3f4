"""Files of the versions of the original example before `adj`, whose relu5_2 was named conv1_2."""

import json

import numpy as np
import pytest
from conftest import FC, WIDTH, fresh_probabilities, random_params
from odd_graphs import crops_that_do_not_fit

from fcnxs import checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.predict import Segmenter
from fcnxs.symbols import NETS, coordinate_maps
from fcnxs.symbols.legacy import completed
from fcnxs.symbols.symbol_fcnxs import FCNXS
from fcnxs.tools.main import main


def as_first_saved(net, numclass=5):
    """Text of a symbol as MXNet 0.5 wrote it: no `adj`, settings as `param`, sums as `_Plus`, no version."""
    graph = json.loads(NETS[net](numclass, width=WIDTH, fc=FC).tojson())
    nodes = []
    for node in graph["nodes"]:
        op = {"elemwise_add": "_Plus"}.get(node["op"], node["op"])
        name = {"relu5_2": "conv1_2", "score_fused": "_plus0", "score_final": "_plus1"}.get(
            node["name"], node["name"]
        )
        settings = {key: value for key, value in node.get("attrs", {}).items() if key != "adj"}
        settings = settings if op != "null" else {}
        inputs = [entry[:2] for entry in node["inputs"]]
        nodes.append({"op": op, "param": settings, "name": name, "inputs": inputs, "backward_source_id": -1})
    heads = [entry[:2] for entry in graph["heads"]]
    return json.dumps({"nodes": nodes, "arg_nodes": graph["arg_nodes"], "heads": heads})


@pytest.fixture
def saved(tmp_path):
    """Write a checkpoint of such a net, with the inputs among the parameters; returns its prefix."""

    def save(net):
        (tmp_path / f"{net}-symbol.json").write_text(as_first_saved(net))
        params = random_params(mx.sym.load(str(tmp_path / f"{net}-symbol.json")))
        inputs = {"data": mx.nd.zeros((1, 3, 50, 50)), "softmax_label": mx.nd.zeros((1, 2500))}
        mx.nd.save(
            str(tmp_path / f"{net}-0003.params"), {f"arg:{k}": v for k, v in {**params, **inputs}.items()}
        )
        return tmp_path / net

    return save


@pytest.mark.parametrize(("net", "failing"), [("fcn32s", 24), ("fcn16s", 8), ("fcn8s", 0)])
def test_symbols_without_adj_run_at_every_size_and_give_what_they_gave(net, failing, ctx):
    old = mx.sym.load_json(as_first_saved(net))
    assert "adj" not in old.tojson()
    new, params, failed = completed(old), random_params(old, 1, ctx), []
    for height in range(32, 97):
        assert crops_that_do_not_fit(new, height, 130 - height) == []
        if crops_that_do_not_fit(old, height, height):
            failed.append(height)
        elif height % 7 == 0:
            data = np.random.default_rng(height).normal(0, 50, (1, 3, height, height)).astype(np.float32)
            ours, theirs = (fresh_probabilities(symbol, params, data, ctx) for symbol in (new, old))
            np.testing.assert_array_equal(ours, theirs)
            assert ours.std() > 0.01
    assert len(failed) == failing


@pytest.mark.parametrize("net", FCNXS)
def test_such_a_checkpoint_segments_and_is_a_parent(net, saved, voc, tmp_path):
    prefix = saved(net)
    loaded = checkpoint.load(prefix, 3)
    assert not loaded.meta_found and "data" not in loaded.arg_params
    segmenter = Segmenter(loaded)
    for size in ((47, 80), (54, 54), (60, 33)):  # the first two had no whole crop
        image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
        assert segmenter(image).shape == size
    child = {"fcn32s": "fcn16s", "fcn16s": "fcn8s", "fcn8s": "fcn8s"}[net]
    arguments = ["--prefix", str(prefix), "--epoch", "3", "--num-classes", "5", "--data", str(voc)]
    arguments += ["--stages", child, "--epochs", "1", "--output", str(tmp_path / "run")]
    assert main(["finetune", *arguments]) == 0
    trained = checkpoint.load(tmp_path / "run" / child, 1)
    factor = {"fcn16s": 15, "fcn8s": 7}[child]  # the child is today's net, with its adj
    assert f'"adj": "({factor}, {factor})"' in trained.symbol.tojson()
    for name in ("conv1_1_weight", "score_weight"):
        change = trained.arg_params[name].asnumpy() - loaded.arg_params[name].asnumpy()
        assert np.abs(change).max() < 0.1 * np.abs(loaded.arg_params[name].asnumpy()).max()


def test_two_nodes_of_one_name(saved):
    symbol = checkpoint.load(saved("fcn8s"), 3).symbol
    assert coordinate_maps(symbol)["bigscore"] == (1, -31)


@pytest.mark.parametrize("net", FCNXS)
def test_what_is_explained_is_what_is_loaded(net, saved, capsys, tmp_path):
    """At these sizes FCN-32s had no whole crop, and at 60x33 it had one."""
    prefix = saved(net)
    checkpoint.load(prefix, 3).symbol.save(str(tmp_path / "loaded.json"))
    for size in ("500x375", "54x54", "60x33"):
        printed = []
        for name in (f"{prefix}-symbol.json", str(prefix), str(tmp_path / "loaded.json")):
            assert main(["explain", name, "--size", size]) == 0
            printed.append(capsys.readouterr().out.split(": ", 1)[1])
        said = "\nThe file gives no adj to bigscore: here it has the one that fcnxs loads it with.\n"
        assert said in printed[0] and printed[0] == printed[1] and printed[0].replace(said, "") == printed[2]
        assert ("Does every pixel get a score?\n  Yes" in printed[0]) == (net == "fcn8s")


def test_settings_that_python_2_wrote_are_completed():
    text = as_first_saved("fcn32s")
    old = mx.sym.load_json(text.replace('"(32, 32)"', '"(32L,32L)"'))
    assert "(32L,32L)" in old.tojson()
    assert (
        completed(old).tojson().replace("(32L,32L)", "(32, 32)") == completed(mx.sym.load_json(text)).tojson()
    )
    assert crops_that_do_not_fit(completed(old), 54, 54) == [] != crops_that_do_not_fit(old, 54, 54)


@pytest.mark.parametrize("net", FCNXS)
def test_symbols_of_today_stay_as_they_are(net):
    for convention in ("valid", "full"):
        symbol = NETS[net](pooling_convention=convention)
        assert completed(symbol) is symbol

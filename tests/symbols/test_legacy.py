"""Files of the original example's versions before `adj`, by the month in which MXNet wrote them."""

import json
import warnings

import numpy as np
import pytest
from conftest import FC, WIDTH, fresh_probabilities, random_params
from odd_graphs import crops_that_do_not_fit
from old_symbols import as_saved, without

from fcnxs import FCNXSError, Segmenter, checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.errors import FCNXSWarning
from fcnxs.symbols import NETS, coordinate_maps
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.legacy import OPEN, completed, loadable, read
from fcnxs.symbols.symbol_fcnxs import FCNXS
from fcnxs.tools.benchmarks.gpu import numpy_reference
from fcnxs.tools.main import main


def read_text(text, pooling_convention=None):
    return read(mx.sym.load_json(loadable(text)), Graph.read(text), pooling_convention)


def saved_again(text):
    """The same graph as this MXNet writes it: with a version, and the old settings."""
    return mx.sym.load_json(loadable(text)).tojson()


@pytest.fixture
def saved(tmp_path):
    """Write a checkpoint of such a net, with the inputs among the parameters; returns its prefix."""

    def save(net, month="2015-12", **options):
        prefix, file = tmp_path / net, tmp_path / f"{net}-symbol.json"
        file.write_text(as_saved(net, month, **options))
        params = random_params(mx.sym.load_json(loadable(file.read_text())))
        inputs = {"data": mx.nd.zeros((1, 3, 50, 50)), "softmax_label": mx.nd.zeros((1, 2500))}
        mx.nd.save(f"{prefix}-0003.params", {f"arg:{key}": x for key, x in {**params, **inputs}.items()})
        return prefix

    return save


# Whether a file's poolings round up, and whether it leaves that open.
MONTHS = {
    **{"2015-12": (True, False), "2016-01": (True, False), "2016-06": (True, True), "2016-07": (True, True)},
    "2016-09": (False, False),
}


@pytest.mark.parametrize("net", FCNXS)
@pytest.mark.parametrize("month", [*MONTHS, "2016-10"])
def test_the_settings_of_a_file_tell_how_it_rounds(net, month):
    text = as_saved(net, month)
    reading, (up, is_open) = read_text(text), MONTHS.get(month, (False, False))
    assert (Graph.of(reading.symbol).rounds_up, reading.open) == (up, is_open)
    again = read_text(saved_again(text))  # and when it was trained after that, it was as this MXNet rounds
    assert (Graph.of(again.symbol).rounds_up, again.open) == (up, up)
    for convention in ("full", "valid") if month != "2016-10" else ():
        assert Graph.of(read_text(text, convention).symbol).rounds_up == (convention == "full")
        assert not read_text(text, convention).open


def test_settings_that_are_not_all_there_leave_the_rounding_open():
    text = without(as_saved("fcn32s", "2016-06"), "no_bias", "num_group", "pad", "global_pool")
    assert read_text(text).open and Graph.of(read_text(text).symbol).rounds_up
    new = json.loads(NETS["fcn32s"](5, width=WIDTH, fc=FC).tojson())
    for node in new["nodes"]:
        node.get("attrs", {}).pop("adj", None)
    for _ in range(2):  # written by 1.9.1, whose poolings round down, and without its version
        reading = read_text(json.dumps(new))
        assert not reading.open and '"adj": "(31, 31)"' in reading.symbol.tojson()
        new.pop("attrs", None)


@pytest.mark.parametrize("convention", ["valid", "full"])
def test_a_symbol_that_says_how_it_rounds_is_never_read_otherwise(convention):
    symbol = NETS["fcn16s"](5, width=WIDTH, fc=FC, pooling_convention=convention)
    assert completed(symbol, convention) is symbol
    other = {"valid": "full", "full": "valid"}[convention]
    with pytest.raises(FCNXSError, match=f"{other}.* already sets how its poolings round \\({convention}"):
        completed(symbol, other)
    assert read(symbol, None, other, strict=False).symbol is symbol
    with pytest.raises(FCNXSError, match="'up': expected 'valid' or 'full'"):
        completed(symbol, "up")


@pytest.mark.parametrize("offset", [None, (34, 34)])  # of today, and of Python 2 in 2015
@pytest.mark.parametrize("net", FCNXS)
def test_a_net_that_rounds_up_fits_every_size_and_gives_every_row_a_score(net, offset, ctx):
    text = as_saved(net, "2016-06", offset=offset)
    symbol = read_text(text).symbol
    assert all(crops_that_do_not_fit(symbol, side, 130 - side) == [] for side in range(32, 97))
    params, size = random_params(symbol, 1, ctx), (54, 47)
    data = np.random.default_rng(0).normal(0, 50, (1, 3, *size)).astype(np.float32)
    mine = json.loads(text)  # in float64 NumPy, whose poolings round up
    for node in mine["nodes"]:
        node.update(attrs=node.pop("param"), op={"_Plus": "elemwise_add"}.get(node["op"], node["op"]))
        node["attrs"].update({"pooling_convention": "full"} if node["op"] == "Pooling" else {})
    values = {
        "data": data,
        "softmax_label": np.zeros((1, 54 * 47)),
        **{k: v.asnumpy() for k, v in params.items()},
    }
    expected = numpy_reference.run(json.dumps(mine), values)[0]["softmax"]
    np.testing.assert_allclose(fresh_probabilities(symbol, params, data, ctx), expected, atol=2e-5)
    assert expected[0, :, -1].std(axis=0).min() > 1e-3  # without a score all classes are equal


@pytest.mark.parametrize(("net", "failing"), [("fcn32s", 24), ("fcn16s", 8), ("fcn8s", 0)])
def test_a_net_that_rounds_down_runs_at_every_size_and_gives_what_it_gave(net, failing, ctx):
    text = as_saved(net, "2016-09")
    old = mx.sym.load_json(text)
    new, params, failed = read_text(text).symbol, random_params(old, 1, ctx), []
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


@pytest.mark.parametrize("month", ["2015-12", "2016-06", "2016-09"])
@pytest.mark.parametrize("trim", [True, False])
def test_defaults_in_a_file_change_nothing(month, trim, saved):
    """At 500x375, where FCN-32s and 16s had no whole crop; trimmed, whole and in tiles."""
    prefix = saved("fcn16s", month)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FCNXSWarning)
        source = checkpoint.load(prefix, 3)
    image = np.random.default_rng(0).integers(0, 256, (375, 500, 3)).astype(np.uint8)
    ours = Segmenter(source, trim=trim).probabilities(image)
    tiled = Segmenter(source, memory_limit=25e6)
    assert not tiled.fits((375, 500)) and (tiled(image) == ours.argmax(0)).mean() > 0.999
    if MONTHS[month][0]:  # of today's nets that round down, score2 has an adj too
        source.symbol = NETS["fcn16s"](5, width=WIDTH, fc=FC, pooling_convention="full")
    np.testing.assert_allclose(Segmenter(source, trim=False).probabilities(image), ours, atol=1e-4)


@pytest.mark.parametrize("net", FCNXS)
def test_such_a_checkpoint_segments_and_is_a_parent(net, saved, voc, tmp_path):
    prefix = saved(net)
    loaded = checkpoint.load(prefix, 3)
    assert not loaded.meta_found and "data" not in loaded.arg_params
    segmenter = Segmenter(loaded)
    for size in ((47, 80), (54, 54), (3, 5)):  # rounded down, the first two had no whole crop
        image = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
        assert segmenter(image).shape == size
    child = {"fcn32s": "fcn16s", "fcn16s": "fcn8s", "fcn8s": "fcn8s"}[net]
    arguments = ["--prefix", str(prefix), "--epoch", "3", "--num-classes", "5", "--data", str(voc)]
    arguments += ["--stages", child, "--epochs", "1", "--output", str(tmp_path / "run")]
    assert main(["finetune", *arguments]) == 0
    trained = checkpoint.load(tmp_path / "run" / child, 1)
    assert Graph.of(trained.symbol).rounds_up  # as its parent
    for name in ("conv1_1_weight", "score_weight"):
        change = trained.arg_params[name].asnumpy() - loaded.arg_params[name].asnumpy()
        assert np.abs(change).max() < 0.1 * np.abs(loaded.arg_params[name].asnumpy()).max()


def test_two_nodes_of_one_name(saved):
    symbol = checkpoint.load(saved("fcn8s"), 3).symbol
    assert coordinate_maps(symbol)["bigscore"] == (1, -31)


@pytest.mark.parametrize("net", FCNXS)
@pytest.mark.parametrize("month", ["2015-12", "2016-06", "2016-09"])
def test_what_is_explained_is_what_is_loaded(net, month, saved, capsys, tmp_path):
    prefix, (up, is_open) = saved(net, month), MONTHS[month]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FCNXSWarning)
        checkpoint.load(prefix, 3).symbol.save(str(tmp_path / "loaded.json"))
    for size in ("500x375", "54x54"):
        printed = []
        for name in (f"{prefix}-symbol.json", str(prefix), str(tmp_path / "loaded.json")):
            assert main(["explain", name, "--image-size", size]) == 0
            printed.append(capsys.readouterr().out.split(": ", 1)[1])
        note = "The poolings round sizes up, as in MXNet until July 2016."
        note = (
            note
            if up
            else "The file gives no adj to bigscore: here it has the one that fits poolings that round down."
        )
        note = f"\n{f'The file {OPEN}.' if is_open else note}\n"
        assert note in printed[0] and printed[0] == printed[1] and printed[0].replace(note, "") == printed[2]
        assert ("Does every pixel get a score?\n  Yes" in printed[0]) == (up or net == "fcn8s")


def test_settings_that_python_2_wrote_are_completed():
    text = as_saved("fcn32s", "2016-09")
    old = text.replace('"(32,32)"', '"(32L,32L)"')
    assert "(32L,32L)" in mx.sym.load_json(old).tojson()
    assert read_text(old).symbol.tojson().replace("(32L,32L)", "(32,32)") == read_text(text).symbol.tojson()
    assert crops_that_do_not_fit(read_text(old).symbol, 54, 54) == []


@pytest.mark.parametrize("net", FCNXS)
def test_symbols_of_today_stay_as_they_are(net):
    for convention in ("valid", "full"):
        symbol = NETS[net](pooling_convention=convention)
        assert completed(symbol) is symbol

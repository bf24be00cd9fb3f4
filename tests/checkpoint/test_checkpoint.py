import json

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params

from fcnxs import FCNXSError, checkpoint
from fcnxs.checkpoint import Meta
from fcnxs.compat import mxnet as mx
from fcnxs.symbols import get_fcn32s_symbol
from fcnxs.system.files import written_whole

SYMBOL = get_fcn32s_symbol(3, width=WIDTH, fc=FC)
META = Meta(
    ["sky", "road", "car"], [[1, 2, 3], [4, 5, 6], [7, 8, 9]], (122.5, 116.25, 104.0), source={"file": "f"}
)


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    params = random_params(SYMBOL)
    file = checkpoint.save(tmp_path / "deep" / "net", 7, SYMBOL, params, {}, META)
    assert file == tmp_path / "deep" / "net-0007.params"
    assert sorted(f.name for f in file.parent.iterdir()) == [
        "net-0007.params",
        "net-meta.json",
        "net-symbol.json",
    ]
    loaded = checkpoint.load(tmp_path / "deep" / "net", 7)
    assert loaded.symbol.tojson() == SYMBOL.tojson() and loaded.meta == META and loaded.meta_found
    assert set(loaded.arg_params) == set(params)
    for name, array in params.items():
        np.testing.assert_array_equal(loaded.arg_params[name].asnumpy(), array.asnumpy())
    plain = mx.model.load_checkpoint(str(tmp_path / "deep" / "net"), 7)
    assert set(plain[1]) == set(params) and plain[2] == {}


def test_a_checkpoint_of_the_original_gets_the_original_s_mean(tmp_path):
    """No meta file; and its solver saved the last image and label among the parameters."""
    params = random_params(SYMBOL)
    extra = {"data": mx.nd.ones((1, 3, 5, 5)), "softmax_label": mx.nd.ones((1, 25))}
    mx.model.save_checkpoint(str(tmp_path / "old"), 3, SYMBOL, {**params, **extra}, {})
    loaded = checkpoint.load(tmp_path / "old", 3)
    assert not loaded.meta_found and loaded.meta.mean == (123.68, 116.779, 103.939)
    assert loaded.meta.classes is None and set(loaded.arg_params) == set(params)


def test_what_cannot_be_read_is_named(tmp_path):
    prefix = tmp_path / "net"
    with pytest.raises(FCNXSError, match=r"net-symbol.json: no such file \(of checkpoint .*net, epoch 1\)"):
        checkpoint.load(prefix, 1)
    checkpoint.save(prefix, 1, SYMBOL, random_params(SYMBOL), {}, META)
    with pytest.raises(FCNXSError, match="net-0002.params: no such file"):
        checkpoint.load(prefix, 2)
    params, symbol, meta = (tmp_path / f"net-{end}" for end in ("0001.params", "symbol.json", "meta.json"))
    whole = params.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:20], b"", b"text"):
        params.write_bytes(content)
        with pytest.raises(FCNXSError, match="net-0001.params: not a file of MXNet parameters, or damaged"):
            checkpoint.load(prefix, 1)
    params.write_bytes(whole)
    good = json.loads(meta.read_text())
    for content, message in (
        ("{", "not a meta file"),
        ("[]", "not a meta file"),
        (
            json.dumps({**good, "mean": [1, 2]}),
            r"mean: expected a list of 3, each a finite number .*, not \[1, 2\]",
        ),
        (json.dumps({**good, "mean": [1, "x", 2]}), r"mean\[1\]: expected a finite number .*, not 'x'"),
        (json.dumps({**good, "mean": "123"}), "mean: expected a list of 3, .*, not '123'"),
        (json.dumps({**good, "mean": [float("nan")] * 3}), "it has NaN, which is no number of JSON"),
        (json.dumps({**good, "channel_order": "BGR"}), "channel_order: expected RGB, not 'BGR'"),
        (
            json.dumps({**good, "palette": [[0, 0, 0]]}),
            r"palette: expected a colour \(R, G, B\) for each of 3 classes",
        ),
        (
            json.dumps({**good, "palette": [[0, 0, 300]] * 3}),
            r"palette\[0\]\[2\]: expected a whole number from 0 to 255",
        ),
        (json.dumps({**good, "classes": "abc"}), "classes: expected a list, each a text, not 'abc'"),
        (json.dumps({**good, "classes": 5}), "classes: expected a list"),
        (json.dumps({k: v for k, v in good.items() if k != "classes"}), "it lacks classes"),
    ):
        meta.write_text(content)
        with pytest.raises(FCNXSError, match=f"net-meta.json: .*{message}"):
            checkpoint.load(prefix, 1)
    meta.write_text(json.dumps(good))
    symbol.write_text("{}")
    with pytest.raises(FCNXSError, match="net-symbol.json: MXNet cannot load this symbol"):
        checkpoint.load(prefix, 1)
    unknown = {"nodes": [{"op": "Foo", "name": "a", "inputs": []}], "arg_nodes": [], "heads": [[0, 0, 0]]}
    symbol.write_text(json.dumps(unknown))
    with pytest.raises(FCNXSError, match="net-symbol.json: node 'a' .Foo.: this operator is not among"):
        checkpoint.load_symbol(symbol)


def test_files_appear_whole_or_not_at_all(tmp_path):
    old = tmp_path / "b"
    old.write_text("old")
    with pytest.raises(ZeroDivisionError), written_whole(tmp_path / "a", old) as (a, b):
        a.write_text("new")
        b.write_text("new")
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt), written_whole(old) as (b,):
        b.write_text("half")
        raise KeyboardInterrupt
    assert [f.name for f in tmp_path.iterdir()] == ["b"] and old.read_text() == "old"
    with written_whole(tmp_path / "a", old) as (a, b):
        a.write_text("new a")
        b.write_text("new b")
    assert (tmp_path / "a").read_text() == "new a" and old.read_text() == "new b"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_in_the_place_of_a_file_leaves_everything_as_it_was(tmp_path):
    (tmp_path / "net-symbol.json").mkdir()
    with pytest.raises(FCNXSError, match="net-symbol.json: cannot write: it is a folder"):
        checkpoint.save(tmp_path / "net", 1, SYMBOL, random_params(SYMBOL), {}, META)
    assert [f.name for f in tmp_path.iterdir()] == ["net-symbol.json"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FCNXSError, match="file/net-0001.params: cannot write: (Not a directory|File exists)"):
        checkpoint.save(tmp_path / "file" / "net", 1, SYMBOL, random_params(SYMBOL), {}, META)


def test_source_has_the_hash_of_the_file(tmp_path):
    (tmp_path / "w").write_bytes(b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checkpoint.source_of(tmp_path / "w") == {"file": "w", "sha256": sha256}


def test_what_is_there_instead_is_told(tmp_path):
    symbol = get_fcn32s_symbol(3, width=WIDTH, fc=FC)
    for epoch in (10, 9):
        checkpoint.save(tmp_path / "run" / "net", epoch, symbol, random_params(symbol), {}, Meta())
    with pytest.raises(FCNXSError, match=r"net-0011.params: no such file .*; it has the epochs 9, 10$"):
        checkpoint.load(tmp_path / "run" / "net", 11)
    with pytest.raises(
        FCNXSError,
        match=r"run-symbol.json: no such file .*; .*run is a folder; give a prefix, e.g. .*run/net$",
    ):
        checkpoint.load(tmp_path / "run", 10)

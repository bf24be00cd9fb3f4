"""Whatever reads a graph of a file refuses one that MXNet must not see, and names the node."""

import json
import re
from pathlib import Path

import pytest
from conftest import FC, WIDTH, random_params

import fcnxs
from fcnxs import FCNXSError, checkpoint, gluon
from fcnxs.checkpoint import Meta
from fcnxs.compat import mxnet as mx
from fcnxs.deploy.handler import ServedNet
from fcnxs.symbols import NETS
from fcnxs.tools.main import main

ROOT = Path(__file__).parents[1]
REFUSED = r"node 'score' \(_Native\): this operator is not among those that a file's graph may have"


def save(prefix, change=lambda node: None, symbol=None):
    """A checkpoint of FCN-8s with its graph changed, and no checksums that would tell."""
    symbol = NETS["fcn8s"](2, width=WIDTH, fc=FC) if symbol is None else symbol
    checkpoint.save(prefix, 0, symbol, random_params(symbol), {}, Meta(classes=["a", "b"]))
    file, meta = Path(f"{prefix}-symbol.json"), Path(f"{prefix}-meta.json")
    graph = json.loads(file.read_text())
    for node in graph["nodes"]:
        change(node)
    file.write_text(json.dumps(graph))
    content = json.loads(meta.read_text())
    meta.write_text(json.dumps({**content, "checksums": {}, "palette": [[0, 0, 0], [9, 9, 9]]}))
    return str(prefix)


def native(node):
    if node["name"] == "score":
        node.update(op="_Native", attrs={"info": "0x7fff00000000", "need_top_grad": "True"})


@pytest.fixture
def hostile(tmp_path):
    return save(tmp_path / "net", native)


READERS = {
    "checkpoint.load": lambda prefix: checkpoint.load(prefix, 0),
    "load_symbol": lambda prefix: checkpoint.load_symbol(Path(f"{prefix}-symbol.json")),
    "read_symbol": lambda prefix: checkpoint.read_symbol(Path(f"{prefix}-symbol.json")),
    "Segmenter": lambda prefix: fcnxs.Segmenter(prefix, 0),
    "get_fcn8s": lambda prefix: gluon.get_fcn8s(prefix=prefix, epoch=0),
    "FCNxs.imports": lambda prefix: gluon.FCNxs.imports(
        f"{prefix}-symbol.json", "data", f"{prefix}-0000.params"
    ),
    "an archive's handler": lambda prefix: ServedNet(Path(prefix).parent),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_refuses(reader, hostile):
    with pytest.raises(FCNXSError, match=REFUSED):
        READERS[reader](hostile)


@pytest.mark.parametrize("command", ["explain", "segment", "evaluate", "export", "finetune"])
def test_a_command_refuses_in_one_line(command, hostile, voc, tmp_path, capsys):
    more = {
        "explain": [hostile],
        "segment": [
            "--prefix",
            hostile,
            "--epoch",
            "0",
            str(voc / "JPEGImages"),
            "--output",
            str(tmp_path / "o"),
        ],
        "evaluate": ["--prefix", hostile, "--epoch", "0", "--data", str(voc), "--split", "train"],
        "export": ["--prefix", hostile, "--epoch", "0", "--output", str(tmp_path / "o")],
        "finetune": ["--prefix", hostile, "--epoch", "0", "--data", str(voc), "--output", str(tmp_path / "o")],
    }[command]
    assert main([command, *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(REFUSED, line) and "--allow-operator _Native" in line


def test_an_added_operator_passes_every_reader(tmp_path, capsys):
    """A net of one's own whose scores go through an operator outside the table."""
    scores = mx.sym.arctan(NETS["fcn8s"](2, width=WIDTH, fc=FC).get_children()[0], name="arctan")
    symbol = mx.sym.SoftmaxOutput(scores, multi_output=True, name="softmax")
    prefix, added = save(tmp_path / "own", symbol=symbol), {"operators": ["arctan"]}
    assert main(["explain", prefix]) == 2
    assert r"node 'arctan' (arctan): this operator" in capsys.readouterr().err
    assert main(["explain", prefix, "--allow-operator", "sin", "--allow-operator", "arctan"]) == 0
    assert fcnxs.Segmenter(prefix, 0, **added).numclass == 2
    assert "arctan_output" in checkpoint.load(prefix, 0, **added).symbol.get_internals().list_outputs()
    names = (f"{prefix}-symbol.json", ["data", "softmax_label"], f"{prefix}-0000.params")
    block = gluon.FCNxs.imports(*names, **added)
    assert block(mx.nd.zeros((1, 3, 40, 50)), mx.nd.zeros((1, 40, 50))).shape == (1, 2, 40, 50)


def test_a_net_of_python_with_such_an_operator_is_exported(tmp_path):
    """It came from no file before; the export reads its own."""
    scores = mx.sym.arctan(NETS["fcn8s"](2, width=WIDTH, fc=FC).get_children()[0], name="arctan")
    net = gluon.FCNxs(mx.sym.SoftmaxOutput(scores, multi_output=True, name="softmax"))
    net.initialize(mx.init.Xavier())
    net.export(tmp_path / "own")
    assert (tmp_path / "own-symbol.json").is_file()


def test_mxnet_gets_no_text_of_a_file_anywhere_else():
    """Other graphs that it loads were written here, from symbols that it has."""
    loaders = re.compile(
        r"\bsym(?:bol)?\.(?:load|fromjson)|load_json\(|load_checkpoint\(|SymbolBlock\.imports\("
    )
    files = [file for room in ("fcnxs", "symbols", "tools") for file in (ROOT / room).rglob("*.py")]
    users = {str(each.relative_to(ROOT)) for each in files if re.search(loaders, each.read_text())}
    assert users == {
        "symbols/legacy.py",  # what was checked
        "symbols/graph/rewrite.py",
        "fcnxs/predict/subgraph.py",
        "fcnxs/deploy/plain_net.py",  # an export that was just written, in a process of its own
    }

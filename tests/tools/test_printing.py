"""Names of classes, files and layers come from others: what a terminal would obey in them is escaped."""

import json

import mxnet as mx
import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from PIL import Image

from fcnxs import FCNXSError, FCNXSWarning, checkpoint
from fcnxs.errors import shown
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.tools.main import main
from fcnxs.tools.shared.text import table
from fcnxs.vis import voc_palette

RED, TURNED, LINES = "\x1b[31mcat", "dog\u202egpj", "fox\nfcnxs: all is well"
CLASSES = ["ground", RED, TURNED]


@pytest.fixture
def prefix(tmp_path):
    symbol = get_fcn8s_symbol(3, width=WIDTH, fc=FC)
    meta = checkpoint.Meta(classes=[*CLASSES[:2], f"{TURNED}{LINES}"], palette=voc_palette(3))
    params = random_params(symbol)
    params["score_bias"][:] = mx.nd.array([0, 9, 9])
    checkpoint.save(tmp_path / "fcn8s", 0, symbol, params, {}, meta)
    return tmp_path / "fcn8s"


@pytest.fixture
def data(tmp_path):
    """Two pairs, of which one label is none; the names of folder, files and classes steer a terminal."""
    root = tmp_path / f"data{RED}"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate((RED, f"{TURNED}{LINES}")):
        Image.fromarray(photo(60, 70, seed=number)).save(root / "images" / f"{name}.png")
        Image.fromarray(np.full((60, 70), 3 * number, np.uint8)).save(root / "labels" / f"{name}.png")
    (root / "classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    return root


def printed(capsys):
    """What was printed: nothing in it steers a terminal, and no line was forged."""
    out, err = capsys.readouterr()
    assert [line for line in (out + err).split("\n") if not line.isprintable()] == []
    assert "fcnxs: all is well" not in (out + err).split("\n")
    return out + err


def test_names_of_classes_and_files_are_escaped(prefix, data, tmp_path, capsys):
    net = ["--prefix", str(prefix), "--epoch", "0"]
    assert main(["check-data", str(data)]) == 1
    text = printed(capsys)
    assert (
        r"\x1b[31mcat" in text and r"dog\u202egpj" in text and r"fox\nfcnxs: all is well.png: value 3" in text
    )
    (image,) = (data / "images").glob("dog*")
    image.write_bytes(b"")
    assert main(["segment", *net, str(data / "images"), "--output", str(tmp_path / f"masks{RED}")]) == 1
    text = printed(capsys)
    assert r"masks\x1b[31mcat/\x1b[31mcat.png: " in text and r"fox\nfcnxs: all is well.png: empty" in text
    for folder in ("images", "labels"):
        next((data / folder).glob("dog*")).unlink()
    scores = tmp_path / f"scores{TURNED}.json"
    assert main(["evaluate", *net, "--data", str(data), "--json", str(scores)]) == 0
    text = printed(capsys)
    assert r"dog\u202egpj" in text and r"wrote" in text
    names = [row["class"] for row in json.loads(scores.read_text(encoding="utf-8"))["per_class"]]
    assert names == CLASSES  # which are data


def test_layers_of_a_graph_are_escaped(tmp_path, capsys):
    net = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(1, 1), num_filter=2, name="CONV")
    text = net.tojson().replace("CONV", json.dumps(f"conv{RED}{TURNED}")[1:-1])
    (tmp_path / "net-symbol.json").write_text(text)
    main(["explain", str(tmp_path / "net-symbol.json"), "--image-size", "64x48"])
    assert r"conv\x1b[31mcatdog\u202egpj" in printed(capsys)


def test_wrong_arguments_are_escaped(capsys):
    with pytest.raises(SystemExit):
        main(["segment", "--prefix", "x", "--output", "o", "a.png", f"--{RED}"])
    printed(capsys)
    assert main([RED]) == 2
    printed(capsys)


def test_errors_warnings_and_tables_are_lines():
    for kind in (FCNXSError, FCNXSWarning):
        assert str(kind(f"{LINES}: é")) == "fox\\nfcnxs: all is well: é"
        assert str(kind(str(kind(LINES)))) == str(kind(LINES))
    assert table(("name",), [(LINES,)]).splitlines()[2:] == ["fox\\nfcnxs: all is well"]


def test_what_can_be_seen_stays():
    assert shown("Straße 中 'a' \\ 🐈") == "Straße 中 'a' \\ 🐈"
    for number in [*range(32), *range(127, 160), 0x200E, 0x202E, 0x2028, 0x2066, 0xFEFF, 0xDCE9]:
        assert shown(chr(number)) == chr(number).encode("unicode_escape").decode()


def test_a_page_is_no_exception(tmp_path):
    from fcnxs.report.page import page
    from fcnxs.report.run import Log, RunRecord

    run = RunRecord(tmp_path, {}, {}, Log(warnings=[RED]), CLASSES, voc_palette(), (f"{TURNED} <b>",))
    html = page(run, None)
    assert r"dog\u202egpj &lt;b&gt;" in html and r"\x1b[31mcat" in html
    assert all(line.isprintable() or "\t" in line for line in html.split("\n"))

"""`symbols/ARTICLE.md` as a reader follows it, and the article's own tables beside ours."""

import doctest
import re
import shlex
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcnxs import symbols
from fcnxs.symbols.coord_map import format_map
from fcnxs.symbols.graph.crops import exact_sizes
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.tools.explanations.tables import exact_text
from fcnxs.tools.main import main

PAGE = (Path(__file__).parent.parent / "symbols" / "ARTICLE.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
NAMES = {  # the article's names of layers, and ours
    name: ours
    for names, ours in re.findall(r"^\| (`[`\w, ]+`) \| `(\w+)` \|", PAGE, re.MULTILINE)
    for name in re.findall(r"\w+", names)
}

# The article's tables: sizes, by the layers that have them.
POOLS = {
    "H + 198": "conv1_1 relu1_1 conv1_2 relu1_2",
    "H/2 + 99": "pool1 conv2_1 relu2_1 conv2_2 relu2_2",
    "(H + 2)/4 + 49": "pool2 conv3_1 relu3_1 conv3_2 relu3_2 conv3_3 relu3_3",
    "(H + 6)/8 + 24": "pool3 conv4_1 relu4_1 conv4_2 relu4_2 conv4_3 relu4_3",
    "(H + 6)/16 + 12": "pool4 conv5_1 relu5_1 conv5_2 relu5_2 conv5_3 relu5_3",
    "(H + 6)/32 + 6": "pool5",
    "(H + 6)/32": "fc6 relu6 drop6 fc7 relu7 drop7 score_fr",
}
FINER = {"(H + 6)/16 + 12": "score_pool4", "(H + 6)/16 + 2": "upscore2 score_pool4c fuse_pool4"}
TABLES = {
    "fcn32s": [POOLS, {"H + 38": "upscore", "H": "score"}],
    "fcn16s": [POOLS, FINER, {"H + 54": "upscore16", "H": "score"}],
    "fcn8s": [
        *(POOLS, FINER, {"(H + 6)/8 + 24": "score_pool3"}),
        {"(H + 6)/8 + 6": "upscore_pool4 score_pool3c fuse_pool3", "H + 62": "upscore8", "H": "score"},
    ],
}


def lines_of(text):
    """Lines with their runs of spaces made one: the width of columns is no matter."""
    return [" ".join(line.split()) for line in text.splitlines()]


def quoted():
    """Each command, and the lines that the page quotes of its output."""
    found = []
    for kind, text in BLOCKS:
        if kind == "sh":
            found.append((text.strip(), []))
        elif kind == "":
            found[-1][1].extend(lines_of(text))
    return found


@pytest.mark.parametrize(("command", "lines"), quoted(), ids=lambda each: each if isinstance(each, str) else "")
def test_a_command_prints_what_the_page_quotes(command, lines, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(command)
    assert program == "fcnxs" and main(arguments) == 0
    printed = iter(lines_of(capsys.readouterr().out))
    assert lines and all(line in printed for line in lines)  # in this order


def test_what_the_python_of_the_page_prints_is_so():
    code = "".join(text for kind, text in BLOCKS if kind == "python")
    test = doctest.DocTestParser().get_doctest(code, {}, "ARTICLE.md", None, 0)
    wrong = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=wrong.append)
    assert result.attempted > 10 and not result.failed, "".join(wrong)


@pytest.mark.parametrize("net", TABLES)
def test_every_row_of_the_article_s_tables_is_printed(net, capsys):
    assert main(["explain", net, "--layers", "all", "--exact"]) == 0
    printed = {line.split(" ")[0]: line for line in lines_of(capsys.readouterr().out.split("\n\n")[1])}
    expected = {"data": "H"}
    for size, names in ((size, names) for table in TABLES[net] for size, names in table.items()):
        expected.update({NAMES.get(name, name): size for name in names.split()})
    for name, size in expected.items():
        number = re.escape(size)
        assert re.search(rf"^{name} [A-Z]?\w+ (?:[\d,]+ )?{number} \d+ \d+ x \d+ x \d+$", printed[name]), name
    assert {*printed} == {"layer", *(name for name in printed if "--" in name), "softmax", *expected}


def test_what_the_equations_give_is_so():
    given = re.findall(r"^\| \(\d.*\| (\w+): (.*) \|$", PAGE, re.MULTILINE)
    net = symbols.get_fcn32s_symbol()
    graph = Graph.of(net)
    rows, exact = {row.name: row for row in symbols.describe(net, (375, 500))}, exact_sizes(graph, 0)
    sizes = {graph.nodes[i]["name"]: exact_text(exact[i], "H") for i in graph.layers}
    fc6, conv1_1, bigscore = rows["fc6"], rows["conv1_1"], rows["bigscore"]
    assert given == [
        *(("fc6", sizes["fc6"]), ("upscore", sizes["bigscore"]), ("conv1_1", format_map(conv1_1.own_map))),
        *(("upscore", format_map(bigscore.own_map)), ("fc6", format_map(fc6.map))),
        *(("T", str(symbols.crop_derivations(net)[0].from_sum)), ("upscore", format_map(bigscore.map))),
    ]


def test_the_names_of_the_table_are_layers():
    ours = {
        name
        for net in TABLES
        for name in symbols.get_fcnxs_symbol(int(net[3:-1])).get_internals().list_outputs()
    }
    assert len(NAMES) == 9 and all(f"{name}_output" in ours for name in NAMES.values())


def test_all_layers_are_the_classifier_s(capsys):
    main(["explain", "vgg16", "--layers", "all"])
    text = capsys.readouterr().out
    rows = text.split("\n\n")[1].splitlines()[2:]
    assert [row.split()[0] for row in rows[:6]] == ["data", "conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1"]
    assert (
        len(rows) == 41
        and "Left out" not in text
        and "Caffe's names of these types: ReLU for Activation." in text
    )
    main(["explain", "mask_regression", "--layers", "all"])
    assert "InnerProduct for FullyConnected" in " ".join(capsys.readouterr().out.split())


fractions = st.fractions(-500, 500, max_denominator=96)


@given(fractions.filter(bool), fractions, st.integers(1, 999))
def test_an_exact_size_is_written_as_it_is(scale, shift, height):
    text = exact_text((abs(scale), shift), "H")
    text = re.sub(r"(\d+(?:/\d+)?)(?= H)", r"\1 *", text)
    value = eval(re.sub(r"(\d+)", r"Fraction(\1)", text), {"H": height, "Fraction": Fraction})
    assert value == abs(scale) * height + shift


def test_the_real_size_is_the_exact_one_where_nothing_is_rounded():
    """At H = 26 mod 32, every quotient is whole; what remains is `adj`."""
    symbol = symbols.get_fcn32s_symbol(pooling_convention="full")  # without adj
    graph = Graph.of(symbol)
    for row, i in zip(symbols.describe(symbol, (378, 26)), graph.layers):
        scale, shift = exact_sizes(graph, 0)[i]
        assert row.shape[2] == scale * 378 + shift

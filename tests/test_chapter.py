"""`symbols/README.md` as a reader follows it: its code runs from top to end, and prints what it says."""

import doctest
import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from fcnxs import checkpoint, symbols
from fcnxs.compat import mxnet as mx
from fcnxs.data.images import read_image
from fcnxs.data.labels import read_label
from fcnxs.score import confusion_matrix, scores
from fcnxs.symbols.coord_map import format_map
from fcnxs.symbols.graph.layer_sizes import telling
from fcnxs.symbols.graph.nodes import Graph
from fcnxs.symbols.graph.rewrite import with_pad
from fcnxs.tools.main import main

ROOT = Path(__file__).parent.parent
CHAPTER = (ROOT / "symbols" / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", CHAPTER, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """Folder and names after all Python of the chapter has run in order; and what any of it failed to print."""
    folder, names, wrong = tmp_path_factory.mktemp("chapter"), {}, []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for number, (_, code) in enumerate(block for block in BLOCKS if block[0] == "python"):
            if not code.startswith(">>>"):
                exec(compile(code, f"block {number} of the chapter", "exec"), names)
                continue
            test = doctest.DocTestParser().get_doctest(code, names, f"block {number}", "symbols/README.md", 0)
            doctest.DocTestRunner(verbose=False).run(test, out=wrong.append, clear_globs=False)
            names.update(test.globs)
    return folder, names, wrong


def test_what_the_chapter_prints_is_so(followed):
    assert len([code for kind, code in BLOCKS if kind == "python"]) > 15 and not followed[2], "".join(
        followed[2]
    )


def test_the_net_of_one_s_own_has_learnt_its_pictures(followed):
    folder, names, _ = followed
    assert names["losses"][-1] < names["losses"][0] / 2
    matrix = 0
    for number in range(8):
        image = read_image(folder / f"shapes/JPEGImages/train_{number:04d}.jpg")
        label = read_label(folder / f"shapes/SegmentationClass/train_{number:04d}.png", 5)
        matrix += confusion_matrix(label, names["segmenter"](image), 5)
    ground = matrix[0].sum() / matrix.sum()
    assert scores(matrix).pixel_accuracy > ground + 0.05  # more than to say `background` everywhere


def test_the_fixed_upsamplings_put_every_cell_where_its_map_says(followed):
    """Of scores that are straight lines in the image, bilinear upsampling makes the same lines."""
    net = followed[1]["net"].get_internals()["upscore_output"]
    params = followed[1]["solver"].arg_params
    size, cells = 97, 13  # rows of the image, and of the scores of stride 8
    sums = mx.sym.Variable("sums")
    node = mx.sym.Deconvolution(
        sums, kernel=(15, 15), stride=(8, 8), pad=(7, 7), adj=(7, 7), num_filter=5, name="bigscore"
    )
    stride, offset = symbols.coordinate_maps(net)["sum_stage2"]
    middles = np.array([float(stride * x + offset + stride / 2) for x in range(cells)])
    lines = np.broadcast_to(middles[:, np.newaxis], (1, 5, cells, cells))
    inputs = {"sums": mx.nd.array(lines), "bigscore_weight": params["bigscore_weight"]}
    out = node.bind(mx.cpu(), inputs).forward()[0].asnumpy()[0, 2, :size, size // 2]
    np.testing.assert_allclose(out, np.arange(size) + 0.5, rtol=0, atol=1e-4)


def test_the_commands_take_it(followed, monkeypatch, capsys, in_process):
    folder, _, _ = followed
    monkeypatch.chdir(folder)
    (lines,) = (code.splitlines() for kind, code in BLOCKS if kind == "sh")
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "fcnxs" and main(arguments) == 0, line
    assert "Does every pixel get a score?\n  Yes, at every size" in capsys.readouterr().out
    assert sorted(file.name for file in (folder / "deploy").iterdir()) == [
        "resnet_fcn8s.json",
        "resnet_fcn8s.onnx",
    ]
    assert checkpoint.load(str(folder / "own/resnet_fcn8s"), 4).meta.mean == pytest.approx(
        (123.675, 116.28, 103.53)
    )


def test_what_explain_prints_is_quoted(capsys):
    (quoted,) = (code.splitlines() for kind, code in BLOCKS if kind == "")
    assert main(["explain", "fcn8s", "--image-size", "500x375"]) == 0
    assert len(quoted) > 20 and set(quoted) <= set(capsys.readouterr().out.splitlines())


def test_what_is_worked_by_hand_is_what_the_graphs_have():
    tables = re.findall(r"^\| layer \| K, S, P .*?\n\|.*?\n(.*?)\n\n", CHAPTER, re.DOTALL | re.MULTILINE)
    assert len(tables) == 4
    for net, table in zip(("fcn32s", "fcn16s", "fcn8s", "fcn_alexnet"), tables):
        symbol = symbols.NETS[net]()
        rows = {row.name: row for row in symbols.describe(symbol, (375, 500))}
        offsets = {crop.x: crop.offset for crop in symbols.crop_derivations(symbol)}
        for line in table.splitlines():
            names, window, own, to_image, crop = (cell.strip() for cell in line.strip("|").split("|"))
            for name in names.split(", ") if not names.startswith("all") else ["conv1_2", "conv3_3", "conv5_3"]:
                row = rows[name]
                assert window.split(" b")[0] == f"{row.kernel}, {row.stride}, {row.pad}"
                assert ("backwards" in window) == (row.op == "Deconvolution") and own == format_map(row.own_map)
                assert not to_image or to_image.rpartition(" = ")[2] == format_map(row.map)
                assert re.findall(r"\*\*(\d+)", crop) == [
                    str(offsets[each]) for each in offsets if each == name
                ], name


def test_the_pad_moves_the_last_crop_alone():
    """FCN-32s crops P - 81, and the skips of the others 5 and 9 whatever P; 81 is enough from 64x64 on."""
    data = mx.sym.Variable("data")
    pool3 = symbols.vgg16_pool3(data, pad=81)
    net = symbols.fcnxs_score(symbols.vgg16_score(symbols.vgg16_pool4(pool3), 21), data)
    fit, others = telling(Graph.of(net), 0)
    assert symbols.smallest_input(net) == (64, 64) and fit[0] == 64 and others == []
    for pad in (81, 90, 100):
        (crop,) = symbols.crop_derivations(with_pad(symbols.get_fcn32s_symbol(), 0, pad))
        assert crop.from_sizes == crop.from_sum == crop.from_maps == pad - 81
        crops = symbols.crop_derivations(with_pad(symbols.get_fcn8s_symbol(), 0, pad))
        assert [crop.from_maps for crop in crops] == [5, 9, 31 - (100 - pad)]


def test_the_figures_are_what_their_script_draws(tmp_path):
    """The texts, numbers among them; where the lines run, another matplotlib may write otherwise."""
    spec = importlib.util.spec_from_file_location("figures", ROOT / ".docs" / "figures.py")
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    figures.main(tmp_path)
    drawn = sorted(tmp_path.glob("*.svg"))
    assert [file.stem for file in drawn] == sorted(re.findall(r"\.docs/(\w+)\.svg", CHAPTER))
    for file in drawn:
        new, kept = (
            re.findall(r"<text[^>]*>([^<]+)<", each.read_text(encoding="utf-8"))
            for each in (file, ROOT / ".docs" / file.name)
        )
        assert len(new) > 8 and new == kept

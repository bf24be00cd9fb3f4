"""`fcnxs explain`, as a user runs it."""

import re
import shutil

import numpy as np
import pytest
from odd_graphs import gaps, once
from PIL import Image

from fcnxs import symbols
from fcnxs.compat import mxnet as mx
from fcnxs.tools.explanations.draw import _label, draw_net
from fcnxs.tools.main import main


def run(capsys, *arguments):
    """Exit code, output with its spaces and line ends made single spaces, and errors."""
    code = main(["explain", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, " ".join(captured.out.split()), captured.err


def small(**crop):
    data = mx.sym.Variable("data")
    x = mx.sym.Convolution(data, kernel=(3, 3), pad=(10, 10), num_filter=4, name="narrow")
    x = mx.sym.Activation(x, act_type="relu", name="narrow")  # a name that occurs twice
    x = mx.sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max", name="half:0")
    x = mx.sym.Deconvolution(x, kernel=(4, 4), stride=(2, 2), adj=(1, 1), num_filter=4, name="twice")
    return mx.sym.Crop(x, data, name="cut", **crop)


@pytest.fixture
def saved(tmp_path):
    def save(symbol, name="net.json"):
        symbol.save(str(tmp_path / name))
        return tmp_path / name

    return save


def test_fcn8s_is_explained(capsys):
    code, out, err = run(capsys, "fcn8s", "--image-size", "500x375")
    assert (code, err) == (0, "")
    assert "fcn8s: 49 layers, 134,489,759 parameters. Image 500x375: H = 375 rows." in out
    assert "Left out: 17 (Activation and Dropout), without parameters and as large as the layer above." in out
    assert "conv1_1 Convolution 1,792 H + 198 573 64 x 573 x 698 conv1_2 Convolution" in out
    assert (
        sum(
            row.op in ("Activation", "Dropout") for row in symbols.describe(symbols.NETS["fcn8s"](), (375, 500))
        )
        == 17
    )
    assert " relu" not in out and " drop" not in out
    assert "score4 Deconvolution 7,056 4 floor((H + 6)/32) + 9 53 21 x 53 x 69" in out
    assert "layer K S P adj S, P' stride" in out and "a deconvolution S (n - 1) + K - 2 P + adj." in out
    assert "conv1_1 3 1 100 1, -99 1, -99 3 " in out and "fc6 7 1 0 1, 3 32, -3 404 " in out
    assert "bigscore 16 8 0 7 1/8, -1/2 1, -31 468 upscore - - - 1, 31 1, 0 468 " in out
    assert "bigscore H + 62, data H; half of the difference is 31" in out
    assert "((7 - 1)/2 - 0) x 32 = 96 fc6" in out and "-(-31 - 0)/1 = 31" in out
    assert "bigscore (1, -31), from data (1, 0), is (1, -31); negated, 31" in out
    assert re.findall(r"the graph has (\d+): they agree", out) == ["5", "9", "31"] and "NOT GIVE" not in out
    assert (
        "smallest input? 26x26" in out and "With 25 rows, 'fc6' has a kernel of 7 rows and an input of 6" in out
    )
    assert "Why does conv1_1 pad 100?" in out and "the smallest input with a score would be 224x224" in out
    assert "the offset of upscore would be -68, a negative one" in out
    assert "What does a cell of score see? 404x404 pixels" in out and "372 of 404 rows are the same" in out
    assert "Does every pixel get a score? Yes, at every size from 26x26 on:" in out
    assert "Why is fc6 a convolution? In the classifier it is an inner product: 4,096 numbers" in out
    assert "the 25,088 values in the 7x7 cells of pool5, all that there are for an image of 224x224" in out
    assert (
        "where conv1_1 pads 1." in out and "32 pixels at a time" in out and "Here it has 15x11 places." in out
    )
    assert "score has a cell every 32 pixels, which sees 404x404; score_pool4 has a cell every 16 pixels" in out
    assert "which sees 100x100; score_pool3 has a cell every 8 pixels, which sees 44x44." in out
    assert "constants" not in out and "group" not in out


def test_numbers_follow_the_net_and_the_size(capsys):
    code, out, _ = run(capsys, "--model", "fcn32s", "--image-size", "58x57")
    assert code == 0 and "the graph has 19: they agree" in out
    assert "At 58x57, 0 rows at the top and 12 at the bottom have none, and 0 columns on the left and 0" in out
    assert "at other sizes up to 12" in out
    _, out, _ = run(capsys, "fcn32s", "--pooling-convention", "full")
    assert "smallest input? 1x1, width x height." in out and "would be 193x193. With 100" in out
    assert "ceil((H + 6)/32)" in out and "floor((H" not in out and "Yes, at every size: the" in out
    assert "adj S," not in out and "for an image of 224x224 where" in out and "skip" not in out
    code, out, _ = run(capsys, "fcn_alexnet")
    assert code == 0 and "score would have floor((H - 193)/32) rows" in out and "conv1 pad 100" in out
    assert "355x355 pixels" in out and "((11 - 4)/2 - 100) x 1 = -193/2 conv1" in out
    assert "P adj group S, P'" in out and "conv2 5 1 2 2 1, 0" in out and "conv3 3 1 1 1 1, 0" in out
    assert "the 9,216 values in the 6x6 cells of pool5. A" in out  # its image is not 6 times 32 pixels
    code, out, _ = run(capsys, "fcn8s_atonce")
    assert (
        code == 0 and "They multiply pool4 by 0.01, pool3 by 0.0001, so that the inputs of score_pool4" in out
    )


def test_mask_regression_and_the_classifier_have_sizes_of_their_own(capsys):
    code, out, _ = run(capsys, "mask_regression")
    assert code == 0 and "Image 224x224" in out and "Why does mask not scale?" in out
    assert "86,016 numbers" in out and "512 x 14 x 14 = 100,352 values of relu5_3: 8,631,877,632 weights" in out
    assert "21 masks of 64x64" in out and "FCN-8s scores 21 classes with 102,144 weights" in out
    assert 102_144 == (4096 + 512 + 256) * 21
    assert "mask FullyConnected 8,631,963,648 - - 86016" in out and "pad 100" not in out
    assert "can be built from 16x16 on, width x height, but the weights of mask belong to one size alone" in out
    code, out, _ = run(capsys, "vgg16")
    assert "Here it has one place." in out
    assert code == 0 and "smallest input? 224x224" in out and "Crop" not in out and "Why does" not in out


def test_a_saved_symbol_is_explained_by_name_of_its_file(capsys, saved):
    file = saved(small(offset=(10, 10)))
    for arguments in ((file,), ("--model", file)):
        code, out, err = run(capsys, *arguments, "--image-size", "64x48")
        assert (code, err) == (0, "") and "4 x 66 x 82" in out and "the graph has 10: they agree" in out
        assert out.count(" narrow ") == 3 and "Left out: 1 (Activation), without" in out
    file = saved(symbols.get_fcn16s_symbol(), "fcn16s-symbol.json")
    assert run(capsys, file)[1].split(": ", 1)[1] == run(capsys, "fcn16s")[1].split(": ", 1)[1]


def test_a_checkpoint_is_explained_by_its_prefix(capsys, saved):
    file = saved(small(offset=(10, 10)), "run-symbol.json")
    prefix = file.parent / "run"
    by_file, by_prefix = (run(capsys, name, "--image-size", "64x48") for name in (file, prefix))
    assert by_prefix[0] == 0 and by_prefix[1].split(": ", 1)[1] == by_file[1].split(": ", 1)[1]
    code, _, err = run(capsys, file.parent / "nothing")
    assert code == 2 and "nothing: no such file; the nets are" in err


def test_sizes_in_between_that_do_not_fit_are_said(capsys, saved):
    file = saved(gaps())
    code, out, _ = run(capsys, file, "--image-size", "64x64")
    assert code == 0 and "Not every larger one fits: of 3x3, 'cut' cuts 3 rows out of 2, from 0 on." in out
    assert "Yes, at every size that fits (3x3 does not): the upsampled scores reach the edges" in out
    code, _, err = run(capsys, file, "--image-size", "65x64")
    assert (
        code == 2
        and "65 columns out of 64, from 0 on; the nearest size that fits has 64 rows and 66 col" in err
    )


def test_a_net_for_one_size_says_so(capsys, saved):
    code, out, _ = run(capsys, saved(once()), "--image-size", "30x20")
    assert code == 0 and "smallest input? 30x20, width x height. With 19 rows," in out
    assert "Not every larger one fits: of 31x21, 'sum' joins layers of 20 and 21 rows." in out


def test_a_wrong_offset_is_said_and_is_exit_code_1(capsys, saved):
    file = saved(small(offset=(10, 9)))
    code, out, err = run(capsys, file, "--image-size", "64x48")
    assert (code, err) == (1, "")
    assert "the graph has 10: they agree" in out and "the graph has 9, WHICH THEY DO NOT GIVE" in out
    assert out.endswith("These offsets differ from those that the layers give: offset 9 of cut, columns")
    data = mx.sym.Variable("data")
    wide = mx.sym.Convolution(data, kernel=(3, 3), pad=(2, 2), num_filter=3, name="wide")
    total = mx.sym.elemwise_add(mx.sym.Crop(wide, data, offset=(0, 0), name="cut"), data, name="total")
    code, out, _ = run(capsys, saved(total))
    assert code == 1 and "rows: elemwise_add 'total' joins 'cut', map (1, -1), and 'data', map (1, 0)" in out


def test_operators_that_are_not_known_have_dashes(capsys, saved):
    x = mx.sym.Convolution(mx.sym.Variable("data"), kernel=(3, 5), pad=(1, 1), num_filter=2, name="a")
    x = mx.sym.contrib.BilinearResize2D(x, height=30, width=40, name="resize")
    x = mx.sym.Convolution(x, kernel=(3, 3), num_filter=2, name="b")
    code, out, _ = run(capsys, saved(x))
    assert code == 0 and "resize _contrib_BilinearResize2D - - 2 x 30 x 40" in out
    assert "resize - - - - - -" in out and "b 3 1 0 1, 1 - -" in out and "as far as the sizes are known" in out
    assert "The same for columns" in out and "a 5 1 1 1, 1 1, 1 5" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give one net, as NET or with --model; the nets are fcn32s, fcn16s"),
        (("fcn8s", "--model", "fcn8s"), "give one net"),
        (("fcn9s",), "fcn9s: neither the name of a net nor a file; the nets are fcn32s, .*, mask_regression"),
        (("none.json",), "none.json: no such file"),
        (
            ("fcn8s", "--image-size", "375"),
            "--image-size 375: expected width x height in pixels, .*, such as 500x375",
        ),
        (("fcn8s", "--image-size", "500x0"), "--image-size 500x0: expected"),
        (
            ("fcn8s", "--image-size", "500x100000"),
            "--image-size 500x100000: expected width x height in pixels, each from 1 to 99999",
        ),
        (
            ("fcn8s", "--png", "net.jpg"),
            "net.jpg: the picture is written as PNG; give a file name that ends in .png",
        ),
        (("fcn8s", "--png", "net"), "net: the picture is written as PNG"),
        (
            ("fcn8s", "--image-size", "25x375"),
            "25 columns does not fit: .*; the smallest .* 26 rows and 26 columns",
        ),
        (
            ("vgg16", "--image-size", "500x200"),
            "200 rows and 500 columns does not fit: .* has 224 rows and 224",
        ),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(capsys, arguments, message):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and re.match(f"fcnxs: .*{message}", err) and err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not a symbol JSON: Expecting value"),
        (b"\x89PNG", "not a symbol JSON: it is not text"),
        (b"some text", "not a symbol JSON: Expecting value"),
        (b"{}", "MXNet cannot load this symbol"),
        (b'{"nodes": [{"op": "Foo", "name": "a", "inputs": []}]}', "MXNet cannot load this symbol"),
    ],
)
def test_what_is_not_a_symbol_is_refused(capsys, tmp_path, content, what):
    (tmp_path / "net.json").write_bytes(content)
    code, out, err = run(capsys, tmp_path / "net.json")
    assert code == 2 and out == "" and re.match(rf"fcnxs: .*net.json: {what}.*\n$", err)


def test_a_file_says_itself_how_it_pools(capsys, saved):
    code, _, err = run(capsys, saved(small(offset=(10, 10))), "--pooling-convention", "full")
    assert code == 2 and "already sets how its poolings round" in err


def test_drawing_without_dot_says_what_to_install(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = run(capsys, "fcn8s", "--png", tmp_path / "net.png")
    assert (
        code == 2 and "install graphviz (on Debian: apt-get install graphviz)" in err and err.count("\n") == 1
    )
    assert list(tmp_path.iterdir()) == []
    assert run(capsys, "fcn8s")[0] == 0


def test_a_dot_that_fails_leaves_the_old_picture(capsys, tmp_path, monkeypatch):
    (tmp_path / "dot").write_text("#!/bin/sh\necho no >&2\nexit 3\n")
    (tmp_path / "dot").chmod(0o755)
    (tmp_path / "net.png").write_bytes(b"old")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    code, _, err = run(capsys, "fcn32s", "--png", tmp_path / "net.png", "--overwrite")
    assert (
        code == 2
        and "`dot` failed: no\n" in err
        and err.count("\n") == 1
        and (tmp_path / "net.png").read_bytes() == b"old"
    )


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz's dot is not installed")
def test_a_net_is_drawn(capsys, saved, tmp_path):
    file = tmp_path / "new" / "net.png"
    code, out, _ = run(capsys, saved(small(offset=(10, 10))), "--image-size", "64x48", "--png", file)
    assert (
        code == 0
        and out.endswith(f"wrote {file}")
        and [each.name for each in file.parent.iterdir()] == ["net.png"]
    )
    picture = np.asarray(Image.open(file).convert("RGB"))
    boxes = {"convolution": (251, 128, 114), "activation": (255, 255, 179), "pooling": (128, 177, 211)}
    for colour in boxes.values():  # plot_network's
        assert (picture == colour).all(-1).sum() > 500
    rows = {name: np.flatnonzero((picture == colour).all(-1).any(1)) for name, colour in boxes.items()}
    assert (
        rows["convolution"].max() < rows["activation"].min() < rows["pooling"].min()
    )  # the image is at the top
    assert [_label(row, row).split("\n")[1] for row in symbols.describe(small(offset=(10, 10)), (48, 64))] == [
        "Convolution 3x3 pad 10",
        "Activation",
        "Pooling 2x2/2",
        "Deconvolution 4x4/2",
        "Crop, offset 10",
    ]
    draw_net(symbols.get_mask_regression_symbol(), (224, 224), tmp_path / "masks.png")
    assert Image.open(tmp_path / "masks.png").format == "PNG"


def test_nets_of_two_heads_and_of_two_images_are_explained(capsys):
    """Offsets of every crop; what is asked of one head is answered of the first, of both trunks alike."""
    code, out, _ = run(capsys, "siftflow_fcn8s")
    assert code == 0 and out.count("they agree") == 6
    assert (
        "With a pad of 1, score_sem would have floor((H - 192)/32) rows, and the smallest input with a " in out
    )
    assert "the offset of upscore_sem and upscore_geo would be -68" in out
    assert "score_sem has a cell every 32 pixels, which sees 404x404; score_pool4_sem has" in out
    assert "score_pool3_geo has a cell" not in out and "The sum, score_final_sem" in out
    code, out, _ = run(capsys, "nyud_fcn32s_color_hha")
    assert code == 0 and out.count("they agree") == 1 and "upscore: bigscore cut like color_data" in out
    assert "With a pad of 1, scorehha would have floor((H - 192)/32) rows" in out
    code, out, _ = run(capsys, "nyud_fcn32s_color_d")
    assert code == 0 and re.search(r"conv1_1 +Convolution +2,368 ", out)  # 64 (4 x 9 + 1)

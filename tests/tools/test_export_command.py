"""`fcnxs export`: options that do not go together, lower precisions, scores, and what is printed."""

import json
import re
import shutil
import zipfile

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params

from fcnxs import checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.data.images import preprocess, read_image
from fcnxs.data.labels import read_label
from fcnxs.deploy import compare
from fcnxs.net import Net, scores_of
from fcnxs.score import confusion_matrix, scores
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.tools.main import main

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setattr(compare, "SIZES", ((40, 56), (61, 33)))


@pytest.fixture
def command(tmp_path):
    """Of a net with random weights: its class maps have all classes."""
    symbol, prefix = get_fcn8s_symbol(5, width=WIDTH, fc=FC), tmp_path / "net" / "fcn8s"
    checkpoint.save(prefix, 1, symbol, random_params(symbol, 3), {}, checkpoint.Meta())
    return ["export", "--prefix", str(prefix), "--epoch", "1", "--output", str(tmp_path / "out" / "net")]


def pictures(voc, *names):
    return [str(voc / "JPEGImages" / f"{name}.jpg") for name in names]


def test_options_that_do_not_go_together(command, voc, tmp_path, capsys):
    """One line each, which names the way out; and nothing is written."""
    (tmp_path / "empty").mkdir()
    image = pictures(voc, "val_0000")[0]
    int8 = ["--precision", "int8", "--calibrate"]
    for options, message in (
        (["--image-size", "500"], "such as 500x375, or dynamic"),
        (["--image-size", "0x40"], "--image-size 0x40: expected width x height"),
        (
            ["--image-size", "14x12"],
            "--image-size 14x12: 14x12 pixels is too small; the smallest for this net is 26x26",
        ),
        (["--trim"], "--trim: a trimmed net takes images of one size; give it with --image-size WxH"),
        (["--bgr"], "--bgr: works only with --raw-input; without it the input is RGB minus the mean"),
        (["--bgr", "--raw-input", "--format", "mar"], "--bgr with --format mar: the server decodes images"),
        (
            ["--precision", "int8"],
            "--precision int8: needs images to measure ranges on; give --calibrate IMAGE",
        ),
        (
            ["--precision", "bf16", "--format", "onnx"],
            "--precision bf16 with --format onnx: MXNet cannot",
        ),
        (
            ["--precision", "bf16", "--format", "ncnn"],
            "lower the precision in the runtime (opt.use_bf16_storage",
        ),
        ([*int8, image, "--format", "onnx"], "--precision int8 with --format onnx: MXNet cannot"),
        (
            ["--calibration-mode", "entropy"],
            "--calibration-mode entropy: has no effect without --precision int8",
        ),
        (["--keep-layers", "fc6"], "--keep-layers: has no effect with --precision fp32; give bf16 or int8"),
        (["--min-agreement", "0.9"], "--min-agreement 0.9: has no effect without --precision bf16 or int8"),
        (
            ["--precision", "bf16", "--layer-loss", "2"],
            "--layer-loss 2: expected a fraction of the pixels, from 0 to 1",
        ),
        (
            ["--precision", "bf16", "--keep-layers", "conv9"],
            "no convolution of the net matches 'conv9'; there are conv1_1",
        ),
        ([*int8, str(tmp_path / "nix")], "nix: no such file or folder"),
        ([*int8, str(tmp_path / "empty")], "empty: no images in this folder"),
        ([*int8, str(voc / "classes.txt")], "classes.txt: "),
        (["--split", "val"], "--split val: has no effect without --data"),
        (["--data", str(tmp_path / "nix")], "nix: no such folder or list"),
    ):
        assert main([*command, *options]) == 2, options
        err = capsys.readouterr().err
        assert message in err and err.count("\n") == 1, err
    assert not (tmp_path / "out").exists()


def test_int8_is_calibrated_compared_and_scored(command, voc, tmp_path, capsys):
    """What is printed is what the meta file has, and what the files give."""
    options = ["--precision", "int8", "--head", "logits", "--min-agreement", "0.5", "--data", str(voc)]
    folder = tmp_path / "photos"
    folder.mkdir()
    for picture in pictures(voc, "train_0000", "train_0001"):
        shutil.copy(picture, folder)
    (folder / "notes.txt").touch()
    assert main([*command, *options, "--calibrate", str(folder), *pictures(voc, "train_0002")]) == 0
    out = capsys.readouterr().out
    content = json.loads((tmp_path / "out" / "net-meta.json").read_text())["export"]["compared"]
    assert [each["name"].rpartition("/")[2] for each in content["images"]] == [
        f"train_000{i}.jpg" for i in range(3)
    ]
    assert f"the same class at {content['agreement']:.4%} of the pixels" in out
    assert re.search(r"^conv1_1 +fp32 +- +-$", out, re.MULTILINE)
    for each in content["layers"]:
        assert re.search(
            rf"^{each['layer']} +\w.* {each['changed']:.4%} +{each['error']:.1e}$", out, re.MULTILINE
        )
    source = checkpoint.load(command[2], 1)
    net = Net(scores_symbol(source.symbol), source.arg_params, {})
    exported = Net(*mx.model.load_checkpoint(command[-1], 0))
    matrices = np.zeros((2, 5, 5), np.int64)
    for i in range(3):
        data = preprocess(read_image(pictures(voc, f"val_000{i}")[0]), source.meta.mean)
        label = read_label(voc / "SegmentationClass" / f"val_000{i}.png")
        for matrix, each in zip(matrices, (net, exported)):
            matrix += confusion_matrix(label, scores_of(each, data).argmax(1)[0], 5)
    both = [scores(matrix).as_json() for matrix in matrices]
    assert content["scores"] == dict(zip(("checkpoint", "export"), both))
    assert f"{both[1]['mean_iu'] - both[0]['mean_iu']:+.4f}" in out


def test_layers_that_lose_too_much_stay_in_float32(command, voc, tmp_path, capsys):
    options = ["--precision", "int8", "--calibrate", *pictures(voc, "train_0000"), "--keep-layers", "none"]
    options += ["--calibration-mode", "entropy", "--min-agreement", "0.5"]
    assert main([*command, *options, "--layer-loss", "0.01"]) == 0
    table = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    nodes = json.loads((tmp_path / "out" / "net-symbol.json").read_text())["nodes"]
    in_float = [
        node for node in nodes if node["op"] == "_sg_mkldnn_conv" and "quantized" not in node.get("attrs", {})
    ]
    inner = [each for node in in_float for each in node["subgraphs"][0]["nodes"]]
    kept = [each["name"] for each in inner if each["op"] == "Convolution"]
    assert kept == [name for name, line in table.items() if "fp32, loses too much" in line]
    compared = json.loads((tmp_path / "out" / "net-meta.json").read_text())["export"]["compared"]
    assert kept == compared["float32_layers"]
    assert kept == [each["layer"] for each in compared["layers"] if each["changed"] > 0.01]
    assert 0 < len(kept) < len(compared["layers"]) == 18


def test_too_little_agreement_is_exit_code_1(command, voc, tmp_path, capsys):
    options = ["--precision", "int8", "--calibrate", *pictures(voc, "train_0000"), "--min-agreement", "1"]
    assert main([*command, *options]) == 1
    err = capsys.readouterr().err
    assert re.search(
        r"in int8 gives the checkpoint's class in \d\d\.\d\d% of the pixels, not 100.00%; keep more", err
    )
    assert err.endswith("nothing was written\n") and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_labels_are_fitted_to_a_fixed_size_too(command, voc, tmp_path, capsys):
    """Checkpoint and export see the same: their scores are equal."""
    assert main([*command, "--image-size", "80x64", "--trim", "--data", str(voc)]) == 0
    out = capsys.readouterr().out
    assert out.count("+0.0000") == 4 and out.count("64x80") == 2
    assert json.loads((tmp_path / "out" / "net-meta.json").read_text())["export"]["trimmed"] is True


def test_an_archive_is_made_of_the_json_form(command, tmp_path, capsys, monkeypatch):
    """Of class maps, unless another head is asked for; what it answers is compared as well."""
    out = tmp_path / "out"
    assert main([*command, "--format", "mar"]) == 0
    assert f"wrote {out}/net.mar (" in capsys.readouterr().out
    assert sorted(file.name for file in out.iterdir()) == ["net-server.sh", "net.mar", "net.properties"]
    with zipfile.ZipFile(out / "net.mar") as archive:
        meta = json.loads(archive.read("net-meta.json"))["export"]
        assert mx.sym.load_json(archive.read("net-symbol.json").decode()).list_outputs() == ["class_map_output"]
    assert meta["format"] == "mar" and meta["compared"]["agreement"] == 1
    monkeypatch.setattr(
        compare, "answers_of", lambda _, images: [np.zeros(each.shape[:2], int) for each in images]
    )
    command[-1] = str(tmp_path / "new" / "net")
    assert main([*command, "--format", "mar"]) == 1
    assert re.search(
        r"gives the checkpoint's class in \d+\.\d+% of the pixels of picture 1", capsys.readouterr().err
    )
    assert not (tmp_path / "new").exists()

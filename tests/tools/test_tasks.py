"""Commands on nets of several heads: each head is a net of its own; what takes two images is refused."""

import json
import re

import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from PIL import Image
from scipy.io import savemat

from fcnxs import FCNXSError, Segmenter, checkpoint, gluon
from fcnxs.compat import mxnet as mx
from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.data.images import preprocess
from fcnxs.net import Net, outputs_of
from fcnxs.symbols import NETS, get_fcnxs_symbol
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.tools.benchmarks.parity import random_blobs
from fcnxs.tools.main import main

HEADS = {"sem": ["a", "b", "c", "d", "e"], "geo": ["background", "horizontal", "vertical"]}
NARROW = {"width": WIDTH, "fc": FC, "pooling_convention": "full"}


@pytest.fixture
def two(tmp_path):
    """Prefix of a net of two heads, and its scores of an image, computed from its whole graph."""
    net = get_fcnxs_symbol(8, heads={head: len(names) for head, names in HEADS.items()}, **NARROW)
    params = random_params(net)
    prefix = str(tmp_path / "two")
    checkpoint.save(prefix, 0, net, params, {}, checkpoint.Meta(heads=HEADS))
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    data = {"data": preprocess(photo(), checkpoint.Meta().mean)}
    return prefix, dict(zip(HEADS, outputs_of(Net(scores_symbol(net, several=True), params, {}), data)))


def assert_map(file, scores):
    np.testing.assert_array_equal(np.asarray(Image.open(file)), scores[0].argmax(0))


def test_segment_writes_a_map_of_each_head(two, tmp_path, capsys):
    """In a folder for each; trimmed, and in tiles."""
    prefix, scores = two
    image, out = str(tmp_path / "photo.png"), tmp_path / "masks"
    for more in ([], ["--no-trim", "--overwrite"]):
        assert main(["segment", "--prefix", prefix, image, "--output", str(out), *more]) == 0, (
            capsys.readouterr().err
        )
        told = capsys.readouterr().out
        for head, expected in scores.items():
            np.testing.assert_array_equal(
                np.asarray(Image.open(out / head / "photo.png")), expected[0].argmax(0)
            )
            assert f"{out / head / 'photo.png'}: " in told
    assert any(name in told for name in HEADS["sem"])
    assert main(["segment", "--prefix", prefix, image, "--output", str(tmp_path / "geo"), "--task", "geo"]) == 0
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "geo" / "photo.png")), scores["geo"][0].argmax(0)
    )
    assert main(["segment", "--prefix", prefix, image, "--output", str(out), "--task", "sky"]) == 2
    assert "two-0000.params: head 'sky': the net has the heads sem and geo" in capsys.readouterr().err
    tiled = Segmenter(prefix, head="sem", memory_limit=20e6)
    np.testing.assert_array_equal(tiled(photo()), scores["sem"][0].argmax(0))
    assert tiled.classes == HEADS["sem"] and Segmenter(prefix, head="geo").palette[0] == [0, 0, 0]
    with pytest.raises(FCNXSError, match="a net with the heads sem and geo; choose one of them"):
        Segmenter(prefix)


def test_evaluate_and_export_take_one_head_and_export_all(two, tmp_path, capsys):
    prefix, scores = two
    folder = tmp_path / "set"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    Image.fromarray(photo()).save(folder / "images" / "one.png")
    label = np.random.default_rng(0).integers(0, 3, photo().shape[:2]).astype(np.uint8)
    Image.fromarray(label).save(folder / "labels" / "one.png")
    told = tmp_path / "scores.json"
    at = ["--prefix", prefix, "--epoch", "0"]
    assert main(["evaluate", *at, "--data", str(folder), "--task", "geo", "--json", str(told)]) == 0
    accuracy = (scores["geo"][0].argmax(0) == label).mean()
    assert json.loads(told.read_text())["pixel_accuracy"] == pytest.approx(accuracy)
    assert [row["class"] for row in json.loads(told.read_text())["per_class"]] == HEADS["geo"]
    capsys.readouterr()
    for command in (
        ["evaluate", *at, "--data", str(folder)],
        ["export", *at, "--output", str(tmp_path / "out"), "--data", str(folder)],
    ):
        assert main(command) == 2
        assert re.search(r"a net with the heads sem and geo; .*\(--task\)", capsys.readouterr().err)
    assert main(["export", *at, "--output", str(tmp_path / "both")]) == 0
    assert "picture 1, head geo" in capsys.readouterr().out
    for head in HEADS:  # of one file
        found = Segmenter(str(tmp_path / "both"), 0, head=head)
        np.testing.assert_array_equal(found(photo()), scores[head][0].argmax(0))
    assert main(["export", *at, "--output", str(tmp_path / "out"), "--task", "sem"]) == 0
    np.testing.assert_array_equal(Segmenter(str(tmp_path / "out"), 0)(photo()), scores["sem"][0].argmax(0))


def test_evaluate_scores_each_head_in_one_run(two, tmp_path, capsys):
    """Against NumPy, from the outputs of the whole graph; files have the heads' names."""
    prefix, scores = two
    folder, rng = tmp_path / "set", np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    Image.fromarray(photo()).save(folder / "images" / "one.png")
    labels = {head: rng.integers(0, len(names), photo().shape[:2]) for head, names in HEADS.items()}
    for head, label in labels.items():
        (folder / f"labels-{head}").mkdir()
        Image.fromarray(label.astype(np.uint8)).save(folder / f"labels-{head}" / "one.png")
    command = ["evaluate", "--prefix", prefix, "--epoch", "0", "--data", str(folder)]
    command += ["--json", str(tmp_path / "scores.json"), "--dump", str(tmp_path / "maps")]
    assert main(command) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    for head, label in labels.items():
        assert f"head {head}:" in told
        found = json.loads((tmp_path / f"scores-{head}.json").read_text())
        assert found["pixel_accuracy"] == pytest.approx((scores[head][0].argmax(0) == label).mean())
        assert [row["class"] for row in found["per_class"]] == HEADS[head]
        assert_map(tmp_path / "maps" / head / "one.png", scores[head])
    assert main([*command, "--task", "geo", "--overwrite"]) == 0 and (tmp_path / "scores.json").exists()


def test_each_head_is_scored_on_its_labels_of_sift_flow(tmp_path, capsys):
    """From the authors' file and layout on; the scores are those of the two outputs of the whole graph."""
    rng, outdoor = np.random.default_rng(0), "spatial_envelope_256x256_static_8outdoorcategories"
    heads = {"sem": ("siftflow", "SemanticLabels", 33), "geo": ("siftflow_geo", "GeoLabels", 34)}
    write_caffemodel(tmp_path / "net.caffemodel", random_blobs("siftflow_fcn16s", WIDTH, FC, 33))
    prefix = str(tmp_path / "siftflow")
    assert main(["convert", str(tmp_path / "net.caffemodel"), prefix]) == 0
    loaded = checkpoint.load(prefix, 0)
    assert loaded.meta.heads["sem"][:2] == ["awning", "balcony"] and loaded.meta.heads["geo"][0] == "class 0"
    (tmp_path / "test.txt").write_text("coast_natu975\n")
    folder = tmp_path / "Images" / outdoor
    folder.mkdir(parents=True)
    Image.fromarray(photo()).save(folder / "coast_natu975.png")
    (folder / "coast_natu975.png").rename(folder / "coast_natu975.jpg")  # lossless, whatever its name
    net = Net(scores_symbol(loaded.symbol, several=True), loaded.arg_params, {})
    scores = outputs_of(net, {"data": preprocess(photo(), loaded.meta.mean)})
    names = tmp_path / "geo.txt"
    names.write_text("".join(f"class {i}\n" for i in range(34)))
    for (head, (data, labels, count)), expected in zip(heads.items(), scores):
        label = rng.integers(0, min(count, 33) if head == "sem" else 4, photo().shape[:2])
        (tmp_path / labels / outdoor).mkdir(parents=True)
        savemat(tmp_path / labels / outdoor / "coast_natu975.mat", {"S": label.astype(np.float64)})
        command = ["evaluate", "--prefix", prefix, "--epoch", "0", "--data", data, "--root", str(tmp_path)]
        command += ["--split", "test", "--json", str(tmp_path / f"{head}.json"), "--task", head]
        assert main([*command, *(["--classes", str(names)] if head == "geo" else [])]) == 0, (
            capsys.readouterr().err
        )
        counted = label > 0
        accuracy = (expected[0].argmax(0)[counted] == label[counted] - 1).mean()
        told = json.loads((tmp_path / f"{head}.json").read_text())
        assert told["pixel_accuracy"] == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("name", "takes"),
    [("nyud_fcn32s_color_hha", 6), ("nyud_fcn32s_color_d", 4)],
)
def test_nets_whose_meta_file_names_no_images_are_refused_in_one_line(name, takes, tmp_path, capsys, voc):
    net = NETS[name](numclass=5, **NARROW)
    prefix = str(tmp_path / "net")
    checkpoint.save(prefix, 0, net, random_params(net), {}, checkpoint.Meta())
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    at, out = ["--prefix", prefix, "--epoch", "0"], str(tmp_path / "out")
    for command in (
        ["segment", *at, str(tmp_path / "photo.png"), "--output", out],
        ["evaluate", *at, "--data", str(voc)],
        ["export", *at, "--output", out],
    ):
        assert main(command) == 2
        told = (
            f"net-0000.params: the net's input has {takes} channels, and its meta file a mean of 3 (of color)"
        )
        assert told in capsys.readouterr().err
    with pytest.raises(FCNXSError, match="takes"):
        gluon.FCNxs(net)


def test_finetune_of_one_head_takes_the_trunk_and_says_so(two, voc, tmp_path, capsys):
    prefix, _ = two
    run = [
        "--output",
        str(tmp_path / "run"),
        "--stages",
        "fcn8s",
        "--epochs",
        "1",
        "--num-classes",
        "5",
        "--no-val",
    ]
    assert main(["finetune", "--prefix", prefix, "--epoch", "0", "--data", str(voc), *run]) == 0
    told = capsys.readouterr().out
    assert "an siftflow_fcn8s for 5 and 3 classes, and these are 5: its VGG-16 (conv1_1 to fc7) is kept" in told
    with pytest.raises(FCNXSError, match="heads sem and geo"):
        gluon.FCNxs(checkpoint.load(prefix, 0).symbol)
    assert mx.sym.load(f"{prefix}-symbol.json").list_outputs() == ["softmax_sem_output", "softmax_geo_output"]

"""Nets of two images: trained, resumed, fused, evaluated and used for segmentation."""

import json
import shutil

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params
from PIL import Image

import fcnxs
from fcnxs import FCNXSError, checkpoint
from fcnxs.checkpoint.source import fused
from fcnxs.compat import mxnet as mx
from fcnxs.conventions import IMAGE_MEANS
from fcnxs.finetune.run import Run
from fcnxs.net import Net, outputs_of
from fcnxs.symbols import NETS
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.symbols.interpolation import bilinear
from fcnxs.tools.main import main

KINDS = {"nyud_fcn32s_color_hha": ("color", "hha"), "nyud_fcn32s_color_d": ("color", "depth")}
CLASSES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("rgbd"), np.random.default_rng(0)
    for number in range(4):
        label = np.kron(rng.integers(0, 3, (5, 6)), np.ones((8, 8))).astype(np.uint8)
        depth = (1000 * (1 + label) + rng.integers(0, 500, label.shape)).astype(np.uint16)
        colour, hha = (rng.integers(0, 256, (*label.shape, 3), np.uint8) for _ in range(2))
        hha[..., 0] = 80 * label
        for folder, array in (("images", colour), ("hha", hha), ("depth", depth), ("labels", label)):
            file = root / folder / ("train" if number else "val") / f"p{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(file)
    (root / "classes.txt").write_text("\n".join(CLASSES))
    return root


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    prefix, net = tmp_path_factory.mktemp("vgg") / "vgg", NETS["vgg16fc"](width=WIDTH, fc=FC)
    checkpoint.save(prefix, 0, net, random_params(net), {}, checkpoint.Meta())
    return str(prefix)


def saved(folder, kind, seed, **more):
    """An FCN-32s with random weights, for images of one kind."""
    net = NETS["fcn32s"](numclass=3, width=WIDTH, fc=FC)
    means = {} if kind == "color" else {"means": {kind: IMAGE_MEANS[kind]}}
    palette = [[number, 0, 0] for number in range(3)]
    meta = checkpoint.Meta(
        **{"classes": CLASSES, "palette": palette, "mean": IMAGE_MEANS[kind], **means, **more}
    )
    params = random_params(net, seed)
    params["bigscore_weight"] = mx.nd.array(bilinear(params["bigscore_weight"].shape))
    checkpoint.save(folder / kind, 0, net, params, {}, meta)
    return str(folder / kind)


def preprocessed(array, mean):
    return (array.astype(np.float64) - mean).transpose(2, 0, 1)[np.newaxis].astype(np.float32)


def test_late_fusion_of_two_nets_gives_the_mean_of_their_scores(data, tmp_path):
    """The upsampled mean of scores is the mean of the upsampled scores, since upsampling is linear."""
    prefixes = {kind: saved(tmp_path, kind, seed) for seed, kind in enumerate(("color", "hha"))}
    files = [data / kind / "val" / "p0.png" for kind in ("images", "hha")]
    expected = 0
    for (kind, prefix), file in zip(prefixes.items(), files):
        one, pixels = checkpoint.load(prefix, 0), np.asarray(Image.open(file))
        net = Net(scores_symbol(one.symbol), one.arg_params, {})
        expected = expected + outputs_of(net, {"data": preprocessed(pixels, IMAGE_MEANS[kind])})[0][0] / 2
    segmenter = fcnxs.Segmenter(prefixes)
    found = segmenter.probabilities(fcnxs.Scene(*files))
    exact = np.exp(expected.astype(np.float64) - expected.max(axis=0))
    np.testing.assert_allclose(found, exact / exact.sum(axis=0), atol=1e-5)
    np.testing.assert_array_equal(segmenter.probabilities(files[0]), found)  # which finds the other one
    arrays = fcnxs.Scene(*(np.asarray(Image.open(file)) for file in files))
    np.testing.assert_array_equal(next(segmenter([arrays])), segmenter(files[0]))


@pytest.mark.parametrize("name", KINDS)
def test_both_images_are_mirrored_and_two_trunks_are_not_tiled(name):
    net, rng = NETS[name](numclass=3, width=WIDTH, fc=FC), np.random.default_rng(1)
    meta = checkpoint.Meta(means={kind: IMAGE_MEANS[kind] for kind in KINDS[name]})
    source = checkpoint.Checkpoint(net, random_params(net), {}, meta, "weights")
    color = rng.integers(0, 256, (50, 71, 3), np.uint8)
    hha, depth = rng.integers(0, 256, color.shape, np.uint8), rng.integers(1, 9000, color.shape[:2])
    scene = fcnxs.Scene(color, hha if name.endswith("hha") else depth)
    mirrored = fcnxs.Scene(color[:, ::-1], scene.second[:, ::-1])
    once = fcnxs.Segmenter(source)
    expected = (once.probabilities(scene) + once.probabilities(mirrored)[..., ::-1]) / 2
    np.testing.assert_allclose(fcnxs.Segmenter(source, flip=True).probabilities(scene), expected, atol=1e-5)
    with pytest.raises(FCNXSError, match="by tile" if name.endswith("hha") else "smallest tiles"):
        fcnxs.Segmenter(source, memory_limit=1e6)(scene)


def finetune(*options):
    assert main(["finetune", *map(str, options), "--recipe", "adam", "--epochs", "2", "--quiet"]) == 0


@pytest.mark.parametrize("name", KINDS)
def test_a_net_of_two_images_is_trained_scored_and_used(name, data, vgg, tmp_path, capsys):
    kinds, run, at = KINDS[name], tmp_path / "run", ("--data", data, "--output", tmp_path / "run")
    start = ("--prefix", vgg, "--epoch", 0)
    if name.endswith("hha"):
        start = ("--init", *(f"{kind}={saved(tmp_path, kind, seed)}" for seed, kind in enumerate(kinds)))
    finetune(*at, *start, "--stages", name, "--random-flip")
    found = checkpoint.load(run / name, 2)
    assert (
        found.meta.images == kinds and found.symbol.list_arguments() == NETS[name](numclass=3).list_arguments()
    )
    means = {kind: tuple(mean) for kind, mean in found.meta.means.items()}
    assert means == {kind: IMAGE_MEANS[kind] for kind in kinds}
    expected = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["mean_iu"]

    out, scores = tmp_path / "out", tmp_path / "scores.json"
    prefix = ["--prefix", str(run / name), "--epoch", "2"]
    assert main(["evaluate", *prefix, "--data", str(data), "--json", str(scores), "--dump", str(out)]) == 0
    assert json.loads(scores.read_text())["mean_iu"] == pytest.approx(expected)
    assert main(["report", str(run)]) == 0
    image, second = data / "images" / "val" / "p0.png", data / kinds[1] / "val" / "p0.png"
    for number, more in enumerate(([], ["--second", str(second)], ["--second", str(second.parent)])):
        folder = tmp_path / f"masks{number}"
        assert main(["segment", *prefix, str(image), "--output", str(folder), *more]) == 0
        mask = np.asarray(Image.open(folder / "p0.png"))
        np.testing.assert_array_equal(mask, np.asarray(Image.open(out / "p0.png")))
    for given, said in (
        (["--format", "mar"], "makes a server of one image"),
        (["--calibrate", str(image), "--precision", "int8"], "--calibrate reads one"),
        (["--raw-input", "uint8", "--bgr"], "is for three channels"),
    ):
        assert main(["export", *prefix, "--output", str(tmp_path / "net"), *given]) == 2
        assert said in capsys.readouterr().err
    aside = tmp_path / "alone.png"
    aside.write_bytes(image.read_bytes())
    assert main(["segment", *prefix, str(aside), "--output", str(folder)]) == 1
    assert f"{aside}: is in no folder images" in capsys.readouterr().err


def test_depth_begins_with_the_mean_of_the_colours(data, vgg, tmp_path):
    """One step at a rate of nearly 0 leaves the first values."""
    at = ("--data", data, "--output", tmp_path / "run", "--prefix", vgg, "--epoch", 0, "--lr", 1e-12)
    finetune(*at, "--stages", "nyud_fcn32s_color_d")
    weight = checkpoint.load(tmp_path / "run" / "nyud_fcn32s_color_d", 1).arg_params["conv1_1_weight"].asnumpy()
    own = checkpoint.load(vgg, 0).arg_params["conv1_1_weight"].asnumpy()
    np.testing.assert_allclose(weight[:, :3], own, atol=1e-6)
    np.testing.assert_allclose(weight[:, 3], own.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize(("of", "warned"), [(6, False), (9, True), (1 / 9, True)])
def test_depth_in_another_unit_is_told(of, warned, data, vgg, tmp_path, capsys):
    """The depth's median is 2250; 2551, whose logarithm is the mean, times e^2 and e^-2 are 18850 and 345."""
    shutil.copytree(data / "images" / "train", tmp_path / "images")
    shutil.copytree(data / "labels" / "train", tmp_path / "labels")
    (tmp_path / "depth").mkdir()
    for number in (1, 2, 3):
        depth = np.where(np.arange(48) % 2, 2300, 2200) * np.ones((40, 1)) * of
        Image.fromarray(depth.astype(np.float32)).save(tmp_path / "depth" / f"p{number}.tif")
    how = ("--data", tmp_path, "--output", tmp_path / "run", "--prefix", vgg, "--epoch", 0, "--num-classes", 3)
    finetune(*how, "--stages", "nyud_fcn32s_color_d", "--epochs", 1)
    told = capsys.readouterr().err
    middle = np.log(of * np.array([2200.0, 2300.0])).mean()
    assert (
        f"the median logarithm of depth is {middle:.3f} (a depth of {np.exp(middle):.4g}) in 3" in told
    ) == warned
    assert ("the mean that is subtracted is 7.844" in told) == warned


def test_a_net_of_hha_alone_has_the_mean_of_its_images(data, vgg, tmp_path):
    at = ("--data", data, "--output", tmp_path / "run", "--prefix", vgg, "--epoch", 0)
    finetune(*at, "--stages", "fcn32s", "--modality", "hha")
    found = checkpoint.load(tmp_path / "run" / "fcn32s", 2)
    assert found.meta.images == ("hha",) and found.meta.mean == IMAGE_MEANS["hha"]
    segmenter = fcnxs.Segmenter(found)
    assert segmenter(data / "hha" / "val" / "p0.png").shape == (40, 48)


VGG = ("--prefix", "VGG", "--epoch", "0")
HHA = ("--stages", "nyud_fcn32s_color_hha")
WRONG = {
    "one net": (
        [*VGG, "--stages", "nyud_fcn32s_color_hha"],
        "cannot start from vgg16",
    ),
    "one of two": (
        ["--init", "color=C", "depth=D", "--stages", "nyud_fcn32s_color_hha"],
        "expected color=PREFIX",
    ),
    "both": (["--prefix", "VGG", "--init", "color=C", "hha=H"], "--init: takes the place of --prefix"),
    "stages": (
        [*VGG, "--modality", "color,hha"],
        "--modality color,hha: does not fit",
    ),
    "images": (
        [*VGG, "--modality", "depth"],
        "--modality depth: expected color, or hha",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused_in_one_line(wrong, data, vgg, tmp_path, capsys):
    options, text = WRONG[wrong]
    options = [vgg if each == "VGG" else each for each in options]
    try:
        code = main(["finetune", "--data", str(data), "--output", str(tmp_path / "run"), *options, "--quiet"])
    except SystemExit as ended:  # argparse's
        code = ended.code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and text in error


def test_nets_that_cannot_be_fused_are_refused_by_their_files(tmp_path):
    color, wide = (checkpoint.load(saved(tmp_path, kind, 0), 0) for kind in ("color", "hha"))
    wide.meta = checkpoint.Meta(classes=["x", "y", "z"], palette=wide.meta.palette, means=wide.meta.means)
    with pytest.raises(FCNXSError, match="differ: other names of classes"):
        fused({"color": color, "hha": wide})
    with pytest.raises(FCNXSError, match="late fusion takes color and hha"):
        fused({"color": color})
    with pytest.warns(fcnxs.FCNXSWarning, match="taken for hha"):
        fused({"color": color, "hha": color})


@pytest.mark.parametrize("name", KINDS)
def test_a_run_goes_on_with_both_images(name, data, vgg, tmp_path, monkeypatch):
    """It is stopped after its first epoch, and ends with the parameters of one that was not."""
    start = ("--prefix", vgg, "--epoch", 0)
    if name.endswith("hha"):
        start = ("--init", *(f"{kind}={saved(tmp_path, kind, seed)}" for seed, kind in enumerate(KINDS[name])))
    at = ("--data", data, *start, "--stages", name)
    finetune(*at, "--output", tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(Run, "save_epoch", stopped_after(Run.save_epoch))
        with pytest.raises(AssertionError):  # interrupted
            finetune(*at, "--output", tmp_path / "run")
    assert main(["finetune", "--resume", str(tmp_path / "run"), "--quiet"]) == 0
    ends = [checkpoint.load(tmp_path / run / name, 2).arg_params for run in ("whole", "run")]
    for key, array in ends[0].items():
        np.testing.assert_array_equal(array.asnumpy(), ends[1][key].asnumpy(), key)


def stopped_after(save):
    def stop(run, *args):
        save(run, *args)
        raise KeyboardInterrupt

    return stop

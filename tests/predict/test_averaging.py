"""Probabilities averaged over scales and mirror images."""

import json
import re

import numpy as np
import pytest
from conftest import CTX, FC, WIDTH, fresh_probabilities, photo, random_params
from PIL import Image

from fcnxs import FCNXSError, checkpoint
from fcnxs.data.generated import CLASSES
from fcnxs.data.images import preprocess
from fcnxs.data.labels import read_label
from fcnxs.predict import Segmenter
from fcnxs.predict.multiscale import check_scales, resized, scaled
from fcnxs.score import confusion_matrix, scores
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.tools.main import main
from fcnxs.vis import voc_palette

NUMCLASS = len(CLASSES)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A random FCN-8s with a mean of its own, and probabilities that are neither 0 nor 1."""
    prefix = tmp_path_factory.mktemp("net") / "fcn8s"
    symbol = get_fcn8s_symbol(NUMCLASS, width=WIDTH, fc=FC)
    params = random_params(symbol)
    params["bigscore_weight"] *= 0.02
    meta = checkpoint.Meta(list(CLASSES), voc_palette(NUMCLASS), mean=(80.0, 130.0, 100.0))
    checkpoint.save(prefix, 3, symbol, params, {}, meta)
    return checkpoint.load(prefix, 3)


@pytest.fixture(scope="module")
def plain(source):
    return Segmenter(source, ctx=CTX)


@pytest.fixture(scope="module")
def averaging(source):
    return Segmenter(source, ctx=CTX, scales=(1.3, 0.5, 1), flip=True)


def bilinear(planes, size):
    """Planes (C, H, W) at another size in float64, by their definition: pixels are squares, edges stay."""
    for axis in (1, 2):
        length = planes.shape[axis]
        at = (np.arange(size[axis - 1]) + 0.5) * length / size[axis - 1] - 0.5
        low = np.floor(at).astype(int)
        shape = (1, -1, 1) if axis == 1 else (1, 1, -1)
        lower, upper = (planes.take(np.clip(low + i, 0, length - 1), axis).astype(float) for i in (0, 1))
        planes = lower + (at - low).reshape(shape) * (upper - lower)
    return planes


def test_resizing_is_bilinear_between_edges():
    planes = np.random.default_rng(0).normal(0, 1, (3, 37, 51)).astype(np.float32)
    for size in ((37, 51), (18, 26), (74, 102), (50, 33), (1, 1)):
        np.testing.assert_allclose(resized(planes, size), bilinear(planes, size), atol=1e-5)
    assert scaled((375, 500), 0.75) == (281, 375) and scaled((61, 1), 0.5) == (31, 1)


def test_the_average_is_that_of_the_net_at_each_scale(source, averaging, ctx):
    """Composed by hand in float64, of executors that have never run before."""
    image, size = photo(61, 75), (61, 75)
    data = preprocess(image, source.meta.mean)
    expected = np.zeros((NUMCLASS, *size))
    for at_scale in ((79, 98), (31, 38), (61, 75)):
        for step in (1, -1):
            small = bilinear(data[0], at_scale)[np.newaxis, ..., ::step]
            found = fresh_probabilities(source.symbol, source.arg_params, small, ctx)[0]
            expected += bilinear(found[..., ::step], size) / 6
    found = averaging.probabilities(image)
    assert found.dtype == np.float32 and 0.2 < np.median(found.max(axis=0)) < 0.95
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-5)
    mask = averaging(image)
    np.testing.assert_array_equal(mask, found.argmax(axis=0))
    assert mask.dtype == np.uint8 and (mask != Segmenter(source, ctx=CTX)(image)).any()
    np.testing.assert_array_equal(averaging.class_map(data), mask)


def test_scale_1_without_mirror_images_is_the_plain_net(source, plain):
    alone, image = Segmenter(source, ctx=CTX, scales=[1.0], flip=False), photo()
    np.testing.assert_array_equal(alone(image), plain(image))
    np.testing.assert_array_equal(alone.probabilities(image), plain.probabilities(image))


def test_the_order_of_scales_changes_no_bit(source, averaging):
    other = Segmenter(source, ctx=CTX, scales=(0.5, 1, 1.3), flip=True)
    np.testing.assert_array_equal(other.probabilities(photo()), averaging.probabilities(photo()))


def test_the_mirrored_image_has_the_mirrored_answer(averaging, plain):
    image = photo(61, 75)
    mirrored = averaging.probabilities(image[:, ::-1])[..., ::-1]
    np.testing.assert_allclose(mirrored, averaging.probabilities(image), atol=1e-5)
    assert np.abs(plain.probabilities(image[:, ::-1])[..., ::-1] - plain.probabilities(image)).max() > 0.1


def test_a_constant_image_is_constant_at_every_scale(source, plain):
    """Nothing is added around it: the net sees the same colour at each scale, and that alone."""
    halves, colour = Segmenter(source, ctx=CTX, scales=(0.5, 1.5)), np.array([200, 30, 90], np.uint8)
    parts = [plain.probabilities(np.full((*scaled((60, 70), s), 3), colour)) for s in (0.5, 1.5)]
    expected = sum(bilinear(part, (60, 70)) for part in parts) / 2
    np.testing.assert_allclose(halves.probabilities(np.full((60, 70, 3), colour)), expected, atol=1e-5)


def test_scales_that_need_tiles_give_the_same(source):
    image, scales = photo(100, 120), (0.5, 1.5)
    whole, tiled = (
        Segmenter(source, ctx=CTX, scales=scales),
        Segmenter(source, ctx=CTX, scales=scales, memory_limit=18e6),
    )
    np.testing.assert_allclose(tiled.probabilities(image), whole.probabilities(image), atol=1e-5)
    assert tiled._net._tiled[:2] == (150, 180)  # and 50x60 ran as a whole
    tiled.memory_limit = 2e6
    with pytest.raises(
        FCNXSError, match=r"^an image at scale 1.5: 180x150 pixels need .* besides .*; leave this scale"
    ):
        tiled(image)
    tiled.memory_limit = 0.3e6
    with pytest.raises(
        FCNXSError, match="^an image: scores of .* classes for every pixel take 0.000 GB; the limit"
    ):
        tiled(image)


def test_an_image_too_small_at_a_scale_is_named_with_the_scale(source, averaging):
    with pytest.raises(
        FCNXSError, match="^an image at scale 0.5: 35x20 pixels is too small; .* 26x26; leave this"
    ):
        averaging(photo(40, 70))
    with pytest.raises(FCNXSError, match=r"^images\[1\]: 20x20 pixels is too small") as error:
        [*Segmenter(source, ctx=CTX, scales=(1, 2))([photo(), photo(20, 20)])]
    assert "leave" not in str(error.value)


@pytest.mark.parametrize("text", ["0", "-1", "1,-0.5", "nan", "abc", "1,", "1,1.0", "inf", "1e9"])
def test_scales_that_make_no_sense_are_refused_in_one_line(text, capsys):
    command = ["evaluate", "--prefix", "none", "--epoch", "0", "--data", "none", f"--scales={text}"]
    assert main(command) == 2
    want = "expected different numbers above 0, up to 10, such as 0.5,1,1.5"
    assert capsys.readouterr().err == f"fcnxs: --scales {text}: {want}\n"


@pytest.mark.parametrize("scales", [(), 1, "abc", (0,), (1, 1), None])
def test_so_are_they_by_the_library(scales, source):
    with pytest.raises(FCNXSError, match="scales .*: expected different numbers above 0"):
        Segmenter(source, ctx=CTX, scales=scales)
    assert check_scales(("1.5", 1)) == (1.0, 1.5)


def test_evaluate_scores_and_dumps_the_segmenter_s_class_maps(source, voc, tmp_path, capsys):
    """And its JSON says what was averaged."""
    prefix, segmenter = (
        str(source.params_file)[: -len("-0003.params")],
        Segmenter(source, ctx=CTX, scales=(1, 0.5), flip=True),
    )
    command = [
        "evaluate",
        "--prefix",
        prefix,
        "--epoch",
        "3",
        "--data",
        str(voc),
        "--json",
        str(tmp_path / "json"),
    ]
    assert main([*command, "--scales", "1,0.5", "--flip", "--dump", str(tmp_path / "dump")]) == 0
    averaged = json.loads((tmp_path / "json").read_text())
    images = sorted((voc / "JPEGImages").glob("val_*.jpg"))
    matrix = np.zeros((NUMCLASS, NUMCLASS), int)
    for image, mask in zip(images, segmenter(images)):
        np.testing.assert_array_equal(Image.open(tmp_path / "dump" / f"{image.stem}.png"), mask)
        truth = read_label(voc / "SegmentationClass" / f"{image.stem}.png")
        matrix += confusion_matrix(truth, mask, NUMCLASS)
    assert (averaged["scales"], averaged["flip"]) == ([0.5, 1.0], True) and len(np.unique(mask)) > 1
    assert averaged["mean_iu"] == pytest.approx(scores(matrix).mean_iu)
    assert main(command) == 0
    plain = json.loads((tmp_path / "json").read_text())
    assert (plain["scales"], plain["flip"]) == ([1.0], False) and plain["mean_iu"] != averaged["mean_iu"]


def test_an_image_too_small_at_a_scale_is_refused_before_any_is_computed(source, voc, capsys, monkeypatch):
    monkeypatch.setattr(Segmenter, "class_map", None)
    command = ["evaluate", "--prefix", str(source.params_file)[: -len("-0003.params")], "--epoch", "3"]
    assert main([*command, "--data", str(voc), "--scales", "0.05,1"]) == 2
    said = r"val_000\d.jpg at scale 0.05: \d+x\d+ pixels is too small; .* is 26x26; leave this scale out\n"
    assert re.fullmatch(f"fcnxs: .*/{said}", capsys.readouterr().err)

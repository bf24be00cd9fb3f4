"""What a Segmenter takes, what it answers, and what it refuses."""

import io
import subprocess
import sys

import numpy as np
import pytest
from conftest import CTX, FC, WIDTH, fresh_probabilities, photo, random_params
from PIL import Image

import fcnxs
from fcnxs import FCNXSError, checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.data.images import preprocess
from fcnxs.predict import Segmenter, inputs
from fcnxs.symbols import get_fcn8s_symbol
from fcnxs.vis import overlay, voc_palette

META = checkpoint.Meta(
    classes=["ground", "left", "right"],
    palette=[[0, 0, 0], [9, 200, 30], [250, 0, 70]],
    mean=(90.0, 120.0, 70.5),
)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Two checkpoints, one with a meta file and one without."""
    folder = tmp_path_factory.mktemp("net")
    symbol = get_fcn8s_symbol(3, width=WIDTH, fc=FC)
    params = random_params(symbol)
    params["bigscore_weight"] *= 0.02  # small scores: probabilities between 0 and 1
    for name, epoch, meta in (("fcn8s", 2, META), ("fcn8s", 19, META), ("old", 1, checkpoint.Meta())):
        checkpoint.save(folder / name, epoch, symbol, params, {}, meta)
    (folder / "old-meta.json").unlink()
    return folder / "fcn8s"


@pytest.fixture(scope="module")
def segmenter(prefix):
    return Segmenter(prefix, 19, ctx=CTX)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        Image.fromarray(photo(40 + 4 * (number % 2), 50, number)).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def test_a_prefix_with_an_epoch_or_a_checkpoint(prefix, segmenter):
    source = checkpoint.load(prefix, 19)
    for each in (Segmenter(source, ctx=CTX), Segmenter(prefix, ctx=CTX), Segmenter(prefix, "last", ctx=CTX)):
        np.testing.assert_array_equal(each(photo()), segmenter(photo()))
    assert (segmenter.classes, segmenter.palette, segmenter.mean) == (META.classes, META.palette, META.mean)
    old = Segmenter(str(prefix.with_name("old")), np.int64(1))
    assert old.classes == ["class 0", "class 1", "class 2"] and old.palette == voc_palette(3)
    for arguments, said in (
        ((prefix.with_name("none"),), "none: there is no .*none-NNNN.params of any epoch$"),
        ((prefix, "best"), "fcn8s: the best epoch is not known: .* choose the last, or one of 2, 19$"),
        ((prefix, "first"), "epoch 'first': expected a whole number, best or last$"),
        ((prefix, 3), "fcn8s-0003.params: no such file"),
        ((prefix, mx.cpu()), r"epoch cpu\(0\): expected a whole number, best or last$"),
        ((source, 19), "epoch 19: give an epoch only with a prefix"),
        ((None, 19), "a NoneType: expected the prefix of a checkpoint, or a Checkpoint$"),
    ):
        with pytest.raises(FCNXSError, match=said.replace("?", r"\?")):
            Segmenter(*arguments)


def test_it_is_offered_where_no_mxnet_is_loaded_before():
    assert fcnxs.Segmenter is Segmenter
    with pytest.raises(AttributeError, match="'fcnxs' has no attribute 'Segmentor'"):
        fcnxs.Segmentor  # noqa: B018
    code = "import sys, fcnxs; sys.exit('mxnet' in sys.modules or 'Segmenter' not in fcnxs.__all__)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_paths_arrays_and_iterables_of_them(segmenter, files):
    arrays = [photo(40 + 4 * (number % 2), 50, number) for number in range(3)]
    expected = [segmenter(array) for array in arrays]
    assert {mask.dtype for mask in expected} == {np.dtype(np.uint8)} and len(np.unique(expected[0])) > 1
    for given in (files, (str(file) for file in files), arrays, iter(arrays), [files[0], *arrays[1:]]):
        results = segmenter(given)
        assert iter(results) is results  # one by one, not all at once
        for mask, wanted in zip(results, expected):
            np.testing.assert_array_equal(mask, wanted)
    assert [*segmenter([])] == []
    np.testing.assert_array_equal(segmenter(files[1]), expected[1])
    np.testing.assert_array_equal(segmenter(str(files[1])), expected[1])
    np.testing.assert_array_equal(
        segmenter(arrays[0][::-1, :, ::-1]), segmenter(arrays[0][::-1, :, ::-1].copy())
    )


def test_probabilities_are_those_of_the_net_s_own_softmax(prefix, segmenter, files, ctx):
    source, image = checkpoint.load(prefix, 19), photo(61, 33)
    expected = fresh_probabilities(source.symbol, source.arg_params, preprocess(image, META.mean), ctx)[0]
    found = segmenter.probabilities(image)
    assert found.dtype == np.float32 and found.shape == (3, 61, 33)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(found.argmax(axis=0), segmenter(image))
    for file, each in zip(files, segmenter.probabilities(iter(files))):
        np.testing.assert_array_equal(each, segmenter.probabilities(file))


def test_probabilities_in_tiles_equal_those_of_the_whole(prefix, segmenter):
    image, tiled = photo(150, 190), Segmenter(prefix, 19, ctx=CTX, trim=False, memory_limit=18e6)
    np.testing.assert_allclose(tiled.probabilities(image), segmenter.probabilities(image), atol=1e-5)
    assert not tiled.fits((150, 190)) and segmenter.fits((150, 190))
    np.testing.assert_array_equal(tiled.probabilities(image).argmax(axis=0), tiled(image))
    tiled.memory_limit = 500e3
    with pytest.raises(
        FCNXSError, match=r"an image: scores of 3 classes .* take 0.001 GB; the limit is 0.001 GB"
    ):
        tiled.probabilities(image)
    tiled.memory_limit = 1e6
    with pytest.raises(
        FCNXSError, match=r"190x150 pixels need 0.0.* smallest tiles.*, besides 0.001 GB of scores$"
    ):
        tiled.probabilities(image)


def test_overlays_have_the_checkpoint_s_colours(segmenter, files):
    image, mask = photo(44, 50, 1), segmenter(files[1])
    for alpha in (0, 0.3, 1):
        np.testing.assert_array_equal(
            segmenter.overlay(files[1], alpha=alpha), overlay(image, mask, META.palette, alpha, None)
        )
    np.testing.assert_array_equal(
        segmenter.overlay(image, 1)[mask == 2], np.tile([250, 0, 70], ((mask == 2).sum(), 1))
    )
    half = [*segmenter.overlay(files)]
    np.testing.assert_array_equal(half[1], overlay(image, mask, META.palette, 0.5, None))
    flipped = image[:, :, ::-1]  # as OpenCV's images are turned into RGB, without a copy
    np.testing.assert_array_equal(segmenter.overlay(flipped), segmenter.overlay(flipped.copy()))
    for alpha in (-0.1, 1.5, float("nan")):
        with pytest.raises(FCNXSError, match=r"alpha .*: expected 0 \(the image\) to 1"):
            segmenter.overlay(image, alpha)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (
            np.zeros((40, 50, 3)),
            r"float64 \(40, 50, 3\); expected uint8 \(H, W, 3\), RGB: image.astype\(np.uint8\) keeps",
        ),
        (np.zeros((40, 50, 3), bool), "bool .* keeps values of 0 to 255; multiply those of 0 to 1 by 255"),
        (
            np.zeros((40, 50), np.uint8),
            r"uint8 \(40, 50\); .* np.stack\(\[image\] \* 3, axis=-1\) makes grey RGB",
        ),
        (np.zeros((40, 50, 1), np.uint8), r"np.repeat\(image, 3, axis=-1\) makes grey RGB"),
        (np.zeros((40, 50, 4), np.uint8), r"image\[..., :3\] leaves alpha out"),
        (np.zeros((3, 40, 50), np.uint8), r"image.transpose\(1, 2, 0\) puts channels last"),
        (np.zeros((2, 40, 50, 3), np.uint8), "give the images of a batch as a list"),
        (np.zeros((0, 50, 3), np.uint8), "it is empty"),
        (np.zeros(7, np.uint8), "this shape is not an image"),
        (np.zeros((40, 50, 7), np.uint8), "this shape is not an image"),
    ],
)
def test_a_wrong_array_is_refused_with_the_way_out(array, said, segmenter):
    for ask in (segmenter, segmenter.probabilities, segmenter.overlay):
        with pytest.raises(FCNXSError, match=f"^an image: .*{said}") as error:
            ask(array)
        assert "\n" not in str(error.value)
    results = segmenter([photo(), array])
    next(results)
    with pytest.raises(FCNXSError, match=rf"^images\[1\]: .*{said}"):
        next(results)


def test_the_ways_out_that_are_named_lead_out():
    grey, alpha, first = (np.full(shape, 7, np.uint8) for shape in ((40, 50), (40, 50, 4), (3, 40, 50)))
    for image in (np.stack([grey] * 3, axis=-1), alpha[..., :3], first.transpose(1, 2, 0)):
        assert inputs.checked(image).shape == (40, 50, 3)


@pytest.mark.parametrize(
    "thing", [b"photo.jpg", 7, None, io.BytesIO(), mx.nd.zeros((40, 50, 3)), Image.new("RGB", (50, 40))]
)
def test_what_is_no_image_is_refused(thing, segmenter):
    with pytest.raises(FCNXSError, match=f"a {type(thing).__name__} is no image: expected a path, a NumPy"):
        segmenter(thing)
    with pytest.raises(
        FCNXSError, match=rf"images\[0\]: a {type(thing).__name__}; expected a path, or a NumPy array"
    ):
        next(segmenter([thing]))


def test_an_error_comes_in_its_turn_with_its_name(segmenter, files, tmp_path):
    wrong = tmp_path / "text.jpg"
    wrong.write_text("no image")
    results = segmenter([*files[:2], wrong, files[2]])
    for file in files[:2]:
        np.testing.assert_array_equal(next(results), segmenter(file))
    with pytest.raises(FCNXSError, match="text.jpg: not an image"):
        next(results)
    assert [*results] == []
    results = segmenter([photo(), photo(20, 30)])
    next(results)
    with pytest.raises(FCNXSError, match=r"images\[1\]: 30x20 pixels is too small"):
        next(results)

    def camera():
        yield from (photo(seed=number) for number in range(4))
        raise OSError("unplugged")

    results = segmenter(camera())
    for number in range(4):
        np.testing.assert_array_equal(next(results), segmenter(photo(seed=number)))
    with pytest.raises(OSError, match="unplugged"):
        next(results)


def test_it_reads_ahead_and_no_further(segmenter):
    asked, buffer = [], np.empty((40, 50, 3), np.uint8)

    def frames():
        for number in range(7):
            asked.append(number)
            buffer[:] = photo(40, 50, number)  # one array for all of them
            yield buffer

    results = segmenter(frames())
    assert asked == []
    for number, mask in enumerate(results):
        assert len(asked) == min(7, number + 1 + inputs.AHEAD)
        np.testing.assert_array_equal(mask, segmenter(photo(40, 50, number)))

"""Samples of several images: colour, and HHA or depth beside it."""

import numpy as np
import pytest
from conftest import FC, WIDTH, random_params
from PIL import Image

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.conventions import IMAGE_MEANS
from fcnxs.data import FileIter
from fcnxs.data.augment import Augmentation
from fcnxs.data.datasets import named
from fcnxs.data.layouts import open_samples
from fcnxs.data.loader import Loader
from fcnxs.data.scenes import channels_of, kinds_of
from fcnxs.symbols import NETS
from fcnxs.tools.main import main

BOTH, DEPTH = ("color", "hha"), ("color", "depth")
MEAN = (*IMAGE_MEANS["color"], *IMAGE_MEANS["hha"])


def saved(array, *where):
    file = where[0].joinpath(*where[1:])
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)


@pytest.fixture
def data(tmp_path):
    """Two pictures whose HHA has its pixels' column, row and 7, and whose depth is 1000 and the column."""
    rows, columns = np.mgrid[:30, :40]
    for name in ("a", "b"):
        color = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
        color[..., 0], label = columns, (columns % 3).astype(np.uint8)
        saved(color, tmp_path, "images", "train", f"{name}.png")
        saved(label, tmp_path, "labels", "train", f"{name}.png")
        hha = np.stack([columns, rows, np.full_like(rows, 7)], axis=-1).astype(np.uint8)
        saved(hha, tmp_path, "hha", "train", f"{name}.png")
        saved((1000 + columns).astype(np.uint16), tmp_path, "depth", "train", f"{name}.png")
    return tmp_path


def test_images_of_a_sample_are_channels_of_one_array_minus_their_means(data):
    samples = open_samples(data)
    both = Loader(samples.of_kinds(BOTH), MEAN).next()["data"][0]
    assert both.shape == (6, 30, 40) and both.dtype == np.float32
    np.testing.assert_allclose(both[3, 5], np.arange(40) - 132.431, rtol=1e-6)
    np.testing.assert_allclose(both[5], 7 - 118.477, rtol=1e-6)
    image = Loader(samples.of_kinds(DEPTH), (*IMAGE_MEANS["color"], 7.844)).next()["data"][0]
    assert image.shape == (4, 30, 40)
    np.testing.assert_allclose(image[3, 9], np.log(1000.0 + np.arange(40)) - 7.844, atol=1e-5)
    np.testing.assert_array_equal(image[:3], both[:3])


@pytest.mark.parametrize("kinds", [BOTH, DEPTH])
def test_images_are_cut_mirrored_and_resized_alike(data, kinds):
    """Red and the further image tell the column of a pixel, the label its remainder by three."""
    samples = open_samples(data).of_kinds(kinds)
    how = Augmentation(crop_size=16, scale=(2.0, 2.0), flip=True)
    for number in range(12):
        image, label = how(np.random.default_rng(number), *samples.read(0), [0] * channels_of(samples.kinds))
        other = image[..., 3] if kinds == BOTH else np.exp(image[..., 3]) - 1000
        assert image.shape[:2] == label.shape == (16, 16)
        assert np.abs(other - image[..., 0].astype(float)).max() <= 1
    wide, truth = Augmentation(crop_size=50, jitter=0.5)(
        np.random.default_rng(0), *samples.read(0), MEAN[: channels_of(samples.kinds)]
    )
    assert wide.shape == (50, 50, channels_of(samples.kinds)) and (truth[40:] == 255).all()
    np.testing.assert_allclose(wide[40, 45], MEAN[: channels_of(samples.kinds)], rtol=1e-6)
    np.testing.assert_array_equal(wide[:30, :40, 3:], samples.read(0)[0][..., 3:])


def with_exif(folder):
    image = Image.open(folder / "images/train/a.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    image.save(folder / "images/train/a.png", exif=exif)


def hole(folder):
    saved(np.full((30, 40), 0, np.uint16), folder, "depth", "train", "a.png")


FAULTS = {
    "missing": (
        BOTH,
        lambda folder: (folder / "hha/train/a.png").unlink(),
        "a.png: no such file; it should be the hha image of",
    ),
    "size": (
        BOTH,
        lambda folder: saved(np.zeros((40, 30, 3), np.uint8), folder, "hha", "train", "a.png"),
        "a.png: 30x40 pixels, but the color image",
    ),
    "exif": (BOTH, with_exif, "--exif ignore takes both as they are stored"),
    "kind": (
        DEPTH,
        lambda folder: saved(np.ones((30, 40, 3), np.uint8), folder, "depth", "train", "a.png"),
        "depth has one channel of 8 or 16 bits",
    ),
    "hole": (DEPTH, hole, "1200 of 1200 pixels have no depth"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_further_image_that_does_not_fit_is_a_bad_pair_by_its_file(data, capsys, fault):
    kinds, break_it, text = FAULTS[fault]
    break_it(data)
    with pytest.raises(FCNXSError, match="train.a.png") as error:
        open_samples(data).of_kinds(kinds).read(0)
    assert text in str(error.value) and "\n" not in str(error.value)
    assert main(["check-data", str(data), "--num-classes", "3", "--modality", ",".join(kinds)]) == 1
    assert text in capsys.readouterr().out


def test_a_packed_data_set_has_the_same_images(data, tmp_path, capsys):
    packed = tmp_path / "all.rec"
    assert main(["pack", str(data), str(packed), "--modality", "color,depth"]) == 0
    ours, theirs = open_samples(packed), open_samples(data)
    for kinds in (("color",), DEPTH):
        np.testing.assert_array_equal(ours.of_kinds(kinds).read(1)[0], theirs.of_kinds(kinds).read(1)[0])
    again = tmp_path / "again.rec"
    assert main(["pack", str(packed), str(again), "--modality", "color,depth"]) == 0
    assert again.read_bytes() == packed.read_bytes()
    assert main(["pack", str(packed), str(again), "--modality", "color,hha", "--overwrite"]) == 2
    assert "has no hha images" in capsys.readouterr().err


def test_images_of_nyud_lie_where_its_authors_layer_reads_them(data, tmp_path):
    root = tmp_path / "nyud"
    for kind, name in (("images", "images"), ("hha", "hha"), ("depth", "depth")):
        (root / "data" / name).mkdir(parents=True)
        (data / kind / "train" / "a.png").rename(root / "data" / name / "img_5001.png")
    (root / "train.txt").write_text("5001\n")
    samples = named("nyud", root, need=1)
    for kinds, channels in ((("hha",), 3), (BOTH, 6), (DEPTH, 4)):
        assert samples.of_kinds(kinds).image(0).shape == (30, 40, channels)


def test_what_makes_no_sense_is_refused(data):
    with pytest.raises(FCNXSError, match="expected color, or hha, or color,hha, or color,depth"):
        kinds_of("depth")
    with pytest.raises(FCNXSError, match="jitter 0.1: changes colours, and the images are hha"):
        Loader(open_samples(data).of_kinds(["hha"]), augmentation=Augmentation(jitter=0.1))
    with pytest.raises(FCNXSError, match="expected 6 finite numbers"):
        Loader(open_samples(data).of_kinds(BOTH))


def test_a_module_fits_a_net_of_two_images_on_file_iter(data):
    (data / "all.lst").write_text("0\timages/train/a.png\tlabels/train/a.png\n")
    names = ("color_data", "hha_data")
    batches = FileIter(data, "all.lst", MEAN, data_name=names, images=BOTH)
    assert [(each.name, each.shape) for each in batches.provide_data] == [
        (name, (1, 3, 30, 40)) for name in names
    ]
    net = NETS["nyud_fcn32s_color_hha"](numclass=3, width=WIDTH, fc=FC)
    module, before = mx.mod.Module(net, data_names=names, label_names=["softmax_label"]), random_params(net)
    module.fit(batches, num_epoch=1, arg_params=before, optimizer_params={"learning_rate": 0.1})
    after = module.get_params()[0]
    assert all((after[f"fc7{kind}_bias"] != before[f"fc7{kind}_bias"]).sum().asscalar() for kind in BOTH)

"""Data sets with labels for several heads: all labels of an image go through the same changes as it does."""

import numpy as np
import pytest
from PIL import Image

from fcnxs import FCNXSError
from fcnxs.data.augment import Augmentation
from fcnxs.data.headed import HeadedSamples
from fcnxs.data.layouts import heads_in, open_samples
from fcnxs.data.loader import Loader

HEADS = {"sem": 5, "geo": 3}


@pytest.fixture
def folder(tmp_path):
    """Three images whose red is 40 times the semantic label, and whose green is 80 times the geometric one."""
    rng = np.random.default_rng(0)
    for number in range(3):
        labels = {head: rng.integers(0, count, (30 + number, 41)) for head, count in HEADS.items()}
        picture = np.stack([40 * labels["sem"], 80 * labels["geo"], 0 * labels["geo"]], axis=2)
        for place, array in {"images": picture, **{f"labels-{k}": each for k, each in labels.items()}}.items():
            (tmp_path / place).mkdir(exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(tmp_path / place / f"{number}.png")
    return tmp_path


def of(folder, heads=HEADS, **how):
    return HeadedSamples({head: open_samples(folder, head=head, **how) for head in heads})


@pytest.mark.parametrize(
    ("augmentation", "cut_off"),
    [
        (None, None),
        (None, 20),
        (Augmentation(crop_size=16, flip=True), None),
        (Augmentation(crop_size=36, flip=True), None),
        (Augmentation(scale=(2, 2)), None),
    ],
)
def test_the_labels_stay_where_their_pixels_are(folder, augmentation, cut_off):
    """Flipped, cut, padded; scaled by 2, where pixels of the middle keep their colour."""
    how = {"augmentation": augmentation, "cut_off_size": cut_off, "num_classes": HEADS}
    loader = Loader(of(folder), (0, 0, 0), **how, batch_size=1)
    assert loader.label_names == ["softmax_sem_label", "softmax_geo_label"]
    seen = 0
    for batch in loader:
        image, sem, geo = (batch[name][0] for name in ("data", *loader.label_names))
        assert image.shape[1:] == sem.shape == geo.shape and len(batch.label) == 2
        assert [each.shape for each in batch.provide_label] == [(1, *sem.shape)] * 2
        if augmentation is not None and augmentation.scale == (2, 2):
            small = open_samples(folder, head="geo").read(batch.numbers[0])[1]
            np.testing.assert_array_equal(geo, small.repeat(2, axis=0).repeat(2, axis=1))
        else:
            there = sem != 255
            np.testing.assert_array_equal(there, geo != 255)
            np.testing.assert_array_equal(image[0][there], 40 * sem[there])
            np.testing.assert_array_equal(image[1][there], 80 * geo[there])
        seen += 1
    assert seen == 3


def test_batches_of_one_head_are_those_of_its_labels(folder):
    """What the net of a head sees: the same images, in the same order, with the same crops."""
    how = {"augmentation": Augmentation(crop_size=16, flip=True), "shuffle": True, "seed": 3, "batch_size": 2}
    for both, *alone in zip(
        Loader(of(folder), **how), *(Loader(open_samples(folder, head=head), **how) for head in HEADS)
    ):
        for head, batch in zip(HEADS, alone):
            np.testing.assert_array_equal(both["data"], batch["data"])
            np.testing.assert_array_equal(both[f"softmax_{head}_label"], batch["softmax_label"])


def test_heads_of_a_folder(folder):
    assert heads_in(folder) == ["geo", "sem"] and heads_in(folder / "images") == []
    samples = of(folder).subset([2, 0]).reading(allow=["lossy"])
    assert [each.name for each in samples.images] == ["2.png", "0.png"] and samples.has_label(0)
    assert all(each.allow == ("lossy",) for each in samples.heads.values())
    assert samples.read(1)[1].shape == (2, 30, 41) and [*open_samples(folder, head="geo").heads] == [""]


def test_what_does_not_fit_is_named(folder, voc):
    with pytest.raises(FCNXSError, match=r"labels-sky: no such folder; it should hold the labels of .*images"):
        open_samples(folder, head="sky")
    with pytest.raises(
        FCNXSError, match="no labels of the head sky; give a folder with images/ and labels-sky/"
    ):
        open_samples(voc, head="sky")
    Image.fromarray(np.full((30, 41), 3, np.uint8)).save(folder / "labels-geo" / "0.png")
    with pytest.raises(FCNXSError, match=r"labels-geo/0.png: value 3 in 1230 pixels .* the 3 classes"):
        next(Loader(of(folder), num_classes=HEADS))
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(folder / "labels-geo" / "0.png")
    with pytest.raises(FCNXSError, match=r"labels-geo/0.png: 40x30 pixels, but its image .* has 41x30"):
        of(folder).read(0)
    (folder / "labels-geo" / "0.png").rename(folder / "labels-geo" / "4.png")
    with pytest.raises(FCNXSError, match=r"images/4.*: the heads sem and geo have labels of other images"):
        of(folder, need=0)

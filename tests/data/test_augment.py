"""Image and label are changed alike: both say where their pixels came from."""

import numpy as np
import pytest

from fcnxs import FCNXSError
from fcnxs.conventions import IGNORE_LABEL
from fcnxs.data.augment import Augmentation, resize
from fcnxs.data.images import preprocess

MEAN = (123.68, 116.779, 103.939)
SIZE = (120, 150)
ROWS, COLUMNS = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.uint8)
IMAGE = np.stack([ROWS, COLUMNS, np.full_like(ROWS, 7)], axis=-1)  # red is the row, green the column


def both(augmentation, seed):
    """Image, and labels that say the row and the column, changed by the same random numbers."""
    results = [augmentation(np.random.default_rng(seed), IMAGE, label, MEAN) for label in (ROWS, COLUMNS)]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    return results[0][0], results[0][1], results[1][1]


def test_by_default_nothing_changes():
    image, rows, columns = both(Augmentation(), 0)
    assert image is IMAGE and rows is ROWS and columns is COLUMNS


@pytest.mark.parametrize("factor", [0.31, 0.5, 0.77, 1.0, 1.25, 1.5, 2.0, 3.37])
def test_resizing_takes_pixels_by_their_centres(factor):
    """No half pixel between image and label: both are next to where the pixel comes from."""
    image, rows = resize(IMAGE, ROWS, factor)
    _, columns = resize(IMAGE, COLUMNS, factor)
    assert rows.shape == image.shape[:2] == tuple(round(size * factor) for size in SIZE)
    for axis, (found, label) in enumerate(((image[..., 0], rows), (image[..., 1], columns))):
        size, edge = label.shape[axis], int(factor) + 2  # at the edges there is nothing to interpolate with
        wanted = (np.arange(size) + 0.5) * SIZE[axis] / size - 0.5
        wanted = np.broadcast_to(wanted[:, np.newaxis] if axis == 0 else wanted, label.shape)
        inner = np.s_[edge:-edge, edge:-edge]
        assert np.abs(label.astype(float) - wanted)[inner].max() <= 0.5 + 1e-6
        assert np.abs(found.astype(float) - wanted)[inner].max() <= 0.5 + 0.02  # rounded


def test_flip_scale_crop_and_padding_are_alike():
    augmentation = Augmentation(crop_size=100, scale=(0.4, 1.6), flip=True)
    mirrored, padded, corners, sizes = set(), 0, set(), []
    for seed in range(60):
        image, rows, columns = both(augmentation, seed)
        assert image.shape == (100, 100, 3) and rows.shape == (100, 100)
        outside = image[..., 2] != 7
        np.testing.assert_array_equal(rows == IGNORE_LABEL, outside)  # neither label has 255 of its own
        np.testing.assert_array_equal(columns == IGNORE_LABEL, outside)
        assert not preprocess(image, MEAN)[0].transpose(1, 2, 0)[outside].any()
        inside = np.s_[2 : (~outside).sum(0).max() - 2, 2 : (~outside).sum(1).max() - 2]
        for channel, label in ((0, rows), (1, columns)):
            difference = image[inside][..., channel].astype(float) - label[inside]
            assert np.abs(difference).max() <= 2  # both were rounded, and the edges smoothed
        mirrored.add(bool(columns[50, 5] > columns[50, 20]))
        padded += outside.any()
        corners.add((rows[0, 0], columns[0, 0]))
        sizes.append((~outside).sum())
    assert mirrored == {True, False} and 5 < padded < 55 and len(corners) > 30
    assert min(sizes) < 4800 and max(sizes) == 10000


def test_scale_and_places_reach_both_ends():
    widths = [both(Augmentation(scale=(0.5, 2.0)), seed)[1].shape[1] for seed in range(200)]
    assert 75 <= min(widths) < 80 and 290 < max(widths) <= 300
    corners = {tuple(both(Augmentation(crop_size=118), seed)[0][0, 0, :2]) for seed in range(400)}
    assert {row for row, _ in corners} == {0, 1, 2} and {column for _, column in corners} == set(range(33))


def test_images_that_lack_one_side_are_padded_there_alone():
    image, rows, columns = both(Augmentation(crop_size=130), 0)
    assert image.shape == (130, 130, 3) and (rows[120:] == 255).all() and (rows[:120] != 255).all()
    assert columns[0, 0] <= 20 and (columns[0] == columns[0, 0] + np.arange(130)).all()


def test_colours_change_within_their_bounds_and_labels_do_not():
    grey = np.full((4, 4, 3), 100, np.uint8)
    stripes = grey.copy()
    stripes[::2], stripes[1::2] = 80, 120
    levels, spreads, hues = [], [], []
    for seed in range(300):
        rng = np.random.default_rng
        jitter = Augmentation(jitter=0.4)
        label = ROWS[:4, :4]
        image, unchanged = jitter(rng(seed), grey, label, MEAN)
        assert unchanged is label and image.dtype == np.uint8
        levels.append(image.mean())
        striped = jitter(rng(seed), stripes, label, MEAN)[0].astype(float)
        spreads.append(striped.std() / striped.mean() / (stripes.std() / stripes.mean()))
        coloured = jitter(rng(seed), np.full((4, 4, 3), (110, 100, 90), np.uint8), label, MEAN)[0].astype(float)
        hues.append(np.ptp(coloured[0, 0]) / coloured.mean() / (20 / 100))
    for values, low, high in ((np.divide(levels, 100), 0.6, 1.4), (spreads, 0.6, 1.4), (hues, 0.36, 1.96)):
        assert low - 0.05 < min(values) < low + 0.1 and high - 0.2 < max(values) < high + 0.1
        assert 0.95 < np.mean(values) < 1.05  # hues change with the contrast and with the saturation


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_size": 0}, "crop_size 0: expected 1 pixel or more"),
        ({"scale": (2, 1)}, "scale 2,1: expected two factors"),
        ({"scale": (0, 1)}, "scale 0,1: expected two factors"),
        ({"scale": (1, float("nan"))}, "scale 1,nan"),
        ({"jitter": 1.5}, "jitter 1.5: expected a number from 0 to 1"),
        ({"jitter": float("nan")}, "jitter nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(FCNXSError, match=message):
        Augmentation(**settings)


def test_images_are_not_changed_in_place():
    image, label = IMAGE.copy(), ROWS.copy()
    Augmentation(200, (0.5, 1.5), True, 0.5)(np.random.default_rng(0), image, label, MEAN)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(label, ROWS)

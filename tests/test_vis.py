import numpy as np
from PIL import Image

from fcnxs.vis import colour, comparison, overlay, save_mask, voc_palette


def test_voc_palette_is_that_of_the_development_kit():
    palette = voc_palette()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 7: (128, 128, 128)}
    known.update({8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)})
    assert {number: tuple(palette[number]) for number in known} == known
    assert len(palette) == len(set(map(tuple, palette))) == 256


def test_a_mask_keeps_its_numbers_and_shows_the_colours(tmp_path):
    mask = np.array([[0, 1, 2], [1, 255, 0]], np.uint8)
    palette = [[9, 8, 7], [10, 20, 30], [40, 50, 60]]
    save_mask(tmp_path / "mask.png", mask, palette)
    image = Image.open(tmp_path / "mask.png")
    np.testing.assert_array_equal(np.asarray(image), mask)
    shown = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(shown, colour(mask, palette))
    assert shown[0, 2].tolist() == [40, 50, 60] and shown[1, 1].tolist() == [224, 224, 192]


def test_overlay_is_half_of_each_and_leaves_class_0_clear():
    image = np.full((2, 2, 3), 100, np.uint8)
    mask = np.array([[0, 1], [1, 0]], np.uint8)
    result = overlay(image, mask, [[0, 0, 0], [200, 0, 50]])
    np.testing.assert_array_equal(result[mask == 0], image[mask == 0])
    np.testing.assert_allclose(result[0, 1], [150, 50, 75], atol=1)


def test_comparison_has_every_picture_in_its_row_and_column():
    rng = np.random.default_rng(0)
    sizes = ((5, 9), (8, 4))
    rows = [{name: rng.integers(0, 255, (*size, 3), np.uint8) for name in "ab"} for size in sizes]
    canvas = comparison(rows, gap=2, header=20)
    assert canvas.shape == (20 + 2 * (8 + 2), 2 * (9 + 2) + 2, 3)
    for number, row in enumerate(rows):
        for column, picture in enumerate(row.values()):
            top, left = 20 + 10 * number, 2 + 11 * column
            height, width = picture.shape[:2]
            np.testing.assert_array_equal(canvas[top : top + height, left : left + width], picture)


def test_comparison_has_a_legend_below_the_pictures():
    picture = np.full((30, 90, 3), 7, np.uint8)
    plain = comparison([{"a": picture, "b": picture}])
    legend = comparison([{"a": picture, "b": picture}], legend=[("one", (200, 0, 9)), ("two", (9, 80, 0))])
    np.testing.assert_array_equal(legend[: len(plain)], plain)
    line = legend[len(plain) :]
    first, second = (np.nonzero((line == each).all(2))[1].min() for each in ([200, 0, 9], [9, 80, 0]))
    assert first == 8 and second > first + 14

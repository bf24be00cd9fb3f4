"""Which class overlays leave clear: the one named background, or the one that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from PIL import Image

import fcnxs
from fcnxs import checkpoint, symbols
from fcnxs.conventions import VOC_CLASSES
from fcnxs.errors import FCNXSError
from fcnxs.tools.main import main
from fcnxs.vis import background_of, colour, default_palette, overlay, voc_palette

NET = symbols.get_fcn32s_symbol(3, width=WIDTH, fc=FC)
STREET = ["road", "car", "tree"]
PALETTE = [[128, 64, 128], [0, 0, 142], [107, 142, 35]]


def saved(folder, classes, palette=None):
    palette = palette or (PALETTE if classes else None)
    checkpoint.save(folder / "net", 0, NET, random_params(NET), {}, checkpoint.Meta(classes, palette))
    return str(folder / "net")


@pytest.mark.parametrize(
    ("classes", "name", "number"),
    [
        (VOC_CLASSES, None, 0),
        *((([name, "car"]), None, 0) for name in ("BackGround", "__background__", "_background_")),
        (STREET, None, None),
        (["car", "tree", "background"], None, 2),
        (["background car", "tree"], None, None),
        (["class 0", "class 1"], None, 0),
        (STREET, "tree", 2),
        (STREET, "ROAD", 0),
        (["a", "A"], "A", 1),
        (VOC_CLASSES, "none", None),
        (["none", "car"], "none", 0),
    ],
)
def test_the_background_is_the_class_of_this_name(classes, name, number):
    assert background_of(classes, name) == number


def test_black_is_the_color_of_the_background_alone():
    assert default_palette(VOC_CLASSES) == voc_palette(21)
    assert default_palette(STREET) == voc_palette(4)[1:]
    assert default_palette(["car", "tree", "background"]) == [*voc_palette(3)[1:], [0, 0, 0]]
    assert len({*map(tuple, default_palette([f"c{i}" for i in range(255)]))}) == 255


def test_overlays_draw_every_class_but_the_background(tmp_path):
    image, classes = photo(), saved(tmp_path, STREET)
    mask = fcnxs.Segmenter(classes, 0)(image)
    assert len(np.unique(mask)) > 1  # or the test shows little
    mixed = np.rint((image + colour(mask, PALETTE).astype(float)) / 2)
    for name, number in ((None, None), ("road", 0), ("tree", 2), ("none", None)):
        segmenter = fcnxs.Segmenter(classes, 0, background=name)
        expected = mixed if number is None else np.where((mask != number)[..., np.newaxis], mixed, image)
        np.testing.assert_allclose(segmenter.overlay(image), expected, atol=0.51)  # halves are rounded
        assert segmenter.background == number
    with pytest.raises(FCNXSError, match="background sky: no class has this name; there are road, car, tree"):
        fcnxs.Segmenter(classes, 0, background="sky")


@pytest.mark.parametrize("classes", [["background", "car", "tree"], None])
def test_with_a_background_overlays_are_as_they_were(classes, tmp_path):
    segmenter, image = fcnxs.Segmenter(saved(tmp_path, classes), 0), photo()
    mask = segmenter(image)
    as_it_was = np.where((mask > 0)[..., np.newaxis], overlay(image, mask, segmenter.palette, 0.5, None), image)
    np.testing.assert_array_equal(segmenter.overlay(image), as_it_was)
    if classes is None:
        assert segmenter.palette == voc_palette(3)


def test_segment_writes_the_same_overlays(tmp_path, capsys):
    prefix, image = saved(tmp_path, STREET), photo()
    Image.fromarray(image).save(tmp_path / "a.png")
    for name in (None, "road", "none"):
        options = [f"--background={name}"] if name else []
        folder = tmp_path / f"masks-{name}"
        arguments = [f"--prefix={prefix}", "--epoch=0", str(tmp_path / "a.png"), f"--output={folder}"]
        assert main(["segment", *arguments, *options]) == 0
        expected = fcnxs.Segmenter(prefix, 0, background=name).overlay(image)
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "a_overlay.png")), expected)
    assert main(["segment", *arguments, "--background=sky"]) == 2
    assert "background sky: no class has this name" in capsys.readouterr().err

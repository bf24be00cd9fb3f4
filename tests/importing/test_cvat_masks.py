"""CVAT's Segmentation mask 1.1: masks with labelmap.txt."""

import numpy as np
import pytest
from conftest import photo
from importing import imported, refusal
from PIL import Image
from test_cvat import BOX, IMAGE, XML


@pytest.fixture
def masks(tmp_path):
    """CVAT's Segmentation mask 1.1 with its images: two pictures, of which the list train has one."""
    source = tmp_path / "export"
    (source / "ImageSets" / "Segmentation").mkdir(parents=True)
    (source / "ImageSets" / "Segmentation" / "default.txt").write_text("a\nb\n")
    (source / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:184,61,245::\nroad:250,50,83::\n"
    )
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        (source / folder).mkdir()
    colours = np.array([(0, 0, 0), (184, 61, 245), (250, 50, 83)], np.uint8)
    for i, name in enumerate("ab"):
        label = np.random.default_rng(i).integers(0, 3, (6, 8))
        Image.fromarray(photo(6, 8, i)).save(source / "JPEGImages" / f"{name}.jpg")
        Image.fromarray(colours[label]).save(source / "SegmentationClass" / f"{name}.png")
        Image.fromarray(colours[label // 2]).save(source / "SegmentationObject" / f"{name}.png")
    return source


def test_masks_are_read_by_labelmap(masks):
    labels, _, kinds = imported(masks)
    for i, name in enumerate("ab"):
        np.testing.assert_array_equal(labels[name], np.random.default_rng(i).integers(0, 3, (6, 8)))
    assert not kinds
    target = masks.parent / "target"
    assert (target / "classes.txt").read_text().split() == ["background", "car", "road"]
    assert "cvat-masks" in (target / "import.json").read_text()


def test_masks_without_their_images(masks, tmp_path, capsys):
    (masks / "JPEGImages").rename(tmp_path / "photos")
    assert "--images DIR says which folder has them" in refusal(masks, capsys)
    assert imported(masks, "--images", str(tmp_path / "photos"))[0].keys() == {"a", "b"}


def test_lists_of_subsets_are_splits(masks):
    lists = masks / "ImageSets" / "Segmentation"
    (lists / "default.txt").unlink()
    (lists / "train.txt").write_text("a\n")
    (lists / "Validation.txt").write_text("b\n")
    imported(masks)
    assert (masks.parent / "target" / "labels" / "val" / "b.png").is_file()


def test_two_formats_in_one_folder_are_refused(masks, capsys):
    (masks / "annotations.xml").write_text(XML % (IMAGE % BOX % 0))
    assert "may be cvat-xml or cvat-masks; --format says which one is meant" in refusal(masks, capsys)
    assert imported(masks, "--format", "cvat-masks")[0].keys() == {"a", "b"}


def test_masks_take_no_options_of_other_formats(masks, capsys):
    assert "--names: means nothing in the format cvat-masks" in refusal(masks, capsys, "--names", "x")
    (masks / "labelmap.txt").unlink()
    (masks / "annotations.xml").write_text(XML % (IMAGE % BOX % 0))
    assert "--binary: means nothing in the format cvat-xml" in refusal(masks, capsys, "--binary")

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnxs import FCNXSError
from fcnxs.data.images import preprocess
from fcnxs.data.labels import read_label
from fcnxs.data.lists import find_list, read_list
from fcnxs.data.loader import FileIter
from fcnxs.vis import save_mask, voc_palette

MEAN = (123.68, 116.779, 103.939)


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A folder with image.png, label.png and all.lst; each pixel of the image says where it is."""
    rows, columns = np.mgrid[:20, :30].astype(np.uint8)
    Image.fromarray(np.stack([rows, columns, rows + columns], -1)).save(tmp_path / "image.png")
    save_mask(tmp_path / "label.png", (rows * 3 // 20), voc_palette())
    (tmp_path / "all.lst").write_text("0\timage.png\tlabel.png\n")
    return tmp_path


def test_image_and_label_come_as_the_nets_want_them(pair):
    data = FileIter(pair, "all.lst", MEAN)
    assert data.provide_data == [("data", (1, 3, 20, 30))]
    assert data.provide_label == [("softmax_label", (1, 20, 30))]
    batch = data.next()
    assert set(batch) == {"data", "softmax_label"}
    assert batch["data"].dtype == batch["softmax_label"].dtype == np.float32
    np.testing.assert_allclose(batch["data"][0, :, 4, 7], np.array([4, 7, 11]) - MEAN, rtol=1e-6)
    np.testing.assert_array_equal(batch["softmax_label"][0, :, 0], np.arange(20) * 3 // 20)
    with pytest.raises(StopIteration):
        data.next()


def test_preprocess_keeps_every_pixel():
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    data = preprocess(image, MEAN)
    np.testing.assert_allclose(data[0].transpose(1, 2, 0) + MEAN, image, atol=1e-4)


def test_every_image_comes_once_in_each_epoch_in_seeded_orders(voc):
    def epochs(seed, count=3):
        data = FileIter(voc, "ImageSets/Segmentation/train.txt", shuffle=True, seed=seed)
        result = []
        for _ in range(count):
            data.reset()
            result.append([batch["data"].sum() for batch in data])
        return result

    first = epochs(1)
    assert first == epochs(1) != epochs(2)
    assert first[0] != first[1] and sorted(first[0]) == sorted(first[1]) == sorted(first[2])
    assert len(set(first[0])) == 6
    data = FileIter(voc, "ImageSets/Segmentation/train.txt")
    assert len(data) == len(list(data)) == 6


def test_a_new_iterator_gives_all_images_without_a_reset(voc):
    assert len(list(FileIter(voc, "ImageSets/Segmentation/val.txt"))) == 3


@pytest.mark.parametrize(
    ("cut_off_size", "size"), [(25, (20, 20)), (12, (12, 12)), (30, (20, 30)), (None, (20, 30))]
)
def test_cuts_are_squares_and_image_and_label_are_cut_alike(pair, cut_off_size, size):
    save_mask(pair / "label.png", np.mgrid[:20, :30][0].astype(np.uint8), voc_palette())
    corners = set()
    data = FileIter(pair, "all.lst", (0, 0, 0), cut_off_size, seed=3)
    for _ in range(40):
        data.reset()
        batch = data.next()
        image, label = batch["data"][0], batch["softmax_label"][0]
        assert image.shape[1:] == label.shape == size
        np.testing.assert_array_equal(image[0], label)  # both say the row
        np.testing.assert_array_equal(image[1], image[1, 0, 0] + np.mgrid[: size[0], : size[1]][1])
        corners.add((image[0, 0, 0], image[1, 0, 0]))
    rows, columns = {row for row, _ in corners}, {column for _, column in corners}
    assert len(rows) > 1 or size[0] == 20
    assert {0, 10} <= columns or size[1] != 20  # the first and the last place come up


def test_palette_and_grey_labels_are_read_as_numbers(tmp_path):
    label = np.array([[0, 1, 20], [255, 3, 2]], np.uint8)
    save_mask(tmp_path / "palette.png", label, voc_palette())
    Image.fromarray(label).save(tmp_path / "grey.png")
    for name in ("palette.png", "grey.png"):
        np.testing.assert_array_equal(read_label(tmp_path / name, 21), label)
    assert Image.open(tmp_path / "palette.png").mode == "P"


def test_bad_labels_are_refused_with_file_and_value(pair):
    label = pair / "label.png"
    save_mask(label, np.full((20, 30), 7, np.uint8), voc_palette())
    with pytest.raises(FCNXSError, match=r"label.png: value 7 in 600 pixels is neither one of the 3 classes"):
        FileIter(pair, "all.lst", num_classes=3)
    FileIter(pair, "all.lst", num_classes=8)
    save_mask(label, np.zeros((30, 20), np.uint8), voc_palette())
    with pytest.raises(FCNXSError, match=r"label.png: 20x30 pixels, but its image .*image.png has 30x20"):
        FileIter(pair, "all.lst")
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(label)
    with pytest.raises(FCNXSError, match=r"label.png: a colour image \(mode RGB\)"):
        FileIter(pair, "all.lst")
    Image.fromarray(np.full((20, 30), 300, np.uint16)).save(label)
    with pytest.raises(FCNXSError, match=r"label.png: value 300"):
        FileIter(pair, "all.lst")


def test_bad_images_are_refused_with_their_names(pair):
    image = pair / "image.png"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FCNXSError, match="image.png: cannot read this image"):
        FileIter(pair, "all.lst")
    image.write_text("no picture")
    with pytest.raises(FCNXSError, match="image.png: not an image"):
        FileIter(pair, "all.lst")
    image.write_bytes(whole)
    assert len(list(FileIter(pair, "all.lst"))) == 1


def test_bad_lists_are_refused_with_file_and_line(pair):
    flist = pair / "all.lst"
    for text, message in (
        (
            "0\timage.png\tlabel.png\n1\tnix.png\tlabel.png\n",
            r"nix.png: no such file \(named in .*all.lst, line 2\)",
        ),
        ("0\timage.png\n", r"all.lst, line 1: 2 fields; expected index, image and label"),
        (
            "0 image.png label.png\n",
            r"all.lst, line 1: 1 fields; expected index, image and label, between tabs",
        ),
        ("\n\n", r"all.lst: the list names no image"),
    ):
        flist.write_text(text)
        with pytest.raises(FCNXSError, match=message):
            read_list(pair, "all.lst")
    with pytest.raises(FCNXSError, match="none.lst: cannot read this list"):
        read_list(pair, "none.lst")


def test_find_list_knows_folders_and_lists(voc, pair):
    assert find_list(pair / "all.lst", "val") == (pair, Path("all.lst"))
    assert len(read_list(*find_list(voc, "val"))) == 3
    with pytest.raises(
        FCNXSError, match="nix.txt: no such file; expected a folder in VOC layout with a split 'nix'"
    ):
        find_list(voc, "nix")

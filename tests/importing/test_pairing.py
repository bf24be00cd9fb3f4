"""Which images and masks belong together, by the names of files and folders."""

import pytest
from importing import refusal

from fcnxs.errors import FCNXSError
from fcnxs.importing.account import Account
from fcnxs.importing.found import Sample
from fcnxs.importing.pairing import pairs
from fcnxs.importing.splits import own


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def paired(root, images=None):
    found = pairs(root, images, Account())
    return {pair.name: pair.mask.relative_to(root).as_posix() for pair in found}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/a.jpg", "masks/a.png"),
        ("images/a.jpg", "labels/a.png"),
        ("images/x/a.jpg", "masks/x/a.png"),
        ("x/images/a.jpg", "x/masks/a.png"),
        ("JPEGImages/a.jpg", "SegmentationClass/a.png"),
        ("JPEGImages/a.jpg", "SegmentationClassPNG/a.png"),
        ("imgs/a.jpg", "ground_truth/a.png"),
        ("img/a.png", "gt/a.png"),
        ("train/a.jpg", "trainannot/a.png"),
        ("train/a.jpg", "train_labels/a_L.png"),
        ("train_images/a.jpg", "train_masks/a.gif"),
        ("a.jpg", "a_mask.png"),
        ("a.jpg", "a-label.png"),
        ("a.jpg", "a_L.png"),
        ("a.jpg", "mask_a.png"),
        ("a.jpg", "a.jpg.png"),
        ("a.jpeg", "a.jpeg.png"),
        ("images/a.jpeg", "labels/a.jpeg.png"),
        ("image_01.png", "mask_01.png"),
        ("images/img_01.jpg", "masks/img_01.png"),
        ("a_sat.jpg", "a_mask.png"),
        ("images/a.b.jpg", "masks/a.b.png"),
        ("images/a_mask.jpg", "masks/a_mask.png"),
        ("images/a.JPG", "masks/a.PNG"),
        ("701_StillsRaw_full/a.png", "LabeledApproved_full/a_L.png"),
        ("photos/night/a.jpg", "annotations/a.png"),
    ],
)
def test_names_make_pairs(tmp_path, image, mask):
    touch(tmp_path, image, mask, "readme.txt")
    assert paired(tmp_path) == {image: mask}


def test_names_that_are_no_pairs(tmp_path):
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "masks/a.png", "masks/c.png")
    touch(
        tmp_path,
        "images/e.jpg",
        "masks/e.png",
        "masks/e_mask.png",
        "SegmentationObject/a.png",
        "overlays/a.png",
    )
    account = Account()
    assert [pair.name for pair in pairs(tmp_path, None, account)] == ["images/a.jpg"]
    assert account.names == {
        "no annotation": ["images/b.jpg"],
        "two annotations": ["images/e.jpg"],
        "no image": ["masks/c.png"],
    }


def test_two_masks_of_every_image_are_told(tmp_path, capsys):
    touch(tmp_path / "in", "images/a.jpg", "masks/a.png", "labels/a.png", "unlabeled/b.jpg")
    text = refusal(tmp_path / "in", capsys)
    assert "1 image with more than one annotation, left out: images/a.jpg" in text
    assert "1 image without annotation, left out: unlabeled/b.jpg" in text


def test_one_name_in_two_folders_is_no_pair_by_name_alone(tmp_path):
    touch(tmp_path, "day/a.jpg", "night/a.jpg", "annotations/a.png")
    assert paired(tmp_path) == {}


def test_images_in_a_folder_that_is_named(tmp_path):
    touch(tmp_path, "one/a.jpg", "two/a.png", "two/b.png", "one/b.jpg")
    assert paired(tmp_path) == {}
    assert paired(tmp_path, tmp_path / "one") == {"a.jpg": "two/a.png", "b.jpg": "two/b.png"}


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train/images", "valid/images", "test/images"), ["test", "train", "val"]),
        (("images/Train", "images/Val"), ["train", "val"]),
        (("day/images", "night/images"), [None, None]),
        (("images/val", "images/test"), [None, None]),  # nothing to train on
        (("images/train", "images"), ["train"]),
    ],
)
def test_folders_are_splits(tmp_path, folders, splits):
    for i, folder in enumerate(folders):
        touch(tmp_path, f"{folder}/{i}.jpg", f"{folder.replace('images', 'masks')}/{i}.png")
    account = Account()
    samples = [Sample(pair.image, pair.name, None, pair.split) for pair in pairs(tmp_path, None, account)]
    assert sorted((each.split for each in own(samples, account)), key=str) == splits
    assert account.names["no split"] == ["images/1.jpg"] * (folders[-1] == "images")
    said = ["the source has test, val, but no train: all images are one split"]
    assert account.notes == said * (folders[0] == "images/val")


def test_a_name_in_two_lists_is_refused(tmp_path):
    touch(tmp_path, "JPEGImages/a.jpg", "SegmentationClass/a.png", "ImageSets/Segmentation/train.txt")
    for name in ("train", "val"):
        (tmp_path / "ImageSets" / "Segmentation" / f"{name}.txt").write_text("a\n\n")
    with pytest.raises(FCNXSError, match=r"val.txt: names a, which is in train.txt too"):
        pairs(tmp_path, None, Account())

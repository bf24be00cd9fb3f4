"""Options for data sets and augmentation; evaluate on every kind of data set."""

import argparse
import json
import re
import shutil

import pytest

from fcnxs import FCNXSError
from fcnxs.data.augment import Augmentation
from fcnxs.data.generated import CLASSES
from fcnxs.tools.main import main
from fcnxs.tools.shared import data_options


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    data_options.add_augmentation(parser)
    return parser.parse_args(list(arguments))


def test_defaults_are_whole_images_one_at_a_time_unchanged():
    args = parsed()
    assert data_options.augmentation_of(args) is None and args.batch_size == 1 and args.workers is None


def test_options_make_the_augmentation():
    options = ("--crop-size", "96", "--random-scale", "0.5,2", "--random-flip", "--color-jitter", "0.3")
    assert data_options.augmentation_of(parsed(*options)) == Augmentation(96, (0.5, 2.0), True, 0.3)
    for flip in ("--random-flip", "--random-mirror"):  # the name of earlier versions
        assert data_options.augmentation_of(parsed(flip)) == Augmentation(flip=True)


@pytest.mark.parametrize(
    "options",
    [
        ("--batch-size", "0"),
        ("--crop-size", "0"),
        ("--workers", "-1"),
        ("--random-scale", "2"),
        ("--random-scale", "2,1"),
        ("--random-scale", "1,nan"),
        ("--random-scale", "a,b"),
        ("--color-jitter", "1.5"),
    ],
)
def test_options_that_make_no_sense_are_named(options):
    with pytest.raises(FCNXSError, match=re.escape(f"{' '.join(options)}: expected ")):
        data_options.augmentation_of(parsed(*options))


def test_evaluate_takes_folder_pairs_and_data_sets_by_name(run_folder, voc, tmp_path, capsys):
    """The same pictures in each layout give the same scores."""
    pairs = tmp_path / "pairs"
    root = tmp_path / "citys"
    names = (voc / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    for name in names:
        for ours, theirs, suffix in (("images", "JPEGImages", "jpg"), ("labels", "SegmentationClass", "png")):
            (pairs / ours / "val").mkdir(parents=True, exist_ok=True)
            shutil.copy(voc / theirs / f"{name}.{suffix}", pairs / ours / "val")
    prefix = ["evaluate", "--prefix", str(run_folder / "run" / "fcn8s"), "--epoch", "1"]
    results = []
    for number, data in enumerate((voc, pairs)):
        file = tmp_path / f"{number}.json"
        assert main([*prefix, "--data", str(data), "--json", str(file), "--dump", str(tmp_path / "d")]) == 0
        results.append(json.loads(file.read_text()))
    assert results[0] == results[1]
    assert [row["class"] for row in results[1]["per_class"]] == list(CLASSES)
    shutil.rmtree(pairs / "labels")
    assert main([*prefix, "--data", str(pairs), "--dump", str(tmp_path / "e")]) == 0
    assert "wrote 3 class maps" in capsys.readouterr().out
    assert main([*prefix, "--data", str(pairs)]) == 2
    assert "labels/val: no such folder" in capsys.readouterr().err

    import fakes

    fakes.citys(root)
    assert main([*prefix, "--data", "citys", "--root", str(root)]) == 2
    assert "--data citys: names 19 classes, but the net has 5" in capsys.readouterr().err

"""Options for data sets and augmentation; evaluate on every kind of data set."""

import argparse
import json
import re
import shutil

import pytest

from fcnxs import FCNXSError, checkpoint
from fcnxs.data.augment import Augmentation
from fcnxs.data.generated import CLASSES
from fcnxs.data.samples import Samples
from fcnxs.finetune.run_folder import write_plan
from fcnxs.tools.main import main
from fcnxs.tools.shared import data_options
from fcnxs.tools.shared.augmentation import add_augmentation, augmentation_of


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    add_augmentation(parser)
    return parser.parse_args(list(arguments))


def test_defaults_are_whole_images_one_at_a_time_unchanged():
    args = parsed()
    assert augmentation_of(args) is None and args.batch_size == 1 and args.workers is None


def test_options_make_the_augmentation():
    options = ("--crop-size", "96", "--random-scale", "0.5,2", "--random-flip", "--color-jitter", "0.3")
    assert augmentation_of(parsed(*options)) == Augmentation(96, (0.5, 2.0), True, 0.3)
    for flip in ("--random-flip", "--random-mirror"):  # the name of earlier versions
        assert augmentation_of(parsed(flip)) == Augmentation(flip=True)


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
        augmentation_of(parsed(*options))


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


def test_every_command_finds_classes_txt_and_the_split_val(run_folder, voc, tmp_path, capsys):
    data, run = ["--data", str(voc)], tmp_path / "run"
    named, split = f"class names from {voc / 'classes.txt'} (", f"reading the split val of {voc} ("
    begin = ["finetune", *data, "--prefix", str(run_folder / "vgg"), "--epoch", "0", "--recipe", "adam"]
    begin += ["--stages", "fcn32s", "--epochs", "1", "--output"]
    assert main(["check-data", str(voc)]) == 0
    assert named in capsys.readouterr().out
    assert main([*begin, str(run)]) == 0
    out = capsys.readouterr().out
    assert named in out and f"evaluating on the split val of {voc} after each epoch" in out
    assert "6 images to train on, 3 to evaluate on" in out and "best by mean IU" in out
    assert checkpoint.load(run / "fcn32s", 1).meta.classes == list(CLASSES)
    assert main(["finetune", "--resume", str(run)]) == 0 and main(["report", str(run)]) == 0
    assert "on 3 images" in capsys.readouterr().out
    net = ["--prefix", str(run / "fcn32s")]
    assert main(["evaluate", *net, *data]) == 0
    out = capsys.readouterr().out
    assert named in out and split in out
    assert main(["export", *net, *data, "--output", str(tmp_path / "out")]) == 0
    assert split in capsys.readouterr().out


def test_options_win_over_what_is_found(run_folder, voc, tmp_path, capsys):
    data, names, run = ["--data", str(voc)], ["--classes", str(voc / "classes.txt")], tmp_path / "run"
    begin = ["finetune", *data, "--prefix", str(run_folder / "vgg"), "--epoch", "0", "--recipe", "adam"]
    begin += ["--stages", "fcn32s", "--epochs", "1", *names, "--output"]
    assert main([*begin, str(run), "--no-val"]) == 0
    out = capsys.readouterr().out
    assert "class names from" not in out and "split val" not in out and "none to evaluate on" in out
    plan = json.loads((run / "run.json").read_text())
    plan["options"].pop("no_val")  # as versions without this option wrote it
    write_plan(run, {**plan, "finished": False})
    assert main(["finetune", "--resume", str(run)]) == 0
    assert "split val" not in capsys.readouterr().out
    assert main(["evaluate", "--prefix", str(run / "fcn32s"), *data, *names, "--split", "train"]) == 0
    out = capsys.readouterr().out
    assert "class names from" not in out and "reading the split" not in out
    assert main([*begin, str(tmp_path / "both"), "--no-val", "--val-split", "val"]) == 2
    assert "--no-val: goes neither with --val nor with --val-split" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\nb\n", "classes.txt names 2 classes, but the net has 3"),
        ("a\nb\na\n", "classes.txt, line 3: 'a' is the name in line 1 too; expected 2 to 255 different names"),
    ],
)
def test_a_classes_txt_that_does_not_fit_is_left_out_and_said(text, why, tmp_path, capsys):
    samples = Samples([], [], tmp_path)
    assert data_options.classes_of(None, samples, 3) is None and not capsys.readouterr().out
    (tmp_path / "classes.txt").write_text(text)
    assert data_options.classes_of(None, samples, 3) is None
    out = capsys.readouterr().out
    assert why in out and out.endswith("; this file is not used\n") and out.count("\n") == 1
    assert data_options.classes_of(["x", "y", "z"], samples, 3) == ["x", "y", "z"]
    assert not capsys.readouterr().out
    if "line 3" in why:  # a net of any number of classes would get VOC's, against what the file is for
        with pytest.raises(FCNXSError, match="line 3: 'a' .*--classes or --num-classes set this file aside"):
            data_options.classes_of(None, samples)

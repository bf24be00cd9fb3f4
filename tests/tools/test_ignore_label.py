"""--ignore-label: values of labels that are read as 255, on the command line and in the library."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from PIL import Image

from fcnxs import checkpoint, symbols
from fcnxs.data import FileIter, read_label
from fcnxs.data.check import check
from fcnxs.data.layouts import open_samples
from fcnxs.data.samples import Samples
from fcnxs.errors import FCNXSError
from fcnxs.tools.main import main

NAMES = ("sky", "road", "tree")
VOID = 11  # beyond the three classes
META = checkpoint.Meta(list(NAMES), [[1, 2, 3], [128, 0, 0], [0, 128, 0]])
FCN32S = symbols.get_fcn32s_symbol(3, width=WIDTH, fc=FC)


@pytest.fixture
def data(tmp_path):
    """Four images to train on and two others, of classes 0 to 2, whose first columns are void; and a net."""
    for number, part in enumerate(["train"] * 4 + ["val"] * 2):
        label = np.random.default_rng(number).integers(0, 3, (60, 70)).astype(np.uint8)
        label[:, :7] = VOID
        for kind, array in (("images", photo(seed=number)), ("labels", label)):
            file = tmp_path / "data" / kind / part / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(file)
    (tmp_path / "data" / "classes.txt").write_text("\n".join(NAMES))
    checkpoint.save(tmp_path / "net", 0, FCN32S, random_params(FCN32S), {}, META)
    return tmp_path / "data"


def with_255(data):
    """A copy of the data whose void is 255 in the files."""
    other = data.parent / "with_255"
    shutil.copytree(data, other)
    for file in other.glob("labels/*/*.png"):
        label = np.asarray(Image.open(file))
        Image.fromarray(np.where(label == VOID, 255, label).astype(np.uint8)).save(file)
    return other


def finetune(data, run, *more):
    prefix = str(data.parent / "net")
    what = [f"--data={data}", f"--prefix={prefix}", "--epoch=0", "--stages=fcn32s", "--epochs=1", "--quiet"]
    return main(["finetune", *what, f"--output={run}", *more])


def test_reads_values_as_255(tmp_path):
    stored = np.array([[0, 1, 11, 65535, 255]])
    Image.fromarray(stored.astype(np.uint16)).save(tmp_path / "l.png")
    np.testing.assert_array_equal(
        read_label(tmp_path / "l.png", 2, ignore=[11, 65535]), [[0, 1, 255, 255, 255]]
    )
    assert read_label(tmp_path / "l.png", 2, ignore=[11, 65535]).dtype == np.uint8
    with pytest.raises(FCNXSError, match="l.png: value 11 "):
        read_label(tmp_path / "l.png", 2, ignore=[65535, 3, -1])


def test_the_library_reads_as_if_the_files_had_255(data):
    other = open_samples(with_255(data))
    mapped = open_samples(data).reading(ignore=[VOID, VOID])
    for number in range(4):
        image, label = mapped.read(number)
        np.testing.assert_array_equal(label, other.read(number)[1])
        assert label.dtype == np.uint8
    one, two = check(mapped, 3), check(other, 3)
    assert one.fingerprint == two.fingerprint
    assert (one.left_out, one.ignored, one.void) == ({VOID: 4 * 60 * 7}, 4 * 60 * 7, "255 or 11")
    assert (two.left_out, two.ignored, two.void) == ({}, 4 * 60 * 7, "255")
    # a data set by name has a reader of its own; the numbers are those of its classes
    named = Samples(mapped.images, mapped.labels, data, label_of=lambda file: read_label(file) % 11)
    np.testing.assert_array_equal(
        named.reading(ignore=[0]).read(0)[1], np.where(named.read(0)[1] == 0, 255, named.read(0)[1])
    )
    (data / "a.lst").write_text("0\timages/val/4.png\tlabels/val/4.png\n")
    label = FileIter(data, "a.lst", num_classes=3, ignore=[VOID]).label
    assert (label[0, :, :7] == 255).all()


def test_scores_as_if_the_files_had_255(data, tmp_path, capsys):
    prefix = f"--prefix={tmp_path / 'net'}"
    assert main(["evaluate", prefix, f"--data={data}"]) == 2
    assert "value 11 in 420 pixels" in (said := capsys.readouterr().err)
    assert "if 11 marks no class, --ignore-label 11 leaves it out" in said
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    assert main(["evaluate", prefix, f"--data={data}", f"--json={files[0]}", "--ignore-label", "11"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert main(["evaluate", prefix, f"--data={with_255(data)}", f"--json={files[1]}"]) == 0
    assert files[0].read_text() == files[1].read_text()


def test_a_run_keeps_it_and_those_after_it_follow(data, tmp_path, capsys):
    run = tmp_path / "run"
    assert finetune(data, run) == 2
    assert "--ignore-label 11 leaves it out" in capsys.readouterr().err
    assert finetune(data, run, "--ignore-label=11", "--ignore-label=200") == 0
    assert "--ignore-label 200: no label of 4 has this value" in capsys.readouterr().err
    plan = json.loads((run / "run.json").read_text())
    assert plan["options"]["ignore_label"] == [11, 200]
    assert plan["meta"]["ignore_label"] == 255
    other = tmp_path / "other"
    assert finetune(with_255(data), other) == 0
    assert (run / "fcn32s-0001.params").read_bytes() == (other / "fcn32s-0001.params").read_bytes()
    capsys.readouterr()

    assert main(["evaluate", f"--prefix={run / 'fcn32s'}", f"--data={data}"]) == 0
    assert f"ignoring the value 11, 200 of the labels, as {run / 'run.json'} says" in capsys.readouterr().out
    assert main(["evaluate", f"--prefix={run / 'fcn32s'}", f"--data={data}", "--ignore-label=255"]) == 2
    assert main(["finetune", f"--resume={run}", "--ignore-label=3"]) == 2
    assert "began with [11, 200]" in capsys.readouterr().err
    assert main(["finetune", f"--resume={run}", "--quiet"]) == 0
    assert main(["report", str(run)]) == 0
    assert "value 11" not in capsys.readouterr().err
    assert "11" in (run / "report.html").read_text().partition("--ignore-label</th><td>")[2][:10]


def test_a_damaged_record_of_the_run_only_warns(data, tmp_path, capsys):
    (tmp_path / "run.json").write_text("{}")
    assert main(["evaluate", f"--prefix={tmp_path / 'net'}", f"--data={with_255(data)}"]) == 0
    said = capsys.readouterr().err
    assert f"warning: {tmp_path / 'run.json'}: not the record of a run" in said
    assert "--ignore-label says which values of the labels are ignored" in said


def test_check_data_tells_what_it_left_out(data, capsys):
    assert main(["check-data", str(data), "--ignore-label", "11"]) == 0
    said = capsys.readouterr().out
    assert "10.00% of the pixels are 255 or 11, and left out" in said  # 7 of 70 columns
    assert "warning" not in said
    # a class may be left out too; it keeps its number
    assert main(["check-data", str(data), "--ignore-label=11", "--ignore-label=0"]) == 0
    said = capsys.readouterr().out
    pixels = sum((np.asarray(Image.open(file)) == 0).sum() for file in data.glob("labels/train/*"))
    share = 100 * pixels / (4 * 60 * 70)
    assert (
        f"--ignore-label 0: leaves out class 0 (sky) of the 3 classes, {pixels:,} pixels, {share:.2f}%" in said
    )
    assert "`fcnxs import-data --ignore 0`" in said
    assert "no pixel of" not in said  # the class is not missed


def test_labels_of_what_is_left_out_alone_are_refused(data, capsys):
    arguments = [f"--ignore-label={value}" for value in (0, 1, 2, 11)]
    assert main(["check-data", str(data), *arguments]) == 1
    assert "every pixel of the labels is 255 or 0 or 1 or 2 or 11" in capsys.readouterr().out


def test_a_run_begun_with_an_operator_is_resumed(data, tmp_path):
    assert finetune(data, tmp_path / "run", "--ignore-label=11", "--allow-operator=Crop") == 0
    assert main(["finetune", f"--resume={tmp_path / 'run'}", "--quiet"]) == 0

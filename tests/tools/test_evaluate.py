"""The command evaluate: its scores, and the class maps that it dumps."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from fcnxs.data.generated import CLASSES
from fcnxs.score import NAMES
from fcnxs.tools.main import main
from fcnxs.vis import voc_palette


def test_evaluate_gives_the_scores_of_training(run_folder, voc, tmp_path, capsys):
    prefix = str(run_folder / "run" / "fcn8s")
    code = main(
        ["evaluate", "--prefix", prefix, "--epoch", "1", "--data", str(voc), "--json", str(tmp_path / "s")]
    )
    assert code == 0
    result = json.loads((tmp_path / "s").read_text())
    row = json.loads((run_folder / "run" / "summary.json").read_text())["stages"][2]
    for name in NAMES:
        assert result[name] == pytest.approx(row[name], abs=1e-6)
    assert [entry["class"] for entry in result["per_class"]] == list(CLASSES) and result["images"] == 3
    out = capsys.readouterr().out
    assert "star" in out and f"{result['mean_iu']:.4f}" in out


def test_dump_writes_what_segment_writes_by_the_names_of_the_images(run_folder, voc, tmp_path, capsys):
    """With labels as without any; the PNGs' indices are the classes, and their colours VOC's."""
    prefix = ["--prefix", str(run_folder / "run" / "fcn8s"), "--epoch", "1"]
    test = tmp_path / "test"  # the same pictures as a split without labels
    shutil.copytree(voc, test)
    shutil.rmtree(test / "SegmentationClass")
    images = sorted(map(str, (voc / "JPEGImages").glob("val_*.jpg")))
    assert main(["segment", *prefix, *images, "--output", str(tmp_path / "masks")]) == 0
    assert main(["evaluate", *prefix, "--data", str(voc), "--dump", str(tmp_path / "scored")]) == 0
    assert "mean IU" in capsys.readouterr().out
    assert main(["evaluate", *prefix, "--data", str(test), "--dump", str(tmp_path / "unscored")]) == 0
    assert "none of the 3 images has a label, so nothing was scored" in capsys.readouterr().out
    for folder in ("scored", "unscored"):
        assert sorted(file.name for file in (tmp_path / folder).iterdir()) == [
            f"val_000{i}.png" for i in range(3)
        ]
        for i in range(3):
            ours, theirs = (Image.open(tmp_path / f / f"val_000{i}.png") for f in (folder, "masks"))
            assert ours.mode == "P" and ours.getpalette()[:768] == sum(voc_palette(), [])
            np.testing.assert_array_equal(ours, theirs)


def test_dump_writes_over_nothing_that_is_read(run_folder, voc, tmp_path, capsys):
    prefix = ["--prefix", str(run_folder / "run" / "fcn8s"), "--epoch", "1", "--data", str(voc)]
    truth = {file: file.read_bytes() for file in (voc / "SegmentationClass").iterdir()}
    assert main(["evaluate", *prefix, "--dump", str(voc / "SegmentationClass")]) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in (voc / "SegmentationClass").iterdir()} == truth
    (tmp_path / "file").touch()
    clash = ["--dump", str(tmp_path / "d"), "--json", str(tmp_path / "d" / "val_0000.png")]
    assert main(["evaluate", *prefix, *clash]) == 2
    assert "would overwrite" in capsys.readouterr().err and not (tmp_path / "d").exists()
    assert main(["evaluate", *prefix, "--dump", str(tmp_path / "file")]) == 2
    assert "is a file; give a folder" in capsys.readouterr().err


@pytest.mark.parametrize("labelled", [True, False])
def test_a_dump_that_fails_leaves_nothing(labelled, run_folder, voc, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(voc, data)
    if labelled:
        (data / "SegmentationClass" / "val_0002.png").unlink()
        Image.new("P", (5, 5)).save(data / "SegmentationClass" / "val_0002.png")
    else:
        shutil.rmtree(data / "SegmentationClass")
        (data / "JPEGImages" / "val_0002.jpg").write_text("no picture")
    arguments = ["--prefix", str(run_folder / "run" / "fcn8s"), "--epoch", "1", "--data", str(data)]
    assert main(["evaluate", *arguments, "--dump", str(tmp_path / "new" / "dump")]) == 2
    assert "val_0002" in capsys.readouterr().err and not (tmp_path / "new").exists()
    if labelled:
        (data / "SegmentationClass" / "val_0002.png").unlink()
        assert main(["evaluate", *arguments, "--dump", str(tmp_path / "new" / "dump")]) == 2
        assert "val_0002.png: no such file" in capsys.readouterr().err

"""`finetune --class-weights`: what is computed, kept and reported, and that a killed run goes on with it."""

import json

import numpy as np
import pytest
from conftest import finetune
from PIL import Image
from runs import start, wait_for

from fcnxs.compat import mxnet as mx
from fcnxs.tools.main import main

OPTIONS = (
    *("--stages", "fcn32s", "--epochs", "2", "--val-split", "val", "--checkpoint-every", "1"),
    *("--class-weights", "auto"),
)


def by_median_frequency(voc):
    """Weights of the five classes over the training labels, in NumPy alone."""
    names = (voc / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    labels = [np.array(Image.open(voc / "SegmentationClass" / f"{name}.png")) for name in names]
    frequency = []
    for number in range(5):
        having = [label for label in labels if (label == number).any()]
        frequency.append(sum((label == number).sum() for label in having) / sum(label.size for label in having))
    return np.median(frequency) / frequency


def lines_of(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def weighted(run_folder, voc, shared):
    def write(folder):
        assert main([*finetune(voc, run_folder, *OPTIONS), "--output", str(folder / "run")]) == 0

    return shared("weighted", write) / "run"


def test_auto_is_the_median_frequency_and_is_kept(weighted, voc, run_folder, tmp_path, capsys):
    kept = json.loads((weighted / "run.json").read_text())["class_weights"]
    np.testing.assert_allclose(kept, by_median_frequency(voc), rtol=1e-12)
    for line in lines_of(weighted):
        for of in ("train", "val"):
            assert line[f"{of}_weighted_loss"] > 0 and line[f"{of}_weighted_loss"] != line[f"{of}_loss"]
    assert '  class weights: {"background": ' in (weighted / "run.log").read_text()
    names = (voc / "classes.txt").read_text().split()
    file = tmp_path / "weights.json"
    file.write_text(json.dumps(dict(zip(names, kept))))
    arguments = [*finetune(voc, run_folder, *OPTIONS, "--class-weights", str(file)), "--output"]
    assert main([*arguments, str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert f"weights of the classes in the loss: background {kept[0]:.4g}, disc {kept[1]:.4g}," in out
    assert lines_of(tmp_path / "run") == lines_of(weighted)
    file.write_text("nothing 3\n")
    assert main([*arguments, str(tmp_path / "other")]) == 2
    err = capsys.readouterr().err
    assert "weights.json: not weights of classes" in err and "'nothing', which is none of" in err
    assert err.count("\n") == 1 and not (tmp_path / "other").exists()


def test_a_killed_run_ends_as_if_it_had_not_been(weighted, voc, run_folder, tmp_path, capsys):
    process = start(*finetune(voc, run_folder, *OPTIONS), "--output", tmp_path / "run")
    wait_for(process, lambda: list((tmp_path / "run").glob("fcn32s-last.0001-000004.json")))
    process.kill()
    process.communicate()
    assert not (tmp_path / "run" / "fcn32s-0002.params").exists()
    resume = ["finetune", "--resume", str(tmp_path / "run")]
    assert main([*resume, "--class-weights", "weights.txt"]) == 2
    assert "began with auto; leave the option out" in capsys.readouterr().err
    assert main(resume) == 0
    assert lines_of(tmp_path / "run") == lines_of(weighted)
    for name in ("fcn32s-0001.params", "fcn32s-0002.params", "fcn32s-best-0000.params"):
        a, b = (mx.nd.load(str(folder / name)) for folder in (tmp_path / "run", weighted))
        for key in a:
            np.testing.assert_array_equal(a[key].asnumpy(), b[key].asnumpy(), err_msg=key)


def test_the_report_names_the_weights(weighted, tmp_path):
    assert main(["report", str(weighted), "--output", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "class weights" in page and "--class-weights" in page


def test_images_left_out_have_no_part_in_the_frequencies(voc, run_folder, tmp_path):
    """A pair whose label has a value that is no class is left out with all of its pixels."""
    names = (voc / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    kept = {}
    for what in ("without", "with"):
        folder = tmp_path / what
        folder.mkdir()
        lines = [f"{n}\t{voc}/JPEGImages/{n}.jpg\t{voc}/SegmentationClass/{n}.png\n" for n in names[:3]]
        if what == "with":
            label = np.array(Image.open(voc / "SegmentationClass" / f"{names[3]}.png"))
            label[0, 0] = 99
            Image.fromarray(label).save(folder / "bad.png")
            lines.append(f"9\t{voc}/JPEGImages/{names[3]}.jpg\t{folder}/bad.png\n")
        (folder / "images.lst").write_text("".join(lines))
        words = finetune(voc, run_folder, "--data", str(folder / "images.lst"), "--skip-bad", "--epochs", "1")
        words += ["--stages", "fcn32s", "--class-weights", "auto", "--output", str(folder / "run")]
        assert main([*words]) == 0
        kept[what] = json.loads((folder / "run" / "run.json").read_text())["class_weights"]
    assert kept["with"] == kept["without"]

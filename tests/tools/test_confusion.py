"""`evaluate` writes the confusion matrix as CSV and as a picture, and the scores of each class."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from conftest import FC, WIDTH, photo, random_params
from PIL import Image

import fcnxs
from fcnxs import checkpoint, symbols
from fcnxs.report.confusion import write_picture
from fcnxs.score import confusion_matrix, scores
from fcnxs.tools.main import main
from fcnxs.tools.shared.text import without_scores

NAMES = ["road, wet", "car $1$", "tree", "never"]
NET = symbols.get_fcn32s_symbol(4, width=WIDTH, fc=FC)


@pytest.fixture
def data(tmp_path):
    """Two images with labels of classes 0 to 2 and 255, and a net for four classes."""
    meta = checkpoint.Meta(NAMES, [[1, 1, 1], [2, 2, 2], [3, 3, 3], [4, 4, 4]])
    checkpoint.save(tmp_path / "net", 0, NET, random_params(NET), {}, meta)
    for number in range(2):
        label = np.random.default_rng(number).choice([0, 1, 2, 255], (60, 70)).astype(np.uint8)
        for folder, array in (("images", photo(seed=number)), ("labels", label)):
            file = tmp_path / "data" / folder / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(file)
    return tmp_path / "data"


def evaluate(data, *more):
    prefix = str(data.parent / "net")
    return main(["evaluate", f"--prefix={prefix}", "--epoch=0", f"--data={data}", *map(str, more)])


def test_matrix_and_scores_are_written(data, tmp_path, capsys):
    files = [tmp_path / "m.csv", tmp_path / "m.PNG"]
    assert evaluate(data, f"--json={tmp_path / 's.json'}", "--confusion", *files) == 0
    said = capsys.readouterr().out
    segmenter = fcnxs.Segmenter(tmp_path / "net", 0)
    matrix = sum(
        confusion_matrix(
            np.asarray(Image.open(data / "labels" / file.name)), segmenter(file).astype(np.int64), 4
        )
        for file in data.glob("images/*")
    )
    with files[0].open(newline="", encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    assert head[1:] == [row[0] for row in rows] == NAMES
    np.testing.assert_array_equal([[int(cell) for cell in row[1:]] for row in rows], matrix)
    for i, each in enumerate(json.loads((tmp_path / "s.json").read_text())["per_class"]):
        hits, row, column = matrix[i, i], matrix[i].sum(), matrix[:, i].sum()
        assert each["recall"] == each["accuracy"] == (hits / row if row else None)
        assert each["precision"] == (hits / column if column else None)
        assert each["f1"] == (2 * hits / (row + column) if row + column else None)
        assert each["iu"] == (hits / (row + column - hits) if row + column else None)
    assert "class      pixels  precision  recall      F1      IU" in said
    assert "- stands for no score; 1 of 4 classes are in no label: never\n" in said

    # a second time they are replaced, what is not ours only with --overwrite
    assert evaluate(data, "--confusion", *files) == 0
    for file in files:
        file.write_bytes(b"mine" * 20)
        assert evaluate(data, "--confusion", file) == 2
        assert f"{file}: is there already" in capsys.readouterr().err
        assert evaluate(data, "--confusion", file, "--overwrite") == 0


def test_classes_without_a_score_are_told():
    matrix = np.array([[6, 0, 2, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert without_scores(scores(matrix), "abcd") == (
        "- stands for no score; 2 of 4 classes are in no label: c, d; 2 of 4 classes are never predicted: b, d"
    )
    assert without_scores(scores(np.ones((4, 4))), "abcd") == ""
    many = without_scores(scores(np.diag([1] + [0] * 30)), [f"c{i}" for i in range(31)])
    assert "30 of 31 classes are in no label: c1, c2, c3, c4, c5, c6, c7, c8, c9, c10 and 20 more;" in many


def test_the_picture_is_darker_the_larger_the_share(tmp_path):
    matrix = np.array([[90, 10, 0], [50, 50, 0], [0, 0, 0]])
    write_picture(tmp_path / "m.png", matrix, ["a", "b", "c"])
    with Image.open(tmp_path / "m.png") as image:
        assert image.text["Software"].startswith("fcnxs ")
        pixels = np.asarray(image.convert("RGB")).astype(int)
    ink = pixels.sum(axis=2)
    assert (ink < 600).mean() > 0.02  # there is blue
    write_picture(tmp_path / "n.png", np.zeros((255, 255), int), [f"class {i}" for i in range(255)])
    assert max(Image.open(tmp_path / "n.png").size) < 5000


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (["m.txt"], "give a name that ends in .csv or .png"),
        (["m.csv", "m.csv"], "name each file once"),
        (["data/labels/0.png"], "is there already, and this command did not write it so"),
    ],
)
def test_wrong_names_are_refused(files, text, data, tmp_path, capsys):
    assert evaluate(data, "--confusion", *(tmp_path / file for file in files)) == 2
    assert text in capsys.readouterr().err


def test_without_labels_there_is_no_matrix(data, tmp_path, capsys):
    for file in data.glob("labels/*"):
        file.unlink()
    assert evaluate(data, "--confusion", tmp_path / "m.csv", "--dump", tmp_path / "masks") == 2
    assert "--confusion" in (said := capsys.readouterr().err) and "none of the images has a label" in said
    assert not (tmp_path / "m.csv").exists()

"""The report of a run: its values against NumPy's, and what is in a page."""

import json
import re

import numpy as np
import pytest
from pages import Parts, made_up
from PIL import Image

from fcnxs.data.generated import CLASSES
from fcnxs.report.evaluation import Example, choose
from fcnxs.report.page import LIMIT, page, shown
from fcnxs.tools.main import main
from fcnxs.vis import voc_palette

STAGES = {"fcn32s": 2, "fcn16s": 1, "fcn8s": 1}


@pytest.fixture(scope="module")
def html(run_folder, tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "page.html"
    assert main(["report", str(run_folder / "run"), "--output", str(file)]) == 0
    return file.read_text()


@pytest.fixture(scope="module")
def class_maps(run_folder, voc, tmp_path_factory):
    """What `fcnxs evaluate` dumps, by stage and image, and the truth."""
    folder, maps = tmp_path_factory.mktemp("dump"), {"truth": voc / "SegmentationClass"}
    for stage, epoch in STAGES.items():
        maps[stage] = folder / stage
        prefix = ["--prefix", str(run_folder / "run" / stage), "--epoch", str(epoch)]
        assert main(["evaluate", *prefix, "--data", str(voc), "--dump", str(maps[stage])]) == 0
    names = [f"val_000{i}" for i in range(3)]
    return {
        key: {name: np.asarray(Image.open(of / f"{name}.png")) for name in names} for key, of in maps.items()
    }


def counted(truth, prediction):
    """Confusion matrix, pixel pair by pixel pair."""
    matrix = np.zeros((len(CLASSES), len(CLASSES)), int)
    for t in truth:
        keep = truth[t] != 255
        np.add.at(matrix, (truth[t][keep], prediction[t][keep]), 1)
    return matrix


def iu_of(matrix):
    """IU of each class; NaN where it is nowhere."""
    hits, either = np.diag(matrix), matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    return [hit / union if union else float("nan") for hit, union in zip(hits, either)]


def text_of(value):
    return "-" if np.isnan(value) else f"{value:.4f}"


def test_classes_and_confusions_are_those_of_the_dumped_class_maps(html, class_maps):
    parts = Parts(html)
    matrices = {stage: counted(class_maps["truth"], class_maps[stage]) for stage in STAGES}
    head, *rows, mean = parts.table("scores of the classes")
    own = ["precision, fcn8s", "recall, fcn8s", "F1, fcn8s"]
    assert head == ["class", "pixels", *(f"IU, {stage}" for stage in STAGES), *own]
    iu = {stage: iu_of(matrix) for stage, matrix in matrices.items()}
    last = matrices["fcn8s"]
    for i, name in enumerate(CLASSES):
        row, column = last[i].sum(), last[:, i].sum()
        parts_of = ((last[i, i], column), (last[i, i], row), (2 * last[i, i], row + column))
        own = [text_of(hits / of if of else float("nan")) for hits, of in parts_of]
        share = f"{100 * last[i].sum() / last.sum():.1f}%"
        assert rows[i] == [name, share, *(text_of(iu[stage][i]) for stage in STAGES), *own]
    assert mean[2:5] == [text_of(np.nanmean(iu[stage])) for stage in STAGES]
    for stage, matrix in matrices.items():
        head, *rows = parts.table(f"confusion matrix of {stage}")
        assert head[1:] == list(CLASSES)
        for row, counts in zip(rows, matrix):
            shares = ["" if count == 0 else f"{100 * count / counts.sum():.0f}" for count in counts]
            assert row[1:] == shares


def test_stages_are_the_lines_of_training(html, run_folder):
    records = [json.loads(line) for line in (run_folder / "run" / "metrics.jsonl").read_text().splitlines()]
    _, *rows = Parts(html).table("scores of the stages")
    assert [(row[0], int(row[1])) for row in rows] == list(STAGES.items())
    for row in rows:
        of = [record for record in records if record["stage"] == row[0]]
        best = max(of, key=lambda record: record["mean_iu"])
        names = (
            "pixel_accuracy",
            "mean_accuracy",
            "mean_iu",
            "frequency_weighted_iu",
            "train_loss",
            "val_loss",
        )
        assert row[2:8] == [f"{of[-1][name]:.4f}" for name in names]
        assert row[8] == f"{best['epoch']} (mean IU {best['mean_iu']:.4f})"


def test_pictures_are_the_class_maps_and_the_best_comes_first(html, class_maps, voc):
    parts = Parts(html)
    pictures = parts.images()
    for name, truth in class_maps["truth"].items():
        np.testing.assert_array_equal(pictures[f"true classes of {name}.jpg"], truth)
        image = np.asarray(Image.open(voc / "JPEGImages" / f"{name}.jpg")).astype(int)
        assert np.abs(pictures[f"image {name}.jpg"] - image).mean() < 10  # JPEG twice
        for stage in STAGES:
            own = {name: class_maps[stage][name]}
            iu = np.nanmean(iu_of(counted({name: truth}, own)))
            shown = pictures[f"classes of {name}.jpg by {stage}, mean IU {iu:.4f}"]
            np.testing.assert_array_equal(shown, own[name])
    assert len(pictures) == 3 * 5
    seen = sorted(
        {value for maps in class_maps.values() for each in maps.values() for value in np.unique(each)}
    )
    swatches = [a["style"][-7:] for tag, a in parts.elements if a.get("class") == "swatch"][len(CLASSES) :]
    assert swatches == ["#{:02x}{:02x}{:02x}".format(*voc_palette()[value]) for value in seen]
    by_last = [float(alt[-6:]) for alt in parts.attributes("alt") if "by fcn8s" in alt]
    best, worst = by_last[:2], by_last[2:]
    assert best == sorted(best, reverse=True) and min(best) >= worst[0]


def test_a_page_needs_nothing_else_and_is_the_same_each_time(html, run_folder, tmp_path):
    parts = Parts(html)
    addresses = [
        address
        for name in ("src", "href", "xlink:href", "srcset", "action", "data")
        for address in parts.attributes(name)
    ]
    assert len(addresses) > 15 and all(address.startswith(("data:", "#")) for address in addresses)
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?(.)", html))
    assert "@import" not in html and not {"script", "iframe", "object", "embed", "base"} & set(parts.texts)
    assert not [name for _, attributes in parts.elements for name in attributes if name.startswith("on")]
    (policy,) = [a["content"] for _, a in parts.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    ids = parts.attributes("id")
    assert len(ids) > 20 and len(set(ids)) == len(ids)
    assert {address[1:] for address in addresses if address[0] == "#"} <= set(ids)
    assert ("html", {"lang": "en"}) in parts.elements
    assert all(a.get("alt") for tag, a in parts.elements if tag == "img")
    words = "".join(parts.texts["text"])  # of the charts: text, not outlines
    assert all(word in words for word in (*STAGES, "mean IU", "best epoch", "validation"))
    again = tmp_path / "again.html"
    assert main(["report", str(run_folder / "run"), "--output", str(again)]) == 0
    assert again.read_text() == html


def test_of_150_classes_the_largest_confusions_are_listed(tmp_path):
    matrix = np.random.default_rng(0).integers(0, 10**6, (150, 150))
    classes = [f"class {i}" for i in range(150)]
    parts = Parts(page(*made_up(classes, matrix, folder=tmp_path)))
    assert not [table for table in parts.tables if table.label.startswith("confusion matrix")]
    wrong = sorted((-matrix[i, j], i, j) for i in range(150) for j in range(150) if i != j)[:40]
    _, *rows = parts.table("largest confusions")
    assert [(int(row[2].replace(",", "")), row[0], row[1]) for row in rows] == [
        (-count, classes[i], classes[j]) for count, i, j in wrong
    ]
    small = page(*made_up(classes[:21], matrix[:21, :21], folder=tmp_path))
    assert len(Parts(small).table("confusion matrix of fcn8s")) == 22


def test_names_are_text_whatever_they_hold(tmp_path):
    evil = ["<script>alert(1)</script>", "a & b", "\"><img src='http://example.com/x'>", "{{ 7 * 7 }}"]
    picture, label = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8)
    name = '/data/<b>&"\' onerror="x.jpg'
    example = Example(0, name, picture, label, {"fcn8s": label})
    folder = tmp_path / '<i>run & "more"'
    folder.mkdir()
    parts = Parts(page(*made_up(evil, np.eye(4, dtype=int), [example], folder), notes=[evil[0]]))
    assert not {"script", "b", "i"} & set(parts.texts) and len(parts.images()) == 3
    assert [row[0] for row in parts.table("scores of the classes")][1:5] == evil
    assert parts.texts["h1"] == [f"Run {tmp_path.name}/{folder.name}"] and evil[0] in parts.texts["li"]
    assert f"image {name[6:]}" in parts.attributes("alt")


def test_pictures_keep_within_their_limit():
    rng = np.random.default_rng(1)
    noise, label = rng.integers(0, 256, (900, 700, 3), np.uint8), rng.integers(0, 21, (900, 700), np.uint8)
    examples = [Example(i, "x", noise, label, dict.fromkeys(STAGES, label)) for i in range(8)]
    total = sum(
        len(uri)
        for each in shown(examples, voc_palette())
        for uri in (each.image, each.truth, *each.class_maps.values())
    )
    assert LIMIT / 4 < total <= LIMIT


def test_the_best_and_the_worst_are_others_and_in_order():
    iu = np.array([0.5, np.nan, 0.9, 0.1, 0.9, 0.3, 0.7, 0.2, 0.6, 0.4])
    assert choose(iu) == ([2, 4, 6, 8], [3, 7, 5, 9])
    assert choose(iu[:6]) == ([2, 4, 0], [3, 5]) and choose(iu[:1]) == ([0], []) and choose(iu[1:2]) == ([], [])

"""`fcnxs benchmark published` on made files with the names of the authors' ones."""

import json
import re
import shutil

import numpy as np
import pytest
from conftest import FC, WIDTH, photo
from PIL import Image
from scipy.io import loadmat, savemat

from fcnxs.conventions import CONTEXT_CLASSES
from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.convert.conversion import read
from fcnxs.data.authors_sets import IN_THE_400
from fcnxs.data.images import preprocess, read_image
from fcnxs.net import Net, outputs_of
from fcnxs.score import NAMES, confusion_matrix, scores
from fcnxs.symbols.graph.rewrite import scores_symbol
from fcnxs.tools.benchmarks import published
from fcnxs.tools.benchmarks.parity import random_blobs
from fcnxs.tools.main import main

VOC = ("fcn32s-heavy-pascal", "fcn8s-heavy-pascal", "fcn8s-atonce-pascal", "fcn-alexnet-pascal")
OTHERS = {
    "pascalcontext-fcn8s-heavy": 60,
    "siftflow-fcn8s-heavy": 33,
    "nyud-fcn32s-color-heavy": 40,
    "nyud-fcn32s-hha-heavy": 40,
    "nyud-fcn32s-color-hha-heavy": 40,
}
OUTDOOR = "spatial_envelope_256x256_static_8outdoorcategories"


@pytest.fixture
def files(voc, tmp_path):
    """Made files of nets of each data set, and pictures in VOC's layout with the split."""
    shutil.copytree(voc, tmp_path / "VOC2011")
    lists = tmp_path / "VOC2011" / "ImageSets" / "Segmentation"
    shutil.copy(lists / "val.txt", lists / "seg11valid.txt")
    (tmp_path / "weights").mkdir()
    for name in (*VOC, *OTHERS):
        blobs = random_blobs(published.FILES[name].net, WIDTH, FC, OTHERS.get(name, 21))
        for layer in [layer for layer in blobs if layer.endswith("_geo")]:  # which has a class more than sem
            blobs[layer] = [a[:3, :3] if a.shape[:2] == (34, 34) else a[:3] for a in blobs[layer]]
        write_caffemodel(tmp_path / "weights" / f"{name}.caffemodel", blobs, v1=True)
    return tmp_path


def run(files, capsys, *more):
    """Exit code, rows by file and head (" sem"), and what was printed."""
    code = main(["benchmark", "published", *of(files), *map(str, more)])
    printed = capsys.readouterr()
    found = (re.match(r"([\w-]+)\.caffemodel( \w+)?  ", line) for line in printed.out.splitlines())
    rows = {match[1] + (match[2] or ""): match.string for match in found if match}
    assert [*dict.fromkeys(row.split()[0] for row in rows)] == [*published.FILES]
    return code, rows, printed


def write(root, image, label, key, values, more=()):
    for file in (image, *more):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(40, 48, seed=len(str(file)))).save(root / file)
    (root / label).parent.mkdir(parents=True, exist_ok=True)
    savemat(root / label, {key: values})


@pytest.fixture
def others(tmp_path):
    """Folders of PASCAL-Context, SIFT Flow and NYUDv2 with an image each."""
    rng, roots = np.random.default_rng(0), [tmp_path / name for name in ("context", "siftflow", "nyud")]
    context, flow, nyud = roots
    names = [IN_THE_400.get(name, name) for name in CONTEXT_CLASSES[1:]]
    values = rng.integers(1, 61, (40, 48))
    write(context, "VOC2010/JPEGImages/a.jpg", "pascal-context/trainval/a.mat", "LabelMap", values)
    lines = [f"{number}: {name}" for number, name in enumerate([*names, "thing"], 1)]
    (context / "pascal-context" / "labels.txt").write_text("\n".join(lines))
    (context / "VOC2010" / "ImageSets" / "Main").mkdir(parents=True)
    (context / "VOC2010" / "ImageSets" / "Main" / "val.txt").write_text("a\n")
    image = f"Images/{OUTDOOR}/b.jpg"
    for labels, most in (("SemanticLabels", 9), ("GeoLabels", 3)):  # of the 33 classes eight have pixels
        write(flow, image, f"{labels}/{OUTDOOR}/b.mat", "S", rng.integers(0, most + 1, (40, 48)))
    (flow / "test.txt").write_text("b\n")
    values = rng.integers(0, 41, (40, 48))
    hha = ["data/hha/img_5.png"]
    write(nyud, "data/images/img_5.png", "segmentation/img_5.mat", "segmentation", values, hha)
    (nyud / "test.txt").write_text("5\n")
    return roots


def test_nets_of_other_data_sets_are_scored_on_theirs(files, others, monkeypatch, capsys):
    """On images, classes and heads of their own; SIFT Flow's mean IU is over the classes that occur."""
    ours, sets = {}, {f"siftflow {head}": (others[1], "siftflow", "test") for head in ("sem", "geo")}
    sets.update({"pascal": (others[0], "pascal_context", "val"), "nyud": (others[2], "nyud", "test")})
    for name, (root, data, split) in sets.items():
        file = next(each for each in OTHERS if each.startswith(name.split()[0]))
        prefix, result = str(files / file), files / "scores.json"
        assert main(["convert", str(files / "weights" / f"{file}.caffemodel"), prefix]) == 0
        command = ["evaluate", "--prefix", prefix, "--epoch", "0", "--data", data, "--root", str(root)]
        head = [f"--task={head}" for head in name.split()[1:]]
        assert main([*command, "--split", split, *head, "--json", str(result), "--overwrite"]) == 0
        found = json.loads(result.read_text())
        if "siftflow" in name:
            found["mean_iu"] = np.mean([each["iu"] for each in found["per_class"] if each["pixels"]])
        ours[" ".join([file, *name.split()[1:]])] = [100 * found[key] for key in NAMES]
    for file, pictures in (
        ("hha", {"data": "hha"}),
        ("color-hha", {"color_data": "images", "hha_data": "hha"}),
    ):
        file = f"nyud-fcn32s-{file}-heavy"
        converted, inputs = read(files / "weights" / f"{file}.caffemodel"), {}
        means = converted.means or {"data": converted.mean}
        for name, folder in pictures.items():
            picture = read_image(next((others[2] / "data" / folder).iterdir()))
            inputs[name] = preprocess(picture, means[name])
        prediction = outputs_of(Net(scores_symbol(converted.symbol), converted.arg_params, {}), inputs)[0]
        truth = loadmat(others[2] / "segmentation" / "img_5.mat")["segmentation"].astype(int)
        matrix = confusion_matrix(np.where(truth == 0, 256, truth) - 1, prediction.argmax(1)[0], 40)
        ours[file] = [100 * getattr(scores(matrix), key) for key in NAMES]
    capsys.readouterr()

    code, rows, printed = run(files, capsys, *others)
    assert code == 1
    for text in (
        "val has 1 images, and the published scores are of 5105",
        "of 200",
        "test has 1 images, and",
        "of 654",
    ):
        assert text in printed.err
    for name, values in ours.items():
        file, _, head = name.partition(" ")
        known = published.FILES[file].scores[head]
        for own, other in zip(values, known):
            assert f"{own:.2f}{'' if other is None else f' / {other:.2f}'}" in rows[name], name
        assert "FAIL: " in rows[name] and "points off; scores differ" in rows[name]
    for name, values in ours.items():
        file, _, head = name.partition(" ")
        moved = {**published.FILES[file].scores, head: tuple(value + 0.09 for value in values)}
        monkeypatch.setitem(published.FILES, file, published.FILES[file]._replace(scores=moved))
    _, rows, _ = run(files, capsys, *others)
    assert all("pass; scores differ from" in rows[name] for name in ours)
    assert main(["benchmark", "published", *of(files), str(others[2]), str(others[2])]) == 2
    assert "a second folder of NYUDv2; give one" in capsys.readouterr().err


def of(files):
    return ["--weights", str(files / "weights"), "--data", str(files / "VOC2011")]


def test_scores_are_those_of_evaluate_and_pass_within_a_tenth_of_a_point(files, monkeypatch, capsys):
    ours = {}
    for name, (net, *_) in published.FILES.items():
        source = files / "weights" / f"{name}.caffemodel"
        if name in VOC and source.exists():
            prefix, result = str(files / name), files / f"{name}.json"
            assert main(["convert", str(source), prefix]) == 0
            command = ["evaluate", "--prefix", prefix, "--epoch", "0", "--data", str(files / "VOC2011")]
            assert main([*command, "--split", "seg11valid", "--json", str(result)]) == 0
            ours[name] = net, [100 * json.loads(result.read_text())[key] for key in NAMES]
    capsys.readouterr()

    code, rows, printed = run(files, capsys)
    assert code == 1 and "seg11valid has 3 images, and the published scores are of 736" in printed.err
    for name, row in rows.items():
        if name in ours:
            known = published.FILES[name].scores[""]
            for own, other in zip(ours[name][1], known):
                assert f"{own:.2f}{'' if other is None else f' / {other:.2f}'}" in row
            off = max(abs(a - b) for a, b in zip(ours[name][1], known) if b is not None)
            assert f"FAIL: {off:.2f} points off; scores differ from OpenCV's by" in row
        elif name in OTHERS:
            assert "converted; scores differ from" in row and "--data has no folder of" in row
        else:
            assert row.endswith("no such file")
    assert sum(name in ours for name in rows) == 4

    for shift, code in ((0.09, 0), (0.11, 1)):
        for name, (net, values) in ours.items():
            moved = tuple(value + shift if key == "mean_iu" else value for key, value in zip(NAMES, values))
            monkeypatch.setitem(published.FILES, name, published.Published(net, {"": moved}))
        found, rows, _ = run(files, capsys)
        assert found == code
        assert all((f"FAIL: {shift:.2f} points" if code else "pass; scores") in rows[name] for name in ours)


def test_a_file_with_another_net_or_damage_fails_and_the_others_go_on(files, monkeypatch, capsys):
    weights = files / "weights"
    shutil.copy(weights / "fcn32s-heavy-pascal.caffemodel", weights / "fcn16s-heavy-pascal.caffemodel")
    shutil.copy(weights / "pascalcontext-fcn8s-heavy.caffemodel", weights / "fcn8s-heavy-pascal.caffemodel")
    (weights / "fcn8s-atonce-pascal.caffemodel").write_bytes(b"<html>not found")
    code, rows, _ = run(files, capsys)
    assert code == 1
    assert "FAIL: the file has FCN-32s, not FCN-16s" in rows["fcn16s-heavy-pascal"]
    assert "FAIL: the net has 60 classes, not VOC 2011's 21" in rows["fcn8s-heavy-pascal"]
    assert "FAIL: " in rows["fcn8s-atonce-pascal"] and "not a caffemodel" in rows["fcn8s-atonce-pascal"]
    assert "points off" in rows["fcn-alexnet-pascal"]


def test_what_is_missing_is_said(files, capsys):
    for left_out in ("--weights", "--data"):
        i = of(files).index(left_out)
        assert main(["benchmark", "published", *of(files)[:i], *of(files)[i + 2 :]]) == 2
        assert f"published: needs {left_out}" in capsys.readouterr().err
    (files / "VOC2011" / "ImageSets" / "Segmentation" / "seg11valid.txt").unlink()
    assert main(["benchmark", "published", *of(files)]) == 2
    assert "Put data/pascal/seg11valid.txt of shelhamer/fcn" in capsys.readouterr().err

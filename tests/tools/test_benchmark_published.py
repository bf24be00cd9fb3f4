"""`fcnxs benchmark published` on made files with the names of the authors' ones."""

import json
import shutil

import pytest
from conftest import FC, WIDTH

from fcnxs.convert.caffemodel import write_caffemodel
from fcnxs.score import NAMES
from fcnxs.tools.benchmarks import published
from fcnxs.tools.benchmarks.parity import random_blobs
from fcnxs.tools.main import main

VOC = ("fcn32s-heavy-pascal", "fcn8s-heavy-pascal", "fcn8s-atonce-pascal", "fcn-alexnet-pascal")
OTHERS = ("pascalcontext-fcn8s-heavy", "siftflow-fcn8s-heavy", "nyud-fcn32s-color-hha-heavy")


@pytest.fixture
def files(voc, tmp_path):
    """Made files of nets of each data set, and pictures in VOC's layout with the split."""
    shutil.copytree(voc, tmp_path / "VOC2011")
    lists = tmp_path / "VOC2011" / "ImageSets" / "Segmentation"
    shutil.copy(lists / "val.txt", lists / "seg11valid.txt")
    (tmp_path / "weights").mkdir()
    for name in (*VOC, *OTHERS):
        blobs = random_blobs(published.FILES[name].net, WIDTH, FC, 21 if name in VOC else 60)
        write_caffemodel(tmp_path / "weights" / f"{name}.caffemodel", blobs, v1=True)
    return tmp_path


def run(files, capsys):
    code = main(["benchmark", "published", *of(files)])
    printed = capsys.readouterr()
    rows = {line.split(".caffemodel")[0]: line for line in printed.out.splitlines() if ".caffemodel  " in line}
    assert [*rows] == [*published.FILES]
    return code, rows, printed


def of(files):
    return ["--weights", str(files / "weights"), "--data", str(files / "VOC2011")]


def test_scores_are_those_of_evaluate_and_pass_within_a_tenth_of_a_point(files, monkeypatch, capsys):
    ours = {}
    for name, (net, scores) in published.FILES.items():
        source = files / "weights" / f"{name}.caffemodel"
        if scores and source.exists():
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
            known = published.FILES[name].scores
            for own, other in zip(ours[name][1], known):
                assert f"{own:.2f}{'' if other is None else f' / {other:.2f}'}" in row
            off = max(abs(a - b) for a, b in zip(ours[name][1], known) if b is not None)
            assert f"FAIL: {off:.2f} points off; scores differ from OpenCV's by" in row
        elif name in OTHERS:
            assert "converted; scores differ from" in row and "of another data set" in row
        else:
            assert row.endswith("no such file")
    assert sum(name in ours for name in rows) == 4

    for shift, code in ((0.09, 0), (0.11, 1)):
        for name, (net, scores) in ours.items():
            moved = tuple(score + shift if key == "mean_iu" else score for key, score in zip(NAMES, scores))
            monkeypatch.setitem(published.FILES, name, published.Published(net, moved))
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
    assert "FAIL: the net has 60 classes, not VOC's 21" in rows["fcn8s-heavy-pascal"]
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

"""The check of the data that commands share, and the options that go with it."""

import json
import shutil

import fakes
import numpy as np
import pytest
from conftest import FC, WIDTH, random_params
from fakes import random_label, write_pairs
from PIL import Image

from fcnxs import Segmenter, checkpoint, predict
from fcnxs.checkpoint import Meta
from fcnxs.data.layouts import open_samples
from fcnxs.data.loader import Loader
from fcnxs.errors import FCNXSWarning
from fcnxs.symbols import get_fcn32s_symbol
from fcnxs.tools.main import main

SIZE = (64, 80)


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """Prefix of an FCN-32s of two classes that says background everywhere."""
    net = get_fcn32s_symbol(numclass=2, width=WIDTH, fc=FC)
    params = random_params(net)
    params["score_weight"][:], params["score_bias"][:] = 0, 0
    params["score_bias"][0] = 9
    params["bigscore_weight"][:], params["bigscore_weight"][0, 0] = 0, 1
    prefix = tmp_path_factory.mktemp("ground") / "net"
    checkpoint.save(
        prefix, 0, net, params, {}, Meta(classes=["ground", "figure"], palette=[[0, 0, 0], [9, 9, 9]])
    )
    return str(prefix)


def run(capsys, *arguments):
    code = main(list(map(str, arguments)))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_net_that_says_background_gets_no_perfect_score_on_masks_of_255(ground, tmp_path, capsys):
    write_pairs(tmp_path, "", 2, values=(0, 255), size=SIZE)
    evaluate = ["evaluate", "--prefix", ground, "--epoch", 0, "--data", tmp_path]
    code, out, err = run(capsys, *evaluate)
    assert code == 2 and "mean IU" not in out and err.count("\n") == 1
    assert "labels/p0.png: the labels have only the values 0 and 255" in err and "--allow masks" in err
    code, out, err = run(capsys, *evaluate, "--allow", "masks")
    assert code == 0 and "mean IU                 1.0000" in out and "warning: " in err and "write 1" in err
    write_pairs(tmp_path, "", 1, values=(0, 1), first=2, size=SIZE)
    code, out, err = run(capsys, *evaluate)
    labels = np.stack([random_label((0, 255), i, SIZE) for i in range(2)] + [random_label((0, 1), 2, SIZE)])
    iu = (labels == 0).sum() / (labels != 255).sum() / 2  # that of the figure is 0
    assert code == 0 and f"mean IU                 {iu:.4f}" in out
    assert "labels/p0.png: has only the values 0 and 255, as 2 of 3 labels" in err


def test_evaluate_in_python_warns_of_them(ground, tmp_path):
    write_pairs(tmp_path, "", 2, values=(0, 255), size=SIZE)
    with pytest.warns(FCNXSWarning, match="only the values 0 and 255, and \\d+ pixels of 255 are ignored"):
        predict.evaluate(Segmenter(ground, 0), Loader(open_samples(tmp_path)))


def test_evaluate_counts_all_images_of_a_batch(ground, tmp_path):
    write_pairs(tmp_path, "", 5, values=(0, 1), size=SIZE)
    samples, segmenter, files = open_samples(tmp_path), Segmenter(ground, 0), []
    matrix = predict.evaluate(segmenter, Loader(samples, batch_size=2), lambda file, _: files.append(str(file)))
    labels = np.stack([samples.read(number)[1] for number in range(5)])
    np.testing.assert_array_equal(matrix, [[(labels == 0).sum(), 0], [(labels == 1).sum(), 0]])
    assert files == [samples.name(number) for number in range(5)]
    with pytest.raises(ValueError, match="2 images in a batch"):
        segmenter.class_map(np.zeros((2, 3, *SIZE), np.float32))


def test_exif_goes_from_training_to_the_net_and_what_reads_with_it(run_folder, voc, tmp_path, capsys):
    """A photograph that EXIF turns by 180 degrees, with a label drawn on its stored pixels."""
    data, exif = tmp_path / "data", Image.Exif()
    shutil.copytree(voc, data)
    exif[0x0112] = 3
    for image in (data / "JPEGImages").glob("*.jpg"):
        Image.open(image).save(image, exif=exif, quality=95)
    begin = ["finetune", "--data", data, "--prefix", run_folder / "vgg", "--epoch", 0, "--recipe", "adam"]
    begin += ["--stages", "fcn32s", "--epochs", 1]
    code, _, err = run(capsys, *begin, "--output", tmp_path / "turned")
    assert code == 0 and "EXIF turns 6 by 180 degrees" in err and "EXIF turns 3 by 180 degrees" in err
    log = (tmp_path / "turned" / "run.log").read_text()
    assert "Z warning: " in log and "EXIF turns 6 by 180 degrees" in log and "EXIF turns 3 by" in log
    code, _, err = run(capsys, *begin, "--exif", "ignore", "--output", tmp_path / "stored")
    assert code == 0 and "EXIF" not in err
    plan = json.loads((tmp_path / "stored" / "run.json").read_text())
    assert plan["options"]["exif"] == plan["meta"]["exif"] == "ignore"
    prefix = tmp_path / "stored" / "fcn32s"
    assert checkpoint.load(prefix, 1).meta.exif == "ignore"
    image = next((data / "JPEGImages").glob("val_*.jpg"))
    segmenter = Segmenter(prefix, 1)
    stored = np.asarray(Image.open(image))
    np.testing.assert_array_equal(segmenter(str(image)), segmenter(stored))
    np.testing.assert_array_equal(Segmenter(prefix, 1, exif="apply")(str(image)), segmenter(stored[::-1, ::-1]))
    for options, expected in (((), stored), (("--exif", "apply"), stored[::-1, ::-1])):
        segment = ["segment", "--prefix", prefix, "--epoch", 1, image, "--output", tmp_path / "masks"]
        assert run(capsys, *segment, *options)[0] == 0
        mask = np.asarray(Image.open(tmp_path / "masks" / f"{image.stem}.png"))
        np.testing.assert_array_equal(mask, segmenter(expected))
    (row,) = json.loads((tmp_path / "stored" / "summary.json").read_text())["stages"]
    evaluate = ["evaluate", "--prefix", prefix, "--epoch", 1, "--data", data, "--json", tmp_path / "s.json"]
    code, _, err = run(capsys, *evaluate)
    assert code == 0 and "EXIF" not in err
    assert json.loads((tmp_path / "s.json").read_text())["mean_iu"] == pytest.approx(row["mean_iu"], abs=1e-6)
    assert "EXIF turns 3 by 180 degrees" in run(capsys, *evaluate, "--exif", "apply")[2]
    assert "EXIF" not in run(capsys, "report", tmp_path / "stored")[2]
    older = json.loads((tmp_path / "stored" / "fcn32s-meta.json").read_text())
    older.pop("exif")
    (tmp_path / "stored" / "fcn32s-meta.json").write_text(json.dumps(older))
    assert checkpoint.load(prefix, 1).meta.exif == "apply"


def test_allowed_kinds_are_kept_with_the_run(run_folder, voc, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(voc, data)
    lists = data / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text((lists / "val.txt").read_text() + "train_0002\ntrain_0004\n")
    begin = ["finetune", "--data", data, "--prefix", run_folder / "vgg", "--epoch", 0, "--recipe", "adam"]
    begin += ["--stages", "fcn32s", "--epochs", 1, "--output", tmp_path / "run"]
    code, _, err = run(capsys, *begin)
    assert code == 2 and "--val: " in err and "train_0002.jpg: is in val, and in train as " in err
    assert "2 of the 5 images of val are in both" in err and "--allow overlap" in err
    code, out, _ = run(capsys, "check-data", data)
    assert code == 1 and "error: " in out and "2 images in both train and val" in out
    assert run(capsys, "check-data", data, "--allow", "overlap")[0] == 0
    code, _, err = run(capsys, *begin, "--allow", "overlap")
    assert code == 0 and "warning: " in err and "2 of the 5 images of val are in both" in err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["options"]["allow"] == ["overlap"]
    (lists / "val.txt").write_text((lists / "val.txt").read_text() + "val_0000\n")
    code, _, err = run(capsys, "evaluate", "--prefix", tmp_path / "run" / "fcn32s", "--data", data)
    assert code == 2 and "val_0000.jpg: the data set has this image 2 times" in err
    with pytest.raises(SystemExit, match="2"):
        run(capsys, *begin, "--allow", "overlaps")
    assert "--allow: 'overlaps': expected some of lossy, " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check-data", "finetune", "evaluate"])
def test_each_command_refuses_the_same(command, ground, run_folder, tmp_path, capsys):
    write_pairs(tmp_path, "", 3, values=(0, 1), size=SIZE)
    Image.fromarray(random_label((0, 1), 1, SIZE) * 200).save(tmp_path / "labels" / "p1.png", "JPEG")
    options = {
        "check-data": [tmp_path, "--num-classes", 2],
        "finetune": ["--data", tmp_path, "--num-classes", 2, "--prefix", run_folder / "vgg", "--epoch", 0]
        + ["--output", tmp_path / "run"],
        "evaluate": ["--data", tmp_path, "--prefix", ground, "--epoch", 0],
    }
    code, out, err = run(capsys, command, *options[command])
    assert code == (1 if command == "check-data" else 2)
    assert "labels/p1.png: saved as JPEG" in out + err and "--allow lossy" in out + err


def test_a_folder_here_is_meant_before_a_data_set_of_its_name(ground, tmp_path, capsys, monkeypatch):
    write_pairs(tmp_path / "voc", "", 2, values=(0, 1), size=SIZE)
    monkeypatch.chdir(tmp_path)
    evaluate = ["evaluate", "--prefix", ground, "--epoch", 0, "--data", "voc", "--json", "s.json"]
    code, out, _ = run(capsys, *evaluate)
    assert code == 0 and json.loads((tmp_path / "s.json").read_text())["images"] == 2
    assert "reading the folder ./voc here; with --root ~/.mxnet/datasets/voc the data set named voc" in out
    code, out, _ = run(capsys, "check-data", "voc", "--num-classes", 2)
    assert code == 0 and "2 images" in out and "reading the folder ./voc here" in out
    fakes.voc(tmp_path / "root")
    code, out, _ = run(capsys, "check-data", "voc", "--root", "root")
    assert "train: 2 images" in out and "tvmonitor" in out and "folder ./voc" not in out

"""Runs of nets with several heads: losses and scores of each, the best epoch, and resuming to the bit."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from conftest import several
from PIL import Image
from scipy.io import savemat

from fcnxs import checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.data.generated import picture
from fcnxs.data.headed import HeadedSamples
from fcnxs.data.layouts import open_samples
from fcnxs.data.loader import Loader
from fcnxs.finetune import Data, Listener, Output, StoppedError, finetune
from fcnxs.init import init_from_vgg16
from fcnxs.score import NAMES
from fcnxs.stages import ALL_STAGES
from fcnxs.tools.main import main

HEADS = {"geo": ["ground", "round", "cornered"], "sem": ["background", "disc", "square", "triangle", "star"]}
STAGES = [replace(ALL_STAGES["adam"][f"siftflow_{name}"], epochs=2) for name in ("fcn32s", "fcn16s")]


def scene(rng):
    """A picture of shapes, the shapes, and whether they are round."""
    image, label = picture(rng, 48, 60, shapes=2)
    return image, {"sem": label, "geo": np.select([label == 255, label == 0, label == 1], [255, 0, 1], 2)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three pictures to train on, two to evaluate on, with both labels and the names of the classes."""
    root, rng = tmp_path_factory.mktemp("two"), np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2)):
        for number in range(count):
            image, labels = scene(rng)
            for place, array in {"images": image, **{f"labels-{k}": x for k, x in labels.items()}}.items():
                (root / place / split).mkdir(parents=True, exist_ok=True)
                Image.fromarray(array.astype(np.uint8)).save(root / place / split / f"{number}.png")
    for head, names in HEADS.items():
        (root / f"classes-{head}.txt").write_text("\n".join(names))
    return root


@pytest.fixture
def train(folder, run_folder):
    """Train the two stages."""

    def run(output, parent=None, **how):
        parts = {
            split: HeadedSamples({head: open_samples(folder, split, head=head) for head in HEADS})
            for split in ("train", "val")
        }
        numbers = {head: len(names) for head, names in HEADS.items()}
        data = Data(*(Loader(part, num_classes=numbers, seed=3) for part in parts.values()))
        parent = parent or checkpoint.load(run_folder / "vgg", 0)
        meta = checkpoint.Meta(heads=HEADS)
        return finetune(parent, STAGES, data, Output(output, meta, 1, resume=True), **how)

    return run


def content_of(folder):
    """Parameters of all epochs, and the records without the seconds."""
    params = {file.name: file.read_bytes() for file in sorted(folder.glob("*.params"))}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return params, [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


class Predicted(Listener):
    """Remembers of which heads there were predictions, and their largest classes."""

    def __init__(self):
        self.seen = {}

    def prediction(self, stage, epoch, number, data, truth, class_map, head):
        self.seen[head] = max(self.seen.get(head, 0), int(class_map.max()))


def test_a_stopped_run_ends_as_one_that_was_not_and_has_the_scores_of_each_head(train, tmp_path):
    listener = Predicted()
    rows = train(tmp_path / "whole", listeners=[listener])
    steps = iter(range(100))
    with pytest.raises(StoppedError):
        train(tmp_path / "stopped", should_stop=lambda: next(steps) > 14)  # within the second stage
    assert list((tmp_path / "stopped").glob("siftflow_fcn16s-last*.json"))
    assert [row["name"] for row in train(tmp_path / "stopped")] == [row["name"] for row in rows]
    whole, stopped = (content_of(tmp_path / name) for name in ("whole", "stopped"))
    assert whole == stopped and len(whole[0]) == 6
    for record in whole[1]:
        assert record["heads"].keys() == HEADS.keys()
        each = list(record["heads"].values())
        for name in NAMES:
            assert record[name] == pytest.approx(np.mean([scores[name] for scores in each]))
        for name in ("train_loss", "val_loss"):
            assert record[name] == pytest.approx(sum(scores[name] for scores in each))
    assert listener.seen.keys() == HEADS.keys() and listener.seen["geo"] < 3
    later = [record for record in whole[1] if record["stage"] == "siftflow_fcn16s"]
    best = max(later, key=lambda record: record["mean_iu"])["epoch"]
    assert whole[0]["siftflow_fcn16s-best-0000.params"] == whole[0][f"siftflow_fcn16s-{best:04d}.params"]
    assert checkpoint.load(tmp_path / "whole" / "siftflow_fcn16s", 2).meta.heads == HEADS
    assert {head: {name: each[name] for name in NAMES} for head, each in rows[-1]["heads"].items()} == {
        head: {name: each[name] for name in NAMES} for head, each in whole[1][-1]["heads"].items()
    }


def command_of(run_folder, output, *more):
    """A run of one epoch of FCN-32s with several heads."""
    parent = ["--prefix", str(run_folder / "vgg"), "--epoch", "0", "--output", str(output)]
    return ["finetune", *parent, "--stages", "siftflow_fcn32s", "--epochs", "1", *map(str, more)]


def test_the_command_trains_on_sift_flow_as_its_authors_layer_reads_it(run_folder, tmp_path, capsys):
    """Labels from 1, of which 0 and -1 are ignored; two devices; the first stage begins with zero scores."""
    outdoor, rng = "spatial_envelope_256x256_static_8outdoorcategories", np.random.default_rng(0)
    for split in ("trainval", "test"):
        (tmp_path / f"{split}.txt").write_text("a\nb\n")
    for name in ("Images", "SemanticLabels", "GeoLabels"):
        (tmp_path / name / outdoor).mkdir(parents=True)
    for stem in "ab":
        image, labels = scene(rng)
        Image.fromarray(image).save(tmp_path / "Images" / outdoor / f"{stem}.jpg")
        for place, label in (("SemanticLabels", labels["sem"]), ("GeoLabels", labels["geo"])):
            values = np.where(label == 255, -1, label.astype(int) + 1).astype(np.float64)
            savemat(tmp_path / place / outdoor / f"{stem}.mat", {"S": values})
    run, device = tmp_path / "run", f"{several(2)[0].device_type}:0,1"
    data = ["--data", "siftflow", "--root", tmp_path, "--split", "trainval", "--val-split", "test"]
    more = ["--recipe", "caffe", "--tensorboard", "--device", device, "--allow", "overlap"]
    assert main(command_of(run_folder, run, *data, *more)) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert "33 classes of the head sem: awning, " in told and "3 classes of the head geo: sky, " in told
    rows = [line.split()[0] for line in told.splitlines() if re.match("(siftflow_fcn32s|  sem|  geo) ", line)]
    assert rows[-3:] == ["siftflow_fcn32s", "sem", "geo"]
    found = checkpoint.load(run / "siftflow_fcn32s", 1)
    vgg16 = checkpoint.load(run_folder / "vgg", 0).arg_params
    begun, _ = init_from_vgg16(mx.cpu(), found.symbol, vgg16, {})
    for name in ("bigscore_sem_weight", "bigscore_geo_weight"):  # fixed
        np.testing.assert_array_equal(found.arg_params[name].asnumpy(), begun[name].asnumpy())
    assert main(["report", str(run)]) == 0, capsys.readouterr().err
    record, told = json.loads((run / "metrics.jsonl").read_text()), capsys.readouterr().out
    for head, scores in record["heads"].items():
        assert f"head {head}: mean IU {scores['mean_iu']:.4f} on 2 images" in told
        assert f"head {head}" in (run / f"report-{head}.html").read_text()
    assert found.arg_params["score_geo_bias"].asnumpy().any()
    assert found.arg_params["score_sem_weight"].shape[0] == 33


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["--stages", "fcn32s,siftflow_fcn16s"],
            "--stages fcn32s,siftflow_fcn16s: are nets of one head and of several",
        ),
        (
            ["--classes", "x.txt"],
            "--classes x.txt: goes with nets of one head, and siftflow_fcn32s has several",
        ),
        (["--class-weights", "auto"], "--class-weights auto: goes with nets of one head"),
        (["--ignore-label", "2"], "--ignore-label 2: goes with nets of one head"),
    ],
)
def test_what_goes_with_one_head_alone_is_refused(more, said, folder, run_folder, tmp_path, capsys):
    assert main(command_of(run_folder, tmp_path / "run", "--data", folder, "--quiet", *more)) == 2
    told = capsys.readouterr().err
    assert said in told and len(told.splitlines()) == 1


def test_labels_of_several_heads_are_asked_for(folder, voc, run_folder, tmp_path, capsys):
    assert main(command_of(run_folder, tmp_path / "run", "--data", voc)) == 2
    said = "siftflow_fcn32s has several heads, and there are labels of one kind; give a folder with images/, "
    assert f"--data {voc}: {said}labels-A/ and labels-B/" in capsys.readouterr().err
    (folder / "classes-geo.txt").rename(folder / "names.txt")
    assert main(command_of(run_folder, tmp_path / "run", "--data", folder)) == 2
    said = "classes-geo.txt: no such file; it should name the classes of the head geo"
    assert said in capsys.readouterr().err
    (folder / "names.txt").rename(folder / "classes-geo.txt")

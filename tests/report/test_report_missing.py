"""Reports of runs that lack something: what the page says, and what is refused in one line."""

import json
import shutil
from pathlib import Path

import pytest
from pages import Parts
from PIL import Image

from fcnxs.data.generated import CLASSES
from fcnxs.finetune.run_folder import read_plan, write_plan
from fcnxs.report.run import read_run
from fcnxs.tools.main import main


@pytest.fixture
def run(run_folder, tmp_path):
    """A run of FCN-8s alone, which is quick to score."""
    folder = tmp_path / "run"
    folder.mkdir()
    for file in (run_folder / "run").iterdir():
        if not file.name.startswith(("fcn32s", "fcn16s")):
            shutil.copy(file, folder)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines if '"fcn8s"' in line))
    log = (folder / "run.log").read_text().splitlines()
    (folder / "run.log").write_text("".join(f"{line}\n" for line in log if "warning: " not in line))
    plan = read_plan(folder)
    write_plan(folder, {**plan, "stages": plan["stages"][2:]})
    return folder


def change_plan(run, **changes):
    write_plan(run, {**read_plan(run), **changes})


def change_options(run, **changes):
    options = {**read_plan(run)["options"], **changes}
    change_plan(run, options={key: value for key, value in options.items() if value is not None})


def report(run, *more):
    """Parts of the page, its notes, and whether it has scores of its own."""
    file = run.parent / "page.html"
    assert main(["report", str(run), "--output", str(file), *map(str, more)]) == 0
    parts = Parts(file.read_text())
    notes = " ".join(parts.texts.get("li", [])).partition("background")[0]
    return parts, notes, any(table.label == "scores of the classes" for table in parts.tables)


def test_a_run_of_one_stage_has_a_page_in_its_own_folder(run, capsys):
    assert main(["report", str(run)]) == 0
    parts = Parts((run / "report.html").read_text())
    assert len(parts.images()) == 3 * 3 and parts.table("scores of the classes")[0][2] == "IU, fcn8s"
    assert parts.texts["p"][0] == "Finished: 1 of 1 epochs." and "notes" not in parts.attributes("aria-label")
    assert f"wrote {run / 'report.html'}" in capsys.readouterr().out


def test_without_validation_data_and_with_some_given(run, voc):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    scores = ("val_loss", "pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu")
    (run / "metrics.jsonl").write_text(json.dumps({**records[0], **dict.fromkeys(scores)}) + "\n")
    change_options(run, val_split=None)
    change_plan(run, data={"train": read_plan(run)["data"]["train"]})
    parts, notes, scored = report(run)
    assert not scored and "The run has no validation data" in notes
    assert parts.table("scores of the stages")[1][2:6] == ["-"] * 4 and len(parts.texts["svg"]) == 1
    _, notes, scored = report(run, "--data", voc, "--split", "val")
    assert scored and "not what the run was evaluated on" in notes


@pytest.mark.parametrize(
    "log", ["run begins: 6 images", "run begins\n2026-01-02T00:00:00Z run ends: StoppedError"]
)
def test_a_run_that_has_not_ended(run, log):
    plan = read_plan(run)
    change_plan(run, finished=False, stages=[{**plan["stages"][0], "epochs": 5}])
    (run / "run.log").write_text(
        f"2026-01-01T00:00:00Z {log}\n  seed: 3\n  note: {{open\n2026-01-03T00:00:00Z warning: <odd>\n"
    )
    assert "ends" in log or read_run(run).log.facts["note"] == "{open"  # looks like JSON, and is text
    parts, notes, scored = report(run)
    how = "it ended with StoppedError" if "ends" in log else "it is still running, or was killed"
    assert parts.texts["p"][0].startswith(f"Not finished: 1 of 5 epochs; {how}. ")
    assert scored and "Warning of the run: <odd>" in notes


def test_a_run_with_no_epoch_and_no_log_says_so(run):
    for name in ("metrics.jsonl", "summary.json", "run.log"):
        (run / name).unlink()
    parts, notes, scored = report(run)
    assert not scored and "No epoch has ended yet" in notes and "run.log does not record" in notes
    assert "--val-split" in [row[0] for table in parts.tables for row in table.rows]


def test_a_run_begun_from_python_has_the_classes_of_its_checkpoints(run, voc):
    write_plan(run, {"run": "1", "options": {}, "finished": True})
    parts, notes, scored = report(run)
    assert not scored and "no validation data" in notes and parts.texts["p"][0] == "Finished: 1 epoch."
    parts, _, scored = report(run, "--data", voc)
    assert scored and [row[0] for row in parts.table("scores of the classes")[1:-1]] == list(CLASSES)


def test_parameters_that_are_gone_are_not_compared(run):
    line = json.loads((run / "metrics.jsonl").read_text())
    with open(run / "metrics.jsonl", "a") as file:
        file.write(json.dumps({**line, "stage": "fcn16s"}) + "\n")
    _, notes, scored = report(run)
    assert scored and "fcn16s is not compared: its parameters fcn16s-0001.params have been removed" in notes


def test_data_that_is_gone_or_changed_is_told(run, voc, tmp_path):
    data = Path(shutil.copytree(voc, tmp_path / "data"))
    change_options(run, data=str(data))
    _, notes, scored = report(run)
    assert scored and notes == ""
    for label in (data / "SegmentationClass").glob("val_*.png"):  # other labels of the same names
        image = Image.open(label)
        Image.new("P", image.size, 3).save(label)
    _, notes, scored = report(run)
    assert scored and "have changed since, under the same names" in notes
    names = data / "ImageSets" / "Segmentation" / "val.txt"
    names.write_text("val_0001\n")
    parts, notes, scored = report(run)
    assert scored and "it names other images than when the run began" in notes and len(parts.images()) == 3
    (data / "JPEGImages" / "val_0001.jpg").unlink()
    _, notes, scored = report(run)
    assert not scored and "1 files of the validation data are gone" in notes and "val_0001.jpg" in notes
    shutil.rmtree(data)
    _, notes, scored = report(run)
    assert not scored and "The validation data is gone" in notes and str(data) in notes


def test_what_the_run_left_out_is_left_out_again(run, voc):
    change_plan(run, skipped={"train": [], "val": [[1, "val_0001.jpg"]]})
    parts, _, scored = report(run)
    assert scored and [alt for alt in parts.images() if alt.startswith("image")] == [
        f"image val_000{i}.jpg" for i in sorted((0, 2), key=lambda i: _iu(parts, i), reverse=True)
    ]


def _iu(parts, number):
    return next(float(alt[-6:]) for alt in parts.images() if f"val_000{number}.jpg by" in alt)


def damage(file, content):
    return lambda run: (run / file).write_bytes(content) if content is not None else (run / file).unlink()


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (shutil.rmtree, [], "no such folder; give one that `fcnxs finetune` wrote"),
        (damage("run.json", None), [], "run.json: no such file; give a folder that `fcnxs finetune` wrote"),
        (damage("run.json", b"{}"), [], "run.json: not the record of a run, or damaged"),
        (
            damage("metrics.jsonl", b'{"stage": "fcn8s"}\n'),
            [],
            "metrics.jsonl, line 1: not the scores of an epoch, or damaged: it lacks epoch",
        ),
        (damage("metrics.jsonl", b"\xff"), [], "metrics.jsonl: cannot read the scores of an epoch"),
        (damage("fcn8s-0001.params", b"none"), [], "fcn8s-0001.params"),
        (damage("fcn8s-symbol.json", None), [], "fcn8s-symbol.json: no such file"),
        (lambda run: None, ["--split", "val"], "--split and --root go with --data"),
        (lambda run: None, ["--data", "nowhere"], "--data nowhere: no such folder or list"),
        (
            lambda run: None,
            ["--output", "report.png"],
            "--output report.png: give the name of an HTML file, such as report.html",
        ),
        (lambda run: None, ["--output", "/dev/null/p.html"], "--output /dev/null: cannot write in"),
    ],
)
def test_what_cannot_be_reported_is_one_line(change, more, message, run, tmp_path, capsys):
    change(run)
    before = sorted(tmp_path.rglob("*"))
    output = [] if "--output" in more else ["--output", str(tmp_path / "new" / "page.html")]
    assert main(["report", str(run), *output, *more]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before

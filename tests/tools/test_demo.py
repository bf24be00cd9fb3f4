"""`fcnxs demo`: what it makes, how it goes on after an interruption, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from fcnxs import FCNXSError
from fcnxs.tools.demo import COLOURS, demo
from fcnxs.tools.shared.signals import Ended, Stopping


def test_demo_makes_what_it_says_and_goes_on_where_it_was_interrupted(tmp_path, capsys, monkeypatch):
    """With few pictures; `.ci/run` runs the whole of it."""
    folder = tmp_path / "demo"
    few = {"train": 6, "val": 4, "epochs": (2, 1, 1)}
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr(Stopping, "asked", lambda stopping: asked.append(1) or len(asked) > 12)
        with pytest.raises(Ended) as ended:
            demo(folder, **few)
    assert str(ended.value).endswith(f" in step 3 of 7; `fcnxs demo --output {folder}` goes on from there")
    out = capsys.readouterr().out
    assert "Step 1 of 7: make pictures" in out and "fcn32s epoch 1: " in out and "fcn32s epoch 2: " not in out

    assert demo(folder, **few) == 0
    out = capsys.readouterr().out
    assert f"going on with the demo in {folder}: 2 of 7 steps are done" in out and "Step 2 of 7" not in out
    assert f"$ fcnxs finetune --resume={folder / 'run'}" in out and "fcn32s epoch 1: " not in out
    for command in ("evaluate", "report", "export"):
        assert f"$ fcnxs {command} " in out
    canvas = np.asarray(Image.open(folder / "comparison.png"))
    assert canvas.shape[1] > 5 * 160
    assert all((canvas[-28:] == colour).all(axis=2).any() for colour in COLOURS)  # the legend
    assert "By mean IU of fcn8s" in (folder / "run" / "report.html").read_text()
    rows = json.loads((folder / "run" / "summary.json").read_text())["stages"]
    assert [row["name"] for row in rows] == ["fcn32s", "fcn16s", "fcn8s"]
    assert (folder / "deploy" / "fcn8s-symbol.json").is_file()
    assert len(list((folder / "pictures" / "JPEGImages").iterdir())) == 10

    files = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert demo(folder, **few) == 0
    again = capsys.readouterr().out
    assert "has ended before; remove this folder to run it anew" in again and "Step" not in again
    results = out[out.rindex("net     epoch") :]
    assert again.endswith(results) and "comparison.png" in results
    assert files == {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    shutil.rmtree(folder / "run")
    with pytest.raises(FCNXSError, match="summary.json: no such file; remove .*demo to run the demo anew"):
        demo(folder, **few)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ("{", "not the record of a demo, or damaged: .*"),
        ('{"done": 3}', "not the record of a demo, or damaged: it lacks seconds"),
        ('{"train": 7, "val": 4, "epochs": [2, 1, 1], "done": 2, "seconds": 1.5}', "a demo of another version"),
    ],
)
def test_demo_refuses_a_record_that_it_cannot_go_on_with(record, why, tmp_path):
    (tmp_path / "demo.json").write_text(record)
    with pytest.raises(FCNXSError, match=f"demo.json: {why}; remove .*, or choose another --output$"):
        demo(tmp_path, 6, 4, (2, 1, 1))
    assert [file.name for file in tmp_path.iterdir()] == ["demo.json"]

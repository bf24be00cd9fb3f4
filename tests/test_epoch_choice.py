"""Which epoch is read where none, the best or the last is asked for."""

import json
import re
import shutil

import pytest

from fcnxs.epoch_choice import choose
from fcnxs.errors import FCNXSError
from fcnxs.tools.main import main

EVERY = ("0001", "0002", "0010")


@pytest.fixture
def run(tmp_path):
    """Make a folder as a run leaves it, from names of files and pairs (epoch, mean IU); gives the prefix."""

    def make(files, scores=()):
        for file in tmp_path.iterdir():
            file.unlink()
        for name in files:
            (tmp_path / f"fcn8s-{name}.params").touch()
        lines = [{"stage": "fcn8s", "epoch": epoch, "mean_iu": mean_iu} for epoch, mean_iu in scores]
        other = {"stage": "fcn16s", "epoch": 1, "mean_iu": 0.99}
        text = "".join(f"{json.dumps(line)}\n" for line in (*lines, other))
        (tmp_path / "metrics.jsonl").write_text(f"{text}[]\nno JSON\n")
        return tmp_path / "fcn8s"

    return make


def test_a_number_is_taken_as_it_is(run):
    prefix = run(EVERY, [(1, 0.9)])
    assert choose(prefix, 7) == (str(prefix), 7, "")


def test_the_best_is_read_and_else_the_last(run):
    prefix = run(EVERY, [(1, 0.5), (2, 0.7), (10, 0.7)])
    assert choose(prefix) == choose(prefix, "best")
    assert choose(prefix) == (str(prefix), 2, f"reading epoch 2 of {prefix}, the best by mean IU (0.7000)")
    assert choose(prefix, "last") == (str(prefix), 10, f"reading epoch 10 of {prefix}, the last one")
    assert choose(run(EVERY, [(1, None), (2, None)]))[:2] == (str(prefix), 10)
    assert choose(run(EVERY))[:2] == (str(prefix), 10)


def test_the_copy_of_the_best_is_read_if_its_own_file_was_removed(run):
    prefix = run(("0002", "best-0000"), [(1, 0.8), (2, 0.7)])
    assert choose(prefix)[:2] == (f"{prefix}-best", 0) and "the copy of epoch 1" in choose(prefix).note
    (prefix.parent / "metrics.jsonl").unlink()  # as where the files were copied
    assert choose(prefix)[:2] == choose(prefix, "best")[:2] == (f"{prefix}-best", 0)
    assert choose(prefix, "last")[:2] == (str(prefix), 2)


def test_only_the_last_training_of_a_stage_counts(run):
    prefix = run(("0001", "best-0000"), [(1, 0.8), (2, 0.9), (1, None)])
    assert choose(prefix)[:2] == (str(prefix), 1)
    prefix = run(EVERY, [(1, 0.8), (2, 0.9), (1, 0.6), (2, 0.5)])
    assert choose(prefix)[:2] == (str(prefix), 1)


def test_if_the_best_is_not_known_or_gone_the_way_out_is_said(run):
    prefix = run(["0002"], [(1, 0.8), (2, 0.7)])
    for epoch in (None, "best"):
        with pytest.raises(
            FCNXSError, match=r"epoch 1 was the best by mean IU \(0.8000\).* gone.*--epoch last"
        ):
            choose(prefix, epoch)
    assert choose(prefix, "last").epoch == 2
    for scores in ([(2, None)], []):
        with pytest.raises(FCNXSError, match="best epoch is not known: .*; choose the last, or one of 2$"):
            choose(run(["0002"], scores), "best")
    with pytest.raises(FCNXSError, match="expected a whole number, best or last"):
        choose(prefix, "2")


def test_without_parameters_there_is_nothing_to_choose(run, tmp_path):
    prefix = run([])
    for epoch in (None, "best", "last"):
        with pytest.raises(FCNXSError, match=r"fcn8s: there is no \S+fcn8s-NNNN.params of any epoch$"):
            choose(prefix, epoch)
    for name in ("fcn16s", "fcn8s", "fcn8s-best"):
        (tmp_path / f"{name}-symbol.json").touch()
    with pytest.raises(FCNXSError, match=re.escape(f"is a folder; give a prefix, e.g. {prefix}")):
        choose(tmp_path)
    with pytest.raises(FCNXSError, match=f"of any epoch; did you mean {re.escape(str(prefix))}\\?$"):
        choose(prefix.with_name("fcn8"))


@pytest.mark.usefixtures("in_process")
def test_without_an_epoch_the_best_is_read_and_said(run_folder, voc, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(run_folder / "run", run)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    records[0]["mean_iu"] = 1.0  # of FCN-32s, whose last epoch is 2
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    net, image = str(run / "fcn32s"), str(voc / "JPEGImages" / "val_0000.jpg")
    commands = (
        ["segment", image, "--output", str(tmp_path / "masks")],
        ["evaluate", "--data", str(voc), "--json", str(tmp_path / "scores.json")],
        ["export", "--output", str(tmp_path / "out")],
    )
    best, last = (
        f"reading epoch 1 of {net}, the best by mean IU (1.0000)\n",
        f"reading epoch 2 of {net}, the last",
    )
    for arguments in commands:
        for epoch, said in (([], best), (["--epoch", "best"], best), (["--epoch", "last"], last)):
            assert main([*arguments, "--prefix", net, *epoch]) == 0
            assert said in capsys.readouterr().out
            if arguments[0] == "evaluate":
                written = json.loads((tmp_path / "scores.json").read_text())
                assert (written["prefix"], written["epoch"]) == (net, 2 if said == last else 1)
    (run / "fcn32s-0001.params").unlink()
    assert main([*commands[0], "--prefix", net]) == 0
    assert f"reading {net}-best, the copy of epoch 1 of {net}" in capsys.readouterr().out
    (run / "fcn32s-best-0000.params").unlink()
    assert main([*commands[0], "--prefix", net]) == 2
    err = capsys.readouterr().err
    assert "its parameters are gone" in err and "--epoch last" in err and err.count("\n") == 1
    assert main([*commands[0], "--prefix", net, "--epoch", "2"]) == 0
    assert "reading" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        *('{"stage": "net", "epoch": 1e999, "mean_iu": 0.9}', '{"stage": "net", "epoch": "2", "mean_iu": 0.9}'),
        *('{"stage": "net", "epoch": 2, "mean_iu": NaN}', '{"stage": "net", "epoch": 2, "mean_iu": 1e300}'),
        *(
            '{"stage": "net", "epoch": 2, "mean_iu": true}',
            "[" * 10**5,
            "9" * 5000,
            '{"stage": "net", "epoch": -2}',
        ),
    ],
)
def test_lines_that_are_no_record_are_left_out(line, tmp_path):
    for epoch in (1, 2):
        (tmp_path / f"net-000{epoch}.params").touch()
    good = '{"stage": "net", "epoch": 1, "mean_iu": 0.5}\n'
    (tmp_path / "metrics.jsonl").write_text(good + line + "\n")
    assert choose(tmp_path / "net").epoch == 1

"""What a run of finetuning does besides its steps: data, devices, warnings, what a user sees."""

import json
import re

import numpy as np
import pytest
from conftest import finetune
from PIL import Image

from fcnxs import checkpoint
from fcnxs.finetune.epochs import own_positions
from fcnxs.tools.main import main
from fcnxs.tools.shared.devices import devices
from fcnxs.vis import save_mask, voc_palette

ONE = ("--stages", "fcn32s", "--epochs", "1")


def params_of(folder):
    return {name: a.asnumpy() for name, a in checkpoint.load(folder / "fcn32s", 1).arg_params.items()}


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize(("start", "batches", "own"), [(0, 7, 1), (0, 12, 2), (3, 20, 4), (5, 6, 3), (4, 4, 1)])
def test_every_batch_is_seen_once_by_some_worker_and_steps_agree(start, batches, own, workers):
    positions = [own_positions(start, batches, own, workers, rank) for rank in range(workers)]
    assert sorted(sum(positions, [])) == list(range(start, batches))
    rest = [iter(each) for each in positions]
    for first in range(start, batches, own * workers):  # a step takes `own` of each, from this position on
        ahead = min(own * workers, batches - first)
        taken = [[next(rest[r]) for _ in range(min(max(ahead - r * own, 0), own))] for r in range(workers)]
        assert sum(taken, []) == list(range(first, first + ahead))


def test_two_devices_equal_one_that_accumulates_as_commands(run_folder, voc, tmp_path):
    sgd = ("--recipe", "mxnet", "--lr", "1e-3")
    for name, option in (("two", "--cpus"), ("one", "--accumulate")):
        arguments = finetune(voc, run_folder, *ONE, *sgd, option, "2")
        assert main([*arguments, "--output", str(tmp_path / name)]) == 0
    one, two = params_of(tmp_path / "one"), params_of(tmp_path / "two")
    parent = checkpoint.load(run_folder / "vgg", 0).arg_params
    for name, value in one.items():
        change = value - (parent[name].asnumpy() if name in parent else 0)
        assert np.linalg.norm(change) > 0, name
        assert np.linalg.norm(two[name] - value) <= 1e-5 * np.linalg.norm(change), name


def test_devices_are_named_by_options(monkeypatch):
    from fcnxs import FCNXSError
    from fcnxs.compat import mxnet as mx

    monkeypatch.setattr(mx.context, "num_gpus", lambda: 4)
    assert devices("gpu:0,2") == [mx.gpu(0), mx.gpu(2)] and devices(None) == [mx.cpu(0)]
    assert devices("cpu:0,1,2") == [mx.cpu(0), mx.cpu(1), mx.cpu(2)]
    for named, message in (
        ("gpu:0,0", "--device gpu:0,0: name each device only once"),
        ("gpu:0,4", "--device gpu:4: MXNet sees 4 GPUs"),
        *((wrong, f"--device {wrong}: expected cpu, gpu, ") for wrong in ("0", "gpu:", "gpu:a", "cpu0", "GPU")),
    ):
        with pytest.raises(FCNXSError, match=message):
            devices(named)


def bad_pairs(voc, folder):
    """The training images, the second with a label that is no class and the fourth without its image."""
    names = (voc / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    lines = [f"{i}\t{voc}/JPEGImages/{n}.jpg\t{voc}/SegmentationClass/{n}.png\n" for i, n in enumerate(names)]
    size = Image.open(voc / "JPEGImages" / f"{names[1]}.jpg").size
    save_mask(folder / "label.png", np.full(size[::-1], 99), voc_palette())
    (folder / "cut.jpg").write_bytes((voc / "JPEGImages" / f"{names[3]}.jpg").read_bytes()[:400])
    lines[1] = f"1\t{voc}/JPEGImages/{names[1]}.jpg\tlabel.png\n"
    lines[3] = f"3\tcut.jpg\t{voc}/SegmentationClass/{names[3]}.png\n"
    (folder / "bad.lst").write_text("".join(lines))
    (folder / "good.lst").write_text("".join(line for i, line in enumerate(lines) if i not in (1, 3)))


def test_bad_pairs_are_refused_at_once_or_left_out_and_stay_so(run_folder, voc, tmp_path, capsys):
    """The last image of an epoch would have been the first to fail; a run that goes on leaves out the same."""
    bad_pairs(voc, tmp_path)
    arguments = finetune(voc, run_folder, *ONE, "--seed", "2")
    bad = [*arguments, "--data", str(tmp_path / "bad.lst"), "--output", str(tmp_path / "bad")]
    assert main(bad) == 2
    err = capsys.readouterr().err
    assert "label.png: value 99 in" in err and "(2 of 6 pairs are bad: `fcnxs check-data` lists them, " in err
    assert not (tmp_path / "bad").exists()
    assert main([*bad, "--skip-bad"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"left out: .*label.png: value 99", out) and re.search(r"left out: .*cut.jpg: cannot", out)
    assert "4 images to train on" in out
    skipped = json.loads((tmp_path / "bad" / "run.json").read_text())["skipped"]["train"]
    assert [(i, name.rpartition("/")[2]) for i, name in skipped] == [(1, "train_0001.jpg"), (3, "cut.jpg")]
    good = [*arguments, "--data", str(tmp_path / "good.lst"), "--output", str(tmp_path / "good")]
    assert main(good) == 0
    expected = params_of(tmp_path / "good")
    for name, value in params_of(tmp_path / "bad").items():
        np.testing.assert_array_equal(value, expected[name])


def test_batches_of_cuts(run_folder, voc, tmp_path, capsys):
    arguments = [*finetune(voc, run_folder, *ONE, "--batch-size", "4"), "--output", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "--data: batches of 4 images need images of one size" in capsys.readouterr().err
    assert main([*arguments, "--crop-size", "48", "--random-flip", "--random-scale", "0.7,1.4"]) == 0
    assert (tmp_path / "run" / "fcn32s-0001.params").is_file()
    assert main([*arguments, "--crop-size", "48", "--cut-off-size", "64"]) == 2


def test_a_loss_that_is_not_finite_names_step_images_and_the_last_good_checkpoint(
    run_folder, voc, tmp_path, capsys
):
    arguments = finetune(voc, run_folder, "--stages", "fcn32s,fcn16s", "--epochs", "1", "--accumulate", "2")
    assert main([*arguments, "--lr", "1e-4,1e12", "--output", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    where = r"fcn16s, epoch 1, step 2 \(\S+train_\d+.jpg, \S+train_\d+.jpg\): the loss is not finite"
    assert re.search(where, err) and f"the last good checkpoint is {tmp_path}/fcn32s-0001.params" in err
    assert "with a smaller --lr than 1e+12" in err
    assert not list(tmp_path.glob("fcn16s-0*")) and "run ends: FCNXSError" in (tmp_path / "run.log").read_text()


def test_one_class_alone_gives_a_warning(run_folder, voc, tmp_path, capsys):
    two = ("--stages", "fcn32s", "--epochs", "2", "--val-split", "val")
    arguments = [*finetune(voc, run_folder, *two), "--output", str(tmp_path / "run")]
    assert main([*arguments, "--lr", "1e-12"]) == 0  # the scores stay zero, so that the first class wins
    err = capsys.readouterr().err
    for epoch, end in ((1, ". Likely causes: too few"), (2, "\n")):  # the causes stand there once
        all_alike = "every pixel of the 3 validation images is predicted as 'background'"
        assert f"warning: fcn32s, epoch {epoch}: {all_alike}{end}" in err
    assert "warning: fcn32s, epoch 1" in (tmp_path / "run" / "run.log").read_text()
    only = tmp_path / "only"
    only.mkdir()
    for part in ("images", "labels"):
        (only / part).mkdir()
    Image.new("RGB", (40, 40), (200, 0, 0)).save(only / "images" / "a.png")
    Image.new("L", (40, 40), 0).save(only / "labels" / "a.png")
    arguments = [
        *finetune(voc, run_folder, *ONE),
        "--data",
        str(only),
        "--val",
        str(only),
        "--num-classes",
        "2",
        "--allow",
        "overlap",
    ]
    del arguments[arguments.index("--classes") : arguments.index("--classes") + 2]
    assert main([*arguments, "--output", str(tmp_path / "only_run")]) == 0
    assert "is predicted as" not in capsys.readouterr().err  # that is all there is


def test_quiet_leaves_the_table_and_the_files(run_folder, voc, tmp_path, capsys):
    arguments = finetune(voc, run_folder, *ONE, "--val-split", "val", "--quiet", "--tensorboard")
    assert main([*arguments, "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    record = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert "fcn32s epoch 1:" not in out and "mean IU" in out and "images to train on" not in out
    assert f"--prefix {tmp_path}/STAGE reads by default: fcn32s epoch 1 ({record['mean_iu']:.4f})" in out
    log = (tmp_path / "run.log").read_text()
    assert "run begins: 6 images to train on, 3 to evaluate on" in log and log.rstrip().endswith(
        "run ends: done"
    )
    assert json.dumps(record) in log and "  command: fcnxs" in log and '"learning_rate": 0.001' in log
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents.*"))


def test_what_is_left_out_stays_so_from_another_folder(run_folder, voc, tmp_path, capsys, monkeypatch):
    """With relative paths, a run stopped before its first step goes on without the bad pairs."""
    from fcnxs.tools.shared.signals import Stopping

    bad_pairs(voc, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Stopping, "asked", lambda self: True)
    arguments = finetune(voc, run_folder, *ONE, "--data", "bad.lst", "--skip-bad", "--output", "run")
    assert main(arguments) == 128 + 15
    monkeypatch.undo()
    capsys.readouterr()
    assert main(["finetune", "--resume", str(tmp_path / "run")]) == 0
    assert "goes on with fcn32s, epoch 1, after 0 batches" in capsys.readouterr().out
    assert (tmp_path / "run" / "run.log").read_text().count("run begins: 4 images to train on") == 2


def test_an_image_that_goes_bad_meanwhile_saves_the_state(run_folder, voc, tmp_path, capsys, monkeypatch):
    from fcnxs.data.loader import Loader

    given = Loader.next

    def next_but_one(self):
        batch = given(self)
        if self.shuffle and batch.numbers == (int(self.order(1)[3]),):
            from fcnxs import FCNXSError

            raise FCNXSError(f"{batch.files[0]}: cannot read this image: gone")
        return batch

    monkeypatch.setattr(Loader, "next", next_but_one)
    arguments = [*finetune(voc, run_folder, *ONE), "--output", str(tmp_path)]
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "fcn32s, epoch 1: " in err and "cannot read this image: gone" in err
    saved = f"the state is saved in {tmp_path}/fcn32s-last.0001-000003.json"
    assert f"{saved}; correct the file, then --resume {tmp_path} continues" in err
    monkeypatch.undo()
    assert main(["finetune", "--resume", str(tmp_path), "--no-quiet"]) == 0
    assert main([*arguments[:-1], str(tmp_path / "whole")]) == 0
    expected = params_of(tmp_path / "whole")
    for name, value in params_of(tmp_path).items():
        np.testing.assert_array_equal(value, expected[name])

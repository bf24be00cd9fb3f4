"""What is seen while nets train: on a terminal, elsewhere, and with `quiet`."""

import io
import math
import sys

import pytest

from fcnxs.stages import Stage
from fcnxs.tools.shared.progress import Progress, Running

FIRST = Stage("fcn32s", "vgg16", "sgd", 1e-4, 0.99, 5e-4, 2)
SECOND = Stage("fcn16s", "fcn32s", "sgd", 1e-5, 0.99, 5e-4, 3)
RECORD = {
    **{"stage": "fcn32s", "epoch": 1, "learning_rate": 1e-4, "train_loss": 0.5, "val_loss": 0.75},
    **{
        "pixel_accuracy": 0.9,
        "mean_accuracy": 0.8,
        "mean_iu": 0.7,
        "frequency_weighted_iu": 0.6,
        "seconds": 3.0,
    },
}
LINE = (
    "fcn32s epoch 1: train loss 0.5000, val loss 0.7500, pixel acc. 0.9000, mean acc. 0.8000, "
    "mean IU 0.7000, f.w. IU 0.6000 (3.0 s)\n"
)


class Clock:
    """Seconds that pass when they are told to."""

    now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def run(monkeypatch):
    """A run of two stages, 100 images and 30 to evaluate on; on a terminal or not."""

    def start(terminal=False, **settings):
        monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
        clock = Clock()
        progress = Progress(clock=clock, **settings)
        progress.begin([FIRST, SECOND], 100, 30)
        return progress, clock

    return start


def steps(progress, clock, stage, epoch, dones, seconds, images=1, loss=1.0):
    for done in dones:
        clock.now += seconds * images
        progress.step(stage, epoch, done, images, loss)


def test_time_left_is_that_of_the_epoch_and_of_all_epochs_to_come(run, capsys):
    progress, clock = run()
    steps(progress, clock, FIRST, 1, range(1, 41), 2)
    # 70 images of 2 s; 30 evaluated at a third; then 1 + 3 epochs of 100 x 2 s + 30 x 2/3 s.
    left = "left: 0:02:20, of the run 0:17:20"
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"fcn32s epoch 1/2: 30/100 images, 0.50 images/s, loss 1.0000, {left}"
    )
    steps(progress, clock, FIRST, 1, range(41, 101), 2)
    for done in range(1, 31):
        clock.now += 5
        progress.evaluated(FIRST, 1, done)
    # 15 of 5 s; then 4 epochs of 100 x 2 s + 30 x 5 s.
    said = capsys.readouterr().out.splitlines()
    assert (
        "fcn32s epoch 1/2, evaluation: 15/30 images, 0.20 images/s, left: 0:01:15, of the run 0:24:35" in said
    )


def test_the_last_epoch_of_the_last_stage_leaves_nothing_but_itself(run, capsys):
    progress, clock = run()
    steps(progress, clock, SECOND, 3, range(1, 51), 3)
    assert capsys.readouterr().out.splitlines()[-1].endswith("left: 0:02:30, of the run 0:03:00")


def test_a_run_that_goes_on_in_an_epoch_has_right_bars_and_speeds(run):
    progress, clock = run(terminal=True)
    steps(progress, clock, FIRST, 2, [64, 68], 2, images=4)
    assert (progress._bar.n, progress._bar.total, progress._bar.initial) == (68, 100, 60)
    assert progress._bar.postfix == "0.50 images/s, loss 1.0000, left: 0:01:04, of the run 0:12:24"
    progress.close()


def test_a_run_that_goes_on_with_an_evaluation_knows_a_time(run):
    progress, clock = run(terminal=True)
    clock.now += 20
    progress.evaluated(FIRST, 1, 10)
    # 20 more of 2 s; then 4 epochs of 100 images at three times as much and 30 of 2 s.
    assert progress._bar.postfix == "0.50 images/s, left: 0:00:40, of the run 0:44:40"
    progress.close()


def test_lines_come_every_half_minute_at_most_and_with_each_tenth_or_ten_minutes(run, capsys):
    progress, clock = run()
    steps(progress, clock, FIRST, 1, range(1, 101), 1)
    quick = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1].split("/")[0] for line in quick] == ["30", "60", "90"]
    progress.begin([FIRST, SECOND], 1000, 30)
    steps(progress, clock, FIRST, 2, range(1, 301), 5)
    tenths = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1].split("/")[0] for line in tenths] == ["100", "200", "300"]
    progress.begin([FIRST, SECOND], 100_000, 30)
    steps(progress, clock, SECOND, 1, range(1, 301), 5)
    slow = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1].split("/")[0] for line in slow] == ["120", "240"]


def test_an_epoch_is_a_line_and_a_warning_goes_to_stderr(run, capsys):
    progress, clock = run(terminal=True)
    steps(progress, clock, FIRST, 1, [1, 2], 1)
    progress.warning("all pixels are background")
    assert progress._bar.n == 2  # the bar is still there
    progress.epoch(RECORD, None)
    assert progress._bar is None
    assert capsys.readouterr().out == LINE
    assert "fcnxs: warning: all pixels are background\n" in sys.stderr.getvalue()
    progress.epoch(
        {**dict.fromkeys(RECORD), "stage": "fcn8s", "epoch": 2, "train_loss": 0.25, "seconds": 1}, None
    )
    assert capsys.readouterr().out == "fcn8s epoch 2: train loss 0.2500 (1 s)\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_says_warnings_alone(run, capsys, terminal):
    progress, clock = run(terminal=terminal, quiet=True)
    steps(progress, clock, FIRST, 1, range(1, 101), 60)
    progress.evaluated(FIRST, 1, 30)
    progress.epoch(RECORD, None)
    progress.warning("it is likely to be wrong")
    progress.close()
    assert capsys.readouterr().out == ""
    assert sys.stderr.getvalue() == "fcnxs: warning: it is likely to be wrong\n"


def test_loss_is_a_running_mean_and_images_without_labels_do_not_count(run):
    progress, clock = run(terminal=True)
    steps(progress, clock, FIRST, 1, [1], 1, loss=3.0)
    steps(progress, clock, FIRST, 1, [2], 1, loss=math.nan)
    steps(progress, clock, FIRST, 1, [3], 1, loss=1.0)
    assert f"loss {(0.98 * 3 + 1) / 1.98:.4f}," in progress._bar.postfix
    steps(progress, clock, SECOND, 1, [1], 1, loss=5.0)
    assert "loss 5.0000," in progress._bar.postfix  # another net's
    progress.close()


def test_a_running_mean_follows_a_change():
    running = Running()
    assert math.isnan(running.mean)
    for value in [10.0] * 300 + [2.0] * 50:
        running.add(value, 1)
    assert running.mean == pytest.approx(2 + 8 * 0.98**50, rel=1e-2)

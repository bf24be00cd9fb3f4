"""What tests of runs share: the options of one, its processes, and when two runs are the same."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
from conftest import LONG

from fcnxs import checkpoint
from fcnxs.compat import mxnet as mx

DAMAGE = 300 if LONG else 12
STAGES = ("fcn32s", "fcn16s", "fcn8s")
AUGMENTED = ("--random-flip", "--random-scale", "0.8,1.2", "--color-jitter", "0.2", "--crop-size", "64")
EPOCHS = (8, 6, 6) if LONG else (2, 1, 1)
RUN = (
    *("--val-split", "val", "--epochs", ",".join(map(str, EPOCHS)), "--seed", "7"),
    *("--checkpoint-every", "1", *AUGMENTED),
)


def params_of(folder, stage, epoch):
    return {k: v.asnumpy() for k, v in checkpoint.load(folder / stage, epoch).arg_params.items()}


def assert_same_run(folder, expected):
    """Every parameter of every epoch bit for bit, and all scores but the seconds."""
    files = sorted(file.name for file in expected.glob("*-0*.params"))
    assert len(files) == sum(EPOCHS) + 3 and files == sorted(file.name for file in folder.glob("*-0*.params"))
    for name in files:
        a, b = (mx.nd.load(str(each / name)) for each in (folder, expected))
        assert set(a) == set(b)
        for key in a:
            np.testing.assert_array_equal(a[key].asnumpy(), b[key].asnumpy(), err_msg=f"{name} {key}")
    scores = []
    for each in (folder, expected):
        lines = [json.loads(line) for line in (each / "metrics.jsonl").read_text().splitlines()]
        rows = json.loads((each / "summary.json").read_text())["stages"]
        for row in [*lines, *rows]:
            del row["seconds"]
        scores.append((lines, rows))
    assert scores[0] == scores[1] and len(scores[0][0]) == sum(EPOCHS)


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "fcnxs", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(process, condition, seconds=600):
    """Until it holds, or the process has ended; the time is for a machine that is very busy."""
    deadline = time.time() + seconds
    while not condition() and process.poll() is None and time.time() < deadline:
        time.sleep(0.01)

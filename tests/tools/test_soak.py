"""Images of ever new sizes take no more and more memory: 300 of them, 3,000 with FCNXS_LONG.

An executor, a graph or a cached plan that stays of each size would fill a machine with a folder of photographs:
one call of MXNet's `tojson` for each, which leaks 44 kB of FCN-32s, makes 4 GB of 100,000.
"""

import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from conftest import LONG, WIDTH, random_params
from PIL import Image
from serving import save_exported

from fcnxs import checkpoint
from fcnxs.symbols import get_fcn32s_symbol
from fcnxs.vis import voc_palette

SIZES = 3000 if LONG else 300
FLAT = 2 if LONG else 25  # kB for each image; of the first hundreds, malloc keeps some
GIVEN_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_TOP_PAD_": "0"}  # what is freed
MOST = 96  # pixels of a side; the first image is the largest, whose memory the others share

SEGMENTER = """
import sys, fcnxs
segmenter = fcnxs.Segmenter(sys.argv[1], 0)
for _ in segmenter(sorted(map(str, __import__("pathlib").Path(sys.argv[2]).iterdir()))):
    if len(sys.argv) > 3:
        segmenter._net.passes.net.symbol.tojson()
"""
HANDLER = """
import sys
from pathlib import Path
from fcnxs.deploy.handler import ServedNet
net = ServedNet(Path(sys.argv[1]).parent)
for file in sorted(Path(sys.argv[2]).iterdir()):
    assert net.answer({"body": file.read_bytes()}, {}).status == 200
"""


@pytest.fixture(scope="module")
def folder(shared):
    """A checkpoint, the same net exported, and images with labels, of which no two have the same size."""
    return shared("soak", write)


def write(folder):
    symbol = get_fcn32s_symbol(5, width=WIDTH, fc=16)
    meta = checkpoint.Meta(classes=tuple("abcde"), palette=tuple(voc_palette(5)))
    net = checkpoint.Checkpoint(symbol, random_params(symbol), {}, meta, folder / "net")
    checkpoint.save(folder / "net", 0, symbol, net.arg_params, {}, meta)
    (folder / "served").mkdir()
    save_exported(net, folder / "served" / "net")
    rng = np.random.default_rng(0)
    sides = rng.permutation((MOST - 32) ** 2)[: SIZES - 1]
    sizes = [(MOST, MOST), *((32 + side // (MOST - 32), 32 + side % (MOST - 32)) for side in sides)]
    for kind in ("images", "labels"):
        (folder / "data" / kind).mkdir(parents=True)
    for i, size in enumerate(sizes):
        image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
        Image.fromarray(image).save(folder / "data" / "images" / f"{i:04}.png")
        Image.fromarray(image[..., 0] // 52).save(folder / "data" / "labels" / f"{i:04}.png")


def growth(*arguments):
    """kB that a process has grown by with each image, in the last 60% of its time: the slope of a line."""
    command, env = [sys.executable, *map(str, arguments)], {**os.environ, **GIVEN_BACK}
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    resident, watched = [], psutil.Process(process.pid)
    while process.poll() is None:
        resident.append(watched.memory_info().rss / 1024)
        time.sleep(0.05)
    assert process.returncode == 0
    late = [kilobytes for kilobytes in resident[len(resident) * 2 // 5 : -5] if kilobytes]
    slope = np.polyfit(range(len(late)), late, 1)[0] * len(late) / (0.6 * SIZES)
    print(f"{slope:.1f} kB for each image, {max(late) / 1024:.0f} MB at most, {len(resident)} samples")
    return slope


def is_flat(*arguments):
    """Whether a process stays flat, in one of two runs, whose number replaces RUN; a leak is in both."""
    return any(growth(*(str(each).replace("RUN", str(run)) for each in arguments)) < FLAT for run in range(2))


def test_a_segmenter_stays_flat_and_a_leak_is_seen(folder):
    arguments = ("-c", SEGMENTER, folder / "net", folder / "data" / "images")
    assert is_flat(*arguments)
    if LONG:  # the same test, if one call of `tojson` is made for each image
        assert growth(*arguments, "leak") > 30


def test_the_handler_of_a_server_stays_flat(folder):
    assert is_flat("-c", HANDLER, folder / "served" / "net", folder / "data" / "images")


@pytest.mark.parametrize("command", ["segment", "evaluate", "finetune"])
def test_a_command_stays_flat(folder, tmp_path, command):
    net = ("--prefix", folder / "net", "--epoch", "0")
    options = {
        "segment": (*net, folder / "data" / "images", "--output", tmp_path / "out-RUN"),
        "evaluate": (*net, "--data", folder / "data", "--no-trim"),
        "finetune": (
            *net,
            "--stages",
            "fcn32s",
            "--data",
            folder / "data",
            "--output",
            tmp_path / "run-RUN",
            "--epochs",
            "1",
        ),
    }
    assert is_flat("-m", "fcnxs", command, *options[command])

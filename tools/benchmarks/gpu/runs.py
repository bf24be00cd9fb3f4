"""A step of `fcnxs benchmark gpu`: runs of `finetune` on a GPU, interrupted, resumed, exported without it."""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Sequence

import numpy as np

from ....checkpoint.checkpoint import load
from ....data.generated import write_voc
from ....errors import FCNXSError
from ....system import children

PICTURES, EPOCHS = {"train": 12, "val": 2}, 2
BEFORE = 3  # steps whose state is saved before the run is interrupted
NO_GPU = "CUDA_VISIBLE_DEVICES="  # for env(1): MXNet then sees none
LOADS = """
import sys, fcnxs, mxnet
devices = {array.context for file in sys.argv[1:] for array in mxnet.nd.load(file).values()}
print(len(sys.argv) - 1, "files of parameters are on", *devices)
sys.exit(devices != {mxnet.cpu()})
"""


def resume(args: argparse.Namespace) -> int:
    """Interrupt a run on the GPU; resume it there, to the bit, and on the CPU; export both without a GPU.

    Returns:
        1 if something failed, which the lines say.
    """
    failed = []

    def expect(what: str, holds: bool) -> None:
        print(f"{'ok' if holds else 'FAILED'}: {what}", flush=True)
        failed.extend([what] * (not holds))

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_voc(root / "pictures", PICTURES)
        _fcnxs("convert", str(files("fcnxs") / "vgg16_shapes.caffemodel"), root / "vgg16fc", quiet=True)
        train = [f"--data={root / 'pictures'}", f"--prefix={root / 'vgg16fc'}", "--epoch=0", "--recipe=adam"]
        train += ["--stages=fcn32s", f"--epochs={EPOCHS}", "--checkpoint-every=1", f"--device={args.device}"]
        expect("a run on the GPU", _fcnxs("finetune", *train, f"--output={root / 'whole'}"))
        expect(
            "the same, interrupted",
            _interrupted(["finetune", *train, f"--output={root / 'cut'}"], root / "cut"),
        )
        shutil.copytree(root / "cut", root / "cpu")
        expect("resumed on the GPU", _fcnxs("finetune", f"--resume={root / 'cut'}"))
        expect("parameters equal to the bit to the whole run's", _same(root / "whole", root / "cut"))
        expect("resumed on the CPU", _fcnxs("finetune", f"--resume={root / 'cpu'}", "--device=cpu"))
        forms = ["json", *(["onnx"] if find_spec("onnx") and find_spec("onnxruntime") else [])]
        for run in ("whole", "cpu"):
            for form in forms:
                words = [
                    f"--prefix={root / run / 'fcn32s'}",
                    f"--format={form}",
                    f"--output={root / run}-{form}",
                ]
                expect(f"{run} exported as {form}, without a GPU", _fcnxs("export", *words, before=[NO_GPU]))
        params = [*(root / "whole").glob("fcn32s-0*.params"), *root.glob("*-json-*.params")]
        loaded = _run(["env", NO_GPU, sys.executable, "-c", LOADS, *map(str, params)])
        expect("parameters load on the CPU in plain MXNet", loaded)
    print(f"failed: {', '.join(failed) or 'nothing'}")
    return int(bool(failed))


def _fcnxs(*words: object, before: Sequence[str] = (), quiet: bool = False) -> bool:
    """Run a command of this package, printing it; returns whether it succeeded."""
    if not quiet:
        print("$ fcnxs", *words, flush=True)
    return _run(["env", *before, sys.executable, "-m", "fcnxs", *map(str, words)], quiet)


def _run(command: Sequence[str], quiet: bool = False) -> bool:
    out = subprocess.DEVNULL if quiet else None
    return children.run(command, stdout=out).returncode == 0


def _interrupted(words: Sequence[str], run: Path) -> bool:
    """Begin a run, and end it by SIGTERM once it has saved its state a few times; whether it ended so."""
    print("$ fcnxs", *words, flush=True)
    with subprocess.Popen(children.ending_with_us([sys.executable, "-m", "fcnxs", *words])) as process:
        seen = set()
        while process.poll() is None and len(seen) < BEFORE:
            seen |= {*run.glob("fcn32s-last.*.json")}
            time.sleep(0.01)
        process.terminate()
        return process.wait() == 128 + signal.SIGTERM


def _same(one: Path, other: Path) -> bool:
    """Whether the last parameters of two runs are equal, bit for bit."""
    try:
        a, b = (load(folder / "fcn32s", EPOCHS).arg_params for folder in (one, other))
    except FCNXSError as error:
        print(error)
        return False
    differ = [name for name in a if not np.array_equal(a[name].asnumpy(), b[name].asnumpy())]
    print(f"{len(differ)} of {len(a)} parameters differ{': ' * bool(differ)}{', '.join(differ)}")
    return not differ

"""What the tests share: a device, narrow nets with random weights, a small data set."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

# One thread a process: tests run side by side, and threads that spin while they wait take the time of others.
# Set before NumPy and MXNet load, and inherited by child processes. Tests of threads set their own number.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest
from hypothesis import settings
from stand_in.stand_in_gpus import installed

from fcnxs import compat

compat.use_the_machine()  # before MXNet loads
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what is in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # or the tests' processes would ignore it too

from fcnxs import checkpoint  # noqa: E402
from fcnxs.compat import mxnet as mx  # noqa: E402
from fcnxs.convert.caffemodel import write_caffemodel  # noqa: E402
from fcnxs.data.generated import write_voc  # noqa: E402
from fcnxs.deploy.precision import runs_bf16  # noqa: E402
from fcnxs.net import is_input  # noqa: E402
from fcnxs.symbols.graph.nodes import Graph  # noqa: E402
from fcnxs.tools.benchmarks.parity import random_blobs  # noqa: E402
from fcnxs.tools.main import main  # noqa: E402


def with_stand_in() -> str:
    """PYTHONPATH with which processes that import MXNet have the GPUs of FCNXS_STAND_IN_GPUS."""
    return os.pathsep.join([str(Path(__file__).with_name("stand_in")), os.environ.get("PYTHONPATH", "")])


settings.register_profile("untimed", deadline=None)  # how long a test takes depends on the machine
settings.load_profile("untimed")

STAND_IN = os.environ.get("FCNXS_STAND_IN_GPUS")  # number of GPUs that the CPU stands in for
if STAND_IN:
    os.environ["PYTHONPATH"] = with_stand_in()
    whole_session = installed(mx, int(STAND_IN))
    whole_session.__enter__()

LONG = bool(os.environ.get("FCNXS_LONG"))  # the long forms of some tests; for minutes
WIDTH, FC = 1 / 16, 16  # of the nets in most tests: 4, 8, 16, 32, 32 channels


def int8_is_exact() -> bool:
    """Whether int8 convolutions add exactly on this processor; on one without VNNI they do not.

    There oneDNN adds pairs of products in 16 bits, which saturate (255 * 127 + 255 * 127 becomes 32767), or
    avoids that by weights of 7 bits. Nets run all the same, with scores a little off.
    """
    ranges = [mx.nd.array([value]) for value in (0, 255, -127, 127)]
    x, weight = mx.nd.full((1, 16, 1, 1), 255, dtype="uint8"), mx.nd.full((4, 16, 1, 1), 127, dtype="int8")
    settings = {"kernel": (1, 1), "num_filter": 4, "no_bias": True}
    sums, _, _ = mx.nd.contrib.quantized_conv(x, weight, *ranges, **settings)
    return bool((sums.asnumpy() == 16 * 255 * 127).all())


# Lower precisions, each skipped where the processor does not compute it.
bf16 = pytest.mark.skipif(not runs_bf16(), reason="this processor does not convolve bfloat16 numbers")
int8_exact = pytest.mark.skipif(not int8_is_exact(), reason="this processor's int8 sums saturate")
LOWER = [pytest.param("bf16", marks=bf16), "int8"]


kind, number = re.fullmatch(r"(cpu|gpu)\((\d+)\)", os.environ.get("FCNXS_TEST_CTX", "cpu(0)")).groups()
CTX = mx.Context(kind, int(number))  # device of the tests; those that compute elsewhere are of the CPU alone


@pytest.fixture(scope="session")
def ctx() -> mx.Context:
    """Device of the tests."""
    return CTX


def several(count: int) -> list:
    """Devices of the kind of the tests' device; a test that wants more GPUs than there are is skipped."""
    if CTX.device_type == "gpu" and mx.context.num_gpus() < count:
        pytest.skip(f"needs {count} GPUs")
    return [mx.Context(CTX.device_type, i) for i in range(count)]


@pytest.fixture
def gpus(monkeypatch):
    """gpu(0) and gpu(1), for this process and those that it starts; where there are none, the CPU stands in."""
    if mx.context.num_gpus():
        if mx.context.num_gpus() < 2:
            pytest.skip("needs two GPUs, or none")
        yield
        return
    monkeypatch.setenv("FCNXS_STAND_IN_GPUS", "2")
    monkeypatch.setenv("PYTHONPATH", with_stand_in())
    with installed(mx, 2):
        yield


def random_params(symbol: mx.sym.Symbol, seed: int = 0, ctx: mx.Context | None = None, size: int = 64) -> dict:
    """Random weights that keep the size of activations, random biases."""
    rng = np.random.default_rng(seed)
    shapes, _, _ = symbol.infer_shape(**Graph.of(symbol).image_shapes((size, size)))
    params = {}
    for name, shape in zip(symbol.list_arguments(), shapes):
        if not is_input(name):
            scale = 0.1 if len(shape) == 1 else (2 / np.prod(shape[1:])) ** 0.5
            params[name] = mx.nd.array(rng.normal(0, scale, shape), ctx)
    return params


def random_vgg16(seed: int = 0, width: float = WIDTH, fc: int = FC, classes: int = 7) -> dict:
    """Blobs of a VGG-16 as Caffe has it: BGR, inner products."""
    return random_blobs("vgg16", width, fc, classes, seed)


def largest_ratio(differences: dict, changes: dict) -> float:
    """The largest |difference| / |change| of a layer, its weights and biases taken together.

    Float32 sums in another order differ in proportion to their terms. The gradient of a bias is the sum of its
    layer's over all cells; these have both signs, so it may be near zero and say nothing about their size. The
    gradients of the weights beside it sum the same terms, times the layer's inputs.
    """
    squares = {}
    for name, change in changes.items():
        parts = squares.setdefault(name.rpartition("_")[0], np.zeros(2))
        parts += [np.square(each, dtype=np.float64).sum() for each in (differences[name], change)]
    return max((a / b) ** 0.5 for a, b in squares.values() if b)


def photo(height=60, width=70, seed=0):
    """A random image, RGB uint8 (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def as_checkpoint(converted, file):
    """What a conversion would save, without saving it."""
    meta = checkpoint.Meta(mean=converted.mean)
    return checkpoint.Checkpoint(converted.symbol, converted.arg_params, {}, meta, file)


@pytest.fixture
def fcn(tmp_path):
    """Write an FCN of Caffe's for 7 classes, changed by a function."""

    def make(net, change=lambda blobs: blobs, v1=False):
        file = tmp_path / "net.caffemodel"
        write_caffemodel(file, change(random_blobs(net, WIDTH, FC, 7)), v1)
        return file

    return make


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Make a folder once for all workers of pytest-xdist: `shared(name, write)` calls `write`, or waits."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name, write):
        folder, made = base / f"shared-{name}", base / f"shared-{name}.made"
        with (base / f"shared-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed
                folder.mkdir()
                write(folder)
                made.touch()
        return folder

    return make


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """What checks of data remember is kept with the tests' files."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def voc(shared) -> Path:
    """Six pictures of shapes to train on and three others, in VOC layout."""
    return shared("voc", lambda folder: write_voc(folder, {"train": 6, "val": 3}))


@pytest.fixture(scope="session")
def caffemodel(shared) -> Path:
    """A narrow random VGG-16 in Caffe's format."""
    write = lambda folder: write_caffemodel(folder / "vgg.caffemodel", random_vgg16())  # noqa: E731
    return shared("caffe", write) / "vgg.caffemodel"


@pytest.fixture(scope="session")
def run_folder(caffemodel, voc, shared):
    """What convert and then finetune make, with one epoch each."""

    def write(folder):
        assert main(["convert", str(caffemodel), str(folder / "vgg")]) == 0
        assert main(finetune(voc, folder, "--val-split", "val", "--epochs", "2,1,1", "--seed", "3")) == 0

    return shared("run", write)


def finetune(voc, folder, *more):
    files = {
        "--data": voc,
        "--classes": voc / "classes.txt",
        "--prefix": folder / "vgg",
        "--output": folder / "run",
    }
    words = [str(word) for pair in files.items() for word in pair]
    return ["finetune", *words, "--epoch", "0", "--recipe", "adam", *more]


@pytest.fixture(scope="session")
def whole(run_folder, voc, shared):
    """A run that nothing has interrupted."""
    from runs import RUN

    def write(folder):
        assert main([*finetune(voc, run_folder, *RUN), "--output", str(folder / "run")]) == 0

    return shared("whole", write) / "run"


@pytest.fixture(scope="session")
def stopped_once(run_folder, voc, shared):
    """A run stopped in its first stage, with two states."""
    from runs import RUN, start, wait_for

    def write(folder):
        process = start(*finetune(voc, run_folder, *RUN), "--output", folder / "run")
        wait_for(process, lambda: len(list((folder / "run").glob("fcn32s-last.0001-*.json"))) == 2)
        process.terminate()
        process.communicate(timeout=600)

    return shared("stopped", write) / "run"


@pytest.fixture
def stopped(stopped_once, tmp_path):
    """A copy of such a run."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


class Images(mx.io.DataIter):
    """A few random images of several sizes, as `FileIter` would give them."""

    data_name, label_name = "data", "softmax_label"

    def __init__(self, sizes, classes=3, seed=0):
        super().__init__(batch_size=1)
        rng = np.random.default_rng(seed)
        self.batches = [
            {
                "data": rng.normal(0, 2, (1, 3, *size)).astype(np.float32),
                "softmax_label": rng.choice([*range(classes), 255], (1, *size)).astype(np.float32),
            }
            for size in sizes
        ]
        self.reset()

    def reset(self):
        self.rest = iter(self.batches)

    def next(self):
        return next(self.rest)


def fresh_probabilities(symbol, params, data, ctx):
    """Output of an executor that has never run before."""
    args = {name: array.copyto(ctx) for name, array in params.items()}
    args["data"] = mx.nd.array(data, ctx)
    args["softmax_label"] = mx.nd.zeros((data.shape[0], data.shape[2] * data.shape[3]), ctx)
    return symbol.bind(ctx, args, grad_req="null").forward(is_train=False)[0].asnumpy()


@pytest.fixture
def in_process(monkeypatch):
    """Exports are compared in this process on small pictures, by the same script: a new one takes seconds."""
    from fcnxs.deploy import compare

    def run(command, **settings):
        if command[3] not in ("mxnet", "onnx", "ncnn"):  # an archive's handler: it hides this package
            return subprocess.run(command, **settings)
        monkeypatch.setattr(sys, "argv", command[2:])
        exec(command[2], {"__name__": "__main__"})
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(compare, "start", run)
    monkeypatch.setattr(compare, "SIZES", ((40, 56), (61, 33)))

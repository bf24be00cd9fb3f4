"""`fcnxs benchmark gpu`: what it finds wrong, and that no step can keep the file from being written."""

import argparse
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import LONG
from machines import A100, H100, V100, cuda, healthy

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.tools.benchmarks.gpu import check, numpy_reference, parts, runs
from fcnxs.tools.benchmarks.gpu.steps import MOST, Step
from fcnxs.tools.main import main
from fcnxs.tools.shared.signals import Ended

NARROW = ["--width", "0.0625", "--fc", "16", "--image-size", "64x48", "--steps", "1", "--num-images", "2"]


def args(**more):
    asked = {
        "device": "gpu:0",
        "width": 1 / 16,
        "fc": 16,
        "image_size": "43x37",
        "steps": 1,
        "num_images": 2,
        "overwrite": False,
        "no_trim": False,
    }
    return argparse.Namespace(**{**asked, "environment": dict(os.environ), **more})


def python(name, code, **how):
    return Step(name, f"step {name}", [sys.executable, "-c", code], **how)


@pytest.fixture
def one_image(monkeypatch):
    monkeypatch.setattr(parts, "IMAGES", 1)


def test_gradients_are_as_exact_as_the_cpus(gpus, one_image, capsys):
    assert parts.exact(args()) == 0
    errors = [
        float(line.split("largest error ")[1].split(",")[0])
        for line in capsys.readouterr().out.splitlines()[:-1]
    ]
    assert len(errors) == 3 and all(1e-9 < error < 1e-5 for error in errors)


@pytest.mark.parametrize("wrong", ["tf32", "nan", "layer"])
def test_gradients_that_are_not_exact_are_found(wrong, gpus, one_image, monkeypatch, capsys):
    """TF32's are, and pass where TF32 may be; NaN and one layer that is wrong pass nowhere."""
    right = parts.gradients

    def gradients(symbol, weights, where, batches, trim):
        if where[0].device_type == "cpu" or not trim:
            return right(symbol, weights, where, batches, trim)
        if wrong == "tf32":
            return parts.reference(symbol, weights, batches[0], parts.of_tf32)
        found = right(symbol, weights, where, batches, trim)
        return {**found, "conv3_1_weight": found["conv3_1_weight"] * (np.nan if wrong == "nan" else 1.5)}

    monkeypatch.setattr(parts, "gradients", gradients)
    assert parts.exact(args()) == 1
    assert parts.exact(args(), tf32=True) == (wrong != "tf32")
    assert "TF32 is on" in capsys.readouterr().out or wrong == "nan"


def test_tf32_keeps_ten_bits_of_the_mantissa():
    values = np.array([1 + 2**-10, 1 + 2**-11, -(1 + 2**-10 + 2**-11), 3e-39 * 0])
    np.testing.assert_array_equal(
        parts.of_tf32(np.diag(values), np.eye(4), 1).diagonal(), [1 + 2**-10, 1, -(1 + 2**-10), 0]
    )


def test_the_worst_layer_is_that_of_the_largest_relative_error():
    expected = {"a_weight": np.array([3.0, 0]), "a_bias": np.array([4.0]), "b_weight": np.array([10.0])}
    given = {"a_weight": np.array([3.0, 0]), "a_bias": np.array([4.5]), "b_weight": np.array([10.5])}
    assert parts.worst(given, expected) == (0.1, "a")  # 0.5 / 5, and 0.5 / 10
    error, layer = parts.worst({**given, "b_weight": np.array([np.nan])}, expected)
    assert np.isnan(error) and layer == "b"


def test_two_gpus_are_one_that_accumulates_unless_dropout_has_no_seed(gpus, monkeypatch, capsys):
    assert parts.two(args(device="gpu:0,1")) == 0
    assert "gpu(0), gpu(1): two images in" in capsys.readouterr().out
    monkeypatch.setattr(mx.random, "seed", lambda *_: None)  # as cuDNN's takes none
    assert parts.two(args(device="gpu:0,1")) == 1


@pytest.mark.parametrize(
    "name", ["devices", "train-whole", "train-trimmed", "infer-whole", "infer-trimmed", "sizes"]
)
def test_the_other_parts_print_seconds_and_memory(name, gpus, capsys):
    assert parts.PARTS[name](args()) == 0
    out = capsys.readouterr().out
    assert (
        ("gpu(0)" in out and "mxnet 1.9.1" in out)
        if name == "devices"
        else (" s " in out and " GB of the" in out)
    )


def test_no_step_stops_the_others(tmp_path, capsys):
    """One fails, one crashes, one hangs with a process of its own, one prints without end, one is skipped."""
    sleep = f"import time; time.sleep(60) # {tmp_path}"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleep!r}])"
    todo = [
        python(
            "good",
            "print('a\\x1b[31m'); import os; print(os.environ['SET'], 'HOME' in os.environ)",
            variables={"SET": "1", "HOME": None},
        ),
        python("bad", "raise SystemExit('why')"),
        python("crash", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"),
        python("hang", child, limit=1.5),
        python("long", f"print('x' * {3 * MOST}, 'end')"),
        Step("not", "step not", skip="one GPU"),
    ]
    file, began = tmp_path / "all.txt", time.monotonic()
    assert check.check(todo, args(), file) == 1
    assert time.monotonic() - began < 40
    assert [step.result for step in todo] == ["pass", "FAIL", "FAIL", "FAIL", "pass", "skipped"]
    out, text = capsys.readouterr().out, file.read_text()
    assert out.splitlines()[-1].startswith(f"wrote {file}: failed: bad, crash, hang. Please send us this file")
    assert (
        "step crash: ended by SIGSEGV" in text
        and "step hang: it took more than 1.5 seconds, and was killed" in text
    )
    assert (
        "\na\\x1b[31m\n1 False\n" in text
        and "env --unset=HOME SET=1 " in text
        and "step bad: why (exit code 1)" in text
    )
    assert len(text) < 2 * MOST and "characters are left out" in text and " end\n" in text
    assert "fcnxs " in text.splitlines()[0] and "2 pass, 3 FAIL, 1 skipped" in text.splitlines()[0]
    time.sleep(0.5)
    commands = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    assert not any(f"# {tmp_path}".encode() in each for each in commands)


def test_a_signal_leaves_what_there_is(tmp_path, monkeypatch):
    todo = [python("first", "print(1)"), python("second", "import time; time.sleep(60)"), python("third", "")]

    def interrupted(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupted)
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        with pytest.raises(Ended) as ended:
            check.check(todo, args(), tmp_path / "all.txt")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert str(ended.value).endswith(f"in step second; {tmp_path / 'all.txt'} has what was done until then")
    lines = (tmp_path / "all.txt").read_text().splitlines()
    assert "1 pass, 1 stopped, 1 not run" in lines[0] and "not run           step third" in lines


def names(found, result=lambda step: not step.skip, **more):
    return {step.name for step in check.steps(args(**more), found, Path("/tmp")) if result(step)}


def test_each_machine_has_the_steps_that_it_can_do():
    one = healthy(mxnet_gpus=1, capabilities=[(8, 0)], gpus=[A100])
    two = healthy(mxnet_gpus=2, capabilities=[(7, 0)] * 2, gpus=[V100] * 2)
    everything = {step.name for step in check.steps(args(device=None), two, Path("/tmp"))} - {"nvidia-smi"}
    assert names(one, device=None) - {"nvidia-smi"} == everything - {"two"}
    assert names(two, device=None) - {"nvidia-smi"} == everything - {"tf32"}
    assert names(two, device="gpu:1") - {"nvidia-smi"} == everything - {"tf32", "two"}
    todo = {step.name: step for step in check.steps(args(device="gpu:1,0"), two, Path("/tmp"))}
    assert "--device=gpu:1,0" in todo["two"].command and "--device=gpu:1" in todo["exact"].command
    assert todo["tests"].variables == {"NVIDIA_TF32_OVERRIDE": "0", "FCNXS_TEST_CTX": "gpu(1)"}
    sees = "MXNet sees 2 GPUs, with numbers 0 and 1"
    for wrong, why in (
        ("gpu:2", sees),
        ("gpu:0,2", sees),
        ("cpu", sees),
        ("gpu:-1", "expected cpu, gpu"),
        ("1", "exp"),
    ):
        with pytest.raises(FCNXSError, match=f"--device {wrong}: {why}"):
            check.steps(args(device=wrong), two, Path("/tmp"))


def test_gpus_without_code_are_left_out(monkeypatch):
    mixed = healthy(mxnet_gpus=3, capabilities=[(12, 0), (8, 6), (8, 6)])
    todo = {step.name: step for step in check.steps(args(device=None), mixed, Path("/tmp"))}
    assert "--device=gpu:1,2" in todo["two"].command and "--device=gpu:1" in todo["exact"].command
    with pytest.raises(FCNXSError, match="no code for gpu:0, of 12.0; it has code for --device gpu:1,2"):
        check.steps(args(device="gpu:1,0"), mixed, Path("/tmp"))


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (healthy(gpus=[A100]), "there is a GPU, NVIDIA A100-SXM4-40GB, and this MXNet is for the CPU alone"),
        (healthy(gpus=[H100]), "for the CPU alone, and no other has code for NVIDIA H100 80GB HBM3"),
        (
            healthy(mxnet_gpus=1, capabilities=[(9, 0)]),
            "MXNet has no code for the GPUs here, of capability 9.0",
        ),
        (cuda(gpus=[A100], features={"CUDA": True}), "MXNet sees no GPU here: `fcnxs doctor` says why"),
        (healthy(), "this MXNet is for the CPU alone"),
    ],
)
def test_without_a_gpu_to_try_no_file_is_written(machine, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check.facts, "gather", lambda environment: machine)
    assert main(["benchmark", "gpu"]) == 2
    said = capsys.readouterr()
    assert why in said.err and "send us" not in said.out + said.err and not any(tmp_path.iterdir())


def test_tests_that_are_not_there_are_skipped_with_a_line(monkeypatch):
    monkeypatch.setattr(check, "_tests", lambda: None)
    found = healthy(mxnet_gpus=1, capabilities=[(8, 0)], gpus=[A100])
    tests = check.steps(args(), found, Path("/tmp"))[-1]
    assert tests.name == "tests" and tests.skip.startswith("tests/ is not here")


def test_its_file_is_replaced_and_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check.facts, "gather", lambda environment: healthy())
    monkeypatch.setattr(check, "steps", lambda *_: [python("only", "print('hello')")])
    for _ in range(2):
        assert main(["benchmark", "gpu"]) == 0
        assert [file.name for file in tmp_path.iterdir()] == ["benchmark-gpu.txt"]
    assert "hello" in Path("benchmark-gpu.txt").read_text()
    Path("mine.txt").write_text("mine")
    assert main(["benchmark", "gpu", "--output", "mine"]) == 2 and Path("mine.txt").read_text() == "mine"
    assert "mine.txt: is there already" in capsys.readouterr().err
    assert main(["benchmark", "gpu", "--output", "mine.txt", "--overwrite"]) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["benchmark-gpu.txt", "mine.txt"]


def test_a_step_is_a_process_of_this_command(gpus, tmp_path):
    """The first of the GPUs' steps; with FCNXS_LONG all of them but the demo and the tests."""
    found = healthy(mxnet_gpus=2, capabilities=[None, None])
    left_out = ("doctor", "nvidia-smi", "demo", "tests")
    todo = [step for step in check.steps(args(device="gpu:0,1"), found, tmp_path) if step.name not in left_out]
    todo = todo if LONG else todo[:1]
    assert check.check(todo, args(environment=dict(os.environ)), tmp_path / "all.txt") == 0, [
        s.output for s in todo
    ]
    assert "gpu(0), gpu(1)\n" in (tmp_path / "all.txt").read_text()


def test_what_a_gpu_trained_and_cannot_be_read_without_it_fails(tmp_path, gpus):
    file = tmp_path / "a.params"
    load = partial(runs._run, [sys.executable, "-c", runs.LOADS, str(file)])
    mx.nd.save(str(file), {"arg:x": mx.nd.ones(1)})
    assert load()
    mx.nd.save(str(file), {"arg:x": mx.nd.ones(1, mx.gpu(0))})
    assert not load()


def test_the_reference_multiplies_by_the_given_product():
    symbol = mx.sym.SoftmaxOutput(
        mx.sym.Convolution(mx.sym.Variable("data"), kernel=(1, 1), num_filter=2, name="score"),
        mx.sym.Variable("softmax_label"),
        multi_output=True,
        use_ignore=True,
        ignore_label=255,
        name="softmax",
    )
    values = {"data": np.full((1, 1, 1, 1), 1 + 2**-11), "score_weight": np.array([[[[1.0]]], [[[0.0]]]])}
    values |= {"score_bias": np.zeros(2), "softmax_label": np.zeros((1, 1))}
    exact = 1 + 2**-11
    for product, score in ((np.tensordot, exact), (numpy_reference.without_blas, exact), (parts.of_tf32, 1.0)):
        outputs, _ = numpy_reference.run(symbol.tojson(), values, product)
        assert outputs["score"].ravel().tolist() == [score, 0]

"""Commands on GPUs: the same results and files as on the CPU, since the CPU stands in for the GPUs (`gpus`).

Exports are computed on the CPU, but on a machine with GPUs, where MXNet's own files would lead to them.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import LONG, LOWER, finetune
from PIL import Image
from stand_in.stand_in_gpus import devices_in

from fcnxs.checkpoint.params_file import load_params
from fcnxs.compat import mxnet as mx
from fcnxs.deploy import compare
from fcnxs.tools.demo import demo
from fcnxs.tools.main import main
from fcnxs.tools.shared.signals import Ended, Stopping

pytestmark = [
    pytest.mark.usefixtures("gpus"),
    pytest.mark.skipif(mx.context.num_gpus() > 0, reason="real GPUs have figures of their own"),
]
EPOCHS = ["--val-split=val", "--epochs=2,1,1"] if LONG else ["--val-split=val", "--epochs=2", "--stages=fcn32s"]
long = pytest.mark.skipif(not LONG, reason="FCNXS_LONG is not set")


def train(voc, run_folder, folder, *more, stop_after=None, monkeypatch=None):
    """Files of parameters of a run with these options, or of one that a signal stops."""
    arguments = [*finetune(voc, run_folder, *EPOCHS, "--seed=3", "--quiet", *more), f"--output={folder}"]
    if stop_after is None:
        assert main(arguments) == 0
        return files_of(folder)
    asked = []
    with monkeypatch.context() as patch:
        patch.setattr(Stopping, "asked", lambda stopping: asked.append(1) or len(asked) > stop_after)
        assert main(arguments) != 0
    assert [*folder.glob("fcn32s-last.*.state")] and not [*folder.glob("fcn32s-0002.params")]
    return files_of(folder)


def files_of(folder):
    """Arrays of all files of a run, which name no device but the CPU."""
    found = sorted([*folder.glob("*.params"), *folder.glob("*.state")])
    for file in found:
        assert {device for _, device in devices_in(file.read_bytes())} == {(1, 0)}, file
    return {file.name: load_params(file) for file in found}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys() and ours
    for file, arrays in ours.items():
        assert arrays.keys() == theirs[file].keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(
                array.asnumpy(), theirs[file][name].asnumpy(), err_msg=f"{file} {name}"
            )


@pytest.mark.parametrize(
    ("gpu", "cpu"),
    [
        pytest.param(["--device=gpu:1", "--accumulate=2"], ["--accumulate=2"], id="one"),
        pytest.param(["--device=gpu:0,1"], ["--device=cpu:0,1"], id="two"),
        pytest.param(["--device=gpu:0"], [], id="plain", marks=long),
        pytest.param(["--device=gpu:0", "--recompute"], ["--recompute"], id="recompute", marks=long),
        pytest.param(["--device=gpu:0", "--no-trim"], ["--no-trim"], id="whole", marks=long),
        pytest.param(
            ["--device=gpu:1,0", "--recipe=caffe"],
            ["--device=cpu:0,1", "--recipe=caffe"],
            id="caffe",
            marks=long,
        ),
        pytest.param(["--device=gpu:1,0", "--kv-store=device"], ["--device=cpu:0,1"], id="kvstore", marks=long),
    ],
)
def test_training_gives_what_the_cpu_gives(gpu, cpu, voc, run_folder, tmp_path):
    ours = train(voc, run_folder, tmp_path / "gpu", *gpu)
    assert_same(ours, train(voc, run_folder, tmp_path / "cpu", *cpu))
    first, last = (ours[f"fcn32s-000{epoch}.params"]["arg:fc7_weight"].asnumpy() for epoch in (1, 2))
    assert np.abs(first - last).max() > 0


def test_a_run_goes_on_with_fewer_gpus_and_without_any(voc, run_folder, tmp_path, monkeypatch):
    """As one of as many CPUs does: a state is of no device."""
    how = {"stop_after": 7, "monkeypatch": monkeypatch}
    begun = train(voc, run_folder, tmp_path / "gpus", "--device=gpu:0,1", "--checkpoint-every=1", **how)
    assert_same(
        begun, train(voc, run_folder, tmp_path / "cpus", "--device=cpu:0,1", "--checkpoint-every=1", **how)
    )
    shutil.copytree(tmp_path / "gpus", tmp_path / "one")
    ends = []
    for folder, devices in (("cpus", "--device=cpu"), ("gpus", "--device=cpu"), ("one", "--device=gpu:1")):
        assert main(["finetune", f"--resume={tmp_path / folder}", devices, "--quiet"]) == 0
        ends.append(files_of(tmp_path / folder))
    assert_same(ends[1], ends[0])
    assert_same(ends[2], ends[0])


def test_results_are_those_of_the_cpu(voc, run_folder, tmp_path):
    """evaluate over scales, segment whole and in tiles."""
    net, image = (
        [f"--prefix={run_folder / 'run' / 'fcn8s'}", "--epoch=1"],
        str(next((voc / "JPEGImages").iterdir())),
    )
    big = tmp_path / "big.png"
    Image.open(image).resize((600, 500)).save(big)
    found = []
    for name, device in (("cpu", []), ("gpu", ["--device=gpu:1"])):
        scored = [f"--json={tmp_path / name}.json", "--scales=0.5,1", "--flip"]
        assert main(["evaluate", *net, f"--data={voc}", "--split=val", *scored, *device]) == 0
        for limit in ("1GB", "20MB"):
            masks = tmp_path / f"{name}-{limit}"
            assert (
                main(["segment", *net, str(big), f"--output={masks}", f"--memory-limit={limit}", *device]) == 0
            )
            found.append((masks / "big.png").read_bytes())
    assert len({*found}) == 1
    assert (
        len({json.dumps(json.loads((tmp_path / f"{name}.json").read_text())) for name in ("cpu", "gpu")}) == 1
    )


def test_a_report_is_made_on_a_gpu(run_folder, tmp_path):
    shutil.copytree(run_folder / "run", tmp_path / "run")
    assert main(["report", str(tmp_path / "run"), "--device=gpu:1"]) == 0
    assert "By mean IU of fcn8s" in (tmp_path / "run" / "report.html").read_text()


FORMS = [
    ["--format=json", "--trim", "--image-size=70x60"],
    pytest.param(["--format=mar"], marks=long),
    pytest.param(["--format=onnx"], marks=long),
    pytest.param(["--format=json", "--raw-input", "--bgr", "--head=argmax"], marks=long),
]


@pytest.fixture
def small_pictures(monkeypatch):
    monkeypatch.setattr(compare, "SIZES", ((40, 56), (61, 33)))


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("form", FORMS)
def test_what_was_trained_is_exported_on_a_machine_with_gpus(form, run_folder, tmp_path):
    """Compared in a process of its own, which has the GPUs too."""
    net = [f"--prefix={run_folder / 'run' / 'fcn8s'}", "--epoch=1"]
    assert main(["export", *net, f"--output={tmp_path / 'net'}", *form]) == 0
    for file in tmp_path.glob("*.params"):
        assert {device for _, device in devices_in(file.read_bytes())} == {(1, 0)}


@long
@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("precision", LOWER)
@pytest.mark.parametrize("kind", ["json", "mar"])
def test_lower_precisions_are_exported_too(kind, precision, voc, run_folder, tmp_path):
    images = sorted(map(str, (voc / "JPEGImages").iterdir()))[:2]
    net = [f"--prefix={run_folder / 'run' / 'fcn8s'}", "--epoch=1", f"--output={tmp_path / 'net'}"]
    more = ["--calibrate", *images] if precision == "int8" else []
    assert (
        main(["export", *net, f"--format={kind}", f"--precision={precision}", "--min-agreement=0", *more]) == 0
    )


def test_a_conversion_is_verified_on_a_machine_with_gpus(caffemodel, voc, tmp_path):
    image = str(next((voc / "JPEGImages").iterdir()))
    assert main(["convert", str(caffemodel), str(tmp_path / "vgg"), f"--verify={image}"]) == 0


@long
def test_the_demo_goes_on_with_other_devices(tmp_path, capsys, monkeypatch):
    few = {"train": 6, "val": 4, "epochs": (2, 1, 1)}
    for number, device in enumerate(("gpu:0,1", "gpu:1")):
        asked = []
        with monkeypatch.context() as patch:
            patch.setattr(Stopping, "asked", lambda stopping, asked=asked: asked.append(1) or len(asked) > 12)
            with pytest.raises(Ended):
                demo(tmp_path / "demo", **few, device=device)
        assert len([*Path(tmp_path / "demo" / "run").glob("fcn32s-last.*.state")]) == 2, number
    assert demo(tmp_path / "demo", **few) == 0
    assert (tmp_path / "demo" / "deploy" / "fcn8s-symbol.json").is_file()

"""Old drivers, two wheels of MXNet, several GPUs: what is said must lead to the end that works."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from machines import A100, GOOD, H100, RTX4090, V100, cuda, healthy, packages

from fcnxs.compat import mxnet as mx
from fcnxs.doctor import gpus, links
from fcnxs.doctor.facts import Gpu
from fcnxs.doctor.rules import findings
from fcnxs.errors import FCNXSError
from fcnxs.system import libraries
from fcnxs.tools import doctor
from fcnxs.tools import main as commands
from fcnxs.tools.shared import devices

RTX5090 = Gpu("NVIDIA GeForce RTX 5090", (12, 0), "32607 MiB", "570.86")
RTX3090 = Gpu("NVIDIA GeForce RTX 3090", (8, 6), "24576 MiB", "570.86")
GPU_INSTALL = "pip install --no-deps mxnet-cu112==1.9.1, pip install '.[cu112]' in"
RESTART = "restart the machine"
CUDA = ["libcudnn.so.8", "libcuda.so.1"]


def told(machine):
    return [f"{finding.what}. CURE: {finding.cure}" for finding in findings(machine)]


def driven(gpu, driver, capability=()):
    return replace(gpu, driver=driver, capability=gpu.capability if capability == () else capability)


@pytest.mark.parametrize(
    ("gpu", "oldest", "older"),
    [
        (V100, "450.80.02", ["450.51", "440.33.01"]),
        (A100, "450.80", ["450.51.06"]),
        (RTX3090, "455.23.04", ["450.80.02", "418.226"]),
        (replace(RTX3090, capability=(8, 7)), "455.45", ["450.80"]),
        (RTX4090, "520.56.06", ["515.65.01", "470.82.01", "455.45"]),
    ],
)
def test_a_driver_is_old_by_what_the_gpu_needs(gpu, oldest, older):
    """By NVIDIA's list: CUDA 11.0 came with R450, GA10x with 455 (CUDA 11.1), Ada with 520 (CUDA 11.8)."""
    least = {"450.80": "450.80", "455": "455", "520": "520"}[oldest[:6] if oldest[:3] == "450" else oldest[:3]]
    for new in (oldest, "535.129.03", "[N/A]"):
        assert told(cuda(gpus=[driven(gpu, new)], mxnet_gpus=1)) == []
    for old in older:
        for seen in (0, 1):
            (line,) = told(cuda(gpus=[driven(gpu, old)], mxnet_gpus=seen))
            assert f"NVIDIA's driver {old} is older" in line and line.endswith(
                f"CURE: install {least} or later"
            )
            assert gpu.name in line
        cpu, driver = told(healthy(gpus=[driven(gpu, old)]))
        assert "for the CPU alone" in cpu and driver == line


def test_a_driver_that_tells_no_capability():
    """CUDA tells it, if MXNet sees the GPU; else the cure is for each case."""
    unknown = driven(RTX4090, "470.82.01", None)
    (line,) = told(cuda(gpus=[unknown], mxnet_gpus=1, capabilities=[(8, 9)]))
    assert "470.82.01 is older" in line and "(8.9)" in line and line.endswith("install 520 or later")
    assert told(cuda(gpus=[unknown], mxnet_gpus=1, capabilities=[(8, 6)])) == []
    (line,) = told(cuda(gpus=[unknown]))
    assert (
        "MXNet sees 0" in line
        and "install driver 520 or later if the GPU is of 8.9" in line
        and RESTART in line
    )
    (line,) = told(cuda(gpus=[V100, driven(RTX4090, "515.1")], mxnet_gpus=2))
    assert "RTX 4090" in line


@pytest.mark.parametrize("first", ["mxnet", "mxnet-cu112"])
@pytest.mark.parametrize("cards", [[], [A100], [H100], [H100, A100]])
def test_of_two_wheels_the_one_for_this_machine_is_named(first, cards):
    """Whichever was installed last; what follows from the mixture is not told."""
    both = packages(gpus=cards, mxnet_cu112="1.9.1")
    if first == "mxnet":
        no = {"mxnet": "OSError: libcudnn.so.8: cannot open shared object file"}
        both = replace(both, missing_libraries=CUDA, broken=no, features={})
    (line,) = told(both)
    new = GPU_INSTALL if A100 in cards else "pip install --no-deps mxnet==1.9.1"
    start = "mxnet and mxnet-cu112 overwrite each other. CURE: pip uninstall -y mxnet mxnet-cu112, then "
    assert line.startswith(start + new)
    (line,) = told(replace(both, packages={**GOOD, "mxnet-cu117": "1.9.1"}))
    assert ("mxnet-cu117==1.9.1, pip install '.[cu117]'" in line) == (A100 in cards)


def known(monkeypatch, machine, *modules):
    for module in modules or (devices, links):
        monkeypatch.setattr(module, "quick", lambda: machine)


def test_commands_name_two_wheels(monkeypatch):
    both = packages(gpus=[A100], mxnet_cu112="1.9.1")
    known(monkeypatch, both)
    line = "mxnet and mxnet-cu112 overwrite each other"
    with pytest.raises(FCNXSError, match=line):
        devices.device("gpu:0")
    with pytest.raises(FCNXSError, match=f"--link-cuda: {line}; pip uninstall.* mxnet-cu112==1.9.1"):
        links.link_cuda()
    monkeypatch.setattr("fcnxs.doctor.facts.quick", lambda: both)
    monkeypatch.setattr(libraries, "missing", lambda: CUDA)
    error = OSError("libcudnn.so.8: cannot open shared object file: No such file or directory")
    assert commands._explained(error).startswith(line)
    monkeypatch.setattr("fcnxs.doctor.facts.quick", lambda: cuda(gpus=[A100]))
    assert commands._explained(error).startswith("this system has no libcudnn.so.8")


def test_links_are_offered_only_where_they_serve(monkeypatch):
    monkeypatch.setattr(libraries, "needs", lambda file: {"libopenblas.so.0": True})
    for cards, way in (
        ([A100], "uninstall it"),
        ([], "uninstall it"),
        ([H100], "no MXNet has code for NVIDIA H100"),
    ):
        known(monkeypatch, healthy(gpus=cards), links)
        with pytest.raises(FCNXSError, match=way) as error:
            links.link_cuda()
        assert ("mxnet-cu112" in str(error.value)) == (cards != [H100])


def environment(**variables):
    return {"environment": variables}


def rows(machine):
    return dict(doctor._gpus(machine))


def test_the_cure_of_two_gpus_is_one_of_two():
    (line,) = told(cuda(gpus=[RTX5090, RTX3090], mxnet_gpus=2, capabilities=[(12, 0), (8, 6)]))
    assert "no code for GPU 0, NVIDIA GeForce RTX 5090 (12.0)" in line and line.endswith(
        "either give --device gpu:1, or export CUDA_VISIBLE_DEVICES=1, which hides this one, "
        "and then give --device gpu:0"
    )
    after = cuda(gpus=[RTX5090, RTX3090], capabilities=[(8, 6)], **environment(CUDA_VISIBLE_DEVICES="1"))
    assert told(replace(after, mxnet_gpus=1)) == []
    found = rows(after)
    assert found["GPU 0"].startswith("NVIDIA GeForce RTX 3090") and found["GPU 0"].endswith(
        "number 1 of nvidia-smi"
    )
    assert "RTX 5090" in found["GPU -"] and found["GPU -"].endswith("CUDA_VISIBLE_DEVICES hides it")
    assert "GPU 1" not in found


def test_a_hidden_gpu_with_code_is_named():
    machine = cuda(gpus=[RTX5090, RTX3090], mxnet_gpus=1, capabilities=[(12, 0)])
    (line,) = told(replace(machine, **environment(CUDA_VISIBLE_DEVICES="0")))
    assert line.endswith("export CUDA_VISIBLE_DEVICES=1, which shows NVIDIA GeForce RTX 3090 as --device gpu:0")


@pytest.mark.parametrize(
    ("cards", "offered"), [([H100], False), ([A100], True), ([], True), ([H100, A100], True)]
)
def test_without_mxnet_the_one_for_gpus_is_offered_only_where_it_serves(cards, offered):
    (line,) = told(packages(["mxnet"], gpus=cards))
    assert "pip install --no-deps mxnet==1.9.1" in line and ("mxnet-cu112" in line) == offered


@pytest.mark.parametrize(
    ("named", "capabilities", "expected"),
    [
        (None, [], [0, 1, 2]),
        ("2,0", [], [2, 0]),
        ("0,-1,2", [], [0]),  # CUDA reads up to the first that is none
        ("", [], []),
        ("7", [], []),
        ("GPU-a1,GPU-b2", [(7, 0), (12, 0)], [2, 0]),
        ("GPU-a1", [], [0, 1, 2]),
        (None, [(8, 6), (12, 0), (7, 0)], [1, 0, 2]),  # CUDA_DEVICE_ORDER=FASTEST_FIRST
    ],
)
def test_cuda_shows_these_gpus_in_this_order(named, capabilities, expected):
    variables = {} if named is None else {"CUDA_VISIBLE_DEVICES": named}
    machine = cuda(gpus=[RTX5090, RTX3090, V100], capabilities=capabilities, **environment(**variables))
    assert list(gpus.visible(machine)) == expected
    assert all(machine.gpus[number] == gpu for number, gpu in gpus.visible(machine).items())


def test_a_gpu_that_only_mxnet_sees_is_told():
    machine = cuda(mxnet_gpus=1, capabilities=[(9, 0)])
    assert any("no code for GPU 0, a GPU (9.0)" in line for line in told(machine))


def test_device_names_the_gpus_that_it_has_code_for(monkeypatch):
    kinds = {0: (12, 0), 1: (8, 6), 2: (7, 0)}
    monkeypatch.setattr(mx.context, "num_gpus", lambda: len(kinds))
    monkeypatch.setattr(gpus, "capability_of", kinds.get)
    with pytest.raises(
        FCNXSError, match="no code for this GPU, .* 12.0,.* it has code for --device gpu:1 and gpu:2"
    ):
        devices.device("gpu:0")
    for count, numbers in ((1, "1 GPU here, with number 0;"), (2, "2 GPUs here, with numbers 0 and 1;"),
                           (3, "3 GPUs here, with numbers 0 to 2;")):  # fmt: skip
        monkeypatch.setattr(mx.context, "num_gpus", lambda count=count: count)
        with pytest.raises(FCNXSError, match=f"--device gpu:{count}: MXNet sees {numbers} --device cpu uses"):
            devices.device(f"gpu:{count}")


@pytest.mark.parametrize(
    ("machine", "number", "says"),
    [
        (healthy(gpus=[RTX5090, RTX3090]), 0, "gpu:1, NVIDIA GeForce RTX 3090, but none for NVIDIA"),
        (healthy(gpus=[RTX5090, RTX3090]), 1, "there is a GPU, NVIDIA GeForce RTX 3090, and this MXNet is"),
        (healthy(gpus=[driven(RTX4090, "515.65.01")]), 0, "515.65.01 is too old as well, install 520 or later"),
        (healthy(nvidia_error="NVIDIA-SMI has failed"), 0, "nvidia-smi fails: NVIDIA-SMI has failed (`fcnxs"),
    ],
)  # fmt: skip
def test_device_says_what_the_machine_lacks(monkeypatch, machine, number, says):
    known(monkeypatch, machine, devices)
    with pytest.raises(FCNXSError) as error:
        devices.device(f"gpu:{number}")
    assert says in str(error.value) and "`fcnxs doctor`" in str(error.value)


@pytest.mark.parametrize(
    ("cards", "capabilities", "variables", "state"),
    [
        ([A100], [], {}, "on: on GPU 0 "),
        ([V100, RTX4090], [], {}, "on: on GPU 1 "),
        ([A100], [], {"NVIDIA_TF32_OVERRIDE": "0"}, "off: "),
        ([driven(RTX3090, "470.1", None)], [(8, 6)], {}, "on: on GPU 0 "),  # as CUDA tells
        ([RTX5090, A100], [], {"CUDA_VISIBLE_DEVICES": "0"}, ""),
        ([V100], [], {"NVIDIA_TF32_OVERRIDE": "0"}, ""),
    ],
)
def test_doctor_says_whether_tf32_is_on(cards, capabilities, variables, state):
    found = rows(cuda(gpus=cards, capabilities=capabilities, **environment(**variables)))
    assert found.get("TF32", "")[: len(state) or None] == state


def test_doctor_says_which_pip_its_cures_mean(monkeypatch, capsys):
    python = "/opt/a venv/bin/python"
    for machine, told_ in ((healthy(gpus=[A100]), True), (healthy(shm=0), False), (healthy(), False)):
        machine = replace(machine, executable=python)
        monkeypatch.setattr(doctor.facts, "gather", lambda environment, machine=machine: machine)
        doctor.run(SimpleNamespace(link_cuda=False, environment={}))
        assert (f"'{python}' -m pip, and '{python}' -m fcnxs." in capsys.readouterr().out) == told_


def test_fusion_is_wrong_on_ada_alone():
    for card, wrong in ((A100, 0), (V100, 0), (RTX4090, 1), (driven(RTX3090, "470.1", None), 0)):
        machine = cuda(gpus=[card], mxnet_gpus=1, **environment(MXNET_USE_FUSION="1"))
        assert len(told(machine)) == wrong
        assert rows(machine)["MXNET_USE_FUSION"].startswith("1, where the commands set 0")
    assert "MXNET_USE_FUSION" not in rows(cuda(gpus=[A100]))

"""NVIDIA GPUs, by what nvidia-smi prints of them: what `fcnxs doctor` and `--device` say, and what cures it."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from machines import A100, GOOD, H100, RTX4090, V100, cuda, healthy

from fcnxs.compat import CUDA_VARIABLES
from fcnxs.compat import mxnet as mx
from fcnxs.doctor import facts, gpus
from fcnxs.doctor.facts import Gpu
from fcnxs.doctor.gpus import runs_on
from fcnxs.doctor.rules import findings
from fcnxs.errors import FCNXSError
from fcnxs.tools import doctor
from fcnxs.tools.shared.devices import device

# What nvidia-smi prints of each field, by driver; older ones do not know all fields.
SMI = """#!{python}
import sys
rows = {rows}
fields = sys.argv[1].partition("=")[2].split(",")
assert sys.argv[1:] == ["--query-gpu=" + ",".join(fields), "--format=csv,noheader"]
for field in fields:
    if field not in rows[0]:
        print(f'Field "{{field}}" is not a valid field to query.\\n')
        sys.exit(2)
for row in rows:
    print(", ".join(row[field] for field in fields))
"""


def row(name, capability, memory, driver, mig="[N/A]"):
    found = {"name": name, "compute_cap": capability, "memory.total": memory, "driver_version": driver}
    return {**found, "mig.mode.current": mig}


def without(told, *fields):
    return {name: value for name, value in told.items() if name not in fields}


ROWS = {
    "A100": row("NVIDIA A100-SXM4-40GB", "8.0", "40960 MiB", "535.129.03", "Disabled"),
    "RTX 4090": row("NVIDIA GeForce RTX 4090", "8.9", "24564 MiB", "550.54.14"),
    "H100": row("NVIDIA H100 80GB HBM3", "9.0", "81559 MiB", "535.129.03", "Disabled"),
}


def shows(folder, monkeypatch, *rows, script=""):
    """Let nvidia-smi show GPUs, or run a shell script."""
    program = folder / "nvidia-smi"
    program.write_text(SMI.format(python=sys.executable, rows=list(rows)) if rows else f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_code_runs_on_the_same_major_and_no_lower_minor():
    runs = {(5, 0), (5, 2), (6, 1), (7, 0), (7, 5), (8, 0), (8, 6), (8, 7), (8, 9)}
    assert all(runs_on(capability) for capability in runs)
    assert not any(runs_on(capability) for capability in [(3, 5), (3, 7), (9, 0), (10, 0), (12, 0)])


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([ROWS["A100"]], [A100]),
        ([ROWS["RTX 4090"]], [RTX4090]),
        ([ROWS["H100"], ROWS["A100"]], [H100, A100]),
        ([{**ROWS["A100"], "mig.mode.current": "Enabled"}], [replace(A100, mig=True)]),
        (
            [without(row("Tesla V100-SXM2-32GB", "", "32768 MiB", "460.32.03"), "compute_cap")],
            [Gpu("Tesla V100-SXM2-32GB", None, "32768 MiB", "460.32.03")],
        ),
        (
            [without(row("GeForce GTX 1080", "", "8119 MiB", "440.33"), "compute_cap", "mig.mode.current")],
            [Gpu("GeForce GTX 1080", None, "8119 MiB", "440.33")],
        ),
        ([row("NVIDIA GB10", "12.1", "[N/A]", "580.95")], [Gpu("NVIDIA GB10", (12, 1), "[N/A]", "580.95")]),
        ([row("Quadro", "[Not Supported]", "4 MiB", "470.1")], [Gpu("Quadro", None, "4 MiB", "470.1")]),
        ([row("A, B", "7.5", "4 MiB", "535.1")], [Gpu("A, B", (7, 5), "4 MiB", "535.1")]),
    ],
)  # fmt: skip
def test_nvidia_smi_is_read(tmp_path, monkeypatch, rows, found):
    shows(tmp_path, monkeypatch, *rows)
    assert facts.nvidia_smi() == (found, "")


MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"
ODD = 'Field "uuid" is not a valid field to query.'
FAILED = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("echo No devices were found; exit 6", ""),
        (f'echo; echo "{FAILED} Make sure"; echo; exit 9', f"{FAILED} Make sure"),
        (
            f'echo "{MISMATCH}"; echo "NVML library version: 535.129"; exit 18',
            MISMATCH,
        ),
        ("echo 'Insufficient Permissions'; exit 4", "Insufficient Permissions"),
        ("exit 127", "exit code 127"),
        ('echo "V100"', "unexpected line: V100"),
        (f"echo '{ODD}'; exit 2", ODD),
    ],
)  # fmt: skip
def test_nvidia_smi_that_shows_no_gpu(tmp_path, monkeypatch, script, error):
    shows(tmp_path, monkeypatch, script=script)
    assert facts.nvidia_smi() == ([], error)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert facts.nvidia_smi() == ([], "")


INSTALL = (
    "pip uninstall -y mxnet, then pip install --no-deps mxnet-cu112==1.9.1, "
    "pip install '.[cu112]' in the folder of fcnxs, and fcnxs doctor --link-cuda"
)
NEED = [  # of mxnet-cu112
    *(
        "libcudnn.so.8",
        "libcuda.so.1",
        "libnccl.so.2",
        "libcudart.so.11.0",
        "libcufft.so.10",
        "libcublas.so.11",
    ),
    *("libcusolver.so.11", "libcurand.so.10", "libnvrtc.so.11.2", "libnvToolsExt.so.1"),
]
CUDA = [name for name in NEED if name != "libcuda.so.1"]
PACKAGES = (
    "'nvidia-cudnn-cu11<9' nvidia-nccl-cu11 nvidia-cuda-runtime-cu11 nvidia-cufft-cu11 nvidia-cublas-cu11 "
    "nvidia-cusolver-cu11 nvidia-curand-cu11 nvidia-cuda-nvrtc-cu11 nvidia-nvtx-cu11"
)
IMPORT = {"mxnet": "OSError: libcudnn.so.8: cannot open shared object file: No such file or directory"}
NONE = {"broken": IMPORT, "features": {}}
MIG = replace(A100, mig=True)
BEFORE_CUDA_11 = replace(V100, driver="440.33.01", capability=None)


LINK, SEEN = "fcnxs doctor --link-cuda", {"mxnet_gpus": 1}
UNLINKED = {"missing_libraries": CUDA, "cuda_libraries": CUDA, **NONE}
PART = {"missing_libraries": ["libgomp.so.1", *NEED, "libodd.so.3"], "cuda_libraries": NEED[2:], **NONE}
NO_DRIVER = {"broken": {"mxnet": "OSError: libcuda.so.1: cannot open"}, "missing_libraries": ["libcuda.so.1"]}


def visible(devices):
    return {"environment": {"CUDA_VISIBLE_DEVICES": devices}}


@pytest.mark.parametrize(
    ("machine", "wrong"),
    [
        (healthy(gpus=[A100]), {"a GPU, NVIDIA A100-SXM4-40GB, and this MXNet is for the CPU alone": INSTALL}),
        (healthy(gpus=[RTX4090]), {"RTX 4090, and this MXNet is for the CPU": INSTALL}),
        (healthy(gpus=[H100]), {}),  # no wheel has code for it: the CPU's is right
        (
            cuda(gpus=[A100], missing_libraries=CUDA, **NONE),
            {f"no {', '.join(CUDA)}": f"pip install {PACKAGES}, then {LINK}"},
        ),
        (cuda(gpus=[RTX4090], **UNLINKED), {", ".join(CUDA): LINK}),
        (
            cuda(gpus=[A100], **PART),
            {
                "this system has no libgomp.so.1": "on Debian and Ubuntu: apt-get install libgomp1",
                ", ".join(CUDA): f"pip install 'nvidia-cudnn-cu11<9', then {LINK}",
                "this system has no libcuda.so.1": "NVIDIA's driver brings it",
                "this system has no libodd.so.3": "apt-file search",
            },
        ),
        (cuda(**NO_DRIVER, features={}), {"no libcuda.so.1": "or for the CPU pip uninstall -y mxnet-cu112"}),
        (cuda(gpus=[A100], capabilities=[(8, 0)], **SEEN), {}),
        (cuda(gpus=[RTX4090], capabilities=[(8, 9)], **SEEN), {}),
        (cuda(gpus=[replace(A100, capability=None)], **SEEN), {}),
        (
            cuda(gpus=[H100], capabilities=[(9, 0)], **SEEN),
            {"mxnet-cu112 has no code for GPU 0, NVIDIA H100 80GB HBM3 (9.0)": "mxnet==1.9.1; a trained"},
        ),
        (cuda(gpus=[H100], **UNLINKED), {"no code for GPU 0, NVIDIA H100": "for the CPU pip uninstall"}),
        (
            cuda(gpus=[A100, H100], **UNLINKED),
            {"no lib": LINK, "GPU 1, NVIDIA H100": "give --device gpu:0, or export CUDA_VISIBLE_DEVICES=0"},
        ),
        (
            cuda(gpus=[H100, A100, V100], mxnet_gpus=3),
            {"GPU 0, NVIDIA H100": "CUDA_VISIBLE_DEVICES=1,2, which hides this one, and then"},
        ),
        (cuda(gpus=[H100, A100], capabilities=[(8, 0)], **SEEN, **visible("1")), {}),
        (cuda(gpus=[H100, A100], features={}, **visible("1")), {}),
        (
            cuda(gpus=[V100, H100, A100], mxnet_gpus=2, **visible("2,1")),
            {"no code for GPU 1, NVIDIA H100": "give --device gpu:0, or export CUDA_VISIBLE_DEVICES=2"},
        ),
        (cuda(gpus=[A100, A100], **SEEN, **visible("GPU-5b")), {}),
        (
            cuda(gpus=[V100], **visible("")),
            {"nvidia-smi shows 1 GPU, MXNet sees 0": "unset CUDA_VISIBLE_DEVICES (it is '')"},
        ),
        (cuda(gpus=[MIG, A100], **SEEN), {"shows 2 GPUs, MXNet sees 1": "CUDA_VISIBLE_DEVICES=MIG-"}),
        (cuda(gpus=[MIG], **SEEN), {}),
        (cuda(gpus=[A100], cuda_error="CUDA: unknown"), {"MXNet sees 0 (CUDA: unknown)": "restart"}),
        (cuda(gpus=[BEFORE_CUDA_11]), {"NVIDIA's driver 440.33.01 is older": "install 450.80 or later"}),
        (cuda(), {"there is no nvidia-smi that shows a GPU": "--gpus all"}),
        *(
            (
                cuda(gpus=[RTX4090], **SEEN, environment={name: "0" if "ENFORCE" in name else "2"}),
                {f"{name} is": f"unset {name}"},
            )
            for name in gpus.DIFFERENT
        ),
        (cuda(gpus=[A100], **SEEN, environment=CUDA_VARIABLES), {}),
        (healthy(environment={"MXNET_CUDNN_AUTOTUNE_DEFAULT": "1"}), {}),  # no GPU
        (healthy(nvidia_error=MISMATCH), {f"nvidia-smi fails: {MISMATCH}": "a current driver of NVIDIA's"}),
    ],
)  # fmt: skip
def test_each_way_leads_to_the_right_end(machine, wrong):
    found = findings(machine)
    assert len(found) == len(wrong), found
    for finding, (what, cure) in zip(found, wrong.items()):
        assert what in finding.what and cure in finding.cure, finding


def test_doctor_shows_what_a_gpu_can_do():
    machine = healthy(gpus=[A100, H100, MIG, BEFORE_CUDA_11])
    told = [value for name, value in doctor._gpus(machine) if name != "TF32"]
    assert (
        told[0] == "NVIDIA A100-SXM4-40GB, 8.0 (the GPU wheels have code for it), 40960 MiB, driver 535.129.03"
    )
    assert "9.0 (no wheel has code for it: train on the CPU, deploy with ONNX), 81559 MiB" in told[1]
    assert told[2].endswith("driver 535.129.03, in MIG mode") and "unknown compute capability (its" in told[3]


@pytest.mark.parametrize(
    ("shown", "environment", "told"),
    [
        ([A100], {}, True),
        ([V100, RTX4090], {"NVIDIA_TF32_OVERRIDE": "1"}, True),
        ([A100], {"NVIDIA_TF32_OVERRIDE": "0"}, False),
        ([V100], {}, False),
        ([H100], {}, False),  # MXNet does not run on it
        ([BEFORE_CUDA_11], {}, False),
    ],
)
def test_doctor_says_where_convolutions_round_to_tf32(shown, environment, told):
    rows = dict(doctor._gpus(healthy(gpus=shown, environment=environment)))
    assert ("NVIDIA_TF32_OVERRIDE=0 prevents it" in rows.get("TF32", "")) == told


def test_gpus_says_what_doctor_would(tmp_path, monkeypatch):
    """On MXNet for the CPU, as here, beside GPUs; and on one that sees a GPU without code for it."""
    for name, told in (
        (
            "A100",
            "there is a GPU, NVIDIA A100-SXM4-40GB, and this MXNet is for the CPU alone (`fcnxs doctor` says",
        ),
        (
            "H100",
            "for the CPU alone, and no other has code for NVIDIA H100 80GB HBM3 (9.0); --device cpu",
        ),
    ):
        shows(tmp_path, monkeypatch, ROWS[name])
        with pytest.raises(FCNXSError) as error:
            device("gpu:0")
        assert "--device gpu:0: MXNet sees 0 GPUs here: " in str(error.value) and told in str(error.value)
    features = SimpleNamespace(is_enabled=lambda name: name == "CUDA")
    monkeypatch.setattr(mx.runtime, "Features", lambda: features)
    with pytest.raises(
        FCNXSError, match="sees 0 GPUs here: `fcnxs doctor` says why; --device cpu uses the CPU"
    ):
        device("gpu:0")


def test_gpus_refuses_a_gpu_without_code(monkeypatch):
    """By the capability that CUDA's runtime tells, through MXNet's library."""
    of = {75: (8, 9), 76: (0, 0)}  # attribute: its value of each GPU

    def ask(value, attribute, number):
        if number >= 2:
            return 101  # cudaErrorInvalidDevice
        value._obj.value = of[attribute][number]
        return 0

    assert gpus.capability_of(0) is None  # this MXNet has no CUDA
    monkeypatch.setattr(gpus.ctypes, "CDLL", lambda file: SimpleNamespace(cudaDeviceGetAttribute=ask))
    monkeypatch.setattr(mx.context, "num_gpus", lambda: 3)
    assert gpus.capability_of(0) == (8, 0) and gpus.capability_of(1) == (9, 0) and gpus.capability_of(2) is None
    assert device("gpu:0") == mx.gpu(0) and device("gpu:2") == mx.gpu(2)
    with pytest.raises(
        FCNXSError, match="--device gpu:1: MXNet has no code for this GPU, of compute capability 9.0"
    ):
        device("gpu:1")


def test_both_wheels_and_the_cpu_wheel_are_told_apart():
    for wheel in ("mxnet-cu112", "mxnet-cu117"):
        have = {**{name: version for name, version in GOOD.items() if name != "mxnet"}, wheel: "1.9.1"}
        assert findings(healthy(packages=have, gpus=[A100], mxnet_gpus=1)) == []
        (finding,) = findings(healthy(packages=have, gpus=[H100]))
        assert finding.what.startswith(f"{wheel} has no code")

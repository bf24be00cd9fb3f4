"""MXNet's wheels for GPUs, as a user installs them by the README, on a machine without a GPU.

Each test fetches 2.2 GB and takes 5 GB on disk: FCNXS_WHEELS=1 pytest -s tests/doctor/test_wheels.py
"""

from __future__ import annotations

import json
import mmap
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from fcnxs.doctor.gpus import CODE_FOR

ROOT = Path(__file__).parent.parent.parent
COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(
    not (os.environ.get("FCNXS_WHEELS") and COMPILER), reason="FCNXS_WHEELS is not set, or no C compiler"
)
LINE = re.search(r"^python3 -m venv .*mxnet-cu112.*$", (ROOT / "README.md").read_text(), re.M)[0]

# A driver without devices: all functions that libmxnet.so is linked to fail with CUDA_ERROR_NO_DEVICE.
DRIVER = (
    "cuInit cuDeviceGet cuDevicePrimaryCtxRetain cuGetErrorString cuGraphKernelNodeGetParams "
    "cuGraphNodeGetType cuLaunchKernel cuModuleGetFunction cuModuleLoadData cuModuleLoadDataEx cuModuleUnload"
)
# MXNet by itself works with NumPy below 1.24 alone; on newer Pythons fcnxs makes it work.
IMPORT = "import mxnet as mx"
if sys.version_info >= (3, 12):
    IMPORT = "import fcnxs; from fcnxs.compat import mxnet as mx"
ASK = f"""
{IMPORT}
import ctypes, json
library = ctypes.CDLL(mx.libinfo.find_lib_path()[0])
parts = [f"cudnn{{part}}{{way}}VersionCheck" for part in ("Ops", "Cnn", "Adv") for way in ("Infer", "Train")]
def compiles(capability):
    program, option = ctypes.c_void_p(), ctypes.c_char_p(f"--gpu-architecture=compute_{{capability}}".encode())
    code = b"__global__ void f(float* x) {{ *x = 1; }}"
    library.nvrtcCreateProgram(ctypes.byref(program), code, b"f", 0, None, None)
    return library.nvrtcCompileProgram(program, 1, ctypes.byref(option)) == 0
print(json.dumps({{
    "features": [name for name, feature in mx.runtime.Features().items() if feature.enabled],
    "gpus": mx.context.num_gpus(),
    "cudnn": library.cudnnGetVersion(),
    "parts": [getattr(library, part)() for part in parts],
    "compiles": [compiles(capability) for capability in (50, 86, 89)],
}}))
"""


def capabilities(file: Path) -> set:
    """Kind (1 PTX, 2 machine code) and compute capability of each piece of GPU code in a library.

    Each container of code begins with a magic number, a version, the sizes of its header and of what follows;
    each piece with its kind, a version, the sizes of its header and its code, and 20 bytes on its capability.
    """
    magic, found = struct.pack("<IH", 0xBA55ED50, 1), set()
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
        at = text.find(magic)
        while at >= 0:
            header, size = struct.unpack_from("<HQ", text, at + 6)
            piece, end = at + header, at + header + size
            while piece < end:
                kind, header, size = struct.unpack_from("<HxxIQ", text, piece)
                found.add((kind, struct.unpack_from("<I", text, piece + 28)[0]))
                piece += header + size
            at = text.find(magic, end)
    return found


def run(*command: object, code: int = 0, **variables: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("LD_LIBRARY_PATH", "PYTHONPATH")}
    done = subprocess.run(
        [*map(str, command)], env={**clean, **variables}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("wheel", ["cu112", "cu117"])
def test_the_line_of_the_readme(tmp_path, wheel):
    python, fcnxs = tmp_path / "bin" / "python", tmp_path / "bin" / "fcnxs"
    make, mxnet, extra, *checks = LINE.replace("cu112", wheel).split(" && ")
    assert checks == [".venv/bin/fcnxs doctor --link-cuda", ".venv/bin/fcnxs doctor"]
    run(sys.executable, "-m", "venv", tmp_path)
    for line in (mxnet, extra):
        command = line.replace("'", "").split()
        assert command[:2] == [".venv/bin/pip", "install"]
        run(tmp_path / "bin" / "pip", "install", "-q", *command[2:])

    missing = run(fcnxs, "doctor", code=1)
    assert re.search(r"no libcudnn\.so\.8, libnccl\.so\.2.*\. CURE: fcnxs doctor --link-cuda\n", missing), (
        missing
    )
    said = run(fcnxs, "doctor", "--link-cuda")
    assert [line for line in said.splitlines() if line.startswith("missing")] == [
        line for line in said.splitlines() if "libcuda.so.1. CURE: NVIDIA's driver" in line
    ]
    without_driver = run(fcnxs, "doctor", code=1)
    assert re.findall("WRONG: (.*?). CURE", without_driver) == ["this system has no libcuda.so.1"]

    functions = "".join(f"int {name}(void) {{ return 100; }}" for name in DRIVER.split())
    (tmp_path / "driver.c").write_text(functions)
    command = ("-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "driver.c", "-o", "libcuda.so.1")
    subprocess.run([COMPILER, *command], cwd=tmp_path, check=True)
    found = json.loads(run(python, "-c", ASK, LD_LIBRARY_PATH=str(tmp_path)).splitlines()[-1])
    print(wheel, found)
    assert {"CUDA", "CUDNN", "NCCL", "CUDA_RTC", "MKLDNN", "OPENCV", "DIST_KVSTORE"} <= {*found["features"]}
    assert found["gpus"] == 0 and 8000 < found["cudnn"] < 9000 and found["parts"] == [0] * 6
    assert found["compiles"] == [True] * 3
    doctor = run(fcnxs, "doctor", code=1, LD_LIBRARY_PATH=str(tmp_path))
    assert re.findall("WRONG: (.*?). CURE", doctor) == [
        f"mxnet-{wheel} is installed, and there is no nvidia-smi that shows a GPU"
    ]

    (library,) = tmp_path.glob("lib/python*/site-packages/mxnet/libmxnet.so")
    assert capabilities(library) == {(2, 10 * major + minor) for major, minor in CODE_FOR}
    run(tmp_path / "bin" / "pip", "uninstall", "-q", "-y", f"mxnet-{wheel}")
    assert "WRONG: MXNet is not installed" in run(fcnxs, "doctor", code=1)

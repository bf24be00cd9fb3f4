"""`fcnxs doctor --link-cuda` in site-packages made by hand, and how missing libraries are found."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fcnxs.doctor import links
from fcnxs.errors import FCNXSError
from fcnxs.system import libraries
from fcnxs.tools.main import main

ROOT = Path(__file__).parent.parent.parent
CUSPARSE = "nvidia-cusparse-cu11"
FILES = {  # of NVIDIA's packages, as pip installs them
    "nvidia_cuda_runtime_cu11-11.8.89": ("cuda_runtime", "libcudart.so.11.0", "libOpenCL.so.1"),
    "nvidia_cudnn_cu11-8.9.6.50": ("cudnn", "libcudnn.so.8", "libcudnn_ops_infer.so.8"),
    "nvidia_cublas_cu11-11.11.3.6": ("cublas", "libcublas.so.11", "libcublasLt.so.11"),
    "nvidia_cuda_nvrtc_cu11-11.8.89": ("cuda_nvrtc", "libnvrtc.so.11.2", "libnvrtc-builtins.so.11.8"),
    "nvidia_cublas_cu12-12.1": ("cublas12", "libcublas.so.12"),
}
WANTED = {name for package, (_, *names) in FILES.items() for name in names if "cu11" in package}
WANTED -= {"libOpenCL.so.1"}
NEED = ("libcudnn.so.8", "libcudart.so.11.0", "libcublas.so.11")


def install(site: Path, name: str, *files: str) -> None:
    """A distribution and its RECORD, as pip writes them."""
    (site / f"{name}.dist-info").mkdir(parents=True)
    package, _, version = name.partition("-")
    text = f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: {version}\n"
    (site / f"{name}.dist-info" / "METADATA").write_text(text)
    (site / f"{name}.dist-info" / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(file)


def loader(monkeypatch, *names: str) -> None:
    """Let the loader need libraries, and find those that are beside libmxnet.so."""
    monkeypatch.setattr(
        libraries, "needs", lambda file: {name: (file.parent / name).exists() for name in names}
    )


@pytest.fixture(
    params=[("mxnet_cu112", "lib", "lib"), ("mxnet_cu117", "lib64", "lib")], ids=["lib", "lib64 and lib"]
)
def site(request, tmp_path, monkeypatch):
    """MXNet's folder in a site-packages, with NVIDIA's packages in the same or in another."""
    wheel, own, other = request.param
    folders = [tmp_path / name / "python3" / "site-packages" for name in (own, other)]
    install(folders[0], f"{wheel}-1.9.1", "mxnet/__init__.py", "mxnet/libmxnet.so")
    (folders[0] / "mxnet" / "__init__.py").write_text("raise ImportError('this must not be imported')")
    for name, (part, *files) in FILES.items():
        install(folders[1], name, *(f"nvidia/{part}/lib/{file}" for file in files))
    for folder in dict.fromkeys(folders):
        monkeypatch.syspath_prepend(str(folder))
    loader(monkeypatch, "libcuda.so.1", *NEED)
    return folders[0] / "mxnet"


def linked(folder: Path) -> dict:
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_symlink()}


def test_links_are_made_once(site, capsys):
    assert main(["doctor", "--link-cuda"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        f"linked: {', '.join(sorted(WANTED))}\n{len(WANTED)} links to CUDA's libraries are in {site}"
    )
    assert "missing: libcuda.so.1. CURE: NVIDIA's driver brings it" in said
    found = linked(site)
    assert found.keys() == WANTED and found["libcudnn.so.8"] == "nvidia/cudnn/lib/libcudnn.so.8"
    assert not any(os.readlink(site / name).startswith("/") for name in found)
    before = {name: os.lstat(site / name).st_mtime_ns for name in found}
    assert main(["doctor", "--link-cuda"]) == 0
    assert "linked:" not in capsys.readouterr().out
    assert {name: os.lstat(site / name).st_mtime_ns for name in found} == before
    assert {file.name for file in site.iterdir()} - {"__pycache__"} == {"__init__.py", "libmxnet.so", *WANTED}


def test_only_own_links_are_renewed(site, tmp_path, capsys):
    other = tmp_path / "usr" / "local" / "cuda" / "lib64" / "libcudart.so.11.0"
    other.parent.mkdir(parents=True)
    other.write_text("of a CUDA toolkit")
    (site / "libcudart.so.11.0").symlink_to(other)
    (site / "libcublas.so.11").write_text("of the user")
    (site / "libcudnn.so.8").symlink_to("/gone/site-packages/nvidia/cudnn/lib/libcudnn.so.8")
    assert main(["doctor", "--link-cuda"]) == 0
    said = capsys.readouterr().out
    assert "not replaced, since it is no link of ours: libcublas.so.11, libcudart.so.11.0\n" in said
    assert (site / "libcudart.so.11.0").read_text() == "of a CUDA toolkit"
    assert (site / "libcublas.so.11").read_text() == "of the user"
    assert (site / "libcudnn.so.8").read_text() == "nvidia/cudnn/lib/libcudnn.so.8"


def test_what_is_not_found_is_told_with_what_brings_it(site, tmp_path, monkeypatch, capsys):
    loader(monkeypatch, "libcuda.so.1", "libnccl.so.2", "libcusparse.so.11", "libz.so.1", *NEED)
    assert main(["doctor", "--link-cuda"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert "missing: libz.so.1. CURE: on Debian and Ubuntu: apt-get install zlib1g" in said
    install_both = "pip install nvidia-nccl-cu11 nvidia-cusparse-cu11, then fcnxs doctor --link-cuda"
    assert f"missing: libnccl.so.2, libcusparse.so.11. CURE: {install_both}" in said


def test_a_folder_that_cannot_be_written_is_one_line(site, monkeypatch, capsys):
    def refused(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(links.os, "symlink", refused)
    assert main(["doctor", "--link-cuda"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot write in {site} (Read-only file system); run it as the owner" in line
    assert "export LD_LIBRARY_PATH=/" in line and "/nvidia/cudnn/lib" in line
    assert linked(site) == {}


def test_without_an_mxnet_for_gpus_nothing_is_linked(site, tmp_path, monkeypatch):
    loader(monkeypatch, "libopenblas.so.0")  # what MXNet for the CPU needs
    with pytest.raises(
        FCNXSError, match="libmxnet.so is MXNet for the CPU alone; for NVIDIA GPUs uninstall it"
    ):
        links.link_cuda()
    (site / "libmxnet.so").unlink()
    with pytest.raises(FCNXSError, match="MXNet is not installed; choose one"):
        links.link_cuda()
    assert linked(site) == {}


def test_two_wheels_in_one_folder_are_told_before_links_are_made(site, capsys):
    """The real MXNet is in another folder, which this one hides."""
    install(site.parent, "mxnet-1.9.1")
    assert main(["doctor", "--link-cuda"]) == 2
    assert "--link-cuda: mxnet and mxnet-cu1" in capsys.readouterr().err and linked(site) == {}


def test_a_folder_of_links_is_no_mxnet(tmp_path):
    """When pip has removed MXNet, Python takes the folder with the links for a package without code."""
    (tmp_path / "mxnet").mkdir()
    code = (
        f"import sys; sys.path[:] = [{str(tmp_path)!r}, *(p for p in sys.path if 'site-packages' not in p)]\n"
    )
    code += "from fcnxs.compat import mxnet"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith(
        "ModuleNotFoundError: MXNet is not installed; choose one: pip"
    )


def test_the_loader_names_all_that_is_missing(tmp_path):
    """Two libraries, one through the other, that are gone; and nothing is missing here."""
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    (tmp_path / "empty.c").write_text("int empty;")
    for name, needs in (("none1", []), ("none2", []), ("middle", ["none2"]), ("top", ["none1", "middle"])):
        command = [
            compiler,
            "-shared",
            "-fPIC",
            "-Wl,--no-as-needed",
            "empty.c",
            "-o",
            f"lib{name}.so.1",
            "-L.",
        ]
        command += [
            f"-Wl,-soname,lib{name}.so.1",
            "-Wl,-rpath,$ORIGIN",
            *(f"-l:lib{each}.so.1" for each in needs),
        ]
        subprocess.run(command, cwd=tmp_path, check=True)
    for name in ("none1", "none2"):
        (tmp_path / f"lib{name}.so.1").unlink()
    found = libraries.needs(tmp_path / "libtop.so.1")
    assert [name for name, there in found.items() if not there] == ["libnone1.so.1", "libnone2.so.1"]
    assert found["libmiddle.so.1"] and found["libc.so.6"]
    assert libraries.needs(tmp_path / "empty.c") == libraries.needs(tmp_path / "nix") == {}
    assert libraries.missing() == []


def test_setup_has_the_libraries_of_the_table(monkeypatch):
    told = {}
    stub = SimpleNamespace(setup=lambda **given: told.update(given), find_packages=lambda folder: [])
    monkeypatch.setitem(sys.modules, "setuptools", stub)
    runpy.run_path(str(ROOT / "setup.py"))
    everything = set(libraries.CUDA.values())
    for extra, names in {"cpu": set(), "cu112": everything - {CUSPARSE}, "cu117": everything}.items():
        assert {each for each in told["extras_require"][extra] if each.startswith("nvidia")} == names

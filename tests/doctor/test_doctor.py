"""Rules over facts, beside facts with nothing wrong; facts of machines with faked parts, and of this one."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from machines import GOOD, V100, healthy, packages

from fcnxs.compat import MALLOC_PARAMETERS, MXNET_VARIABLES
from fcnxs.doctor import facts
from fcnxs.doctor.rules import findings
from fcnxs.system import memory
from fcnxs.system.variables import breaking
from fcnxs.tools.doctor import report

ROOT = str(Path(__file__).parent.parent.parent)


def broken(name, error, **changes):
    return replace(healthy(), broken={name: error}, **changes)


def env(**variables):
    return healthy(environment=variables)


@pytest.mark.parametrize(
    "good",
    [
        healthy(),
        healthy(python=(3, 12, 1), packages={**GOOD, "numpy": "1.26.4"}),
        healthy(packages={**GOOD, "numpy": "2.0.2"}),  # by the extra numpy2
        healthy(python=(3, 14, 0), packages={**GOOD, "numpy": "2.5.0"}),
        env(OMP_NUM_THREADS="8"),
        env(OMP_NUM_THREADS="4,2"),
        env(**MXNET_VARIABLES, **{name: str(value) for name, (_, value) in MALLOC_PARAMETERS.items()}),
        env(MXNET_ENGINE_TYPE="ThreadedEnginePerDevice"),
        healthy(quota=8.0),
    ],
)
def test_nothing_is_wrong(good):
    assert findings(good) == []
    assert report([]) == ["Nothing is wrong."]


@pytest.mark.parametrize(
    ("bad", "what", "cure"),
    [
        (healthy(python=(3, 8, 1)), "Python 3.8.1 is not one of", "Python 3.11"),
        (healthy(python=(3, 13, 1)), "numpy 1.23.5 is not", "numpy>=2.1"),
        (packages(["mxnet"]), "MXNet is not installed", "--no-deps mxnet==1.9.1 (any machine), or for"),
        (
            packages(gpus=[V100], mxnet_gpus=1, mxnet_cu117="1.9.1"),
            "mxnet and mxnet-cu117 overwrite",
            "pip uninstall -y mxnet mxnet-cu117",
        ),
        (packages(mxnet="1.7.0"), "mxnet is 1.7.0, not 1.9.1", "pip install --no-deps mxnet==1.9.1"),
        (
            healthy(python=(3, 13, 1), packages={**GOOD, "numpy": "2.5.0", "mxnet": "1.7.0"}),
            "mxnet is 1.7.0, not 1.9.1",
            "pip install --no-deps mxnet==1.9.1",
        ),
        (broken("mxnet", "libodd.so.4: cannot open shared object file: No"), "libodd.so.4", "apt-file search"),
        (broken("mxnet", "OSError: bad ELF"), "imported: OSError: bad ELF", "mxnet==1.9.1"),
        (healthy(features={"DIST_KVSTORE": False}), "no parameter server", "install --no-deps mxnet==1.9.1"),
        (packages(["tqdm"]), "tqdm is not installed", "pip install tqdm, which fcnxs requires"),
        (packages(["packaging"]), "packaging is not installed", "pip install packaging"),
        (packages(gluoncv="0.8.0"), "gluoncv 0.8.0 is not", "pip install gluoncv==0.10.5.post0"),
        (packages(numpy="1.26.4"), "numpy 1.26.4 is not", "pip install 'numpy>=1.21,<1.24'"),
        (packages(opencv_python="5.0.0"), "opencv-python 5.0.0", "pip install 'opencv-python<5,<4.12'"),
        (packages(opencv_python_headless="4.11.0.86"), "overwrite each", "pip uninstall -y opencv-python"),
        (packages(protobuf="3.20.3"), "protobuf 3.20.3 is not", "protobuf>=4.22"),
        (
            healthy(
                broken={"opencv-python": "libGL.so.1: cannot open", "mxnet": "libgomp.so.1: cannot open"},
                missing_libraries=["libGL.so.1", "libgomp.so.1"],
                features={},
            ),
            "this system has no libGL.so.1, libgomp.so.1",
            "apt-get install libgl1 libgomp1",
        ),
        (
            broken("mxnet", "it takes more than 300 seconds; is the machine busy?"),
            "MXNet cannot be imported: it takes more than 300 seconds; is the machine busy?",
            "run fcnxs doctor again when it is not",
        ),
        (env(OMP_NUM_THREADS="1"), "OMP_NUM_THREADS is 1, and there are 8", "unset OMP_NUM_THREADS"),
        (env(OMP_NUM_THREADS="16"), "OMP_NUM_THREADS is 16, and there are only 8", "make it 8"),
        (env(OMP_NUM_THREADS="all"), "OMP_NUM_THREADS is 'all', no number", "unset OMP_NUM_THREADS"),
        (healthy(quota=2.0), "8 processors are seen, and the container's limit is 2", "OMP_NUM_THREADS=2"),
        (env(MXNET_CPU_TEMP_COPY="4"), "rely on 1: memory may grow", "unset MXNET_CPU_TEMP_COPY"),
        (env(MALLOC_ARENA_MAX="8"), "MALLOC_ARENA_MAX is '8'", "unset MALLOC_ARENA_MAX"),
        (env(MXNET_ENGINE_TYPE="NaiveEngine"), "one thing at a time", "unset MXNET_ENGINE_TYPE"),
        (env(DMLC_ROLE="server"), "DMLC_ROLE is 'server' outside of a job", "unset DMLC_ROLE"),
        (healthy(memory=3 * 10**9, available=2 * 10**9), "there are 3.0 GB of memory", "narrower nets"),
        (healthy(available=2 * 10**9), "2.0 GB of memory are free", "end what takes the rest"),
        (healthy(disk=10**9), "1.0 GB are free in the current folder", "make room"),
        (healthy(shm=0), "/dev/shm has 0 MB", "--shm-size"),
    ],
)  # fmt: skip
def test_each_fault_is_found_with_its_cure(bad, what, cure):
    (finding,) = findings(bad)
    assert what in finding.what
    assert cure in finding.cure
    (line,) = report([finding])
    assert line == f"WRONG: {finding.what}. CURE: {finding.cure}"


def test_without_an_installed_distribution_versions_are_not_checked():
    assert findings(packages(numpy="2.1.0", mxnet="1.7.0", protobuf="3.20.3", requires=[])) == []
    assert [finding.what for finding in findings(packages(["numpy"], requires=[]))] == [
        "numpy is not installed"
    ]


def test_faults_of_one_cause_are_one():
    """Without NumPy nothing else can be imported."""
    without = packages(["numpy"])
    without.broken = {"gluoncv": "No module named 'numpy'", "mxnet": "No module named 'numpy'"}
    assert [finding.what for finding in findings(without)] == ["numpy is not installed"]


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        (
            "0::/a/b",
            {
                "a/memory.max": "4000",
                "a/memory.current": "1000",
                "a/b/memory.max": "max",
                "a/cpu.max": "150000 100000",
            },
        ),
        (
            "4:memory:/\n1:cpu,cpuacct:/x\n0::/",
            {
                **{"memory/memory.limit_in_bytes": "4000", "memory/memory.usage_in_bytes": "1000"},
                **{
                    "cpu/cpu.cfs_quota_us": "150000",
                    "cpu/cpu.cfs_period_us": "100000",
                    "cpu/x/cpu.cfs_quota_us": "-1",
                },
            },
        ),
    ],
    ids=["version 2", "version 1"],
)
def test_limits_of_control_groups_count(tmp_path, groups, files):
    texts = {"proc/self/cgroup": groups, "proc/meminfo": "MemTotal: 10 kB\nMemFree: 1 kB\nMemAvailable: 8 kB"}
    texts.update({f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert memory.memory(tmp_path) == (4000, 3000)
    assert memory.processor_quota(tmp_path) == 1.5


def doctor(*folders, **variables):
    path = ":".join(map(str, (*folders, ROOT)))
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("MXNET", "OMP", "MALLOC"))
    }
    return subprocess.run(
        [sys.executable, "-m", "fcnxs", "doctor"],
        **{
            "env": {**clean, "PYTHONPATH": path, **variables},
            "capture_output": True,
            "text": True,
            "timeout": 600,
        },
    )


def test_this_machine():
    result = doctor()
    assert result.stderr == ""
    assert f"Python            {sys.version.split()[0]}" in result.stdout
    assert "not installed by pip" not in result.stdout
    assert "parameter server  yes" in result.stdout
    wrong = result.stdout.count("WRONG: ")
    assert (result.returncode, wrong) in [(0, 0), (1, max(1, wrong))]
    assert ("Nothing is wrong." in result.stdout) == (wrong == 0)
    assert "cannot be imported" not in result.stdout


def test_it_runs_where_nothing_can_be_imported_and_does_not_become_a_server(tmp_path):
    for name, error in (("numpy", "bad numpy"), ("cv2", "libGL.so.1: no"), ("mxnet", "bad mxnet")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise ImportError({error!r})\n")
    result = doctor(tmp_path, DMLC_ROLE="server", OMP_NUM_THREADS="none")
    assert result.returncode == 1
    assert result.stderr == ""
    wrong = [line for line in result.stdout.splitlines() if line.startswith("WRONG")]
    for word in (
        "cannot be imported: ImportError: bad numpy",
        "cannot be imported: ImportError: libGL.so.1",
        "unset DMLC_ROLE",
        "OMP_NUM_THREADS is",
    ):
        assert any(word in line for line in wrong), (word, wrong)


def test_a_process_that_does_not_end_is_told(monkeypatch):
    monkeypatch.setattr(facts, "TIMEOUT", 0.1)
    assert facts._run(["sleep", "60"], {}) == ("", "it takes more than 0.1 seconds; is the machine busy?")


BREAKING = {  # value, and the beginning of what is said
    "MXNET_BACKWARD_DO_MIRROR": ("1", "training fails at the crops"),
    "MXNET_CPU_PRIORITY_NTHREADS": ("0", "MXNet needs 1 or more there"),
    "MXNET_CPU_WORKER_NTHREADS": ("abc", "MXNet takes a whole number there"),
    "MXNET_ENFORCE_DETERMINISM": ("yes", "MXNet takes a whole number there"),
    "MXNET_ENGINE_TYPE": ("nonsense", "MXNet knows NaiveEngine"),
    "MXNET_GPU_MEM_POOL_TYPE": ("round", "MXNet knows Naive, Round, Unpooled"),
    "MXNET_SUBGRAPH_BACKEND": ("nonsense", "MXNet knows MKLDNN"),
}


def test_variables_that_break_a_net_are_told_by_doctor_and_left_out_by_commands():
    """MXNet itself ends the process."""
    variables = {name: value for name, (value, _) in BREAKING.items()}
    code = (
        "import sys; from fcnxs.tools.main import main; code = main(['explain', 'fcn32s']); "
        "import mxnet; mxnet.nd.ones(3).asnumpy(); sys.exit(code)"
    )
    environment = {**os.environ, **variables}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr.count("\n") == len(BREAKING)
    told = zip(BREAKING.items(), findings(env(**variables)), done.stderr.splitlines())
    for (name, (value, what)), found, line in told:
        assert found.what.startswith(f"{name} is {value!r}: {what}") and found.cure == f"unset {name}"
        assert line == f"fcnxs: warning: {found.what}; it is left out"


@pytest.mark.parametrize(
    "setting",
    [
        *("MXNET_HOME=/data", "MXNET_ENGINE_TYPE=NaiveEngine", "MXNET_SAFE_ACCUMULATION=true"),
        *("MXNET_VERSION=1.9.1", "MXNET_CPU_WORKER_NTHREADS=2", "MXNET_BACKWARD_DO_MIRROR=0"),
        *("MXNET_EXEC_BULK_EXEC_TRAIN=", "MXNET_GPU_MEM_POOL_TYPE=Naive", "HOME=/data"),
    ],
)
def test_other_variables_stay(setting):
    assert not list(breaking(dict([setting.split("=")])))

"""Each worker of a local job has GPUs of its own."""

import json
import subprocess
import sys

import pytest
from conftest import finetune

from fcnxs import FCNXSError
from fcnxs.compat import mxnet as mx
from fcnxs.launch.dmlc import own_share
from fcnxs.tools.shared.devices import devices


def job(number, workers, cluster="local", role="worker"):
    """Variables that dmlc_tracker gives a process."""
    numbers = {"DMLC_TASK_ID": str(number), "DMLC_NUM_WORKER": str(workers)}
    return {**numbers, "DMLC_JOB_CLUSTER": cluster, "DMLC_ROLE": role}


@pytest.mark.parametrize(
    ("gpus", "workers", "shares"),
    [("0,1", 2, ["0", "1"]), ("3,1,0,2", 2, ["31", "02"]), ("2,4,6", 3, ["2", "4", "6"]), ("5,7", 1, ["57"])],
)
def test_workers_of_one_machine_divide_the_gpus_in_order(gpus, workers, shares):
    numbers = gpus.split(",")
    assert ["".join(own_share(numbers, job(i, workers))) for i in range(workers)] == shares


def test_alone_and_on_a_cluster_a_process_has_all():
    for environment in ({}, job(1, 2, "ssh"), job(1, 2, role="server"), {"DMLC_ROLE": "worker"}):
        assert own_share(["0", "1", "2"], environment) == ["0", "1", "2"]


@pytest.mark.parametrize(("gpus", "workers"), [("0", 2), ("0,1,2", 2), ("0,1,2", 4)])
def test_gpus_that_cannot_be_divided_are_refused(gpus, workers):
    with pytest.raises(
        FCNXSError,
        match=f"--device gpu:{gpus}: the {workers} training processes .* name {workers} GPUs or a mult",
    ):
        own_share(gpus.split(","), job(0, workers))


def test_the_option_names_the_worker_s_own_devices(gpus, monkeypatch):
    assert devices("gpu:0,1") == [mx.gpu(0), mx.gpu(1)]
    for number in (0, 1):
        for name, value in job(number, 2).items():
            monkeypatch.setenv(name, value)
        assert devices("gpu:0,1") == [mx.gpu(number)]
        assert devices("cpu:0,1") == [mx.cpu(0), mx.cpu(1)]


def test_a_job_on_two_gpus_records_both_and_trains_on_one_each(gpus, run_folder, voc, tmp_path):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "fcnxs", "launch", "-n", "2", "--", sys.executable, "-m", "fcnxs"]
    options = [
        "--stages",
        "fcn32s",
        "--epochs",
        "1",
        "--no-val",
        "--kv-store",
        "dist_sync",
        "--device",
        "gpu:0,1",
    ]
    subprocess.run([*command, *finetune(voc, run_folder, *options), "--output", run], check=True, timeout=600)
    log = (run / "run.log").read_text()
    own = [f"  devices: gpu({number})\n" in log for number in (0, 1)]  # the log is of rank 0
    assert sorted(own) == [False, True] and "  processes: 2\n" in log
    assert (
        json.loads((run / "run.json").read_text())["options"]["device"] == "gpu:0,1"
    )  # of which a resumed run has both

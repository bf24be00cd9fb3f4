"""Processes of a job that freeze, computations that are long, and strangers at the launcher's port."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest
from conftest import LONG
from test_launch import PLAIN, ROOT, SAY, SUM, Launched, job
from test_lifeline import ssh  # noqa: F401  (a fixture)

# Seconds of the constants, in the launcher and in what it starts.
QUICK = "from fcnxs.launch import job, lifeline\nlifeline.BEAT, job.SILENT, job.LINGER = 0.2, 2, 1\n"
ROLES = ("worker", "server", "scheduler")
STAY = "time.sleep(600)"
EACH = f"""
import os, signal, sys, time
{SAY}
from fcnxs import lifeline
lifeline.join()
if os.environ["DMLC_ROLE"] == "worker":
    exec("".join(sys.argv[1:]))
say(f"started {{os.environ['DMLC_ROLE']}} {{os.getpid()}}")
for _ in range(6000):  # Python sleeps on if a signal comes between its last look at signals and the sleep
    time.sleep(0.1)
"""


@pytest.fixture
def quick(tmp_path):
    """Variables with which a process counts as frozen after two seconds."""
    (tmp_path / "sitecustomize.py").write_text(QUICK)
    return {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}


@pytest.mark.parametrize("victim", ROLES if LONG else ["server"])
def test_a_process_that_is_stopped_is_named_and_ends_the_job(tmp_path, quick, victim):
    each = job(tmp_path, EACH, **quick)
    pid = dict(each.started(4))[victim]
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    code, _, errors = each.end()
    assert code == 1 and time.monotonic() - began < 30
    assert f"no sign of life has come for 2 s from {victim} on {socket.gethostname()} (pid {pid})" in errors


def test_workers_that_wait_in_mxnet_for_a_stopped_one_are_ended(tmp_path, quick):
    each = job(tmp_path, SUM, "for-ever", **quick)
    pid = dict(each.started(4))["worker"]
    os.kill(pid, signal.SIGSTOP)
    code, _, errors = each.end()
    assert code == 1 and f"(pid {pid}); the job ends" in errors


def test_a_process_that_is_stopped_before_it_joins(tmp_path, quick):
    each = job(tmp_path, EACH.replace("lifeline.join()", ""), **quick)
    pid = dict(each.started(4))["server"]
    os.kill(pid, signal.SIGSTOP)
    code, _, errors = each.end()
    assert code == 1 and f"has come for 2 s from a server (pid {pid}); the job ends" in errors


def test_a_stopped_process_on_another_machine_ends_too(tmp_path, quick, ssh):  # noqa: F811
    (tmp_path / "script.py").write_text(PLAIN)
    command = [sys.executable, "script.py", STAY, "stay"]
    each = Launched(*ssh, "--env", "PYTHONPATH", command=command, **quick)
    (_, pid), _ = each.started(2)
    os.kill(pid, signal.SIGSTOP)
    code, _, errors = each.end()
    assert code == 1
    assert errors.count(f"(pid {pid}); the job ends") >= 2  # the launcher's word, and what reached the others


def test_what_takes_long_is_no_freeze_nor_is_a_pause_of_the_machine(tmp_path, quick):
    """The launcher wakes before the others."""
    busy = "until = time.monotonic() + 6\nwhile time.monotonic() < until:\n    sum(range(1_000_000))"
    each = job(tmp_path, PLAIN, busy, workers=1, **quick)
    each.started(1)
    everyone = [each.process.pid, *(pid for pid in each.left() if pid != each.process.pid)]
    for number, seconds in (signal.SIGSTOP, 3), (signal.SIGCONT, 0):
        for pid in everyone:
            with contextlib.suppress(ProcessLookupError):  # a shell that has started its command
                os.kill(pid, number)
        time.sleep(seconds)
    assert each.end()[0::2] == (0, "")


@pytest.mark.parametrize("victim", ROLES if LONG else ["worker"])
def test_a_signal_wakes_who_is_stopped_and_the_workers_save(tmp_path, quick, victim):
    save = "def save(*_):\n    say('saved')\n    sys.exit(143)\nsignal.signal(15, save)"
    each = job(tmp_path, EACH, save, workers=1, **quick)
    os.kill(dict(each.started(3))[victim], signal.SIGSTOP)
    each.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    code, output, _ = each.end()
    assert (code, output) == (143, "saved\n") and time.monotonic() - began < 30


def test_workers_that_have_announced_their_end_are_not_waited_for(tmp_path, quick):
    """MXNet may wait, at a worker's end, for a process that is stopped."""
    each = job(tmp_path, PLAIN, "lifeline.leave(0); time.sleep(600)", "stay", **quick)
    began = time.monotonic()
    assert each.end()[0] == 0 and time.monotonic() - began < 30


STRANGERS = [
    b"",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 70_000,
    b"[" * 60_000 + b"\n",
    b'{"token": ' * 6_000 + b"\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) + b"\n",
    b"x" * 30_000_000,
    b'{"token": null}\n',
    b'{"token": 1e999, "role": []}\n',
    b"null\n",
    b"\n",
]


def test_strangers_at_the_port_print_nothing_and_cost_nothing(tmp_path):
    """Nor do hundreds that say nothing keep a process from joining."""
    go = tmp_path / "go"
    wait = "import os, time\nif os.environ['DMLC_ROLE'] == 'worker':\n"
    wait += "    print('at', os.environ['FCNXS_LIFELINE'], flush=True)\n"
    wait += f"    while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
    each = job(tmp_path, wait + PLAIN, "pass", workers=1)
    host, port, _ = each.process.stdout.readline().split()[1].split(",")
    before = resident(each.process.pid)
    for said in STRANGERS:
        with contextlib.suppress(ConnectionError), socket.create_connection((host, int(port)), 20) as stranger:
            stranger.sendall(said)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(1) == b""
    idle = [socket.create_connection((host, int(port)), 20) for _ in range(900)]
    assert resident(each.process.pid) < before + 20_000
    go.touch()
    assert each.end()[0::2] == (0, "")
    for one in idle:
        one.close()


def resident(pid):
    """Resident memory of a process in kB."""
    status = Path(f"/proc/{pid}/status").read_text().split()
    return int(status[status.index("VmRSS:") + 1])

"""Jobs of several processes: sums, deaths, signals, exit codes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parent.parent.parent)
MARK = "FCNXS_TEST_JOB"

# Lines are written at once, since the processes write to one pipe.
SAY = """
def say(line):
    os.write(1, (line + "\\n").encode())
"""

# Adds 1 and 2 in steps, for ever or once; says who it is before MXNet takes servers and scheduler away.
SUM = f"""
import os, sys, time
{SAY}
from fcnxs import lifeline
lifeline.join()
say(f"started {{os.environ['DMLC_ROLE']}} {{os.getpid()}}")
os.environ["MXNET_KVSTORE_BIGARRAY_BOUND"] = "1000"  # larger arrays are cut over the servers
from fcnxs.compat import mxnet as mx
kv = mx.kv.create("dist_sync")
arrays = {{"small": mx.nd.ones(7), "large": mx.nd.arange(5003)}}
for name, array in arrays.items():
    kv.init(name, array * (5 if kv.rank == 0 else 100))
    first = mx.nd.zeros(array.shape)
    kv.pull(name, out=first)
    assert (first == array * 5).asnumpy().all(), "rank 0's values are everyone's"
while True:
    for name, array in arrays.items():
        sent = array * (kv.rank + 1) / 3
        kv.push(name, sent)
        kv.pull(name, out=sent)
        right = (sent == array * 1 / 3 + array * 2 / 3).asnumpy().all()
        assert right, (name, sent)
    if sys.argv[1:] != ["for-ever"]:
        break
say(f"sums are right {{kv.num_workers}} {{os.environ['OMP_NUM_THREADS']}} {{os.environ['MXNET_USE_FUSION']}}")
del kv
"""

# No MXNet in it: what the launcher does needs none.
PLAIN = f"""
import os, signal, sys, time
{SAY}
from fcnxs import lifeline
lifeline.join()
if os.environ["DMLC_ROLE"] == "worker":
    say(f"started worker {{os.getpid()}}")
    exec(sys.argv[1])
elif "stay" in sys.argv:
    time.sleep(600)
"""


class Launched:
    """A launcher of a script, and a mark by which all its processes are found."""

    def __init__(self, *options: str, command: list, **variables: str) -> None:
        self.mark = f"{MARK}={uuid.uuid4()}"
        unset = ("OMP_NUM_THREADS", "DMLC_ROLE", "MXNET_USE_FUSION")
        env = {k: v for k, v in os.environ.items() if k not in unset}
        env.update({"PYTHONPATH": ROOT, **variables, **dict([self.mark.split("=")])})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fcnxs", "launch", *options, "--", *command],
            **{"env": env, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE},
        )

    def started(self, count: int) -> list:
        """The first lines of that many processes, as (role, pid)."""
        lines = [self.process.stdout.readline().split() for _ in range(count)]
        return [(role, int(pid)) for _, role, pid in lines]

    def end(self) -> tuple:
        """Exit code, output and errors; then nothing of the job may be left."""
        try:
            output, errors = self.process.communicate(timeout=600)
            deadline = time.monotonic() + 300
            while self.left() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not self.left(), errors
        finally:
            for pid in self.left():
                os.kill(pid, signal.SIGKILL)
        return self.process.returncode, output, errors

    def left(self) -> list:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                if not zombie and self.mark in (entry / "environ").read_text():
                    found.append(int(entry.name))
            except OSError:
                pass
        return found


def job(tmp_path, text, *arguments, workers=2, servers=1, **variables):
    script = tmp_path / "a script.py"
    script.write_text(text)
    command = [sys.executable, str(script), *arguments]
    return Launched(f"-n{workers}", f"-s{servers}", command=command, **variables)


def test_gradients_are_summed_on_one_server_and_on_two_in_two_jobs_at_once(tmp_path):
    jobs = [job(tmp_path, SUM, servers=1), job(tmp_path, SUM, servers=2)]
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    for each in jobs:
        code, output, errors = each.end()
        assert code == 0, errors
        assert output.count(f"sums are right 2 {threads} 0\n") == 2
        assert "fcnxs" not in errors


@pytest.mark.parametrize("victim", ["worker", "server", "scheduler", "launcher"])
def test_a_death_ends_the_job_everywhere(tmp_path, victim):
    moment = random.uniform(0, 4)  # while MXNet loads, connects, or sums
    each = job(tmp_path, SUM, "for-ever")
    processes = [*each.started(4), ("launcher", each.process.pid)]
    time.sleep(moment)
    pid = next(pid for role, pid in processes if role == victim)
    os.kill(pid, signal.SIGKILL)
    start = time.monotonic()
    code, _, errors = each.end()
    print(f"{victim} killed after {moment:.2f} s: all over in {time.monotonic() - start:.2f} s\n{errors}")
    if victim == "launcher":
        assert code == -signal.SIGKILL
        assert errors.count("the launcher has gone; the job ends") == 4
    else:
        assert code == 128 + signal.SIGKILL
        assert f"fcnxs: {victim} on" in errors
        assert f"(pid {pid}) has died of SIGKILL; the job ends" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_goes_to_the_workers_which_save_first(tmp_path, number):
    save = (
        "def save(number, frame):\n"
        "    time.sleep(0.3 * int(os.environ['DMLC_TASK_ID']))\n"
        "    say('saved')\n"
        "    sys.exit(128 + number)\n"
        f"signal.signal({int(number)}, save)\n"
        "say('ready')\n"
        "for _ in range(6000):\n"  # one long sleep would go on if the signal came just before it
        "    time.sleep(0.1)"
    )
    each = job(tmp_path, PLAIN, save)
    lines = [each.process.stdout.readline() for _ in range(4)]
    assert lines.count("ready\n") == 2
    each.process.send_signal(number)
    code, output, _ = each.end()
    assert code == 128 + number
    assert output == "saved\nsaved\n"


def test_the_announced_code_counts_if_the_kernel_ends_the_process_after_it(tmp_path):
    """By SIGIO, as `lifeline.leave` arranges; its own exit code is then another."""
    ended = "lifeline.leave(3); os.kill(os.getpid(), signal.SIGIO); time.sleep(600)"
    code, _, errors = job(tmp_path, PLAIN, ended, workers=1).end()
    assert code == 3 and "ended with exit code 3" in errors


def test_an_announcement_that_is_read_after_the_end_counts(tmp_path):
    """On a busy machine the launcher sees the end of a process before what it has sent."""
    code = (
        "import asyncio; from fcnxs.launch import job\n"
        "serve, job.CRASH = job.Job._serve, 2\n"
        "async def late(self, *streams):\n"
        "    await asyncio.sleep(1)\n"
        "    await serve(self, *streams)\n"
        "job.Job._serve = late\n"
    )
    (tmp_path / "sitecustomize.py").write_text(code)
    for announced in (3, 0):
        ended = f"lifeline.leave({announced}); os.kill(os.getpid(), signal.SIGIO); time.sleep(600)"
        variables = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
        assert job(tmp_path, PLAIN, ended, workers=1, **variables).end()[0] == announced


def test_the_second_signal_does_not_wait_for_the_workers(tmp_path):
    deaf = f"signal.signal({int(signal.SIGTERM)}, signal.SIG_IGN); say('ready'); time.sleep(600)"
    each = job(tmp_path, PLAIN, deaf, workers=1)
    assert each.process.stdout.readline().startswith("started")
    assert each.process.stdout.readline() == "ready\n"
    each.process.send_signal(signal.SIGTERM)
    assert "told the workers" in each.process.stderr.readline()
    each.process.send_signal(signal.SIGTERM)
    code, _, errors = each.end()
    assert code == 128 + signal.SIGTERM
    assert "SIGTERM again: the job ends" in errors


@pytest.mark.parametrize(
    ("code", "statement"),
    [
        (0, "pass"),
        (7, "time.sleep(600 * int(os.environ['DMLC_TASK_ID'])); sys.exit(7)"),
        (1, "time.sleep(600 * int(os.environ['DMLC_TASK_ID'])); raise ValueError"),
        (128 + signal.SIGSEGV, "time.sleep(600 * int(os.environ['DMLC_TASK_ID'])); os.kill(os.getpid(), 11)"),
    ],
)
def test_the_exit_code_is_that_of_the_first_that_failed(tmp_path, code, statement):
    each = job(tmp_path, PLAIN, statement, *(["stay"] if code else []))
    result, _, errors = each.end()
    assert result == code, errors
    assert ("the job ends" in errors) == bool(code)


def test_what_a_process_leaves_behind_is_ended(tmp_path):
    statement = "import subprocess; subprocess.Popen(['sleep', '600']); pass"
    assert job(tmp_path, PLAIN, statement).end()[0] == 0


def test_a_mistake_is_said_by_the_worker_alone(tmp_path):
    finetune = [
        "finetune",
        "--data",
        "x.lst",
        "--prefix",
        "x",
        "--epoch",
        "0",
        "--output",
        "run",
        "--seed",
        "-1",
    ]
    command = [sys.executable, "-m", "fcnxs", *finetune]
    code, output, errors = Launched("-n", "1", "-s", "2", command=command).end()
    assert code == 2
    assert not output
    assert errors.splitlines()[0] == "fcnxs: --seed -1: expected 0 or more"
    assert "worker on" in errors.splitlines()[1]
    assert "ended with exit code 2; the job ends; `fcnxs finetune --resume RUN` goes on" in errors
    assert len(errors.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["-n", "2", "--", "no-such-command"], "no-such-command: there is no such command"),
        (["-n", "0", "--", "true"], "-n 0 -s 1: expected 1 or more of both"),
        (["-n", "2", "-s", "0", "--", "true"], "-n 2 -s 0: expected 1 or more of both"),
        (["-n", "2"], "required: -- COMMAND"),
        (["-n", "2", "--cluster", "ssh", "--", "true"], "--cluster ssh needs --host-file"),
        (
            ["-n", "2", "--cluster", "ssh", "--host-file", "none", "--host-ip", "127.0.0.1", "--", "true"],
            "'none'",
        ),
        (["-n", "2", "--worker-memory", "much", "--", "true"], "does not take"),
        (["-n", "2", "--env", "NOT_SET_HERE", "--", "true"], "--env NOT_SET_HERE: expected NAME=VALUE"),
    ],
)
def test_a_mistake_in_the_options_is_one_line(options, word):
    result = subprocess.run(
        [sys.executable, "-m", "fcnxs", "launch", *options],
        **{"env": {**os.environ, "PYTHONPATH": ROOT}, "capture_output": True, "text": True, "timeout": 600},
    )
    assert result.returncode == 2
    assert word in result.stderr
    assert result.stderr.count("\n") == 1

"""The lifeline of one process, with the launcher's end in the test; jobs on other machines, by a fake ssh."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_launch import PLAIN, ROOT, Launched

from fcnxs import FCNXSError
from fcnxs.launch import lifeline


class Joined:
    """A process that runs a script after it has joined, and the launcher's end of its lifeline."""

    def __init__(self, script: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(600)
            address = f"127.0.0.1,{server.getsockname()[1]},secret"
            env = {**os.environ, "PYTHONPATH": ROOT, lifeline.VARIABLE: address, "DMLC_ROLE": "worker"}
            code = f"import os, sys, time\nfrom fcnxs import lifeline\n{script}"
            self.process = subprocess.Popen(
                [sys.executable, "-c", code], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            self.socket, _ = server.accept()
            self.socket.settimeout(600)
            self.lines = self.socket.makefile("r")
            self.hello = json.loads(self.lines.readline())

    def tell(self, message: dict) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def end(self) -> tuple:
        output, errors = self.process.communicate(timeout=600)
        return self.process.returncode, output, errors


@pytest.fixture
def joined():
    processes = []

    def make(script):
        processes.append(Joined(script))
        return processes[-1]

    yield make
    for each in processes:
        each.process.kill()
        each.process.communicate()
        each.socket.close()


def test_a_process_says_who_it_is_and_the_token_goes_no_further(joined):
    each = joined(f"lifeline.join(); print({lifeline.VARIABLE!r} in os.environ, lifeline.join())")
    assert each.end()[:2] == (0, "False False\n")
    assert each.hello["token"] == "secret"
    assert (each.hello["role"], each.hello["pid"]) == ("worker", each.process.pid)


@pytest.mark.parametrize(
    ("end", "done"),
    [
        ("pass", 0),
        ("raise ValueError", 1),
        ("lifeline.leave(5); lifeline.leave(6); sys.exit(5)", 5),
        ("os.kill(os.getpid(), 9)", None),
    ],
)
def test_a_process_says_how_it_ends_unless_it_is_killed(joined, end, done):
    each = joined(f"lifeline.join()\n{end}")
    each.end()
    assert each.lines.read() == ("" if done is None else json.dumps({"done": done}) + "\n")


def test_it_ends_when_told_with_what_it_has_started_though_its_main_thread_is_in_c(joined):
    start = (
        "import multiprocessing; child = multiprocessing.Process(target=time.sleep, args=(600,)); child.start()"
    )
    each = joined(f"lifeline.join(); {start}; print(child.pid, flush=True); child.join()")
    child = int(each.process.stdout.readline())
    each.tell({"end": "worker 1 has died"})
    assert each.end() == (1, "", "fcnxs: worker 1 has died\n")
    with contextlib.suppress(FileNotFoundError):  # where nobody has reaped it yet
        while Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)


@pytest.mark.parametrize("stopped", [False, True])
def test_it_ends_when_the_launcher_has_gone(joined, stopped):
    each = joined("lifeline.join(); print(flush=True); time.sleep(600)")
    each.process.stdout.readline()
    if stopped:
        each.process.send_signal(signal.SIGSTOP)
    each.lines.close()
    each.socket.close()
    code, _, errors = each.end()
    assert code == 1
    assert errors == f"fcnxs: worker on {socket.gethostname()}: the launcher has gone; the job ends\n"


@pytest.mark.parametrize("told", [True, False])
def test_it_ends_even_while_the_interpreter_shuts_down(joined, told):
    """There MXNet waits for the others, and no thread runs any more."""
    hang = (
        "class Hang:\n    def __del__(self, sleep=time.sleep):\n        print('late', flush=True); sleep(600)\n"
    )
    each = joined(f"{hang}hang = Hang(); lifeline.join()")
    assert each.process.stdout.readline() == "late\n"
    assert each.lines.readline() == '{"done": 0}\n'
    if told:
        each.tell({"end": ""})
    else:
        each.lines.close()
        each.socket.close()
    assert each.end()[0] == -signal.SIGIO


def test_a_child_does_not_keep_the_lifeline_open(joined):
    each = joined(
        "lifeline.join(); child = os.fork(); print(child, flush=True) if child else 0; time.sleep(600)"
    )
    child = int(each.process.stdout.readline())
    try:
        each.process.kill()
        assert each.lines.read() == ""
        os.kill(child, 0)  # it lives
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_signal_reaches_the_main_thread(joined):
    code = "import signal; signal.signal(15, lambda *_: sys.exit(3)); lifeline.join()\n"
    each = joined(code + "for _ in range(6000): time.sleep(0.1)")
    each.tell({"signal": 15})
    assert each.end()[0] == 3


def test_without_a_launcher(monkeypatch):
    monkeypatch.delenv(lifeline.VARIABLE, raising=False)
    assert lifeline.join() is False
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv(lifeline.VARIABLE, f"127.0.0.1,{port},secret")
    with pytest.raises(FCNXSError, match=f"the launcher of this job, 127.0.0.1:{port}, cannot be reached"):
        lifeline.join()


def test_who_does_not_know_the_token_is_not_heard(tmp_path):
    script = tmp_path / "script.py"
    tell = "import os\nif os.environ['DMLC_ROLE'] == 'worker':\n"
    tell += "    print('at', os.environ['FCNXS_LIFELINE'], flush=True)\n"
    script.write_text(tell + PLAIN)
    each = Launched("-n1", command=[sys.executable, str(script), "sys.stdin.read()"])
    host, port, token = each.process.stdout.readline().split()[1].split(",")
    assert host == "127.0.0.1"
    hello = {"token": token[::-1], "role": "worker", "host": "h", "pid": 1, "session": 1}
    for line in (json.dumps(hello).encode(), b"[]", b"\xff" * 100_000, b'{"token": 1}'):
        with socket.create_connection((host, int(port))) as stranger:
            stranger.sendall(line + b"\n")
            stranger.settimeout(600)
            with contextlib.suppress(ConnectionResetError):
                assert stranger.recv(1) == b""
    assert each.end()[0] == 0


FAKE_SSH = """#!/bin/bash
echo "$@" >> {log}
setsid bash -c "${{@: -1}}" &
wait $!
"""


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """An ssh that runs its command here, in a session that killing the ssh does not end."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(FAKE_SSH.format(log=tmp_path / "log"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts").write_text("127.0.0.1\nlocalhost:2222\n")
    return ["-n2", "-s1", "--cluster", "ssh", "--host-file", "hosts", "--host-ip", "127.0.0.1"]


def test_words_and_variables_arrive_on_other_machines(tmp_path, ssh):
    statement = 'say(str([*sys.argv[2:], os.environ["WORD"]]))'
    command = [sys.executable, "script.py", statement, "a b", "$HOME", '"', "\\", "*", "ü;"]
    (tmp_path / "script.py").write_text(PLAIN)
    code, output, errors = Launched(
        *ssh, "--env", "WORD", "--env", "MORE=1", command=command, WORD="x  $y"
    ).end()
    assert code == 0, errors
    assert output.count(str(["a b", "$HOME", '"', "\\", "*", "ü;", "x  $y"])) == 2
    assert (tmp_path / "log").read_text().count("localhost -p 2222") == 1


def test_a_death_on_another_machine_ends_the_job_on_all(tmp_path, ssh):
    (tmp_path / "script.py").write_text(PLAIN)
    each = Launched(*ssh, command=[sys.executable, "script.py", "time.sleep(600)", "stay"])
    (_, pid), _ = each.started(2)
    os.kill(pid, signal.SIGKILL)
    code, _, errors = each.end()
    assert code == 128 + signal.SIGKILL
    assert f"fcnxs: worker on {socket.gethostname()} (pid {pid}) has died" in errors
    assert errors.count("; the job ends") >= 2  # the launcher's word, and what reached the others


def test_a_quote_cannot_go_through_ssh(ssh):
    code, _, errors = Launched(*ssh, command=["echo", "it's"]).end()
    assert code == 2
    assert """"it's" cannot be passed on with --cluster ssh""" in errors

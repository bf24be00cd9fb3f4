"""The `dmlc_tracker` package of MXNet's wheel, made to work without editing a file of it.

A process that launches a job replaces some names in dmlc_tracker's modules, once:

- `Thread` gets the method `isAlive`, which Python 3.9 removed;
- `subprocess` becomes `Processes`, which keeps the processes and their exit codes;
- the port of the scheduler is reserved, so that two jobs started at the same time get two;
- a local job uses the loopback, not the machine's address in the network;
- arguments with spaces are quoted, since dmlc_tracker joins them for a shell.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

from ..errors import FCNXSError

CLUSTERS = ("local", "ssh", "mpi", "slurm", "sge", "yarn", "mesos", "kubernetes")
PORTS = range(10_000, 32_000)  # below the range from which Linux assigns ports


@dataclass
class Process:
    """A process that dmlc_tracker has started on this machine; it leads a session.

    In a local job it is a process of the job, else a program such as ssh, which starts one elsewhere.
    """

    handle: subprocess.Popen
    role: str
    code: int | None = None  # exit code, 128 + n after signal n; None while the process runs
    silent: int = 0  # number of times in a row that it was seen stopped

    def __str__(self) -> str:
        return f"a {self.role} (pid {self.handle.pid})"

    def stopped(self) -> bool:
        """Whether a signal, such as SIGSTOP, has stopped the process."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.handle.pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"
        return False

    def kill(self, number: int) -> None:
        """Send a signal to the process and those that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.handle.pid, number)


class Processes:
    """Replaces the module `subprocess` in dmlc_tracker's modules, and keeps the processes that they start.

    Args:
        ended: called with each process that has ended, in the thread that waited for it.
    """

    def __init__(self, ended: Callable[[Process], None]) -> None:
        self.all: List[Process] = []
        self.ended = ended
        self.closed = False
        self.lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (Popen, PIPE and the rest of subprocess)
        return getattr(subprocess, name)

    def call(self, command: str, env: Dict[str, str] | None = None, **settings: Any) -> int:  # noqa: ANN401
        """Run a command to its end; returns its exit code."""
        with self.lock:
            if self.closed:
                return 1
            handle = subprocess.Popen(command, env=env, start_new_session=True, **settings)
            process = Process(handle, (env or {}).get("DMLC_ROLE", "process of the job"))
            self.all.append(process)
        os.waitid(os.P_PID, handle.pid, os.WEXITED | os.WNOWAIT)
        process.kill(signal.SIGKILL)  # ends its children; `wait` below frees its number for others
        code = handle.wait()
        process.code = 128 - code if code < 0 else code
        self.ended(process)
        return process.code

    check_call = call  # without an exception: `ended` has the failure

    def end(self) -> None:
        """Kill all running processes, and start no more."""
        with self.lock:
            self.closed = True
        for process in self.running():
            process.kill(signal.SIGKILL)

    def running(self) -> List[Process]:
        """Processes that still run."""
        return [process for process in self.all if process.code is None]


class _Thread(threading.Thread):
    """Thread with the method that dmlc_tracker calls."""

    isAlive = threading.Thread.is_alive  # noqa: N815

    def run(self) -> None:
        """Run without dmlc_tracker's exception about a failed process, which `Processes` knows already."""
        with contextlib.suppress(RuntimeError):
            super().run()


def host_of(cluster: str, host_ip: str | None) -> str:
    """Address at which the processes of a job find this machine.

    Raises:
        FCNXSError: this machine's address cannot be found.
    """
    if cluster == "local":
        return "127.0.0.1"
    try:
        return importlib.import_module("dmlc_tracker.tracker").get_host_ip(host_ip)
    except OSError as error:
        raise FCNXSError(f"this machine's address cannot be found: {error}; give it with --host-ip") from None


def parse(options: Sequence[str]) -> types.SimpleNamespace:
    """Parse dmlc_tracker's options, without a command.

    Raises:
        FCNXSError: MXNet's wheel, which contains dmlc_tracker, is not installed, or an option is not valid.
    """
    try:
        opts = importlib.import_module("dmlc_tracker.opts")
    except ModuleNotFoundError:
        raise FCNXSError("there is no dmlc_tracker here: MXNet's wheel brings it; see `fcnxs doctor`") from None
    try:
        args = opts.get_opts([*options, "command"])
    except (RuntimeError, ValueError) as error:
        raise FCNXSError(f"dmlc_tracker does not take {' '.join(options)}: {error}") from None
    if args.cluster == "ssh" and args.host_file is None:
        raise FCNXSError("--cluster ssh needs --host-file, with the name of a machine in each line")
    return args


def quoted(command: Sequence[str], cluster: str) -> List[str]:
    """Words of a command, quoted for dmlc_tracker's shells.

    A local command gets its path, since dmlc_tracker prefers a file of that name in the current folder. For
    other clusters dmlc_tracker sets single quotes around the command, so that it may contain none.

    Raises:
        FCNXSError: the command does not exist here, or a word cannot be quoted.
    """
    if cluster == "local":
        program = shutil.which(command[0])
        if program is None:
            raise FCNXSError(f"{command[0]}: there is no such command")
        return [shlex.quote(word) for word in (os.path.abspath(program), *command[1:])]
    for word in command:
        if not word or "'" in word or "\n" in word:
            raise FCNXSError(
                f"{word!r} cannot be passed on with --cluster {cluster}: a word of the command may "
                "not be empty, nor contain a single quote or a line end"
            )
    return [re.sub(r"([^\w@%+=:,./-])", r"\\\1", word) for word in command]


def own_share(gpus: Sequence[int], environment: Mapping[str, str] = os.environ) -> Sequence[int]:
    """Those GPUs that are this process's own: the training processes of a local job divide them, in order.

    Args:
        gpus: numbers of all that --device names.
        environment: variables of this process, with those that dmlc_tracker sets in a job.

    Raises:
        FCNXSError: the processes cannot have equally many.
    """
    if environment.get("DMLC_ROLE") != "worker" or environment.get("DMLC_JOB_CLUSTER") != "local":
        return gpus
    workers, number = int(environment["DMLC_NUM_WORKER"]), int(environment["DMLC_TASK_ID"])
    each, rest = divmod(len(gpus), workers)
    if rest or not each:
        raise FCNXSError(
            f"--device gpu:{','.join(map(str, gpus))}: the {workers} training processes of this machine divide "
            f"these GPUs, and cannot have equally many; name {workers} GPUs or a multiple, or launch another "
            "number of processes (-n)"
        )
    return gpus[number * each : (number + 1) * each]


def submit(args: types.SimpleNamespace, host: str, variables: Dict[str, str], processes: Processes) -> None:
    """Start a job through dmlc_tracker, and return when the job's scheduler has ended.

    Args:
        args: options from `parse`, with the words from `quoted` as `command`.
        host: address of this machine for the processes.
        variables: variables that every process gets.
        processes: keeps the processes that are started.
    """
    tracker = importlib.import_module("dmlc_tracker.tracker")
    cluster = importlib.import_module(f"dmlc_tracker.{args.cluster}")
    for module in (tracker, cluster):
        for name, value in (("subprocess", processes), ("Thread", _Thread)):
            if hasattr(module, name):
                setattr(module, name, value)
    tracker.get_host_ip = lambda *_: host

    class PSTracker(tracker.PSTracker):
        """Scheduler on a reserved port; `envs` is also passed to the other processes."""

        def __init__(self, hostIP: str, cmd: str, envs: Dict[str, Any]) -> None:  # noqa: N803
            self.reserved, port = _reserve_port()
            envs.update(variables)
            super().__init__(hostIP, cmd, port, port + 1, envs)

    tracker.PSTracker = PSTracker
    cluster.submit(args)


def _reserve_port() -> Tuple[socket.socket, int]:
    """A free port, and a socket that reserves it against other launchers until the scheduler binds it.

    The scheduler binds it seconds later. The reservation is a name in Linux's abstract namespace of sockets,
    which ends with this process. The port is random, so that other programs hardly take it meanwhile.
    """
    for port in random.sample(PORTS, 100):
        reserved = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError), socket.socket() as test:
            reserved.bind(f"\0fcnxs-{port}")
            test.bind(("", port))
            return reserved, port
        reserved.close()
    raise FCNXSError(f"of 100 ports from {PORTS.start} to {PORTS.stop - 1} none is free for the scheduler")

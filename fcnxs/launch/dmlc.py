"""The `dmlc_tracker` package that MXNet's wheel carries, made to work as it is: nothing in it is edited.

What it lacks, and what its modules get from here instead, once, in the process that launches a job:

- `Thread.isAlive`, which Python 3.9 removed;
- processes that can be ended, with their exit codes: it starts them and loses them;
- a port that two jobs started at the same time do not both choose;
- the loopback for jobs on one machine: it takes the machine's address in the network;
- arguments with spaces: it joins them for a shell.
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
from typing import Any, Callable, Dict, List, Sequence, Tuple

from ..errors import FCNXSError

CLUSTERS = ("local", "ssh", "mpi", "slurm", "sge", "yarn", "mesos", "kubernetes")
PORTS = range(10_000, 32_000)  # below those that Linux gives out


@dataclass
class Process:
    """A process that dmlc_tracker has started here, first of a session of its own.

    Of a local job it is a process of the job, else what starts one elsewhere, as ssh does.
    """

    handle: subprocess.Popen
    role: str
    code: int | None = None  # its exit code once it has ended, 128 + n after signal n

    def __str__(self) -> str:
        return f"a {self.role}"

    def kill(self, number: int) -> None:
        """Send a signal to the process and to what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.handle.pid, number)


class Processes:
    """Stands for the module `subprocess` in dmlc_tracker's modules, and remembers what they start.

    Args:
        ended: called with each process that has ended, in the thread that waited for it.
    """

    def __init__(self, ended: Callable[[Process], None]) -> None:
        self.all: List[Process] = []
        self.ended = ended
        self.closed = False
        self.lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (what is not replaced: Popen, PIPE)
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
        process.kill(signal.SIGKILL)  # what it has left behind, while its number is still its own
        code = handle.wait()
        process.code = 128 - code if code < 0 else code
        self.ended(process)
        return process.code

    check_call = call  # a failure has been told to `ended`: no exception is needed in a thread

    def end(self) -> None:
        """Kill what still runs, and start nothing more."""
        with self.lock:
            self.closed = True
        for process in self.running():
            process.kill(signal.SIGKILL)

    def running(self) -> List[Process]:
        """Processes that have not ended."""
        return [process for process in self.all if process.code is None]


class _Thread(threading.Thread):
    """Thread as dmlc_tracker knows it."""

    isAlive = threading.Thread.is_alive  # noqa: N815

    def run(self) -> None:
        """Run; that a process has failed is known to `Processes`, and the exception is only its echo."""
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
    """Options of dmlc_tracker, as it reads them, without a command.

    Raises:
        FCNXSError: MXNet's wheel, which carries dmlc_tracker, is not installed, or a value makes no sense.
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
    """Words of a command such that dmlc_tracker's shells give them back.

    A local command is found here, since dmlc_tracker prefers a file of that name in the current folder.
    Elsewhere no single quotes can be used: dmlc_tracker sets them around the whole.

    Raises:
        FCNXSError: there is no such command here, or a word cannot be passed on.
    """
    if cluster == "local":
        program = shutil.which(command[0])
        if program is None:
            raise FCNXSError(f"{command[0]}: there is no such command")
        return [shlex.quote(word) for word in (os.path.abspath(program), *command[1:])]
    for word in command:
        if not word or "'" in word or "\n" in word:
            raise FCNXSError(
                f"{word!r} cannot be passed on with --cluster {cluster}: empty, a quote or a line end"
            )
    return [re.sub(r"([^\w@%+=:,./-])", r"\\\1", word) for word in command]


def submit(
    args: types.SimpleNamespace, host: str, variables: Dict[str, str], processes: Processes
) -> Callable[[], None]:
    """Function that starts a job through dmlc_tracker, and returns when its scheduler has ended.

    Args:
        args: what `parse` gave, with `command` as `quoted` gave it.
        host: address of this machine for the processes.
        variables: environment of every process.
        processes: gets what is started.
    """
    tracker = importlib.import_module("dmlc_tracker.tracker")
    cluster = importlib.import_module(f"dmlc_tracker.{args.cluster}")
    for module in (tracker, cluster):
        for name, value in (("subprocess", processes), ("Thread", _Thread)):
            if hasattr(module, name):
                setattr(module, name, value)
    tracker.get_host_ip = lambda *_: host

    class PSTracker(tracker.PSTracker):
        """Scheduler on a port of its own; the other processes get `envs` too, with what is added here."""

        def __init__(self, hostIP: str, cmd: str, envs: Dict[str, Any]) -> None:  # noqa: N803
            self.reserved, port = _reserve_port()
            envs.update(variables)
            super().__init__(hostIP, cmd, port, port + 1, envs)

    tracker.PSTracker = PSTracker
    return lambda: cluster.submit(args)


def _reserve_port() -> Tuple[socket.socket, int]:
    """A free port, and what keeps other launchers of this machine from it until the scheduler binds it.

    That is seconds later. The reservation is a name in Linux's abstract namespace of sockets, which ends
    with its process; other programs are avoided by chance, where dmlc_tracker takes the first port from 9091.
    """
    for port in random.sample(PORTS, 100):
        reserved = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError), socket.socket() as test:
            reserved.bind(f"\0fcnxs-{port}")
            test.bind(("", port))
            return reserved, port
        reserved.close()
    raise FCNXSError(f"of 100 ports from {PORTS.start} to {PORTS.stop - 1} none is free for the scheduler")

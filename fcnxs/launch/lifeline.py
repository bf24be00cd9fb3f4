"""Lifeline of a process in a job of several: if one of them dies, none stays behind and waits for ever.

MXNet's parameter server does not tell a worker that another one has died: it hangs inside C++, where no
Python runs. So every process of a job holds a connection to `fcnxs launch` (launch.py), watched by a thread.
A connection that closes before its process has said that it is done is a death, and the launcher tells the
others; a launcher that dies closes them all. Either way the thread ends its process at once: what counts is
the last checkpoint on disk, whose writing is atomic.

Commands of `fcnxs` take part; a script does with two lines, before it imports MXNet:

    from fcnxs import lifeline
    lifeline.join()

Messages are JSON, a line each. From a process: `{"token", "role", "host", "pid", "session"}` first,
`{"done": CODE}` before its end. From the launcher: `{"signal": NUMBER}`, `{"end": WHY}`.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import multiprocessing
import os
import select
import signal
import socket
import sys
import threading
from typing import Iterator, NoReturn

from ..errors import FCNXSError

VARIABLE = "FCNXS_LIFELINE"  # HOST PORT TOKEN of the launcher, with a comma between
KEEPALIVE = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}  # seconds: 45 in all

_socket: socket.socket | None = None
_done = False


def join() -> bool:
    """Connect to the launcher that the environment names; False if there is none, or if it was done before.

    The process is done when it ends without an uncaught exception, or calls `leave`. Processes that it
    starts do not take part: the variable is taken out of the environment.

    Raises:
        FCNXSError: the launcher cannot be reached, since it has ended.
    """
    global _socket
    if VARIABLE not in os.environ:
        return False
    host, port, token = os.environ.pop(VARIABLE).split(",")
    try:
        _socket = socket.create_connection((host, int(port)), timeout=30)
    except OSError as error:
        raise FCNXSError(f"the launcher of this job, {host}:{port}, cannot be reached: {error}") from None
    _socket.settimeout(None)
    keep_alive(_socket)
    role = os.environ.get("DMLC_ROLE", "worker")
    place = {"host": socket.gethostname(), "pid": os.getpid(), "session": os.getsid(0)}
    _send({"token": token, "role": role, **place})
    threading.Thread(target=_watch, args=(_socket, role), daemon=True).start()
    os.register_at_fork(after_in_child=_close)  # a child's copy would keep the connection open
    atexit.register(lambda: leave(int(hasattr(sys, "last_type"))))  # an exception that nobody caught
    return True


def leave(code: int = 0) -> None:
    """Say that this process ends of itself, with this exit code; the first word counts.

    MXNet may still wait for the other processes while the interpreter shuts down, where threads no longer
    run: from here on the kernel ends this process, by SIGIO, when the launcher writes or goes.
    """
    global _done
    if _socket is None or _done:
        return
    _done = True
    _send({"done": code})
    fcntl.fcntl(_socket, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(_socket, fcntl.F_SETFL, fcntl.fcntl(_socket, fcntl.F_GETFL) | fcntl.FASYNC)


def keep_alive(connection: socket.socket) -> None:
    """Make the kernel notice within 60 s that the machine at the other end has vanished."""
    for name, value in KEEPALIVE.items():
        level = socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP
        connection.setsockopt(level, getattr(socket, name), value)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 45_000)  # ms, for what is unacknowledged


def _send(message: dict) -> None:
    with contextlib.suppress(OSError):  # a launcher that has gone: the thread sees it
        _socket.sendall(json.dumps(message).encode() + b"\n")


def _close() -> None:
    global _socket
    if _socket is not None:
        os.close(_socket.detach())
        _socket = None


def _watch(connection: socket.socket, role: str) -> None:
    """Do what the launcher says; end the process when it says so or has gone."""
    why = "the launcher has gone; the job ends"
    with contextlib.suppress(OSError):
        for message in map(json.loads, _lines(connection)):
            if "signal" in message:
                signal.pthread_kill(threading.main_thread().ident, message["signal"])
            if "end" in message:
                _end(message["end"])
    _end(f"{role} on {socket.gethostname()}: {why}")


def _lines(connection: socket.socket) -> Iterator[bytes]:
    """Lines that arrive, until the other end closes.

    They are waited for in poll(2): to a socket that a thread reads from, Linux sends no SIGIO (see `leave`).
    """
    arrival = select.poll()
    arrival.register(connection, select.POLLIN)
    rest = b""
    while arrival.poll():
        received = connection.recv(4096)
        if not received:
            return
        *lines, rest = (rest + received).split(b"\n")
        yield from lines


def _end(why: str) -> NoReturn:
    """End this process, whatever its main thread does, and the processes that Python has started for it."""
    if why:
        os.write(2, f"fcnxs: {why}\n".encode())
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(1)

"""Lifeline of a process in a job of several: if one process dies, all others end, too.

MXNet's parameter server does not tell a worker that another one has died: it waits in C++ for ever, where no
Python runs. So every process of a job keeps a connection to `fcnxs launch`, which a thread watches. A
connection that closes before its process has announced its end means a death, and the launcher tells the other
processes. If the launcher dies, all connections close. In both cases the thread ends its process at once; the
last checkpoint on disk is whole, since it was written atomically.

The thread also sends a sign of life every few seconds, whatever the main thread computes: while MXNet loads or
computes, other threads run (at full width they waited for 0.13 s at most). A process that is stopped, as by
SIGSTOP, sends none, and so the launcher ends the job. What the launcher writes wakes the process, since the
kernel then sends it SIGCONT.

Commands of `fcnxs` join by themselves. A script joins with two lines, before it imports MXNet:

    from fcnxs import lifeline
    lifeline.join()

Messages are JSON, one a line:

    process to launcher    {"token", "role", "host", "pid", "session"} first, {"rank": RANK} of a worker,
                           an empty line as a sign of life, {"done": CODE} before its end
    launcher to process    {"signal": NUMBER}, {"end": REASON}; {} only wakes it
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

VARIABLE = "FCNXS_LIFELINE"  # the launcher's HOST,PORT,TOKEN
BEAT = 5  # seconds from one sign of life to the next
KEEPALIVE = {"SO_KEEPALIVE": 1, "TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}  # seconds: 45 in all

_socket: socket.socket | None = None
_done = False


def join() -> bool:
    """Connect to the launcher that FCNXS_LIFELINE names; False without the variable, or if connected before.

    The end of the process is announced by `leave`, or when the interpreter exits. The variable is removed
    from the environment, so that processes started by this one do not join.

    Raises:
        FCNXSError: the launcher cannot be reached.
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
    _signal_on_arrival(signal.SIGCONT)
    threading.Thread(target=_watch, args=(_socket, role), daemon=True).start()
    os.register_at_fork(after_in_child=_close)  # a child's copy would keep the connection open
    atexit.register(lambda: leave(int(hasattr(sys, "last_type"))))  # an exception that nobody caught
    return True


def tell_rank(rank: int) -> None:
    """Tell the launcher the number of this worker, which its messages then name."""
    if _socket is not None and not _done:
        _send({"rank": rank})


def joined() -> bool:
    """Whether this process is part of a job."""
    return _socket is not None


def leave(code: int = 0) -> None:
    """Announce that this process ends by itself, with this exit code; only the first call counts.

    While the interpreter shuts down, MXNet may still wait for other processes, and threads no longer run. So
    from now on the kernel ends this process by SIGIO when the launcher writes to it or ends.
    """
    global _done
    if _socket is None or _done:
        return
    _done = True
    _send({"done": code})
    _signal_on_arrival(signal.SIGIO)


def _signal_on_arrival(number: int) -> None:
    """Let the kernel send this process a signal when the launcher writes to it or ends."""
    fcntl.fcntl(_socket, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(_socket, fcntl.F_SETSIG, number)
    fcntl.fcntl(_socket, fcntl.F_SETFL, fcntl.fcntl(_socket, fcntl.F_GETFL) | fcntl.FASYNC)


def keep_alive(connection: socket.socket) -> None:
    """Make the kernel notice within 60 s that the machine at the other end is gone."""
    for name, value in KEEPALIVE.items():
        level = socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP
        connection.setsockopt(level, getattr(socket, name), value)
    # Sent data must be acknowledged within so many ms.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 45_000)


def _send(message: dict) -> None:
    with contextlib.suppress(OSError):  # the thread notices that the launcher has ended
        _socket.sendall(json.dumps(message).encode() + b"\n")


def _close() -> None:
    global _socket
    if _socket is not None:
        os.close(_socket.detach())
        _socket = None


def _watch(connection: socket.socket, role: str) -> None:
    """Obey the launcher's messages; end the process if one says so, or if the launcher has ended."""
    why = "the launcher has gone; the job ends"
    with contextlib.suppress(OSError):
        for message in map(json.loads, _lines(connection)):
            if "signal" in message:
                signal.pthread_kill(threading.main_thread().ident, message["signal"])
            if "end" in message:
                _end(message["end"])
    _end(f"{role} on {socket.gethostname()}: {why}")


def _lines(connection: socket.socket) -> Iterator[bytes]:
    """Yield lines as they arrive, until the other end closes; send a sign of life while none does.

    poll(2) waits for them: Linux sends no SIGIO (see `leave`) for a socket that a thread is reading from.
    """
    arrival = select.poll()
    arrival.register(connection, select.POLLIN)
    rest = b""
    while True:
        if not arrival.poll(1000 * BEAT):
            connection.send(b"\n", socket.MSG_DONTWAIT)
            continue
        received = connection.recv(4096)
        if not received:
            return
        *lines, rest = (rest + received).split(b"\n")
        yield from lines


def _end(why: str) -> NoReturn:
    """End this process at once, and the children that `multiprocessing` has started for it."""
    if why:
        os.write(2, f"fcnxs: {why}\n".encode())
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(1)

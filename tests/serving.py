"""What tests of serving need: an exported net, multi-model-server on free ports of the loopback, requests."""

import http.client
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from fcnxs import checkpoint
from fcnxs.compat import mxnet as mx
from fcnxs.symbols.graph.rewrite import scores_symbol

START_SECONDS = 120
REQUEST_SECONDS = 60
COMMAND = [sys.executable, "-c", "from mms.model_server import start; start()"]  # of multi-model-server


def save_exported(source, prefix):
    """What an export of a checkpoint writes: probabilities, no label."""
    symbol = mx.sym.softmax(scores_symbol(source.symbol), axis=1, name="softmax")
    checkpoint.save(prefix, 0, symbol, source.arg_params, source.aux_params, source.meta)
    return prefix


class Server:
    """A running server: its processes, and what it answers."""

    def __init__(self, port, env, folder):
        self.port, self.env, self.folder = port, env, folder
        self.process = psutil.Process(int((folder / ".model_server.pid").read_text()))

    def processes(self):
        """The front end, then the worker and its parent."""
        return [self.process, *self.process.children(recursive=True)]

    def memory(self):
        """Resident bytes of Java, and of the Python processes."""
        front, *workers = [process.memory_info().rss for process in self.processes()]
        return front, sum(workers)

    def send(self, body, headers=None, path="/predictions/net", method="POST"):
        """Status, reason, content type and body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_SECONDS)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.reason, answer.getheader("content-type"), answer.read()
        finally:
            connection.close()

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        """By the server's own command; what it printed."""
        command = subprocess.run(
            [*COMMAND, "--stop"], env=self.env, timeout=START_SECONDS, capture_output=True, text=True
        )
        return command.stdout


@contextmanager
def running(archive):
    """Server of an archive; whatever happens, no process of it is left behind."""
    folder = Path(tempfile.mkdtemp(prefix="mms"))  # short: sockets are in it
    ports = free_ports(2)
    config = folder / "config.properties"
    settings = archive.with_suffix(".properties").read_text()
    for port, old in zip(ports, (8080, 8081)):
        settings = settings.replace(f"http://127.0.0.1:{old}", f"http://127.0.0.1:{port}")
    config.write_text(settings)
    env = {**os.environ, "TMPDIR": str(folder), "TEMP": str(folder)}  # of the pid file, of Java
    known = []
    try:
        with open(folder / "server.log", "wb") as log:
            subprocess.run(
                [*COMMAND, "--start", "--mms-config", config, "--model-store", archive.parent]
                + ["--models", archive.name],
                **{"env": env, "cwd": folder, "stdout": log, "stderr": log},
                timeout=START_SECONDS,
                check=True,
            )
        server = Server(ports[0], env, folder)
        known.append(server.process)
        wait_until_it_answers(server)
        known = server.processes()
        yield server
    finally:
        for process in known:
            if process.is_running():
                process.kill()
        psutil.wait_procs(known, timeout=300)
        shutil.rmtree(folder, ignore_errors=True)


def wait_until_it_answers(server):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if server.send(b"")[0] == 400:  # by the handler: the net is loaded
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError((server.folder / "server.log").read_text()[-3000:])


def free_ports(number):
    """Ports that nobody listens on; the server takes none from 32767 on."""
    found = []
    for port in random.SystemRandom().sample(range(20000, 32000), 200):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == number:
            return found
    raise AssertionError("no free port")

"""What tests of serving need: an exported net, multi-model-server on free ports of the loopback, requests."""

import http.client
import os
import random
import shutil
import socket
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
    """A running server: its script, its processes, its private folder, and what it answers."""

    def __init__(self, script, port, folder):
        self.script, self.port, self.folder = script, port, folder
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
        """By SIGTERM to its script, whose exit code this returns."""
        self.script.terminate()
        return self.script.wait(START_SECONDS)


def ready_to_start(archive, folder):
    """Copy an archive, its settings and its script to a folder, with a free port in the settings."""
    script, config = (archive.with_name(archive.stem + end) for end in ("-server.sh", ".properties"))
    (port,) = free_ports(1)
    folder.mkdir()
    (folder / config.name).write_text(
        config.read_text().replace("http://127.0.0.1:8080", f"http://127.0.0.1:{port}")
    )
    shutil.copy(archive, folder)
    return Path(shutil.copy(script, folder)), port


@contextmanager
def running(archive, shared=None):
    """Server of an archive, by the script beside it; whatever happens, no process of it is left behind.

    The folder `shared` stands for /tmp; its path is short, since sockets are in it.
    """
    made = None if shared else tempfile.mkdtemp(prefix="mms")
    shared = shared or Path(made)
    known, (script, port) = [], ready_to_start(archive, shared / "deploy")
    env = {**os.environ, "TMPDIR": str(shared), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    try:
        with open(shared / "server.log", "wb") as log:
            known.append(
                psutil.Popen([script], env=env, cwd="/", stdout=log, stderr=log, start_new_session=True)
            )
        server = Server(known[0], port, private_folder(known[0], shared))
        known.append(server.process)
        wait_until_it_answers(server)
        known = [known[0], *server.processes()]
        yield server
    finally:
        for process in known[::-1]:
            if process.is_running():
                process.kill()
        psutil.wait_procs(known, timeout=300)
        if made:
            shutil.rmtree(made, ignore_errors=True)


def private_folder(script, shared):
    """Folder that a script has made for its server, once the server has noted its process there."""
    while script.poll() is None:
        for file in shared.glob("fcnxs-*/.model_server.pid"):
            if file.read_text():
                return file.parent
        time.sleep(0.05)
    raise AssertionError((shared / "server.log").read_text())


def wait_until_it_answers(server):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if server.send(b"")[0] == 400:  # by the handler: the net is loaded
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError((server.folder.parent / "server.log").read_text()[-3000:])


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

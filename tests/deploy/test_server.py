"""The server that the script beside an archive starts: who can have it run other code, and how it ends."""

import hashlib
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from serving import COMMAND, START_SECONDS, free_ports, ready_to_start, running
from test_mar import make

pytestmark = pytest.mark.skipif(not shutil.which("java"), reason="multi-model-server needs Java")

# A handler that leaves a file as a sign that it has run.
EVIL = "from pathlib import Path\nPath({sign!r}).touch()\ndef handle(requests, context):\n    return ['evil']\n"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    make(folder)
    return folder / "net.mar"


def evil_files(sign):
    """What an attacker's archive has in it."""
    manifest = {"runtime": "python", "model": {"modelName": sign.name, "handler": "evil.py:handle"}}
    return {"MAR-INF/MANIFEST.json": json.dumps(manifest), "evil.py": EVIL.format(sign=str(sign))}


def plant(archive, shared, sign):
    """Make the folder in which the server expects the archive unpacked; the bytes that it reads name it."""
    with zipfile.ZipFile(archive) as opened:
        read = opened.start_dir + 30  # every file, and of the directory as much as a file's header has
    folder = shared / "models" / hashlib.sha1(archive.read_bytes()[:read]).hexdigest()
    for name, content in evil_files(sign).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


@contextmanager
def site_with_an_archive(folder, sign):
    """Address of an attacker's archive."""
    with zipfile.ZipFile(folder / "evil.mar", "w") as evil:
        for name, content in evil_files(sign).items():
            evil.writestr(name, content)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{site.server_address[1]}/evil.mar"
        site.shutdown()


def post_of_a_web_page(port, url):
    """Status of what a page can send to a port of the visitor's machine: register the archive of an address."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    query = f"/models?url={quote(url, safe='')}&initial_workers=1&synchronous=true"
    try:
        connection.request("POST", query, headers={"Origin": "http://evil.example"})
        return connection.getresponse().status
    except ConnectionRefusedError:
        return None
    finally:
        connection.close()


def ports_of(process):
    return {each.laddr for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN}


@pytest.fixture
def attack(archive, tmp_path):
    """A shared folder for temporary files, with the planted archive; the address of another; signs of both."""
    shared = Path(tempfile.mkdtemp(prefix="mms"))  # short, since sockets are in it
    planted, posted = tmp_path / "planted", tmp_path / "posted"
    plant(archive, shared, planted)
    with site_with_an_archive(tmp_path, posted) as url:
        yield shared, url, planted, posted
    shutil.rmtree(shared)


def test_neither_a_page_nor_another_user_has_the_server_run_their_code(archive, attack):
    shared, url, planted, posted = attack
    (shared / ".model_server.pid").write_text(str(os.getpid()))  # whom `--stop` would end
    with running(archive, shared) as server:
        assert ports_of(server.process) == {("::ffff:127.0.0.1", server.port)}  # the loopback
        assert post_of_a_web_page(server.port, url) == 404
        assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
        assert list(server.folder.glob("models/*/net-meta.json"))  # it unpacks there
        listed = manage(server, "GET", "/models")
        assert [each["modelName"] for each in listed["models"]] == ["net"]
        assert not planted.exists() and not posted.exists()
        manage(server, "POST", f"/models?url={quote(url, safe='')}&initial_workers=1&synchronous=true")
        assert posted.exists()  # so the folder's owner can still do it
        processes = server.processes()
        os.killpg(server.script.pid, signal.SIGINT)  # as Ctrl-C does
        assert server.script.wait(START_SECONDS) == 130
        assert psutil.wait_procs(processes, timeout=300)[1] == []
        assert not server.folder.exists()


def manage(server, method, path):
    """Answer to a request through the socket, as `curl --unix-socket` sends it."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(server.folder / "management"))
    connection.request(method, path)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def test_without_the_script_both_attacks_succeed(archive, attack):
    """So that the other test can fail: a start with the management on a port, and with the shared folder."""
    shared, url, planted, posted = attack
    _, port = ready_to_start(archive, shared / "deploy")
    config, management = shared / "deploy" / "net.properties", free_ports(1)[0]
    socket_line = "management_address=unix:$$FCNXS_SERVER$$/management"
    assert socket_line in config.read_text()
    port_line = f"management_address=http://127.0.0.1:{management}"
    config.write_text(config.read_text().replace(socket_line, port_line))
    env = {**os.environ, "TMPDIR": str(shared), "TEMP": str(shared)}
    command = [*COMMAND, "--start", "--foreground", "--mms-config", config, "--model-store", config.parent]
    with psutil.Popen(
        [*command, "--models", archive.name], env=env, cwd=shared, stdout=subprocess.DEVNULL
    ) as server:
        try:
            while post_of_a_web_page(management, url) is None and server.poll() is None:
                time.sleep(0.1)
            assert posted.exists() and planted.exists()
        finally:
            for process in [*server.children(recursive=True), server]:
                process.kill()


def test_settings_without_the_script_open_no_port(archive, tmp_path):
    """A start without the private folder is refused by the server itself."""
    config = archive.with_suffix(".properties")
    env = {name: value for name, value in os.environ.items() if name != "FCNXS_SERVER"}
    command = [*COMMAND, "--start", "--foreground", "--mms-config", config, "--model-store", archive.parent]
    done = subprocess.run(
        command, env={**env, "TMPDIR": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True
    )
    assert "Invalid Environment Variable FCNXS_SERVER" in done.stdout


def test_the_script_says_what_is_missing(archive, tmp_path):
    script = archive.with_name("net-server.sh")
    env = {**os.environ, "TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([script], env=env, capture_output=True, text=True)
    assert done.returncode == 127 and "there is no multi-model-server; pip install" in done.stderr
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    env.update(TMPDIR=str(deep), PATH=f"{Path(sys.executable).parent}:/usr/bin:/bin")
    done = subprocess.run([script], env=env, capture_output=True, text=True)
    assert done.returncode == 2 and "is too long for the sockets in it" in done.stderr
    assert list(tmp_path.iterdir()) == [deep] and not list(deep.iterdir())

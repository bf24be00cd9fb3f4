"""Imports that a signal, a full disk or an error ends: they leave no target."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_import_data import camvid, refused  # noqa: F401  (a fixture)

from fcnxs.importing import write
from fcnxs.tools.main import main


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_import_leaves_no_target(camvid, tmp_path, number):  # noqa: F811
    target = tmp_path / "streets"
    code = (
        "import os, signal, sys\n"
        "from fcnxs.importing import write\n"
        "link, count = write._link, []\n"
        "def stop(*arguments):\n"
        "    count.append(1)\n"
        f"    if len(count) == 3: os.kill(os.getpid(), {int(number)})\n"
        "    link(*arguments)\n"
        "write._link = stop\n"
        "from fcnxs.tools.main import main\n"
        "sys.argv[1:] = sys.argv[1:]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "import-data", str(camvid), str(target)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
    )
    assert done.returncode in (128 + number, -number), done.stderr
    assert not target.exists()
    if number != signal.SIGKILL:
        assert not [*tmp_path.glob(".fcnxs*")] and done.stderr.count("\n") == 1
    assert main(["import-data", str(camvid), str(target)]) == 0  # and it is not in the way of the next one
    assert not [*tmp_path.glob(".fcnxs*")]


def test_a_full_disk_leaves_no_target(camvid, tmp_path, capsys, monkeypatch):  # noqa: F811
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "save_mask", full)
    text = refused(capsys, tmp_path / "streets", camvid, tmp_path / "streets")
    assert f"{tmp_path / 'streets'}: cannot write: No space left on device" in text


def test_threads_write_nothing_after_an_error(camvid, tmp_path, capsys, monkeypatch):  # noqa: F811
    """What they wrote into a folder that is being removed would stay there."""
    busy, calls = [], []

    def slow(*_):
        calls.append(1)
        if len(calls) == 1:
            raise OSError(28, "No space left on device")
        busy.append(1)
        time.sleep(0.3)
        busy.pop()

    monkeypatch.setattr(write, "_link", slow)
    refused(capsys, tmp_path / "streets", camvid, tmp_path / "streets")
    assert not busy and len(calls) > 1

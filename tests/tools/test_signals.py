"""Signals end a command, whatever it does, and its streams may be closed, full or left.

A file that another process has a lease on blocks who opens it, as one on a dead mount does, for 45 seconds.
"""

import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import LONG, finetune
from runs import RUN, start, wait_for

from fcnxs import checkpoint

NUMBERS = (signal.SIGTERM, signal.SIGINT)
SECONDS = 5


@pytest.fixture
def lease():
    """Let files block who opens them."""
    handles, before = [], signal.signal(signal.SIGIO, signal.SIG_IGN)

    def take(file):
        handles.append(os.open(file, os.O_RDWR))
        try:
            fcntl.fcntl(handles[-1], fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            pytest.skip(f"this file system has no leases: {error}")

    yield take
    for handle in handles:
        os.close(handle)
    signal.signal(signal.SIGIO, before)


@pytest.fixture
def dead_mount(tmp_path):
    """A FUSE mount that nobody serves: who looks at a file there is not even woken by a signal."""
    folder = tmp_path / "dead"
    folder.mkdir()
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(str(error))
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"dead", os.fsencode(folder), b"fuse", 0, options):
        os.close(device)
        pytest.skip(f"cannot mount: {os.strerror(ctypes.get_errno())}")
    yield folder
    os.close(device)
    libc.umount2(os.fsencode(folder), 2)


def ended_by(number, process, seconds=SECONDS):
    """Send a signal; the process has so many seconds, on a machine that is not busy. Returns its errors."""
    began, used = time.monotonic(), os.getloadavg()[0] / os.cpu_count()
    process.send_signal(number)
    try:
        _, err = process.communicate(timeout=40)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"it has not ended: {process.communicate()[1]}")
    assert process.returncode == 128 + number, err
    assert time.monotonic() - began < seconds * max(1, used)
    lines = [line for line in err.splitlines() if not line.startswith("fcnxs: warning: ")]
    assert len(lines) == 1 and ("SIGTERM" in lines[0] or "interrupted" in lines[0]), err
    return err


def is_reading(process, file):
    """Whether a thread of the process is about to open the file; the kernel names the call alone."""
    for task in Path(f"/proc/{process.pid}/task").glob("*/wchan"):
        try:
            if re.search("lease|fuse|request_wait", task.read_text()):
                return True
        except OSError:
            pass
    return False


@pytest.fixture
def data(voc, tmp_path):
    return Path(shutil.copytree(voc, tmp_path / "voc"))


@pytest.mark.parametrize("command", ["check-data", "segment", "evaluate", "finetune"] if LONG else ["evaluate"])
def test_a_command_that_waits_for_a_file_ends(command, run_folder, data, lease, tmp_path):
    """In a thread that reads in advance, for which Python waits at its end."""
    lease(sorted((data / "JPEGImages").glob("val*"))[1])
    net = ("--prefix", run_folder / "run" / "fcn8s")
    arguments = {
        "check-data": ("check-data", data),
        "segment": ("segment", *net, data / "JPEGImages", "--output", tmp_path / "o"),
        "evaluate": ("evaluate", *net, "--data", data),
        "finetune": (*finetune(data, run_folder, "--val-split", "val"), "--output", tmp_path / "run"),
    }[command]
    process = start(*arguments)
    wait_for(process, lambda: is_reading(process, data), 30)
    ended_by(NUMBERS[len(command) % 2], process)
    assert not list(tmp_path.glob("*/.*"))


def test_a_run_that_waits_for_a_file_saves_first(run_folder, data, lease, tmp_path):
    process = start(*finetune(data, run_folder, *RUN), "--workers", "1", "--output", tmp_path / "run")
    folder = tmp_path / "run"
    wait_for(process, lambda: list(folder.glob("fcn32s-last.0001-000002.json")))
    for file in (data / "JPEGImages").glob("train*"):
        lease(file)
    wait_for(process, lambda: is_reading(process, data), 30)
    err = ended_by(signal.SIGTERM, process)
    saved = re.search(r"the state is saved in (\S+\.json); ", err)[1]
    assert Path(saved) == sorted(folder.glob("fcn32s-last.*.json"))[-1]


@pytest.mark.parametrize("command", ["segment", "report"] if LONG else ["report"])
def test_a_command_that_a_dead_mount_holds_ends(command, run_folder, dead_mount, tmp_path):
    """Its main thread does not come to run a handler, in Python or in C."""
    net = ("--prefix", run_folder / "run" / "fcn8s", "--output", tmp_path / "o")
    process = start(
        *(("segment", *net, dead_mount / "x.jpg") if command == "segment" else ("report", dead_mount))
    )
    wait_for(process, lambda: is_reading(process, dead_mount), 30)
    ended_by(signal.SIGTERM, process)


IN_C = "import ctypes; lock = ctypes.create_string_buffer(64); call = ctypes.CDLL(None).pthread_mutex_lock; "
CODES = {
    "in C": f"{IN_C}call(lock); print('ready', flush=True); call(lock)",
    "in a destructor": (
        "make = lambda f: type('X', (), {'__del__': f})()\n"
        "x = make(lambda self: (print('ready', flush=True), time.sleep(60)))\ndel x\ntime.sleep(60)"
    ),
    "where all errors are caught": "\n".join(
        ("try: print('ready', flush=True), time.sleep(60)", "except BaseException: time.sleep(60)")
    ),
}


@pytest.mark.parametrize("where", CODES)
def test_a_signal_is_not_lost(where):
    """Python runs a handler when C returns, and drops what a destructor raises."""
    process = running(f"signals.raise_ended()\n{CODES[where]}")
    ended_by(signal.SIGTERM, process)


def running(code, *words):
    """A process that is watched, when it has printed `ready`."""
    code = f"import time\nfrom fcnxs.tools.shared import signals\nsignals.GRACE = 0.5; signals.watch()\n{code}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)  # the next call has begun
    return process


def test_the_first_signal_has_time_while_a_state_is_saved_and_the_second_ends_at_once():
    process = running("with signals.Stopping():\n  print('ready', flush=True)\n  while True: time.sleep(0.1)")
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.5)
    ended_by(signal.SIGTERM, process, 2)


@pytest.mark.parametrize("module", ["numpy", "mxnet"])
@pytest.mark.parametrize("name", ["fcnxs", "-m"])
def test_ctrl_c_while_a_command_starts_is_no_traceback(name, module, tmp_path):
    """The package that it imports never ends to load."""
    (tmp_path / f"{module}.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)")
    script = tmp_path / "fcnxs"  # as pip writes it
    script.write_text("import sys\nfrom fcnxs.tools.main import main\nsys.exit(main())")
    process = subprocess.Popen(
        [sys.executable, *([str(script)] if name == "fcnxs" else ["-m", "fcnxs"]), "explain", "fcn32s"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout.readline() == "loading\n"
    assert ended_by(signal.SIGINT, process) == "fcnxs: interrupted\n"


def shell(line, **variables):
    command = ["bash", "-c", line.replace("fcnxs", f"{sys.executable} -m fcnxs")]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})


def test_closed_streams_are_no_traceback_and_no_file_gets_their_text(caffemodel, tmp_path):
    """The first files that are opened would get their numbers."""
    done = shell(f"fcnxs convert {caffemodel} {tmp_path}/net <&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(checkpoint.load(tmp_path / "net", 0).arg_params) == 30
    assert shell("fcnxs convert nofile net 2>&-").returncode == 2


@pytest.mark.parametrize("command", ["--help", "convert {caffemodel} {folder}/net"] if LONG else ["--help"])
def test_a_full_disk_behind_the_output_is_a_line(command, caffemodel, tmp_path):
    for variables in ({}, {"PYTHONUNBUFFERED": "1"}):
        done = shell(f"fcnxs {command.format(caffemodel=caffemodel, folder=tmp_path)} >/dev/full", **variables)
        assert done.returncode == 2
        assert done.stderr == "fcnxs: the output cannot be written: No space left on device\n"


def test_a_reader_of_errors_that_has_left_is_no_traceback():
    done = shell("(sleep 0.2; fcnxs convert nofile net; echo $? >&3) 3>&1 2>&1 >/dev/null | true; exit 0")
    assert "Traceback" not in done.stdout + done.stderr


CUT = """
import os, sys
from fcnxs.compat import mxnet as mx
from fcnxs.checkpoint.params_file import load_params
file = sys.argv[1]
mx.nd.save(file, {f"arg:{i}": mx.nd.ones((1000, 1000)) for i in range(8)})
arrays = load_params(file, mapped=True)
os.truncate(file, 5000)
print("ready", flush=True)
time.sleep(0.3)
print(sum(float(array.sum().asscalar()) for array in arrays.values()))
"""


def test_a_mapped_file_that_is_cut_is_a_line_that_names_it(tmp_path):
    """It was the end by SIGBUS, without a word; the pages that are read are no longer there."""
    process = running(CUT, tmp_path / "net.params")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err == f"fcnxs: {tmp_path / 'net.params'}: was cut by another process while it was read\n"

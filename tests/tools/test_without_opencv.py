"""Commands on a system without libGL, where `import cv2` fails: which need it, and what they say."""

import subprocess
import sys

from fcnxs.tools.main import COMMANDS

LINE = (
    "fcnxs: this system has no libGL.so.1, libgomp.so.1; "
    "on Debian and Ubuntu: apt-get install libgl1 libgomp1\n"
)
# OpenCV fails as without libGL, and two libraries cannot be loaded.
WITHOUT = """
import sys
from fcnxs.system import libraries

class Finder:
    @staticmethod
    def find_spec(name, *_):
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")

sys.meta_path.insert(0, Finder)
libraries.missing = lambda: ["libGL.so.1", "libgomp.so.1"]
from fcnxs.tools.main import main
for arguments in {commands!r}:
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    print("code", code, flush=True)
"""


def without_opencv(*commands: list) -> subprocess.CompletedProcess:
    code = WITHOUT.format(commands=[[str(word) for word in command] for command in commands])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_help_and_what_computes_without_opencv(voc, run_folder, tmp_path):
    data = ["--data", voc, "--classes", voc / "classes.txt"]
    start = ["--prefix", run_folder / "vgg", "--epoch", 0, "--output", tmp_path / "run", "--recipe", "adam"]
    prefix = ["--prefix", tmp_path / "run" / "fcn32s", "--epoch", 1]
    done = without_opencv(
        *([name, "--help"] for name in COMMANDS),
        ["check-data", *data[1:]],
        ["finetune", *data, *start, "--stages", "fcn32s", "--epochs", 1, "--val-split", "val"],
        ["evaluate", *prefix, "--data", voc, "--split", "val"],
        ["report", tmp_path / "run"],
        ["explain", "fcn8s"],
    )
    codes = [line for line in done.stdout.splitlines() if line.startswith("code")]
    assert codes == ["code 0"] * (len(COMMANDS) + 5), done.stdout[-2000:] + done.stderr


def test_the_others_say_in_one_line_all_that_is_missing_and_write_nothing(voc, run_folder, tmp_path):
    prefix = ["--prefix", run_folder / "run" / "fcn8s", "--epoch", 1, "--output"]
    done = without_opencv(
        ["segment", *prefix, tmp_path / "masks", voc / "JPEGImages"],
        ["export", *prefix, tmp_path / "deploy" / "net"],
        ["demo", "--output", tmp_path / "demo"],
        ["convert", "any.caffemodel", tmp_path / "net", "--verify", "any.jpg"],
    )
    assert done.stdout == "code 2\n" * 4
    assert done.stderr == LINE * 4
    assert not list(tmp_path.iterdir())

"""Options: each that a README names exists, and each that exists is in a README."""

import argparse
import importlib
import re
from pathlib import Path

import pytest

from fcnxs.tools.launch import TRACKER
from fcnxs.tools.main import COMMANDS

ROOT = Path(__file__).parent.parent
ROOMS = ("fcnxs", "tools", "symbols")
TEXT = "\n".join((ROOT / name).read_text() for name in ("README.md", *(f"{room}/README.md" for room in ROOMS)))
OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")

# Of pip, venv, curl, nvidia-smi and TensorBoard, and of the original example's script.
OF_OTHERS = {"--no-deps", "--clear", "--data-binary", "--unix-socket", "--query-gpu", "--logdir"}
OF_THE_ORIGINAL = {"--gpu", "--init-type", "--input", "--retrain", "--model"}
# `--help` says enough of these: what dmlc_tracker takes for its clusters, and long forms of -n and -s.
PLAIN = {"-h", "--help", "--num-processes", "--num-servers", "--env", *(f"--{name}" for name in TRACKER)}
PLAIN |= {"--no-quiet", "--no-recompute", "--no-tensorboard"}  # take the option back when a run is resumed


def options(command):
    """Options of a command that `--help` shows, and those that it hides."""
    parser = argparse.ArgumentParser()
    importlib.import_module(f"fcnxs.tools.{command.replace('-', '_')}").add_arguments(parser)
    shown, hidden = set(), set()
    for action in parser._actions:
        (hidden if action.help == argparse.SUPPRESS else shown).update(action.option_strings)
    return shown, hidden


SHOWN = {command: options(command)[0] for command in COMMANDS}
ALL = set().union(*SHOWN.values())


def test_every_option_is_in_a_readme():
    assert ALL - {*OPTION.findall(TEXT)} <= PLAIN


def test_every_option_of_a_readme_exists():
    named = {name for name in OPTION.findall(TEXT) if name.startswith("--")}
    assert named - ALL <= OF_OTHERS | OF_THE_ORIGINAL | {"--version", "--help"}


def test_commands_have_the_options_that_they_are_given():
    lines = re.findall(r"`(fcnxs [a-z][^`\n]*)`|^(?:\S+/)?(fcnxs [a-z].*)$", TEXT, re.MULTILINE)
    calls = [call for line in lines for call in "".join(line).split(" -- ")]
    calls = [re.search(r"fcnxs ([a-z-]+)(.*)", call.split("#")[0].split("&&")[0]) for call in calls]
    calls = [(call[1], call[2]) for call in calls if call and call[1] in COMMANDS]
    assert len(calls) > 40
    for command, rest in calls:
        assert {*OPTION.findall(rest)} <= SHOWN[command], f"fcnxs {command}{rest}"


@pytest.mark.parametrize("what", sorted({*re.findall(r"fcnxs benchmark ([a-z0-9]+)", TEXT)}))
def test_measurements_exist(what):
    assert what in importlib.import_module("fcnxs.tools.benchmark").MODULES


def test_files_of_tests_that_are_named_anywhere_exist():
    files = [ROOT / "README.md", *ROOT.glob("*/README.md"), *(ROOT / ".ci").iterdir(), ROOT / "setup.py"]
    for folder in ("fcnxs", "symbols", "tools", "tests"):
        files += (ROOT / folder).rglob("*.py")
    for file in files:
        for path in re.findall(r"(?<![\w/.-])tests/[\w/]+\.py", file.read_text(encoding="utf-8")):
            assert (ROOT / path).is_file(), f"{file}: {path}"

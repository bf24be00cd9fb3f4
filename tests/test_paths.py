"""Import paths on which READMEs, docstrings, the migration table and users of the original rely."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("fcnxs", "symbols", "tools")  # of the package

# What users of the original and of earlier versions import.
PROMISED = [
    "fcnxs.Segmenter",
    "fcnxs.FCNXSError",
    "fcnxs.predict.Segmenter",
    "fcnxs.solver.Solver",
    "fcnxs.solver.BatchEndParam",
    "fcnxs.data.FileIter",
    "fcnxs.data.Loader",
    "fcnxs.data.read_image",
    "fcnxs.data.read_label",
    "fcnxs.data.preprocess",
    "fcnxs.init.init_from_vgg16",
    "fcnxs.init.init_from_fcnxs",
    "fcnxs.init.upsample_filt",
    "fcnxs.symbols.NETS",
    "fcnxs.symbols.get_fcn32s_symbol",
    "fcnxs.symbols.get_fcn16s_symbol",
    "fcnxs.symbols.get_fcn8s_symbol",
    "fcnxs.symbols.get_vgg16_symbol",
    "fcnxs.symbols.get_vgg16fc_symbol",
    "fcnxs.symbols.filter_map",
    "fcnxs.symbols.compose_fp",
    "fcnxs.symbols.symbol_fcnxs",
    "fcnxs.symbols.symbol_vgg16",
    "fcnxs.symbols.coord_map",
    "fcnxs.symbols.legacy",
    "fcnxs.gluon.FCNxs",
    "fcnxs.gluon.PixelLoss",
    "fcnxs.gluon.make_trainer",
    "fcnxs.gluon.finetune",
    "fcnxs.gluon.get_fcn8s",
    "fcnxs.checkpoint.load",
    "fcnxs.checkpoint.save",
    "fcnxs.checkpoint.Checkpoint",
    "fcnxs.checkpoint.Meta",
    "fcnxs.finetune.finetune",
    "fcnxs.score",
    "fcnxs.convert.read",
    "fcnxs.compat.use_the_machine",
    "fcnxs.compat.mxnet",
    "fcnxs.stages.RECIPES",
    "fcnxs.replica.Replica",
    "fcnxs.lifeline.join",
    "fcnxs.shapes",
    "fcnxs.export",
    "fcnxs.vis.save_mask",
]

PATH = re.compile(r"(?<![\w./-])fcnxs(?:\.[A-Za-z_]\w*)+")
IMPORT = re.compile(r"^\s*(?:>>> |\.\.\. )?\s*from (fcnxs[\w.]*) import (\([^)]*\)|[^#\n(]+)", re.MULTILINE)


def docstrings(file: Path) -> str:
    """All docstrings of a module."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds)]
    return "\n".join(ast.get_docstring(node) or "" for node in nodes)


def paths_of(text: str) -> set:
    """Dotted names that a text has, and those that its import lines make up."""
    found = {*PATH.findall(text)}
    for module, names in IMPORT.findall(text):
        words = [part.split(" as ")[0].strip(". \n") for part in names.strip("() \n").split(",")]
        found |= {module, *(f"{module}.{word}" for word in words if word)}
    return found - {"fcnxs"}


def collected() -> dict:
    """Every path, and a file that has it."""
    texts = {file: file.read_text() for file in (ROOT / "README.md", *ROOT.glob("*/README.md"))}
    texts.update((file, docstrings(file)) for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
    migration = ROOT / "tests" / "test_migration.py"
    texts[migration] = migration.read_text()
    return {path: file.relative_to(ROOT) for file, text in texts.items() for path in paths_of(text)}


def resolve(path: str) -> object:
    """Import the module that a path begins with, and take the rest as attributes."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        try:
            found = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not (name + ".").startswith(error.name + "."):
                raise
            continue
        for attribute in parts[length:]:
            found = attribute_of(found, attribute)
        return found
    raise AssertionError(path)


def attribute_of(owner: object, name: str) -> object:
    """An attribute; of a class also one that only its instances have."""
    if inspect.isclass(owner) and not hasattr(owner, name):
        sources = [inspect.getsource(each) for each in owner.__mro__ if each.__module__.startswith("fcnxs")]
        assert any(re.search(rf"self\.{name}\b|^    {name}:", text, re.MULTILINE) for text in sources), name
        return None
    return getattr(owner, name)


def test_every_path_that_is_written_somewhere_can_be_imported():
    paths, missing = collected(), []
    assert len(paths) > 80  # they are found at all
    for path, file in sorted(paths.items()):
        try:
            resolve(path)
        except (AttributeError, AssertionError, ImportError) as error:
            missing.append(f"{file}: {path}: {error!r}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("path", PROMISED)
def test_what_was_promised_can_be_imported(path):
    resolve(path)


def test_paths_are_found_in_text_and_in_imports():
    text = """See `fcnxs.data.FileIter`, and logs/fcnxs.log. Ends with fcnxs.
    >>> from fcnxs.symbols import (crop,
    ...     offset)
from fcnxs import gluon as g, vis  # two
"""
    assert paths_of(text) >= {
        "fcnxs.data.FileIter",
        "fcnxs.symbols",
        "fcnxs.symbols.crop",
        "fcnxs.gluon",
        "fcnxs.vis",
    }
    assert "fcnxs.log" not in paths_of(text)

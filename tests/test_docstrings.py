"""Docstrings: their examples run, and they say shapes, exceptions, and arguments that there are."""

import ast
import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"fcnxs": "fcnxs", "symbols": "fcnxs.symbols", "tools": "fcnxs.tools"}
FILES = {
    ".".join(
        [
            package,
            *(part for part in file.relative_to(ROOT / folder).with_suffix("").parts if part != "__init__"),
        ]
    ): file
    for folder, package in FOLDERS.items()
    for file in sorted((ROOT / folder).rglob("*.py"))
}
MODULES = [
    name for name in FILES if not re.search(r"__main__|\.plain_", name)
]  # those run when they are imported
LIBRARY = [name for name in MODULES if not name.startswith("fcnxs.tools")]
SHAPE = re.compile(r"\([\w\s*/+.-]*,[\w\s*/+.,-]*\)|shape")


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    assert module.__doc__ and doctest.testmod(module).failed == 0


def test_there_are_examples_of_what_a_user_imports():
    found = [name for name in LIBRARY if ">>> " in FILES[name].read_text(encoding="utf-8")]
    for part in (
        "coord_map",
        "graph.crops",
        "graph.maps",
        "graph.describe",
        "interpolation",
        "graph.layer_sizes",
        "graph.reach",
        "symbol_fcnxs",
    ):
        assert f"fcnxs.symbols.{part}" in found
    for part in ("score", "metric", "vis", "stages", "net", "checkpoint.checkpoint"):
        assert f"fcnxs.{part}" in found


def public(name):
    """(name, function, docstring) of public functions and methods; a constructor's is that of its class too."""
    for node in ast.parse(FILES[name].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{name}.{node.name}", node, ast.get_docstring(node)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            own = ast.get_docstring(node)
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name in ("__init__", "__call__"):
                    yield (
                        f"{name}.{node.name}.{method.name}",
                        method,
                        f"{own}\n\n{ast.get_docstring(method) or ''}",
                    )
                elif isinstance(method, ast.FunctionDef) and not (
                    method.name.startswith("_") or "overload" in map(ast.unparse, method.decorator_list)
                ):
                    yield f"{name}.{node.name}.{method.name}", method, ast.get_docstring(method) or ""


@pytest.mark.parametrize("name", LIBRARY)
def test_functions_of_arrays_say_their_shapes(name):
    for where, function, text in public(name):
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        types = [ast.unparse(each) for each in (*(a.annotation for a in arguments), function.returns) if each]
        if re.search(r"\bndarray|NDArray\b", " ".join(types)):
            assert SHAPE.search(text), where


@pytest.mark.parametrize("name", LIBRARY)
def test_functions_that_raise_an_error_say_when(name):
    for where, function, text in public(name):
        raised = [
            node.exc for node in ast.walk(function) if isinstance(node, ast.Raise) and node.exc is not None
        ]
        if any(ast.unparse(each).startswith("FCNXSError") for each in raised):
            assert re.search(r"\b[Rr]aise|\b[Rr]efuse", text), where


@pytest.mark.parametrize("name", LIBRARY)
def test_the_arguments_that_are_described_are_there(name):
    for where, function, text in public(name):
        section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE)
        lines = re.findall(r"^    (\S[^:\n]*):", section[1], re.MULTILINE) if section else []
        arguments = function.args
        there = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        there |= {f"{star}{a.arg}" for star, a in (("*", arguments.vararg), ("**", arguments.kwarg)) if a}
        if not function.name.startswith("__call__"):
            assert {each for line in lines for each in line.split(", ")} <= there, where

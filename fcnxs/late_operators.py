"""Compile MXNet's operators when they are first called, so that commands start sooner.

While it is imported, MXNet writes a Python function for each of its 2,500 operators and compiles it by `exec`.
After `compile_late()`, the two modules that do this have an `exec` of ours. It makes a short function, whose
first call compiles the operator's text and takes over its code and defaults:

    def Convolution(*args, **kwargs):            def Convolution(data=None, weight=None, ...):
        return compiled("17")(*args, **kwargs)       ...

Commands call it. The library does not: until its first call, a function's signature is the short one's.
"""

from __future__ import annotations

import importlib.machinery
import re
import sys
from types import FunctionType, ModuleType
from typing import Any, Callable, Dict, Tuple

REGISTERS = ("mxnet.ndarray.register", "mxnet.symbol.register")


def compile_late() -> None:
    """Compile each operator at its first call, if MXNet is not imported yet."""
    if LateFinder not in sys.meta_path:
        sys.meta_path.insert(0, LateFinder)


class LateFinder:
    """Finder of the modules in `REGISTERS`."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ANN401
        """The module's usual spec, with a loader that gives the module another `exec`."""
        if name not in REGISTERS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            _replace_exec(module)
            execute(module)

        spec.loader.exec_module = exec_module
        return spec


def _first_call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
    return compiled("NUMBER")(*args, **kwargs)  # noqa: F821  (found in the operators' module)


def _replace_exec(module: ModuleType) -> None:
    waiting: Dict[str, Tuple[FunctionType, str]] = {}

    def compiled(number: str) -> Callable:
        function, text = waiting[number]
        made: Dict[str, FunctionType] = {}
        exec(text, module.__dict__, made)
        (real,) = made.values()
        function.__defaults__, function.__kwdefaults__ = real.__defaults__, real.__kwdefaults__
        function.__code__ = real.__code__
        return function

    def late(text: str, _: None, made: Dict[str, FunctionType]) -> None:
        name, number = re.search(r"^def (\w+)\(", text, re.M)[1], str(len(waiting))
        constants = [number if each == "NUMBER" else each for each in _first_call.__code__.co_consts]
        made[name] = FunctionType(
            _first_call.__code__.replace(co_consts=tuple(constants)), module.__dict__, name
        )
        waiting[number] = made[name], text

    module.compiled, module.exec = compiled, late

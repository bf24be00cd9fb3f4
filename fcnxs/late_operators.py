"""Make MXNet's operators when they are first called, so that commands start sooner.

While it is imported, MXNet writes and compiles a Python function for each of its 2,500 operators. After
`make_late()` each is a function that makes the operator at its first call:

    def Convolution(*args, **kwargs):
        return operator()(*args, **kwargs)

Commands call it. The library does not, since these functions have neither signature nor documentation.
"""

from __future__ import annotations

import functools
import importlib.machinery
import sys
from types import ModuleType
from typing import Any, Callable

MODULE = "mxnet.base"
MAKERS = ("_init_op_module", "_init_np_op_module")  # its functions that make all operators of a module


def make_late() -> None:
    """Make each operator at its first call, if MXNet is not imported yet."""
    if LateFinder not in sys.meta_path:
        sys.meta_path.insert(0, LateFinder)


class LateFinder:
    """Finder of `MODULE`."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ANN401
        """The module's usual spec, with a loader that replaces `MAKERS`."""
        if name != MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            for maker in MAKERS:
                setattr(module, maker, _late(getattr(module, maker)))

        spec.loader.exec_module = exec_module
        return spec


def _late(make_all: Callable) -> Callable:
    """MXNet's function that makes all operators of a module by `make_op_func`, with functions as above."""

    def make_all_late(*names: Any, make_op_func: Callable | None = None, **more_names: str) -> None:  # noqa: ANN401
        *names, make = names if make_op_func is None else (*names, make_op_func)
        make_all(*names, make_op_func=functools.partial(_operator, make), **more_names)

    return make_all_late


def _operator(make: Callable, handle: object, name: str, function_name: str) -> Callable:
    """A function that makes the operator at its first call."""
    operator = functools.lru_cache(maxsize=None)(functools.partial(make, handle, name, function_name))

    def function(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """MXNet's documentation of this operator is at its own function."""
        return operator()(*args, **kwargs)

    function.__name__ = function_name
    return function

"""Let MXNet 1.9.1 run on NumPy 1.24 and later, with NumPy 2, and on Python 3.12 and later.

Import this file before MXNet. It needs NumPy alone, so `fcnxs export` writes a copy beside each net, for
programs that have MXNet and not fcnxs. MXNet was written for NumPy 1.23 and Python 3.9. Since then

- NumPy removed functions and constants that MXNet looks up;
- NumPy 2 prints a number inside a tuple as `(np.int64(3), 3)`, and MXNet passes operators' parameters as text;
- NumPy 2 refuses -1 in an array of uint8, and NumPy 2.5 an array of one element where a number is needed;
- Python 3.12 removed `distutils`, with which MXNet and GluonCV compare version numbers.

Other code is not affected: names that NumPy still has stay as they are, and it prints numbers as before.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import re
import sys
import warnings
from types import ModuleType, SimpleNamespace
from typing import Any, Callable

import numpy as np

CONSTANTS = {
    **{"bool": bool, "int": int, "float": float, "compat": SimpleNamespace(basestring=str)},
    **{"PZERO": 0.0, "NZERO": -0.0, "PINF": np.inf, "NINF": -np.inf},
    **{"Inf": np.inf, "NAN": np.nan, "NaN": np.nan},
}

# Removed functions: old name, and the function that does the same; None if there is none.
FUNCTIONS = {
    **{"alltrue": np.all, "sometrue": np.any, "product": np.prod, "round_": np.round, "in1d": np.isin},
    **{"trapz": getattr(np, "trapezoid", None), "msort": functools.partial(np.sort, axis=0)},
    **dict.fromkeys(("mirr", "npv", "pmt", "ppmt", "pv", "rate")),
}


class _LikeStr(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, str)


class Text(str, metaclass=_LikeStr):
    """`str` as of NumPy 1: numbers of NumPy inside tuples and lists are printed as plain numbers.

    >>> Text((np.int64(3), [np.float32(0.1), None]))
    '(3, [0.1, None])'
    """

    def __new__(cls, value: object = "") -> str:
        """The text of a value, a plain str."""
        return str(_plain(value))


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, (tuple, list)):
        return (list if isinstance(value, list) else tuple)(map(_plain, value))
    if isinstance(value, np.floating):
        return float(str(value))  # 0.1 for np.float32(0.1), whose item() is 0.10000000149011612
    return value.item() if isinstance(value, np.generic) else value


class Version:
    """Version number to compare: what MXNet and GluonCV use of `distutils.version`."""

    def __init__(self, text: str) -> None:
        self.numbers = [int(number) for number in re.findall(r"\d+", text)]

    def __lt__(self, other: Version) -> bool:
        """Whether this is the older one."""
        return self.numbers < other.numbers

    def __ge__(self, other: Version) -> bool:
        """Whether this is not the older one."""
        return not self < other


def _wrapping(array: Callable) -> Callable:
    """`mx.nd.array` that takes -1 as 255 in uint8, as it does with NumPy 1."""

    @functools.wraps(array)
    def wrapping(source_array: Any, ctx: Any = None, dtype: Any = None) -> Any:  # noqa: ANN401
        try:
            return array(source_array, ctx, dtype)
        except TypeError:
            if dtype is None or np.dtype(dtype).kind not in "iu":
                raise
            return array(np.array(source_array).astype(dtype), ctx, dtype)

    return wrapping


def _as_numbers(threshold: Callable) -> Callable:
    """Calibration's function of thresholds, with numbers where it returns arrays of one element."""

    @functools.wraps(threshold)
    def numbers(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return tuple(np.asarray(each).item() for each in threshold(*args, **kwargs))

    return numbers


# Modules of MXNet whose `str` becomes `Text`, and the functions in them that are replaced.
REPAIRS = {
    "mxnet._ctypes.ndarray": {},
    "mxnet._ctypes.symbol": {},
    "mxnet.symbol.symbol": {},
    "mxnet.io.io": {},
    "mxnet.ndarray.ndarray": {"array": _wrapping},
    "mxnet.contrib.quantization": {"_get_optimal_threshold": _as_numbers},
    # With PYTHONOPTIMIZE=2 no class has a docstring, and MXNet joins those of these modules.
    **({"mxnet.ndarray_doc": {}, "mxnet.symbol_doc": {}} if sys.flags.optimize > 1 else {}),
}


class RepairingFinder:
    """Finder of the modules in `REPAIRS`."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ANN401
        """The module's usual spec, with a loader that repairs the module."""
        if name not in REPAIRS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            module.str = Text
            execute(module)
            for function, repair in REPAIRS[name].items():
                setattr(module, function, repair(getattr(module, function)))
            for each in vars(module).values() if name.endswith("_doc") else ():
                if isinstance(each, type) and each.__doc__ is None:
                    each.__doc__ = ""

        spec.loader.exec_module = exec_module
        return spec


def _wrapper(name: str, replacement: Callable | None) -> Callable:
    """A function of its own for an old name: MXNet uses functions as keys, so two names need two."""

    def function(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        if replacement is None:
            raise NotImplementedError(f"numpy.{name} was removed from NumPy")
        return replacement(*args, **kwargs)

    function.__name__ = name
    return function


def _supply() -> None:
    substitutes = {**CONSTANTS, **{name: _wrapper(name, new) for name, new in FUNCTIONS.items()}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some NumPy warns of a name that a later one removes
        for name, substitute in substitutes.items():
            if not hasattr(np, name):
                setattr(np, name, substitute)
    known = sys.version_info < (3, 12) or "distutils" in sys.modules
    if not known and importlib.util.find_spec("distutils") is None:
        distutils, version = ModuleType("distutils"), ModuleType("distutils.version")
        distutils.version, version.LooseVersion, version.StrictVersion = version, Version, Version
        sys.modules.update({"distutils": distutils, "distutils.version": version})
    if RepairingFinder not in sys.meta_path:
        sys.meta_path.insert(0, RepairingFinder)


_supply()

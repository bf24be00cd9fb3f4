"""Packages that fcnxs requires, by setup.py as the installed distribution has it, and the wheels of MXNet."""

from __future__ import annotations

import shlex
from typing import Any, Dict, Iterator, List, Tuple

from ..compat import CPU_INSTALL, GPU_INSTALL
from .facts import MODULES, WHEEL, Facts


def wheels(facts: Facts) -> List[str]:
    """Names of the installed wheels of MXNet, e.g. ["mxnet-cu112"]; two of them overwrite each other."""
    return sorted(name for name in facts.packages if WHEEL.fullmatch(name))


def two_wheels(facts: Facts, gpu: bool) -> Iterator[Tuple[str, str]]:
    """That two wheels of MXNet are installed, if they are, with the cure: for a GPU or for the CPU."""
    here = wheels(facts)
    if len(here) < 2:
        return
    new = CPU_INSTALL
    if gpu:
        new = GPU_INSTALL if "mxnet-cu117" not in here else GPU_INSTALL.replace("cu112", "cu117")
    yield f"{' and '.join(here)} overwrite each other", f"pip uninstall -y {' '.join(here)}, then {new}"


def required(facts: Facts) -> Dict[str, Any]:
    """Packages that fcnxs requires on this Python, with a SpecifierSet each; also "python" and "mxnet".

    Without an installation by pip, or without `packaging`, these are a few packages, and None for their bounds.
    """
    if not facts.requires or "packaging" not in facts.packages:
        return dict.fromkeys(MODULES)
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    found = {"python": SpecifierSet(facts.requires_python)}
    extra = "numpy2" if int(facts.packages.get("numpy", "1").split(".")[0]) >= 2 else "cpu"
    setting = {"python_version": ".".join(map(str, facts.python[:2])), "extra": extra}
    for requirement in map(Requirement, facts.requires):
        # Beside NumPy 2 no extra names MXNet, since pip installs it without its bounds; it is the same MXNet.
        given = {"python_version": "3.12", "extra": "cpu"} if requirement.name == "mxnet" else setting
        if requirement.marker is None or requirement.marker.evaluate(given):
            found[requirement.name] = requirement.specifier & found.get(requirement.name, SpecifierSet())
    return found


def to_pip(facts: Facts, name: str, package: str = "") -> str:
    """What to give to pip for a version that fcnxs requires of `name`, by default for `name` itself."""
    bounds = sorted(map(str, required(facts).get(name) or ()), reverse=True)  # lower bound first
    return shlex.quote(f"{package or name}{','.join(bounds)}")

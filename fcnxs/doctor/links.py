"""Links beside MXNet's library to those of CUDA that pip installed, which `import mxnet` finds through them.

libmxnet.so looks for libraries in its own folder first (its RPATH is $ORIGIN), and NVIDIA's packages put each
into a folder of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, NamedTuple

from ..compat import GPU_INSTALL, INSTALL_HINT
from ..errors import FCNXSError
from ..system import libraries
from .facts import Facts, quick
from .gpus import ONNX, shown, usable
from .packages import two_wheels


class Links(NamedTuple):
    """What `link_cuda` did: file names of CUDA's libraries in MXNet's folder."""

    folder: Path
    made: List[str]
    there: List[str]  # links that were right already
    kept: List[str]  # files and links of others, which stay as they are


def link_cuda() -> Links:
    """Link CUDA's libraries of NVIDIA's pip packages beside libmxnet.so; MXNet is not imported.

    It makes what is missing and renews links of its own that lead elsewhere. It replaces nothing else.

    Raises:
        FCNXSError: there is no MXNet for GPUs, or another beside it, or its folder cannot be written.
    """
    library = libraries.of_mxnet()
    if library is None:
        raise FCNXSError(INSTALL_HINT)
    known = quick()
    for what, cure in two_wheels(known, gpu=not known.gpus or bool(usable(known))):
        raise FCNXSError(f"--link-cuda: {what}; {cure}")
    need = libraries.needs(library)
    if need and libraries.DRIVER not in need:
        what = f"--link-cuda: {library} is MXNet for the CPU alone"
        raise FCNXSError(f"{what}; {_for_gpus(known)}")
    have = libraries.installed()
    done = Links(library.parent, [], [], [])
    try:
        for name, file in sorted(have.items()):
            getattr(done, _link(library.with_name(name), file)).append(name)
    except OSError as error:
        path = ":".join(dict.fromkeys(str(file.parent) for file in have.values()))
        raise FCNXSError(
            f"--link-cuda: cannot write in {library.parent} ({error.strerror}); run it as the owner of this "
            f"folder, or make no links and export LD_LIBRARY_PATH={path}"
        ) from None
    return done


def _for_gpus(known: Facts) -> str:
    """What to do on a machine whose MXNet is for the CPU."""
    if known.gpus and not usable(known):
        names = ", ".join(f"{gpu.name} ({shown(gpu.capability)})" for gpu in known.gpus)
        return f"keep it, since no MXNet has code for {names}; {ONNX}"
    return f"for NVIDIA GPUs uninstall it, then {GPU_INSTALL}"


def _link(place: Path, file: Path) -> str:
    """Make one link; returns the list of `Links` to which it belongs."""
    target = os.path.relpath(file.resolve(), place.parent.resolve())
    if place.is_symlink() and os.readlink(place) == target:
        return "there"
    if os.path.lexists(place) and not _is_ours(place):
        return "kept"
    new = place.with_name(f".{place.name}.{os.getpid()}")
    os.symlink(target, new)
    os.replace(new, place)
    return "made"


def _is_ours(place: Path) -> bool:
    """Whether this is a link to a file of its own name in the folder `nvidia` of a site-packages."""
    if not place.is_symlink():
        return False
    target = Path(os.readlink(place))
    return target.name == place.name and "nvidia" in target.parts and "lib" in target.parts

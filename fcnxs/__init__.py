"""Fully convolutional networks (FCN-32s, FCN-16s, FCN-8s) for semantic segmentation, on MXNet.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015. The
nets are in `fcnxs.symbols`, the commands in `fcnxs.tools`, everything between them here.
"""

from . import early  # isort: skip  # noqa: F401  (before the imports below, which take a while)
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import FCNXSError, FCNXSWarning

if TYPE_CHECKING:
    from .predict.segmenter import Segmenter

__all__ = ["FCNXSError", "FCNXSWarning", "Segmenter", "__version__"]
__version__ = "0.1.0"

with contextlib.suppress(ImportError):  # Without NumPy the import of MXNet fails, and `fcnxs doctor` says so.
    from . import mxnet_compat  # noqa: F401
from . import compat  # noqa: E402, F401

# In a checkout that is not installed through setup.py's mapping (PYTHONPATH, or `pip install -e`
# of an old pip), fcnxs.symbols and fcnxs.tools are the folders beside this one.
_beside = Path(__file__).resolve().parent.parent
if (_beside / "setup.py").is_file() and (_beside / "symbols" / "coord_map.py").is_file():
    __path__.append(str(_beside))


def __getattr__(name: str) -> "type[Segmenter]":
    """Import `fcnxs.Segmenter`, which loads MXNet, at its first use."""
    if name != "Segmenter":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .predict.segmenter import Segmenter

    return Segmenter

"""Fully convolutional networks (FCN-32s, FCN-16s, FCN-8s) for semantic segmentation, on MXNet.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015. The
nets are in `fcnxs.symbols`, the commands in `fcnxs.tools`, everything between them here.

`fcnxs.Segmenter` segments images. It and the modules of `dir(fcnxs)` are imported at their first use, so that
`import fcnxs` loads no MXNet: call `fcnxs.compat.use_the_machine()` before.
"""

from . import early  # isort: skip  # noqa: F401  (before the imports below, which take a while)
import contextlib
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, List

from .errors import FCNXSError, FCNXSWarning

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from . import checkpoint as checkpoint
    from . import class_weights as class_weights
    from . import compat as compat
    from . import convert as convert
    from . import data as data
    from . import errors as errors
    from . import finetune as finetune
    from . import gluon as gluon
    from . import init as init
    from . import lifeline as lifeline
    from . import lr_schedule as lr_schedule
    from . import metric as metric
    from . import net as net
    from . import replica as replica
    from . import shapes as shapes
    from . import solver as solver
    from . import stages as stages
    from . import symbols as symbols
    from . import tools as tools
    from . import vis as vis
    from .predict.segmenter import Scene, Segmenter

__all__ = ["FCNXSError", "FCNXSWarning", "Scene", "Segmenter", "__version__"]
__version__ = "0.1.0"

# The modules that the READMEs use, imported at their first use. `from fcnxs import *` leaves them out, since
# their names are those of people's variables.
MODULES = (
    *("checkpoint", "class_weights", "compat", "convert", "data", "errors", "finetune", "gluon", "init"),
    *("lifeline", "lr_schedule", "metric", "net", "replica", "shapes", "solver", "stages", "symbols"),
    *("tools", "vis"),
)

with contextlib.suppress(ImportError):  # Without NumPy the import of MXNet fails, and `fcnxs doctor` says so.
    from . import mxnet_compat  # noqa: F401
from . import compat  # noqa: E402, F401

# In a checkout that is not installed through setup.py's mapping (PYTHONPATH, or `pip install -e`
# of an old pip), fcnxs.symbols and fcnxs.tools are the folders beside this one.
_beside = Path(__file__).resolve().parent.parent
if (_beside / "setup.py").is_file() and (_beside / "symbols" / "coord_map.py").is_file():
    __path__.append(str(_beside))


if not TYPE_CHECKING:  # or every name would be an attribute

    def __getattr__(name: str) -> object:
        """Import `fcnxs.Segmenter`, `fcnxs.Scene` or one of the modules at its first use."""
        if name in ("Scene", "Segmenter"):
            from .predict import segmenter

            return getattr(segmenter, name)
        if name not in MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return importlib.import_module(f".{name}", __name__)


def __dir__() -> List[str]:
    """Public names alone."""
    return [*__all__, *MODULES]

"""Fully convolutional networks (FCN-32s, FCN-16s, FCN-8s) for semantic segmentation, on MXNet.

Long, Shelhamer, Darrell: Fully Convolutional Networks for Semantic Segmentation, CVPR 2015. The
nets are in `fcnxs.symbols`, the commands in `fcnxs.tools`, everything between them here.
"""

from pathlib import Path

from . import compat
from .errors import FCNXSError

__all__ = ["FCNXSError", "__version__"]
__version__ = "0.1.0"

compat.make_mxnet_importable()

# In a checkout that is not installed through setup.py's mapping (PYTHONPATH, or `pip install -e`
# of an old pip), fcnxs.symbols and fcnxs.tools are the folders beside this one.
_beside = Path(__file__).resolve().parent.parent
if (_beside / "setup.py").is_file() and (_beside / "symbols" / "coord_map.py").is_file():
    __path__.append(str(_beside))

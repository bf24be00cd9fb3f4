"""The nets, as symbol builders, and the coordinate maps that their crop offsets come from.

Begin with `symbol_fcnxs.py`: FCN-32s, 16s and 8s, built on `symbol_vgg16.py` with the layers of `layers.py`.
`coord_map.py` is the algebra of coordinate maps, `interpolation.py` has bilinear upsampling, `upsampling.py`
writes it as products of matrices for training, `legacy.py` completes old symbols. `graph/` reads and writes
graphs, `trimming/` leaves out cells that no image can change.

This room may import `compat`, `errors` and `conventions` alone.
"""

from functools import partial
from typing import Callable, Dict

from ..conventions import SIFTFLOW_CLASSES
from .coord_map import compose_fp, compose_fp_list, filter_map, inv_fp
from .graph.crops import CropDerivation, crop_derivations
from .graph.describe import Row, describe
from .graph.layer_sizes import smallest_input
from .graph.maps import coordinate_maps, misaligned
from .graph.reach import unscored_border
from .layers import Symbol, add, crop
from .symbol_alexnet import get_alexnetfc_symbol, get_fcn_alexnet_symbol
from .symbol_fcnxs import (
    FCNXS,
    fcnxs_score,
    get_fcn8s_atonce_symbol,
    get_fcn8s_symbol,
    get_fcn16s_symbol,
    get_fcn32s_symbol,
    get_fcnxs_symbol,
    get_late_fusion_symbol,
    offset,
)
from .symbol_vgg16 import (
    get_mask_regression_symbol,
    get_vgg16_symbol,
    get_vgg16fc_symbol,
    vgg16_pool3,
    vgg16_pool4,
    vgg16_score,
)

__all__ = [
    "FCNXS",
    "NETS",
    "CropDerivation",
    "Row",
    "add",
    "compose_fp",
    "compose_fp_list",
    "coordinate_maps",
    "crop",
    "crop_derivations",
    "describe",
    "fcnxs_score",
    "filter_map",
    "get_alexnetfc_symbol",
    "get_fcn16s_symbol",
    "get_fcn32s_symbol",
    "get_fcn8s_atonce_symbol",
    "get_fcn8s_symbol",
    "get_fcn_alexnet_symbol",
    "get_fcnxs_symbol",
    "get_late_fusion_symbol",
    "get_mask_regression_symbol",
    "get_vgg16_symbol",
    "get_vgg16fc_symbol",
    "inv_fp",
    "misaligned",
    "offset",
    "smallest_input",
    "unscored_border",
    "vgg16_pool3",
    "vgg16_pool4",
    "vgg16_score",
]

SIFTFLOW = {head: len(classes) for head, classes in SIFTFLOW_CLASSES.items()}  # sem 33, geo 3

# Every net by its name; a builder's further arguments have defaults.
NETS: Dict[str, Callable[..., Symbol]] = {
    **FCNXS,
    "fcn4s": partial(get_fcnxs_symbol, 4),
    "fcn2s": partial(get_fcnxs_symbol, 2),
    "fcn8s_atonce": get_fcn8s_atonce_symbol,
    "fcn_alexnet": get_fcn_alexnet_symbol,
    **{f"siftflow_fcn{stride}s": partial(get_fcnxs_symbol, stride, heads=SIFTFLOW) for stride in (32, 16, 8)},
    "nyud_fcn32s_color_hha": get_late_fusion_symbol,
    "nyud_fcn32s_color_d": partial(get_fcnxs_symbol, 32, numclass=40, channels=4),
    "alexnetfc": get_alexnetfc_symbol,
    "vgg16": get_vgg16_symbol,
    "vgg16fc": get_vgg16fc_symbol,
    "mask_regression": get_mask_regression_symbol,
}

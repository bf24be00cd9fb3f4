"""Symbol builders of the nets, and the coordinate maps that their crop offsets come from."""

from .coord_map import compose_fp, compose_fp_list, filter_map, inv_fp
from .graph import coordinate_maps
from .layers import add, crop
from .symbol_fcnxs import (
    fcnxs_score,
    get_fcn8s_symbol,
    get_fcn16s_symbol,
    get_fcn32s_symbol,
    get_vgg16_symbol,
    get_vgg16fc_symbol,
    offset,
)
from .vgg16 import vgg16_pool3, vgg16_pool4, vgg16_score

__all__ = [
    "add",
    "compose_fp",
    "compose_fp_list",
    "coordinate_maps",
    "crop",
    "fcnxs_score",
    "filter_map",
    "get_fcn16s_symbol",
    "get_fcn32s_symbol",
    "get_fcn8s_symbol",
    "get_vgg16_symbol",
    "get_vgg16fc_symbol",
    "inv_fp",
    "offset",
    "vgg16_pool3",
    "vgg16_pool4",
    "vgg16_score",
]

"""Nets that regress masks of one size from images of one size (`symbols.get_mask_regression_symbol`)."""

from __future__ import annotations

from typing import Dict, NamedTuple, Tuple

from .compat import mxnet as mx
from .errors import FCNXSError
from .symbols.graph.nodes import Graph, setting

Params = Dict[str, mx.nd.NDArray]

MASKS = "mask_regression"  # name of the net


class Sizes(NamedTuple):
    """(height, width) of the images, and height and width of the masks."""

    image: Tuple[int, int]
    mask: int

    def __str__(self) -> str:
        return f"images of {self.image[1]}x{self.image[0]} and masks of {self.mask}x{self.mask}"


def has_masks(arg_params: Params) -> bool:
    """Whether these are the parameters of such a net: it has masks, and not VGG-16's fc6."""
    return "mask_weight" in arg_params and "fc6_weight" not in arg_params


def masks_of(symbol: mx.sym.Symbol | None, where: str) -> Tuple[int, Sizes]:
    """Number of classes and sizes of a net that regresses masks; errors name `where`.

    Raises:
        FCNXSError: the graph does not say them.
    """
    nodes = {node["name"]: node for node in Graph.of(symbol).nodes} if symbol is not None else {}
    if not (nodes.keys() >= {"data", "masks"} and "__shape__" in nodes["data"]["attrs"]):
        raise FCNXSError(f"{where}: regresses masks, but its graph does not say of which sizes")
    classes, mask = (setting(nodes["masks"], "shape", axis, 0) for axis in (1, 2))
    height, width = (setting(nodes["data"], "__shape__", axis, 0) for axis in (2, 3))
    return classes, Sizes((height, width), mask)

"""A net: its graph and parameters, how to identify it by them, checks that they fit, and its executors."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from .compat import mxnet as mx
from .conventions import FUSION
from .errors import FCNXSError
from .feasible import check_layers
from .heads import check_one_head, refuse_upsampling
from .regression import MASKS, Sizes, has_masks, masks_of
from .symbols import symbol_fcnxs
from .symbols.graph.nodes import Graph
from .symbols.layers import check_numclass

Params = Dict[str, mx.nd.NDArray]
Shape = Tuple[int, ...]

ANY_SIZE = (1, 3, 500, 500)  # of an image; the weights' shapes do not depend on it

BFLOAT16 = "12"  # MXNet's number of this type

# Layers that a net adds to the net before it: the scores of a finer layer, and the upsampling to it.
SKIPS = {f"fcn{stride}s": (f"score_{pool}", up) for stride, (pool, up, _) in symbol_fcnxs.SKIPS.items()}
SCORES = ("score", *(score for score, _ in SKIPS.values()))
DECONVOLUTIONS = ("bigscore", *(up for _, up in SKIPS.values()))


class Net(NamedTuple):
    """A graph whose one input is `data` (N, 3, H, W), float32, RGB minus the mean, and its parameters."""

    symbol: mx.sym.Symbol
    arg_params: Params
    aux_params: Params


def is_input(name: str) -> bool:
    """Whether a symbol's argument is an image or label, by the original's rule."""
    return name.endswith(("data", "label"))


@dataclass(frozen=True)
class Variant:
    """The net that a set of parameters belongs to."""

    name: str  # of `fcnxs.symbols.NETS`; the classifiers are vgg16 and alexnet
    width: float  # channels, relative to VGG-16's or AlexNet's
    fc: int  # channels of fc6 and fc7; 0 without them
    numclass: int | None  # None for VGG-16 and AlexNet, and for several heads
    pooling_convention: str = "valid"
    sizes: Sizes | None = field(default=None, repr=False)  # of a net that regresses masks
    heads: Dict[str, int] | None = field(default=None, repr=False)  # classes of several heads by name

    @property
    def classes(self) -> Dict[str, int] | None:
        """Number of classes of each head, of one by ""; None for VGG-16 and AlexNet."""
        return self.heads or (None if self.numclass is None else {"": self.numclass})


def net_of(arg_params: Params, where: str, symbol: mx.sym.Symbol | None = None) -> Variant:
    """Identify the net, its width and its classes from the parameters' shapes; errors name `where`.

    >>> shapes = {"conv1_1_weight": (8, 3, 3, 3), "fc6_weight": (256, 64, 7, 7)}
    >>> net_of({name: mx.nd.zeros(shape) for name, shape in shapes.items()}, "these")
    Variant(name='vgg16', width=0.125, fc=256, numclass=None, pooling_convention='valid')

    Args:
        symbol: tells FCN-8s at-once from FCN-8s, and the rounding of pooled sizes; parameters do not.

    Raises:
        FCNXSError: the net is neither VGG-16, AlexNet, nor an FCN on them, or has more than 255 classes.
    """
    if f"conv1_1{FUSION[0]}_weight" in arg_params:
        where = f"{where}: the {FUSION[0]} image's part"
        own = {name.replace(f"{FUSION[0]}_", "_"): array for name, array in arg_params.items()}
        pooling = "full" if symbol is not None and Graph.of(symbol).rounds_up else "valid"
        return replace(net_of(own, where), name="nyud_fcn32s_color_hha", pooling_convention=pooling)
    first, channels = ("conv1_weight", 96) if "conv1_weight" in arg_params else ("conv1_1_weight", 64)
    masks = has_masks(arg_params)
    for name in (first, *([] if masks else ["fc6_weight"])):
        if name not in arg_params:
            raise FCNXSError(f"{where}: no {name} among the parameters; neither VGG-16 nor an FCN")
    width, fc = arg_params[first].shape[0] / channels, 0 if masks else arg_params["fc6_weight"].shape[0]
    if symbol is not None:
        check_one_head(
            symbol, where, "`fcnxs convert --trunk` takes its VGG-16, to begin nets of one head from"
        )
    graph = None if symbol is None else Graph.of(symbol)
    pooling = "full" if graph and graph.rounds_up else "valid"
    if masks:
        numclass, sizes = masks_of(symbol, where)
        return Variant(MASKS, width, fc, check_numclass(numclass, where), pooling, sizes)
    alexnet = first == "conv1_weight"
    if "score_weight" not in arg_params:
        refuse_upsampling(arg_params, where, graph)
        return Variant("alexnet" if alexnet else "vgg16", width, fc, None, pooling)
    has = {name.rpartition("_")[0] for name in arg_params}
    name = next((net for net, layers in [*SKIPS.items()][::-1] if has.intersection(layers)), "fcn32s")
    numclass = check_numclass(arg_params["score_weight"].shape[0], where)
    name = "nyud_fcn32s_color_d" if name == "fcn32s" and arg_params[first].shape[1] == 4 else name
    name = "fcn8s_atonce" if graph and "_mul_scalar" in graph.ops else name  # it scales layers by a constant
    return Variant("fcn_alexnet" if alexnet else name, width, fc, numclass, pooling)


def check_params(
    symbol: mx.sym.Symbol,
    arg_params: Params,
    aux_params: Params,
    where: str,
    inputs: Tuple[str, str] = ("data", "softmax_label"),
    image_shape: Tuple[int, ...] | None = None,
) -> None:
    """Raise an error that names `where` unless every parameter of a net is there, float32, in its shape.

    Parameters that the symbol declares as bfloat16 may be bfloat16.

    Args:
        inputs: names of image and label.
        image_shape: shape of the image; only nets with fully connected layers depend on it. None: any.
    """
    shapes = Graph.of(symbol).image_shapes(fixed_size(symbol, inputs[0]) or ANY_SIZE[2:])
    shapes = {inputs[0]: image_shape} if image_shape else shapes
    arg_shapes, _, aux_shapes = symbol.infer_shape(**shapes)
    attrs = symbol.attr_dict()
    given = {**arg_params, **aux_params}
    needed = [*zip(symbol.list_arguments(), arg_shapes), *zip(symbol.list_auxiliary_states(), aux_shapes)]
    for name, shape in needed:
        if name not in inputs and not is_input(name):
            check_param(name, shape, given, where, attrs.get(name, {}).get("__dtype__") == BFLOAT16)


def check_param(name: str, shape: Shape, params: Params, where: str, bfloat16: bool = False) -> mx.nd.NDArray:
    """Parameter of a net; raise an error that names `where`, unless it is there, in its type and shape."""
    if name not in params:
        raise FCNXSError(f"{where}: parameter {name} {shape} of the net is missing")
    given = params[name]
    kind = np.dtype(given.dtype)
    if given.shape != shape or not (kind == np.float32 or (bfloat16 and kind.itemsize == 2)):
        hint = (
            "; an FCN for other classes starts from VGG-16 (`init.trunk_of`)"
            if name.startswith("score")
            else ""
        )
        raise FCNXSError(
            f"{where}: parameter {name} is {kind.name} {given.shape}, but the net needs float32 {shape}{hint}"
        )
    return given


def check_size(
    symbol: mx.sym.Symbol,
    name: str,
    shape: Shape,
    where: object,
    graph: Graph | None = None,
    memory: bool = True,
) -> None:
    """Raise an error if the net cannot take an input (N, 3, H, W); it names the smallest possible size.

    Args:
        graph: graph of `symbol`, to check its layers too (`feasible.check_layers`), and with `memory` what a
            pass needs.
    """
    fixed = fixed_size(symbol, name)
    if fixed is not None and shape[-2:] != fixed:
        raise FCNXSError(
            f"{where}: {shape[-1]}x{shape[-2]} pixels, but the net was exported only for "
            f"{fixed[1]}x{fixed[0]}; resize the image, or export with --image-size dynamic"
        )
    if _fits(symbol, name, shape):
        return check_layers(symbol, graph, {name: shape}, where, memory) if graph else None
    sides = (side for side in range(1, 1024) if _fits(symbol, name, (*shape[:2], side, side)))
    smallest = next(sides, None)
    if smallest is None:
        raise FCNXSError(f"{where}: the net cannot take input {name!r} of shape {shape}")
    size = f"{shape[-1]}x{shape[-2]}"
    raise FCNXSError(f"{where}: {size} pixels is too small; the smallest for this net is {smallest}x{smallest}")


def fixed_size(symbol: mx.sym.Symbol, name: str = "data") -> Tuple[int, int] | None:
    """(H, W) of the only size of images that a net takes, declared by its input; None: any size."""
    shape = symbol.attr_dict().get(name, {}).get("__shape__")
    height, width = ast.literal_eval(shape)[-2:] if shape else (0, 0)
    return (height, width) if height and width else None


def _fits(symbol: mx.sym.Symbol, name: str, shape: Shape) -> bool:
    try:
        symbol.infer_shape_partial(**{name: shape})  # which, unlike infer_shape, prints nothing
    except mx.MXNetError:
        return False
    return True


def layer_shapes(symbol: mx.sym.Symbol, **inputs: Shape) -> Dict[str, Shape]:
    """Shapes of a net's arguments and of its layers' outputs, by the names that `get_internals` gives them."""
    internals = symbol.get_internals()
    return dict(zip(internals.list_outputs(), internals.infer_shape(**inputs)[1]))


def bind(net: Net, shape: Shape | Dict[str, Shape]) -> mx.executor.Executor:
    """Executor of a net for inference on the CPU; `shape` is that of `data`, or of each of its inputs by name.

    Raises:
        FCNXSError: a layer cannot run on an input of this shape.
    """
    shapes = shape if isinstance(shape, dict) else {"data": shape}
    check_layers(net.symbol, Graph.of(net.symbol), shapes, "an image")
    args = {**net.arg_params, **{name: mx.nd.zeros(shape) for name, shape in shapes.items()}}
    return net.symbol.bind(mx.cpu(), args, grad_req="null", aux_states=net.aux_params)


def scores_of(net: Net, data: np.ndarray) -> np.ndarray:
    """Output of a net for `data`, float32 (N, 3, H, W)."""
    return outputs_of(net, {"data": data})[0]


def outputs_of(net: Net, images: Dict[str, np.ndarray]) -> List[np.ndarray]:
    """Outputs of a net for its images, float32 (N, C, H, W), by the names of its inputs."""
    executor = bind(net, {name: data.shape for name, data in images.items()})
    outputs = executor.forward(is_train=False, **{name: mx.nd.array(data) for name, data in images.items()})
    return [output.asnumpy() for output in outputs]


def devices_of(ctx: mx.Context | Sequence[mx.Context] | None) -> List[mx.Context]:
    """List of devices from one device, several, or None, which is the CPU.

    Raises:
        FCNXSError: there is none, one comes twice, or something is not a device.
    """
    several = hasattr(ctx, "__iter__") and not isinstance(ctx, str)
    devices = list(ctx) if several else [mx.cpu() if ctx is None else ctx]
    wrong = [each for each in devices if not isinstance(each, mx.Context)]
    if wrong:
        raise FCNXSError(f"devices: {wrong[0]!r} is no device; give mx.cpu(), mx.gpu(0), ... or a list of them")
    if not devices or len(set(devices)) < len(devices):
        raise FCNXSError(f"devices {', '.join(map(str, devices))}: name one or more, each only once")
    return devices


def unfused(symbol: mx.sym.Symbol, params: Params) -> Params:
    """A gradient array that keeps MXNet from fusing the operators of a net bound for inference.

    Where no parameter has a gradient, MXNet fuses operators (oneDNN subgraphs). A fused executor copies all
    weights for each image size and does not see later updates. Requesting the gradient of one parameter
    prevents that. It costs nothing, because nobody runs the backward pass.

    Args:
        params: parameters of the net; the gradient is that of the one nearest to the output.
    """
    names = [name for name in symbol.list_arguments() if name in params]
    return {name: mx.nd.zeros_like(params[name]) for name in names[-1:]}

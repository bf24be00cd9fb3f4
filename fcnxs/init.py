"""First values of a net's parameters: from VGG-16, or from an FCN of an earlier stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

import numpy as np

from .compat import mxnet as mx
from .errors import FCNXSError
from .executors import fixed_size
from .symbols import symbol_fcnxs
from .symbols.interpolation import bilinear, upsample_filt  # noqa: F401  (the original has it here)
from .symbols.nodes import graph_nodes, rounds_up

Params = Dict[str, mx.nd.NDArray]

ANY_SIZE = (1, 3, 500, 500)  # of an image: weights have the same shapes at any

BFLOAT16 = "12"  # MXNet's number of it

# Layers that a net has beyond those of the one before it: scores of a finer layer, upsampling to it.
SKIPS = {f"fcn{stride}s": (f"score_{pool}", up) for stride, (pool, up, _) in symbol_fcnxs.SKIPS.items()}
SCORES = ("score", *(score for score, _ in SKIPS.values()))
DECONVOLUTIONS = ("bigscore", *(up for _, up in SKIPS.values()))


def is_input(name: str) -> bool:
    """Whether a symbol's argument is an image or label, by the original's rule."""
    return name.endswith(("data", "label"))


@dataclass(frozen=True)
class Variant:
    """What a set of parameters is, read off its shapes."""

    name: str  # vgg16, fcn32s, ..., fcn2s, or fcn8s_atonce
    width: float  # channels, relative to VGG-16's
    fc: int  # channels of fc6 and fc7
    numclass: int | None  # None for VGG-16
    pooling_convention: str = "valid"


def net_of(arg_params: Params, where: str, symbol: mx.sym.Symbol | None = None) -> Variant:
    """Tell the net, its width and its classes by its parameters; `where` names them in the error.

    >>> shapes = {"conv1_1_weight": (8, 3, 3, 3), "fc6_weight": (256, 64, 7, 7)}
    >>> net_of({name: mx.nd.zeros(shape) for name, shape in shapes.items()}, "these")
    Variant(name='vgg16', width=0.125, fc=256, numclass=None, pooling_convention='valid')

    Args:
        symbol: tells what parameters do not: FCN-8s at-once from FCN-8s, and the rounding of pooled sizes.

    Raises:
        FCNXSError: it is neither VGG-16 nor an FCN on it.
    """
    if "conv1_weight" in arg_params:
        raise FCNXSError(f"{where}: the parameters of an AlexNet; want those of VGG-16 or an FCN on it")
    for name in ("conv1_1_weight", "fc6_weight"):
        if name not in arg_params:
            raise FCNXSError(f"{where}: no {name} among the parameters; neither VGG-16 nor an FCN")
    width, fc = arg_params["conv1_1_weight"].shape[0] / 64, arg_params["fc6_weight"].shape[0]
    pooling, scaled = _settings(symbol) if symbol is not None else ("valid", False)
    if "score_weight" not in arg_params:
        return Variant("vgg16", width, fc, None, pooling)
    has = {name.rpartition("_")[0] for name in arg_params}
    name = next((net for net, layers in [*SKIPS.items()][::-1] if has.intersection(layers)), "fcn32s")
    numclass = arg_params["score_weight"].shape[0]
    return Variant("fcn8s_atonce" if scaled else name, width, fc, numclass, pooling)


def _settings(symbol: mx.sym.Symbol) -> Tuple[str, bool]:
    """Pooling convention of a net, and whether it scales layers by a constant."""
    nodes = graph_nodes(symbol)
    return "full" if rounds_up(nodes) else "valid", any(node["op"] == "_mul_scalar" for node in nodes)


def check_params(
    symbol: mx.sym.Symbol,
    arg_params: Params,
    aux_params: Params,
    where: str,
    inputs: Tuple[str, str] = ("data", "softmax_label"),
    image_shape: Tuple[int, ...] = ANY_SIZE,
) -> None:
    """Raise an error that names `where` unless every parameter of a net is there, float32, in its shape.

    Parameters that the symbol declares so are bfloat16.

    Args:
        inputs: names of image and label.
        image_shape: of the image; it matters to nets with fully connected layers alone.
    """
    fixed = fixed_size(symbol, inputs[0])
    image_shape = image_shape if fixed is None else (1, 3, *fixed)
    arg_shapes, _, aux_shapes = symbol.infer_shape(**{inputs[0]: image_shape})
    attrs = symbol.attr_dict()
    given = {**arg_params, **aux_params}
    needed = [*zip(symbol.list_arguments(), arg_shapes), *zip(symbol.list_auxiliary_states(), aux_shapes)]
    for name, shape in needed:
        if name not in inputs and not is_input(name):
            _check(name, shape, given, where, attrs.get(name, {}).get("__dtype__") == BFLOAT16)


def init_from_vgg16(
    ctx: mx.Context, fcnxs_symbol: mx.sym.Symbol, vgg16fc_args: Params, vgg16fc_auxs: Params
) -> Tuple[Params, Params]:
    """Parameters of an FCN from those of VGG-16: scores zero, deconvolutions bilinear, the rest copied.

    Returns:
        (arg_params, aux_params) on `ctx`: all that `fcnxs_symbol` needs, and nothing else.

    Raises:
        FCNXSError: a parameter is missing, or its shape is not the net's.
    """
    new = [f"{layer}_{kind}" for layer in SCORES for kind in ("weight", "bias")]
    new += [f"{layer}_weight" for layer in DECONVOLUTIONS]
    return _init(ctx, fcnxs_symbol, vgg16fc_args, vgg16fc_auxs, new)


def init_from_fcnxs(
    ctx: mx.Context, fcnxs_symbol: mx.sym.Symbol, fcnxs_args_from: Params, fcnxs_auxs_from: Params
) -> Tuple[Params, Params]:
    """Parameters of an FCN from those of another: what is new is zero or bilinear, the rest copied.

    `bigscore_weight` is always new: its size differs from net to net. Returns and raises as
    `init_from_vgg16`.
    """
    if "score_weight" not in fcnxs_args_from:
        raise FCNXSError("score_weight is missing: these are not the parameters of an FCN; use init_from_vgg16")
    nets = ["fcn32s", *SKIPS]
    later = nets[nets.index(net_of(fcnxs_args_from, "parent").name) + 1 :]
    new = [f"{layer}_{kind}" for net in later for layer in SKIPS[net] for kind in ("weight", "bias")]
    return _init(ctx, fcnxs_symbol, fcnxs_args_from, fcnxs_auxs_from, [*new, "bigscore_weight"])


def _init(
    ctx: mx.Context, symbol: mx.sym.Symbol, args: Params, auxs: Params, new: list[str]
) -> Tuple[Params, Params]:
    arg_shapes, _, aux_shapes = symbol.infer_shape(data=ANY_SIZE)
    arg_params = {}
    for name, shape in zip(symbol.list_arguments(), arg_shapes):
        if is_input(name):
            continue
        if name not in new:
            arg_params[name] = _copy(ctx, name, shape, args)
        elif name.rpartition("_")[0] in DECONVOLUTIONS:
            arg_params[name] = mx.nd.array(bilinear(shape), ctx)
        else:
            arg_params[name] = mx.nd.zeros(shape, ctx)
    aux_params = {
        name: _copy(ctx, name, shape, auxs) for name, shape in zip(symbol.list_auxiliary_states(), aux_shapes)
    }
    return arg_params, aux_params


def _copy(ctx: mx.Context, name: str, shape: Tuple[int, ...], params: Params) -> mx.nd.NDArray:
    _check(name, shape, params, "parent")
    return params[name].copyto(ctx)


def _check(name: str, shape: Tuple[int, ...], params: Params, where: str, bfloat16: bool = False) -> None:
    if name not in params:
        raise FCNXSError(f"{where}: parameter {name} {shape} of the net is missing")
    given = params[name]
    kind = np.dtype(given.dtype)
    if given.shape != shape or not (kind == np.float32 or (bfloat16 and kind.itemsize == 2)):
        hint = "; an FCN for other classes starts from VGG-16" if name.startswith("score") else ""
        raise FCNXSError(
            f"{where}: parameter {name} is {kind.name} {given.shape}, but the net needs float32 {shape}{hint}"
        )

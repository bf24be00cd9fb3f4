"""Initial parameters of a net: from VGG-16 or AlexNet, or from the FCN of an earlier stage."""

from __future__ import annotations

from dataclasses import replace
from typing import Dict, List, Tuple

from .compat import mxnet as mx
from .conventions import FUSION, HEADED
from .errors import FCNXSError
from .heads import heads_of, net_of_head, plain_name, refuse_upsampling, without_head
from .net import (
    ANY_SIZE,
    DECONVOLUTIONS,
    SCORES,
    SKIPS,
    Params,
    Variant,
    check_param,
    fixed_size,
    is_input,
    net_of,
)
from .regression import has_masks
from .stages import CLASSIFIERS, lineage
from .symbols import NETS
from .symbols.graph.nodes import Graph, Node, window
from .symbols.interpolation import bilinear, upsample_filt  # noqa: F401  (the original has it here)


def init_from_vgg16(
    ctx: mx.Context, fcnxs_symbol: mx.sym.Symbol, vgg16fc_args: Params, vgg16fc_auxs: Params
) -> Tuple[Params, Params]:
    """Parameters of an FCN from those of VGG-16: scores zero, deconvolutions bilinear, the rest copied.

    An FCN may have several heads. If its image has a fourth channel, depth, the weights of conv1_1 for it are
    the mean of those for the three of colour (shelhamer/fcn.berkeleyvision.org nyud-fcn32s-color-d/solve.py).
    FCN-AlexNet's parameters come from those of AlexNet in the same way.

    Returns:
        (arg_params, aux_params) on `ctx`: exactly those of `fcnxs_symbol`.

    Raises:
        FCNXSError: a parameter is missing, or its shape is not the net's; or these are parameters of an FCN.
    """
    refuse_upsampling(vgg16fc_args, "parent")
    return _init(ctx, fcnxs_symbol, vgg16fc_args, vgg16fc_auxs, begun_anew(vgg16fc_args))


def init_from_fcnxs(
    ctx: mx.Context, fcnxs_symbol: mx.sym.Symbol, fcnxs_args_from: Params, fcnxs_auxs_from: Params
) -> Tuple[Params, Params]:
    """Parameters of an FCN from those of another: new layers zero or bilinear, the rest copied.

    `bigscore_weight` is always new: its size differs from net to net. From a net of the same stride, skips and
    their upsampling are copied too. Returns and raises as `init_from_vgg16`.
    """
    heads, fused = heads_of(fcnxs_symbol), f"score{FUSION[0]}_weight" in fcnxs_symbol.list_arguments()
    scores = [f"score_{head}_weight" for head in heads] or ["score_weight"]
    scores = [f"score{image}_weight" for image in FUSION] if fused else scores
    if not {*scores} <= fcnxs_args_from.keys():
        refuse_upsampling(fcnxs_args_from, "parent")
        raise FCNXSError(
            f"{' or '.join(scores)} is missing, so these are not parameters of an FCN; use init_from_vgg16"
        )
    plain = {plain_name(name, heads): array for name, array in fcnxs_args_from.items()}
    return _init(ctx, fcnxs_symbol, fcnxs_args_from, fcnxs_auxs_from, begun_anew(plain))


def init_from_images(
    ctx: mx.Context, fusion_symbol: mx.sym.Symbol, parents: Dict[str, Params]
) -> Tuple[Params, Params]:
    """Parameters of a net of late fusion from those of an FCN-32s for each of its images.

    Args:
        parents: parameters of each FCN-32s, by the name of its image: {"color": args, "hha": args}.

    Returns and raises as `init_from_vgg16`. Source: shelhamer/fcn.berkeleyvision.org
    nyud-fcn32s-color-hha/solve.py.
    """
    args = {}
    for image, params in parents.items():
        for name, array in params.items():
            layer, _, kind = name.rpartition("_")
            args[f"{layer}{image}_{kind}"] = array
    return _init(ctx, fusion_symbol, args, {}, ["bigscore_weight"])


def begun_anew(arg_params: Params) -> List[str]:
    """Parameters that an FCN does not take over from a parent with these: zero, or bilinear in upsampling.

    Parameters of heads have, here and there, the names of a net of one head (`heads.without_head`).
    """
    if has_masks(arg_params):  # regression of masks is trained further as a whole
        return []
    if f"score{FUSION[0]}_weight" in arg_params:
        return ["bigscore_weight"]
    if "score_weight" not in arg_params:  # VGG-16's
        scores = [f"{layer}_{kind}" for layer in (*SCORES, "mask") for kind in ("weight", "bias")]
        return [*scores, *(f"{layer}_weight" for layer in DECONVOLUTIONS)]
    nets, name = ["fcn32s", *SKIPS], net_of(arg_params, "parent").name
    later = nets[nets.index(name) + 1 :] if name in nets else []
    new = [f"{layer}_{kind}" for net in later for layer in SKIPS[net] for kind in ("weight", "bias")]
    return [*new, "bigscore_weight"]


def variant_of(arg_params: Params, where: str, symbol: mx.sym.Symbol) -> Variant:
    """As `net_of`, and also of a net with several heads, each of which is an FCN on one trunk."""
    found = {}
    for head in heads_of(symbol):
        own = {without_head(name, head): array for name, array in arg_params.items()}
        found[head] = net_of(own, where, net_of_head(symbol, head))
    if not found:
        return net_of(arg_params, where, symbol)
    first, heads = next(iter(found.values())), {head: each.numclass for head, each in found.items()}
    return replace(first, name=f"{HEADED}{first.name}", numclass=None, heads=heads)


def trunk_of(symbol: mx.sym.Symbol, arg_params: Params, where: str) -> Tuple[Variant, Params]:
    """VGG-16 or AlexNet of an FCN, which nets for other classes start from; errors name `where`.

    Raises:
        FCNXSError: a parameter is missing, or a layer of the trunk is another than training builds.
    """
    fcn = variant_of(arg_params, where, symbol)
    if fcn.sizes is not None:
        raise FCNXSError(
            f"{where}: regresses masks of {fcn.numclass} classes, and has no fc6 and fc7 of VGG-16; start from "
            "VGG-16 itself"
        )
    if fcn.name == "nyud_fcn32s_color_hha":
        raise FCNXSError(
            f"{where}: a net of late fusion for {fcn.numclass} classes has two trunks; finetune an FCN-32s of "
            "each image for the other classes, and begin from the two"
        )
    net = replace(fcn, name=lineage(fcn.name)[-1], numclass=None, heads=None)
    options = {"width": net.width, "fc": net.fc, "pooling_convention": net.pooling_convention}
    trunk = NETS[f"{net.name}fc"](**options)
    _refuse_others(symbol, trunk, CLASSIFIERS[net.name].split()[0], where)
    image = (1, 4 if fcn.name == "nyud_fcn32s_color_d" else 3, *ANY_SIZE[2:])
    named = zip(trunk.list_arguments(), trunk.infer_shape(data=image)[0])
    return net, {
        name: check_param(name, shape, arg_params, where) for name, shape in named if not is_input(name)
    }


def fcn_of(net: Variant) -> mx.sym.Symbol:
    """The graph that training builds for an FCN."""
    options = {"width": net.width, "fc": net.fc, "pooling_convention": net.pooling_convention}
    return NETS[net.name](**{"heads": net.heads} if net.heads else {"numclass": net.numclass}, **options)


def refuse_other_layers(symbol: mx.sym.Symbol, net: Variant, where: str) -> None:
    """Raise an error that names `where` if an FCN's layers are not those that training builds for its weights.

    Nets of Caffe may have other pads, strides and dilations, or poolings that round otherwise.
    """
    if net.name in CLASSIFIERS or net.sizes is not None:  # whose pads are those of the net that starts from it
        return
    _refuse_others(symbol, fcn_of(net), net.name, where)


def _refuse_others(symbol: mx.sym.Symbol, ours: mx.sym.Symbol, name: str, where: str) -> None:
    """Raise an error that names `where` if a layer of `symbol` has another window than that of our net."""
    built = {node["name"]: node for node in Graph.of(ours).nodes}
    for node in Graph.of(symbol).nodes:
        if node["op"] in ("Convolution", "Deconvolution", "Pooling") and node["name"] in built:
            given, expected = map(_window, (node, built[node["name"]]))
            if given != expected:
                raise FCNXSError(
                    f"{where}: cannot be trained on, since {name}'s layer {node['name']} is another here: "
                    f"kernel, stride and pad of rows and columns are {given}, not {expected}"
                )


def _window(node: Node) -> str:
    """Kernel, stride and pad of a layer's rows and columns; of a pooling also how its size is rounded."""
    text = f"{window(node, 0)}, {window(node, 1)}"
    return f"{text}, {node['attrs'].get('pooling_convention', 'valid')}" if node["op"] == "Pooling" else text


def _init(
    ctx: mx.Context, symbol: mx.sym.Symbol, args: Params, auxs: Params, new: list[str]
) -> Tuple[Params, Params]:
    size = fixed_size(symbol) or ANY_SIZE[2:]
    arg_shapes, _, aux_shapes = symbol.infer_shape(**Graph.of(symbol).image_shapes(size))
    arg_params, heads = {}, heads_of(symbol)
    for name, shape in zip(symbol.list_arguments(), arg_shapes):
        if is_input(name):
            continue
        plain = plain_name(name, heads)
        if plain not in new:
            with_depth = name == "conv1_1_weight" and shape[1] == 4 and args.get(name, shape).shape[1:2] == (3,)
            given = check_param(name, (shape[0], 3, *shape[2:]) if with_depth else shape, args, "parent")
            depth = [given.mean(axis=1, keepdims=True)] if with_depth else []
            arg_params[name] = mx.nd.concat(given, *depth, dim=1) if depth else given.copyto(ctx)
        elif plain.rpartition("_")[0] in DECONVOLUTIONS:
            arg_params[name] = mx.nd.array(bilinear(shape), ctx)
        else:
            arg_params[name] = mx.nd.zeros(shape, ctx)
    aux_params = {
        name: check_param(name, shape, auxs, "parent").copyto(ctx)
        for name, shape in zip(symbol.list_auxiliary_states(), aux_shapes)
    }
    return arg_params, aux_params

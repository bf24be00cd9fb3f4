"""The nets by name, with first values or with those of a checkpoint.

>>> net = get_fcn16s(numclass=3, width=1 / 16, fc=16)  # get_fcn16s(prefix="run/fcn32s", epoch=31) loads one
>>> net
FCNxs(36 parameters, 3 classes)
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Callable, Collection, Sequence, Tuple

from .. import checkpoint
from ..checkpoint import Checkpoint, Meta
from ..compat import mxnet as mx
from ..conventions import PathLike
from ..deploy.form import refuse_exported
from ..errors import FCNXSError, FCNXSWarning
from ..init import init_from_fcnxs, init_from_vgg16, refuse_other_layers, trunk_of
from ..net import Params, Variant, check_params, net_of
from ..stages import CLASSIFIERS, lineage
from ..symbols import NETS
from ..symbols.symbol_fcnxs import FCNXS
from .block import FCNxs

# Nets whose checkpoints each net can start from, itself first.
PARENTS = {name: lineage(name) for name in (*FCNXS, "fcn8s_atonce", "fcn_alexnet")}
BLOCK = ("base_size", "crop_size")  # options of the block; the others are the builder's


def get_fcnxs(
    name: str,
    numclass: int | None = None,
    prefix: PathLike | Checkpoint | None = None,
    epoch: int = 0,
    ctx: mx.Context | Sequence[mx.Context] | None = None,
    operators: Collection[str] = (),
    other_classes: bool = False,
    **options: int | float | str,
) -> FCNxs:
    """Build a net by its name and give its parameters values.

    Without a prefix the trunk gets MSRA's (He's) normal values, scores and biases zeros, upsampling bilinear
    kernels. With a prefix the values are the checkpoint's: all of them from the same net; from a net that this
    one starts from (VGG-16, FCN-32s for FCN-16s, ...) those of the layers that both have. The checkpoint then
    also decides width, channels of fc6, pooling and mean.

    Args:
        name: fcn32s, fcn16s, fcn8s, fcn8s_atonce or fcn_alexnet.
        numclass: number of classes; None: the checkpoint's, or VOC's 21.
        prefix, epoch: prefix and epoch of the checkpoint; or a Checkpoint, which has its epoch.
        ctx: device or devices that get the parameters; None: the CPU.
        operators: operators that the checkpoint's symbol may have besides those that are always allowed
            (`checkpoint.load`).
        other_classes: of an FCN for another number of classes than `numclass` take the trunk alone, with an
            `FCNXSWarning`; scores and upsampling begin anew.
        **options: of the net's builder (width, fc, pooling_convention, ...), and base_size and crop_size.

    Raises:
        FCNXSError: there is no such net; the checkpoint is damaged, another net's or for other classes.
    """
    if name not in PARENTS:
        raise FCNXSError(f"net {name!r}: expected {', '.join(PARENTS)}")
    for_block = {option: options.pop(option) for option in BLOCK if option in options}
    ctx = mx.cpu() if ctx is None else ctx
    if prefix is None:
        net = FCNxs(NETS[name](21 if numclass is None else numclass, **options), Meta(), **for_block)
        net.initialize(mx.init.MSRAPrelu("in", slope=0), ctx)
        return net
    pooling = options.get("pooling_convention")  # the net's may be another one than the checkpoint's
    how = {"pooling_convention": pooling, "strict": False, "operators": operators}
    loaded = prefix if isinstance(prefix, Checkpoint) else checkpoint.load(prefix, epoch, **how)
    found, args, auxs = _variant(loaded), loaded.arg_params, loaded.aux_params
    if other_classes and found.numclass not in (None, numclass):
        found, args = _trunk(loaded, found, numclass)
    numclass = _numclass(name, numclass, found, loaded)
    variant = {"width": found.width, "fc": found.fc, "pooling_convention": found.pooling_convention}
    as_saved = found.name == name and options.items() <= variant.items()
    symbol = loaded.symbol if as_saved else NETS[name](numclass, **{**variant, **options})
    if not as_saved:
        refuse_other_layers(loaded.symbol, found, str(loaded.params_file))
    if found.name == name:
        check_params(symbol, args, auxs, str(loaded.params_file))
    else:
        init = init_from_vgg16 if found.name in CLASSIFIERS else init_from_fcnxs
        args, auxs = init(mx.cpu(), symbol, args, auxs)
    net = FCNxs(symbol, loaded.meta, **for_block)
    for key, parameter in net.collect_params().items():
        parameter.initialize(mx.init.Zero(), ctx, force_reinit=True)
        parameter.set_data(args[key] if key in args else auxs[key])
    return net


def _variant(loaded: Checkpoint) -> Variant:
    """Net, width and classes of a checkpoint."""
    refuse_exported(loaded.symbol, loaded.params_file)
    return net_of(loaded.arg_params, str(loaded.params_file), loaded.symbol)


def _trunk(loaded: Checkpoint, found: Variant, numclass: int | None) -> Tuple[Variant, Params]:
    """Trunk of an FCN for other classes, and its parameters; a warning says what is left out."""
    net, args = trunk_of(loaded.symbol, loaded.arg_params, str(loaded.params_file))
    warnings.warn(
        f"{loaded.params_file}: for {found.numclass} classes, and these are {numclass}: its "
        f"{CLASSIFIERS[net.name]} is kept; scores and upsampling begin anew",
        FCNXSWarning,
    )
    return net, args


def _numclass(name: str, numclass: int | None, found: Variant, loaded: Checkpoint) -> int:
    """Number of classes of net `name` when it starts from the checkpoint `loaded`."""
    file = loaded.params_file
    if found.name not in PARENTS[name]:
        raise FCNXSError(f"{file}: of {found.name}; {name} starts from {' or '.join(PARENTS[name])}")
    if found.numclass is None:
        return 21 if numclass is None else numclass
    if numclass not in (None, found.numclass):
        raise FCNXSError(
            f"{file}: for {found.numclass} classes, not numclass={numclass}; leave numclass out, or begin its "
            "scores anew, on its VGG-16, with other_classes=True"
        )
    return found.numclass


def _getter(name: str, title: str, parents: str) -> Callable[..., FCNxs]:
    """`get_fcnxs` of one net."""
    get = partial(get_fcnxs, name)
    get.__name__ = get.__qualname__ = f"get_{name}"
    get.__doc__ = f"""{title}, with first values or with those of a checkpoint of {parents}.

    Arguments and errors are those of `get_fcnxs`.
    """
    return get


get_fcn32s = _getter("fcn32s", "FCN-32s", "FCN-32s or VGG-16")
get_fcn16s = _getter("fcn16s", "FCN-16s", "FCN-16s, FCN-32s or VGG-16")
get_fcn8s = _getter("fcn8s", "FCN-8s", "FCN-8s, FCN-16s, FCN-32s or VGG-16")
get_fcn8s_atonce = _getter("fcn8s_atonce", "FCN-8s at-once", "FCN-8s at-once or VGG-16")
get_fcn_alexnet = _getter("fcn_alexnet", "FCN-AlexNet", "FCN-AlexNet or AlexNet")

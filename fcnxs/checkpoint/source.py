"""What functions take as a checkpoint: the prefix of its files, a Checkpoint, or a function that gives one."""

from __future__ import annotations

import os
import warnings
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Callable, Collection, Dict, Union

from ..compat import mxnet as mx
from ..conventions import FUSION, PathLike
from ..epoch_choice import choose
from ..errors import FCNXSError, FCNXSWarning
from ..heads import check_one_head, net_of_head, without_head
from ..init import init_from_images, refuse_other_layers
from ..net import net_of
from ..symbols import NETS
from ..symbols.graph.nodes import Graph
from ..symbols.graph.rewrite import stacked
from ..vis import default_palette
from .checkpoint import Checkpoint, load
from .meta import source_of

OneSource = Union[PathLike, Checkpoint, Callable[[], Checkpoint]]
Source = Union[OneSource, Dict[str, OneSource]]


def checkpoint_of(
    source: Source,
    epoch: int | str | None = None,
    pooling_convention: str | None = None,
    **how: bool | Collection[str],
) -> Checkpoint:
    """Checkpoint that a user means; that of a prefix is loaded, and of one in memory the arrays are shared.

    Args:
        source: prefix of a checkpoint's files, such as "run/fcn8s"; a Checkpoint; or a function that returns
            one, such as the method `checkpoint` of a Gluon net. Or a dict of these, {"color": "run/fcn32s",
            "hha": "hha/fcn32s"}, which `fused` makes one net of.
        epoch: epoch of a prefix: a number, "best" or "last". None: the best by mean IU if the run had
            validation data, else the last.
        pooling_convention: of a prefix, as for `load`.
        **how: further arguments of `load`.

    Raises:
        FCNXSError: `source` is none of these; an epoch or a convention comes with a Checkpoint; or as `load`.
    """
    if isinstance(source, dict):
        return fused(
            {kind: checkpoint_of(each, epoch, pooling_convention, **how) for kind, each in source.items()}
        )
    if isinstance(source, (str, os.PathLike)):
        prefix, number, _ = choose(source, epoch)
        return load(prefix, number, pooling_convention=pooling_convention, **how)
    if not isinstance(source, Checkpoint) and not callable(source):
        raise FCNXSError(f"a {type(source).__name__}: expected the prefix of a checkpoint, or a Checkpoint")
    if epoch is not None:
        raise FCNXSError(f"epoch {epoch}: give an epoch only with a prefix; a Checkpoint already has one")
    if pooling_convention is not None:
        raise FCNXSError(f"pooling_convention {pooling_convention}: give it where the Checkpoint is loaded")
    return copy(source) if isinstance(source, Checkpoint) else source()


def fused(parents: Dict[str, Checkpoint]) -> Checkpoint:
    """Net of late fusion, whose scores are the mean of those of an FCN-32s of colour and one of HHA.

    Raises:
        FCNXSError: these are other nets, or differ in classes, width or the rounding of pooled sizes.
    """
    if {*parents} != {*FUSION}:
        raise FCNXSError(f"{' and '.join(parents) or 'nothing'}: late fusion takes {' and '.join(FUSION)}")
    nets, files, means = {}, {kind: parents[kind].params_file for kind in FUSION}, {}
    for kind in FUSION:
        parent, meta = parents[kind], parents[kind].meta
        nets[kind] = net_of(parent.arg_params, str(files[kind]), parent.symbol)
        refuse_other_layers(parent.symbol, nets[kind], str(files[kind]))
        if nets[kind].name != "fcn32s":
            raise FCNXSError(
                f"{kind} {files[kind]}: is {nets[kind].name}; late fusion takes an FCN-32s of each image"
            )
        if meta.images != (kind,):
            warnings.warn(
                f"{files[kind]}: by its meta file its images are {' and '.join(meta.images)}; it is taken for "
                f"{kind}, with its mean {meta.input_mean}",
                FCNXSWarning,
                stacklevel=2,
            )
        means[kind] = meta.input_mean
    (first, second), (color, hha) = nets.values(), (parents[kind].meta for kind in FUSION)
    if first != second or color.classes != hha.classes:
        what = f"{first} and {second}" if first != second else "other names of classes"
        raise FCNXSError(f"{files['color']} and {files['hha']}: cannot be fused, since they differ: {what}")
    options = {"width": first.width, "fc": first.fc, "pooling_convention": first.pooling_convention}
    symbol = NETS["nyud_fcn32s_color_hha"](first.numclass, **options)
    args, auxs = init_from_images(mx.cpu(), symbol, {kind: parents[kind].arg_params for kind in FUSION})
    source = {f"{what} of {kind}": value for kind in FUSION for what, value in source_of(files[kind]).items()}
    meta = replace(color, means=means, source=source, checksums={})
    return Checkpoint(symbol, args, auxs, meta, Path(f"{files['color']} and {files['hha']}"))


def of_one_image(source: Checkpoint) -> Checkpoint:
    """The checkpoint with one input `data`, whose channels are those of all its images (`rewrite.stacked`).

    Raises:
        FCNXSError: the input has other channels than the meta file says.
    """
    file, source = source.params_file, replace(source, symbol=stacked(source.symbol))
    (shape,), mean = Graph.of(source.symbol).image_shapes((1, 1)).values(), source.meta.input_mean
    if shape[1] != len(mean):
        raise FCNXSError(
            f"{file}: the net's input has {shape[1]} channels, and its meta file a mean of {len(mean)} (of "
            f"{' and '.join(source.meta.images)}); `Meta.means` has that of each image"
        )
    return source


def one_head(source: Checkpoint, head: str | None = None) -> Checkpoint:
    """The checkpoint of one head of a net, with the names of a net of one; a net of one head as it is.

    Several images become one input (`of_one_image`).

    Args:
        head: name of the head; None if the net has one.

    Raises:
        FCNXSError: the net has no such head, or several and `head` is None; or as `of_one_image`.
    """
    file, source = source.params_file, of_one_image(source)
    if head is None:
        check_one_head(source.symbol, file, "choose one of them (--task)")
        return source
    try:
        symbol = net_of_head(source.symbol, head)
    except FCNXSError as error:
        raise FCNXSError(f"{file}: {error}") from None
    wanted = {*symbol.list_arguments()}
    params = {without_head(name, head): array for name, array in source.arg_params.items()}
    params = {name: array for name, array in params.items() if name in wanted}
    names = (source.meta.heads or {}).get(head)
    meta = replace(source.meta, classes=names, palette=names and default_palette(names), heads=None)
    return replace(source, symbol=symbol, arg_params=params, meta=meta)

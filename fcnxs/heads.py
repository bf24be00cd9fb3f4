"""Nets of several heads on one trunk: their names, the net of one head alone; and refusals of other nets."""

from __future__ import annotations

import re
from functools import reduce
from typing import Dict, Iterable, List

from .compat import mxnet as mx
from .errors import FCNXSError
from .symbols.graph.nodes import Entry, Graph, Node
from .symbols.graph.rewrite import Writer

Params = Dict[str, mx.nd.NDArray]

OUTPUT = re.compile(r"(?:softmax|scores)_(\w+)_output")  # scores are those of an export


def heads_of(symbol: mx.sym.Symbol) -> List[str]:
    """Names of a net's heads, in the order of its outputs; none for a net of one.

    >>> from fcnxs.symbols import get_fcn8s_symbol
    >>> heads_of(get_fcn8s_symbol(heads={"sem": 33, "geo": 3})), heads_of(get_fcn8s_symbol())
    (['sem', 'geo'], [])
    """
    found = [OUTPUT.fullmatch(name) for name in symbol.list_outputs()]
    return [match[1] for match in found] if len(found) > 1 and all(found) else []


def labels_of(symbol: mx.sym.Symbol) -> List[str]:
    """Names of the labels of a net's heads, in the order of its outputs; none for a net of one.

    >>> from fcnxs.symbols import get_fcn8s_symbol
    >>> labels_of(get_fcn8s_symbol(heads={"sem": 33, "geo": 3}))
    ['softmax_sem_label', 'softmax_geo_label']
    """
    return [with_head("softmax_label", head) for head in heads_of(symbol)]


def without_head(name: str, head: str) -> str:
    """Name of a layer or parameter of a head, as a net of one head has it: score_sem_weight, score_weight."""
    return re.sub(rf"_{re.escape(head)}(?=(?:_weight|_bias|_label)?$)", "", name)


def with_head(name: str, head: str) -> str:
    """The inverse of `without_head`; for a net of one head, "", the name as it is.

    >>> with_head("softmax_label", "sem"), with_head("score", "geo"), with_head("score_bias", "")
    ('softmax_sem_label', 'score_geo', 'score_bias')
    """
    return re.sub(r"(?=(?:_weight|_bias|_label|_output)?$)", f"_{head}", name, count=1) if head else name


def plain_name(name: str, heads: Iterable[str]) -> str:
    """Name of a layer or parameter of any of these heads, as a net of one head has it."""
    return reduce(without_head, heads, name)


def net_of_head(symbol: mx.sym.Symbol, head: str) -> mx.sym.Symbol:
    """The trunk with one head, whose layers have the names of a net of one head.

    >>> from fcnxs.symbols import get_fcn8s_symbol
    >>> net = net_of_head(get_fcn8s_symbol(heads={"sem": 33, "geo": 3}), "geo")
    >>> net.list_outputs(), net.list_arguments() == get_fcn8s_symbol(3).list_arguments()
    (['softmax_output'], True)

    Raises:
        FCNXSError: the net has no such head.
    """
    heads = heads_of(symbol)
    if head not in heads:
        has = f"the heads {' and '.join(heads)}" if heads else "one head, without a name"
        raise FCNXSError(f"head {head!r}: the net has {has}")
    graph, writer = Graph.of(symbol, casts=True), Writer()

    def renamed(_: int, node: Node, inputs: List[Entry]) -> Entry:
        return writer.copy(node, inputs, without_head(node["name"], head))

    return writer.symbol(writer.write(graph, renamed, [graph.heads[heads.index(head)]]))


def check_one_head(symbol: mx.sym.Symbol, where: object, way_out: str) -> None:
    """Raise an error that names `where`, the heads and the way out if a net has several."""
    heads = heads_of(symbol)
    if heads:
        raise FCNXSError(f"{where}: a net with the heads {' and '.join(heads)}; {way_out}")


def check_image(symbol: mx.sym.Symbol, where: object) -> None:
    """Raise an error that names `where` unless a net's input is one image of three channels."""
    images = Graph.of(symbol).image_shapes((1, 1))
    if len(images) > 1 or {shape[1] for shape in images.values()} != {3}:
        takes = " and ".join(f"{name} of {shape[1]} channels" for name, shape in images.items())
        raise FCNXSError(
            f"{where}: the net takes {takes}, and only nets of one image of 3 channels are run here"
        )


def refuse_upsampling(arg_params: Params, where: str, graph: Graph | None = None) -> None:
    """Raise an error that names `where` if these are not parameters of a classifier but of an FCN.

    An FCN whose scores have a name of their own would be trained from zero scores otherwise.

    Args:
        graph: the net's graph, if it is known; else kernels tell: those of upsampling are even, or large.
    """
    layers = graph.named("Deconvolution") if graph else []
    kernels = {name: array.shape[3] for name, array in arg_params.items() if len(array.shape) == 4}
    kernels.pop("fc6_weight", None)  # AlexNet's is 6x6
    layers += [name.rpartition("_")[0] for name, side in kernels.items() if side % 2 == 0 or side > 11]
    if layers:
        raise FCNXSError(
            f"{where}: upsamples in the layer {layers[0]}, so it is an FCN and no VGG-16; name its class "
            "scores score and its last upsampling bigscore, or leave both out to take its VGG-16 alone"
        )

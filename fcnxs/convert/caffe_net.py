"""The net that a file of Caffe describes, made of ours: settings that differ are changed, or refused.

A file describes its net in full (a prototxt, a snapshot of Caffe), or gives settings of single layers, or
has weights alone. What it leaves out is taken from our description, `caffe_prototxt.py`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Sequence, Tuple

from google.protobuf import text_format

from ..compat import mxnet as mx
from ..errors import FCNXSError, printable
from ..symbols.graph.crops import crop_derivations
from ..symbols.graph.layer_sizes import smallest_input
from ..symbols.graph.nodes import Graph
from ..symbols.graph.rewrite import with_settings
from .arrays import TRUNKS
from .caffe_compare import WEIGHTED, Blobs, Compared, Difference, compare, last_of, shown
from .caffe_layers import OLD_CROP, SCALING, SETTINGS, Node, above, graph_of, name_of, settings_of
from .caffe_names import FIRST, FUSED, suffixes
from .caffe_prototxt import prototxt
from .caffe_schema import CLASSES, Message

# Settings that our layers can have otherwise, and what MXNet calls them.
CHANGES = {
    **{"kernel_size": "kernel", "pad": "pad", "stride": "stride", "dilation": "dilate", "offset": "offset"},
    "round_mode": "pooling_convention",
}
LEAST = {"pad": 0, "offset": 0}  # of the others 1
MOST = 4096
CONVENTIONS = {"CEIL": "full", "FLOOR": "valid"}

Settings = Dict[str, Dict[str, Any]]  # MXNet's, by layer of a symbol


@dataclass
class Described:
    """The layers of a file, completed by our description of its net.

    Args:
        by: what describes them: the name of a file, with a remark if it is incomplete, or "" if we alone do.
        ends: the layer that gives the scores of each head, or of a classifier relu7 or fc8.
        scaling: layers that scale or shift an image, the one nearest to the image first, by our name of it.
        settings: those in which the net of the file differs from the one that is built, for `with_settings`.
        told: sentences on what differs.
    """

    by: str
    ends: List[Node]
    scaling: Dict[str, List[Node]] = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    told: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ours:
    """Our net, as `prototxt` describes it.

    Args:
        net, title: its name in `fcnxs.symbols.NETS`, and for messages.
        outputs, channelwise: as those of `prototxt`.
    """

    net: str
    title: str
    outputs: Dict[str, int]
    channelwise: bool

    def layers(self, inner_products: bool) -> List[Message]:
        """Its layers; a trunk with inner products, as the classifier, or with convolutions, as in the FCNs."""
        net = TRUNKS.get(self.net, self.net) if inner_products else self.net
        text = prototxt(net, self.outputs, 224, 224, self.channelwise)
        return [*text_format.Parse(text, CLASSES["NetParameter"](), allow_unknown_field=True).layer]


def is_whole(layers: Sequence[Message]) -> bool:
    """Whether the layers of a caffemodel describe a net in full: settings, and layers without weights too."""
    settings = any(layer.HasField("convolution_param") for layer in layers)
    return settings and any(layer.bottom and layer.type in ("ReLU", "Pooling") for layer in layers)


def describe(
    layers: Sequence[Message],
    by: str,
    whole: bool,
    ours: Ours,
    blobs: Blobs,
    symbol: mx.sym.Symbol,
    rounding: bool,
) -> Tuple[mx.sym.Symbol, Described]:
    """The net of a file, made of ours, and its description.

    Args:
        layers: of the file.
        by: name of the file.
        whole: these are all layers of the net. Otherwise our description completes them.
        ours: our description.
        blobs: arrays of the file's scale layers.
        symbol: our net.
        rounding: the file decides how its poolings round.

    Raises:
        FCNXSError: a layer differs in what our layers cannot do; the message has both values.
    """
    expected = ours.layers(all(layer.type != "Convolution" for layer in layers if layer.name == "fc6"))
    try:
        given = layers if whole else _completed(expected, layers, ours.title)
        ends = _ends([graph_of(expected), graph_of(given)], ours)
        compared = compare(ends, blobs, ours.title)
        known = by if whole else f"{by} (the rest is ours)" if _has_settings(layers) else ""
        found = Described(known, [theirs for _, theirs in ends], compared.scaling)
        for node in above(found.ends):
            _check_pooling(node)
        if ours.net in TRUNKS:
            _settle_trunk(found, compared, ours)
        else:
            symbol = _settle(symbol, found, compared, ours, rounding)
    except FCNXSError as error:
        raise FCNXSError(f"{by}: {error}") from None
    return symbol, found


def _has_settings(layers: Sequence[Message]) -> bool:
    return any(layer.type in SETTINGS and layer.HasField(SETTINGS[layer.type][0]) for layer in layers)


def _completed(expected: Sequence[Message], layers: Sequence[Message], title: str) -> List[Message]:
    """Our layers with the settings of the file's layers of the same names."""
    theirs, completed = {layer.name: layer for layer in layers}, []
    renamed = {name_of(layer): layer for layer in layers if layer.name in (*FIRST, FUSED)}
    names = {layer.name for layer in expected}
    for layer in layers:
        if layer.type in (*SCALING, "BatchNorm", "PReLU") and layer.name not in names:
            raise FCNXSError(f"layer {printable(layer.name)} is {layer.type}, which {title} does not have")
    for layer in expected:
        own = theirs.get(layer.name) or (renamed.get(name_of(layer)) if layer.type in WEIGHTED else None)
        if own is not None and own.type and own.type not in (layer.type, OLD_CROP):
            raise FCNXSError(
                f"layer {printable(own.name)} is {printable(own.type)}, where {title} has {layer.type}"
            )
        key = SETTINGS.get(layer.type, ("",))[0]
        completed.append(CLASSES["LayerParameter"]())
        completed[-1].CopyFrom(layer)
        if own is not None and key and own.HasField(key):
            getattr(completed[-1], key).CopyFrom(getattr(own, key))
        elif layer.type == "Crop":
            completed[-1].type = OLD_CROP  # its offset follows from the file's other layers
    return completed


def _ends(graphs: Sequence[List[Node]], ours: Ours) -> List[Tuple[Node, Node]]:
    """The layers that give each output of our net, and of the net in a file."""
    anchors = [f"bigscore{suffix}" for suffix in suffixes(ours.net)]
    if ours.net in TRUNKS:
        classifies = all(any(node.name == "fc8" for node in nodes) for nodes in graphs)
        anchors = ["fc8" if classifies else "fc7"]
    return [tuple(last_of(nodes, anchor, relu=anchor == "fc7") for nodes in graphs) for anchor in anchors]


def _check_pooling(node: Node) -> None:
    """Refuse pads with which Caffe leaves out the last window at some sizes, and MXNet does not."""
    if node.kind == "Pooling":
        of = settings_of(node)
        for kernel, stride, pad in zip(of["kernel_size"] or (), of["stride"], of["pad"]):
            if 0 < pad > kernel - stride:
                most = f"MXNet's sizes are Caffe's up to pad {max(0, kernel - stride)}"
                raise FCNXSError(f"layer {node.name}: pad {pad} with kernel {kernel}, stride {stride}; {most}")


def _settle_trunk(found: Described, compared: Compared, ours: Ours) -> None:
    """Of a classifier only pads and rounding may differ: the FCNs on it have their own."""
    changes = ("pad", "round_mode")
    _refuse([each for each in compared.differences if each.setting not in changes], ours.title, changes)
    for each in compared.differences:
        if each.setting == "round_mode":
            found.told.append(f"{each}; of FCNs that start from it --pooling-convention decides")
        elif each.theirs.name not in ("conv1_1", "conv1"):
            found.told.append(f"{each}, which is the pad of FCNs that start from it")
    for node in above(found.ends):
        if node.kind == "Convolution" and node.name != "fc8":
            found.settings[node.name] = {"pad": settings_of(node)["pad"]}
        if node.kind == "Pooling":
            rounding = CONVENTIONS[settings_of(node)["round_mode"]]
            found.settings[node.name] = {"pooling_convention": rounding}


def _settle(
    symbol: mx.sym.Symbol, found: Described, compared: Compared, ours: Ours, rounding: bool
) -> mx.sym.Symbol:
    """The symbol of an FCN with the settings of the file."""
    changed = [each for each in compared.differences if rounding or each.setting != "round_mode"]
    _refuse([each for each in changed if not _can_be(each)], ours.title)
    settings: Settings = {}
    for each in changed:
        value = CONVENTIONS.get(each.given, each.given)
        settings.setdefault(_name_here(each.ours, ours.net), {})[CHANGES[each.setting]] = value
    found.told += [f"{each} as in {ours.title}" for each in reversed(changed)]  # from the image on
    offsets = [[settings_of(node)["offset"] for node in pair] for pair in compared.crops]
    if not settings and all(given in (None, expected) for expected, given in offsets):
        for (expected, _), (_, node) in zip(offsets, compared.crops):
            node.layer.crop_param.offset[:] = expected
        return symbol
    crops = {_name_here(mine, ours.net): node for mine, node in compared.crops}
    symbol = _cropped(with_settings(symbol, settings), crops, found)
    if None in smallest_input(symbol):
        found.told.append(
            "no image up to 4096 pixels fits this net: a layer has no cells left, or a crop too few"
        )
    return symbol


def _can_be(difference: Difference) -> bool:
    """Whether our layers can have the setting of the file's."""
    least, given = LEAST.get(difference.setting, 1), difference.given
    if difference.setting not in CHANGES or difference.setting == "round_mode":
        return difference.setting in CHANGES
    return given is not None and len(given) == 2 and all(least <= number <= MOST for number in given)


def _refuse(differences: Sequence[Difference], title: str, changes: Iterable[str] = CHANGES) -> None:
    if differences:
        which = "; ".join(map(str, differences[:3]))
        raise FCNXSError(f"it is not {title}: {which}; only {', '.join(changes)} of our layers can differ")


def _name_here(ours: Node, net: str) -> str:
    """The symbol's name of a layer of our description."""
    if ours.kind != "Crop":
        return name_of(ours.layer)
    end = next(end for end in suffixes(net) if not end or end in ours.name)
    score = ours.name.replace(end, "")  # score_pool4_semc, and score_sem of the image's size
    return f"{'upscore' if score == 'score' else score}{end}"


def _cropped(symbol: mx.sym.Symbol, theirs: Dict[str, Node], found: Described) -> mx.sym.Symbol:
    """The symbol with the file's offsets, and with derived ones where it has none; it is told what differs.

    Raises:
        FCNXSError: the file's offset is none of rows and columns; or it has none, and none can be derived.
    """
    aligned, offsets = symbol, {}
    for name in Graph.of(symbol).named("Crop"):
        axes = [{crop.name: crop.from_maps for crop in crop_derivations(aligned, axis)} for axis in (0, 1)]
        derived = tuple(axis[name] for axis in axes)
        if None not in derived and all(number == int(number) for number in derived):
            derived = tuple(map(int, derived))
            aligned = with_settings(aligned, {name: {"offset": derived}})
        node, given = theirs[name], settings_of(theirs[name])["offset"]
        if given is not None and (len(given) != 2 or max(given) > MOST):
            raise FCNXSError(f"layer {node.name}: offset {shown(given)}, not {shown(derived)}")
        if given is None:
            if any(type(number) is not int or number < 0 for number in derived):
                raise FCNXSError(
                    f"layer {node.name}: has no offset, and the coordinate maps give {shown(derived)}"
                )
            given = derived
            node.layer.crop_param.offset[:] = given
        elif given != derived:
            other = f"the coordinate maps give {shown(derived)}"
            found.told.append(f"layer {node.name}: offset {shown(given)} is kept, but {other}")
        offsets[name] = {"offset": given}
    return with_settings(symbol, offsets)


def contradictions(layers: Sequence[Message], by: str, others: Sequence[Message], rest: str) -> List[str]:
    """Sentences on settings that two descriptions of a net give layers of the same name."""
    told, mine = [], {node.name: node for node in graph_of(layers)}
    for node in graph_of(others):
        own = mine.get(node.name)
        if own is not None and own.kind == node.kind and _has_settings([node.layer]):
            with suppress(FCNXSError):
                pairs = zip(settings_of(own).items(), settings_of(node).values())
                told += [
                    f"layer {own.name}: {key} {shown(value)} of {by} was taken, not {shown(other)} of {rest}"
                    for (key, value), other in pairs
                    if value != other
                ]
    return told

"""The layers of a net as a file of Caffe describes them: reading them, and their graph and settings.

    layers = layers_of_text("val.prototxt")
    settings_of(graph_of(layers)[1])  # {'kernel_size': (3, 3), 'pad': (100, 100), 'stride': (1, 1), ...}

Layers are LayerParameter messages of `caffe_schema.py`, without blobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Sequence, Tuple

from google.protobuf import text_format

from ..errors import FCNXSError, printable, reason
from ..system.files import read_text
from .caffe_names import name_here
from .caffe_schema import CLASSES, ENUMS, WHOLE, Message

MOST_TEXT = 1 << 20  # bytes of a prototxt: 8,000 layers, which the parser takes seconds for
IDENTITY = ("Dropout", "Split")  # kinds of layers that change nothing at test time
SCALING = ("Power", "Scale", "Bias")

# Names of V1 layer types in the new format; the others are written CONTRASTIVE_LOSS and ContrastiveLoss.
NEW_TYPES = {
    **{"RELU": "ReLU", "LRN": "LRN", "SOFTMAX_LOSS": "SoftmaxWithLoss", "TANH": "TanH", "ARGMAX": "ArgMax"},
    **{"HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output", "ABSVAL": "AbsVal", "BNLL": "BNLL", "MVN": "MVN"},
}
# The crop of the branch that the first FCNs were trained with, which derived its offset as this package does.
OLD_CROP = "V1 Crop"

# Settings of each kind of layer that our nets have: its message, those with a value each for rows and columns,
# and others.
_WINDOW = ("kernel_size", "pad", "stride", "dilation")
SETTINGS = {
    "Convolution": ("convolution_param", _WINDOW, ("num_output", "group", "axis")),
    "Deconvolution": ("convolution_param", _WINDOW, ("num_output", "group", "axis")),
    "Pooling": ("pooling_param", _WINDOW[:3], ("pool", "global_pooling", "round_mode")),
    "Crop": ("crop_param", ("offset",), ("axis",)),
    "Eltwise": ("eltwise_param", (), ("operation", "coeff")),
    "ReLU": ("relu_param", (), ("negative_slope",)),
    "LRN": ("lrn_param", (), ("local_size", "alpha", "beta", "k", "norm_region")),
    "InnerProduct": ("inner_product_param", (), ("num_output", "axis", "transpose")),
}
DEFAULTS = {"pad": 0, "stride": 1, "dilation": 1, "offset": 0}


@dataclass(eq=False)
class Node:
    """A layer in the graph of a net, with its place in the file.

    For an input of the net `kind` is Input, `blob` its name, and `layer` the data layer, if there is one.
    """

    layer: Message
    kind: str
    inputs: List[Node]
    blob: str = ""
    place: int = -1

    @property
    def name(self) -> str:
        """Name of the layer, printable."""
        return printable(self.layer.name or self.blob)


def above(ends: Iterable[Node]) -> List[Node]:
    """The nodes and all that they depend on."""
    found, left = {}, [*ends]
    while left:
        node = left.pop()
        if id(node) not in found:
            found[id(node)] = node
            left += node.inputs
    return [*found.values()]


def layers_of_text(path: str | Path) -> List[Message]:
    """Layers of a prototxt, of the old or the new format.

    Raises:
        FCNXSError: the file cannot be read, is no prototxt, describes no layers, or gives a layer a setting
            that Caffe does not have.
    """
    text = read_text(Path(path), "this prototxt", MOST_TEXT)
    try:
        net = text_format.Parse(text, CLASSES["NetParameter"](), allow_unknown_field=True)
        _check_fields(text)
    except (ValueError, text_format.ParseError, RecursionError) as error:
        what = " ".join(reason(error).split())[:300]
        raise FCNXSError(f"{path}: cannot read this prototxt: {what}") from None
    layers = [*map(as_layer, net.layer or net.layers)]
    if not any(layer.bottom for layer in layers):
        raise FCNXSError(f"{path}: describes no layers; give the net's own prototxt: deploy, train or val")
    return layers


def _check_fields(text: str) -> None:
    """Refuse settings that Caffe does not have, such as `hole`, which the parser would leave out silently."""
    tokens, names, word = text_format.Tokenizer(text.splitlines()), [""], ""
    known = {
        field.name: {each.name for each in field.message_type.fields}
        for field in CLASSES["LayerParameter"].DESCRIPTOR.fields
        if field.message_type is not None and field.message_type.name in WHOLE
    }
    while not tokens.AtEnd():
        token = tokens.token
        if token in (":", "{", "<") and word not in known.get(names[-1], {word}):
            raise FCNXSError(
                f"{names[-1]} has a setting {word!r}, which Caffe does not have: write it as Caffe does, or "
                "take it out if it changes nothing"
            )
        if token in ("{", "<"):
            names.append(word)
        elif token in ("}", ">") and len(names) > 1:
            names.pop()
        word = token if token != ":" else word
        tokens.NextToken()


def as_layer(message: Message) -> Message:
    """A layer of either format, without blobs, as one of the new format."""
    layer = CLASSES["LayerParameter"]()
    for field, value in message.ListFields():
        if field.name == "type" and field.enum_type is not None:
            old = ENUMS["V1Type"].split()[value]
            new = "".join(word.capitalize() for word in old.split("_"))
            layer.type = OLD_CROP if old == "CROP" else NEW_TYPES.get(old, new)
        elif hasattr(value, "extend"):
            getattr(layer, field.name).extend(map(_text, value) if field.message_type is None else value)
        elif field.message_type is not None:
            getattr(layer, field.name).CopyFrom(value)
        else:
            setattr(layer, field.name, _text(value))
    return layer


def _text(value: Any) -> Any:  # noqa: ANN401
    """A value as it is, but a text that is no UTF-8, which protobuf gives as bytes, escaped."""
    return printable(value) if isinstance(value, bytes) else value


def at_test_time(layer: Message) -> bool:
    """Whether a layer belongs to the net that is tested, by its `include` and `exclude`."""

    def met(rule: Message) -> bool:
        phase = not rule.HasField("phase") or ENUMS["Phase"].split()[rule.phase] == "TEST"
        return (
            phase
            and rule.min_level <= 0 <= (rule.max_level if rule.HasField("max_level") else 0)
            and not rule.stage
        )

    return (not layer.include or any(map(met, layer.include))) and not any(map(met, layer.exclude))


def graph_of(layers: Iterable[Message]) -> List[Node]:
    """Nodes of the layers of the tested net, in order. A blob that no layer makes is an input of the net."""
    made: Dict[str, Node] = {}  # the newest node that makes a blob: layers may change blobs in place
    nodes = []
    for place, layer in enumerate(filter(at_test_time, layers)):
        if not layer.bottom:
            made.update({top: Node(layer, "Input", [], top) for top in layer.top})
            continue
        for blob in layer.bottom:
            made.setdefault(blob, Node(CLASSES["LayerParameter"](), "Input", [], blob))
        kind = "Crop" if layer.type == OLD_CROP else printable(layer.type)
        nodes.append(Node(layer, kind, [made[blob] for blob in layer.bottom], place=place))
        made.update(dict.fromkeys(layer.top, nodes[-1]))
    return nodes


def image_blob(layers: Iterable[Message], end: str = "") -> str | None:
    """Name of the input that the first convolution takes; None if the layers do not say which.

    Args:
        end: what the convolution's name ends in, in a net with several images.
    """
    nodes = (node for node in graph_of(layers) if node.kind == "Convolution" and node.name.endswith(end))
    node = next(nodes, None)
    while node is not None and node.inputs:
        node = node.inputs[0]
    return node and node.blob


def name_of(layer: Message) -> str:
    """Our name of a layer with weights."""
    kernels = layer.convolution_param.kernel_size
    return name_here(printable(layer.name), kernels[0] if kernels else 0)


def settings_of(node: Node) -> Dict[str, Any]:
    """Settings of a layer that decide what it computes, with Caffe's defaults where it gives none.

    A pair (rows, columns) for kernel, stride, pad, dilation and offset; the pair is None if it is not given
    and has no default. Kinds of layers that our nets do not have, and inputs, have none.

    Raises:
        FCNXSError: a setting is given twice, or the layer has one that Caffe does not have.
    """
    if node.kind not in SETTINGS:
        return {}
    name, windows, others = SETTINGS[node.kind]
    param = getattr(node.layer, name)
    size = param.ByteSize()
    param.DiscardUnknownFields()
    if param.ByteSize() != size:
        raise FCNXSError(f"layer {node.name}: {name} has a setting that Caffe does not have")
    found = {key: _pair(node, param, key) for key in windows}
    found.update({key: _value(param, key) for key in others})
    if node.kind == "Crop":
        found["axis"] %= 4  # of (N, C, H, W)
    if node.layer.type == OLD_CROP:
        found["offset"] = None
    if set(found.get("coeff", ())) == {1}:
        found["coeff"] = ()
    return found


def _pair(node: Node, param: Message, key: str) -> Any:  # noqa: ANN401
    """Values for rows and columns of a setting that Caffe gives once, twice, or as KEY_h and KEY_w."""
    short = key.partition("_")[0]
    given = _value(param, key) if key in param.DESCRIPTOR.fields_by_name else ()
    given = given if isinstance(given, tuple) else (given,) if param.HasField(key) else ()
    ends = [f"{short}_{end}" for end in "hw" if f"{short}_{end}" in param.DESCRIPTOR.fields_by_name]
    if any(map(param.HasField, ends)):
        if given:
            raise FCNXSError(f"layer {node.name}: gives both {key} and {short}_h or {short}_w")
        return tuple(getattr(param, end) if param.HasField(end) else DEFAULTS.get(key) for end in ends)
    if not given:
        return (DEFAULTS[key],) * 2 if key in DEFAULTS else None
    return given * 2 if len(given) == 1 else given


def _value(param: Message, key: str) -> Any:  # noqa: ANN401
    """Value of a setting; an enum's by name, repeated ones as a tuple."""
    value, field = getattr(param, key), param.DESCRIPTOR.fields_by_name[key]
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return tuple(value) if hasattr(value, "extend") else value


def text_of(ends: Sequence[Node], height: int, width: int) -> Tuple[str, Dict[str, str]]:
    """Prototxt of the layers up to `ends`, for images (1, 3, height, width), and its inputs.

    An input's value is what ends the names of the trunk that takes it: "", of several images color or hha.
    OpenCV runs it, which calls `round_mode: FLOOR` otherwise.
    """
    net, nodes = CLASSES["NetParameter"](), sorted(above(ends), key=lambda node: node.place)
    inputs = {node.blob: "" for node in nodes if node.kind == "Input"}
    for node in nodes:
        if node.name in ("conv1_1color", "conv1_1hha"):
            (image,) = (each.blob for each in above([node]) if each.kind == "Input")
            inputs[image] = node.name[len("conv1_1") :]
    for name in inputs:
        net.input.append(name)
        net.input_dim.extend((1, 3, height, width))
    for node in nodes:
        if node.kind != "Input":
            layer = net.layer.add()
            layer.CopyFrom(node.layer)
            layer.type = node.kind
            layer.ClearField("include")
            layer.ClearField("exclude")
    text = text_format.MessageToString(net)
    return text.replace("round_mode: CEIL", "").replace("round_mode: FLOOR", "ceil_mode: false"), inputs

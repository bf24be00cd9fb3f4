"""Compare the layers that a file of Caffe describes with those of the net that we build, setting by setting.

Both are graphs of `caffe_layers.py`; ours is that of `caffe_prototxt.py`. They are walked from the scores to
the image, so that names count only for layers with weights.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..errors import FCNXSError
from .arrays import SCALES
from .caffe_layers import IDENTITY, SCALING, Node, name_of, settings_of
from .caffe_names import SECOND

WEIGHTED = ("Convolution", "Deconvolution", "InnerProduct")
BEHIND = ("Softmax", "SoftmaxWithLoss", "Accuracy", "ArgMax", "Silence", "Python")  # and losses

Blobs = Dict[str, List[np.ndarray]]  # by layer


class Difference(NamedTuple):
    """A setting of a layer of our net, and of the one in its place in a file."""

    ours: Node
    theirs: Node
    setting: str
    expected: Any
    given: Any

    def __str__(self) -> str:
        return f"layer {self.theirs.name}: {self.setting} {shown(self.given)}, not {shown(self.expected)}"


class Compared(NamedTuple):
    """Comparison of two nets.

    Args:
        differences: settings that differ, but for the offsets of crops.
        crops: the crops of our net, and those in their places.
        scaling: layers that scale or shift an image, the one nearest to the image first, by our name of it.
    """

    differences: List[Difference]
    crops: List[Tuple[Node, Node]]
    scaling: Dict[str, List[Node]]


def shown(value: Any) -> str:  # noqa: ANN401
    """A setting as people write it: 3 for (3, 3)."""
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value in (None, ()) else str(value).replace("(", "").replace(")", "")


def last_of(nodes: Sequence[Node], anchor: str, relu: bool) -> Node:
    """The last layer of a net that makes its output: behind layer `anchor`, or with `relu` its ReLU.

    Raises:
        FCNXSError: there is no layer `anchor`.
    """
    last = next((node for node in nodes if name_of(node.layer) == anchor and node.kind in WEIGHTED), None)
    if last is None:
        head = anchor.replace("bigscore", "")
        names = [f"{name}{head}" for name, ours in SECOND.items() if f"{ours}{head}" == anchor] or [anchor]
        raise FCNXSError(f"it has no layer {' or '.join(names)}")
    behind = {id(last)}
    for node in nodes:
        follows = any(id(each) in behind for each in node.inputs)
        wanted = last.kind != "ReLU" and node.kind in (*IDENTITY, "ReLU")
        if follows and (wanted if relu else node.kind not in BEHIND and not node.kind.endswith("Loss")):
            behind.add(id(node))
            last = node
    return last


def compare(ends: Sequence[Tuple[Node, Node]], blobs: Blobs, title: str) -> Compared:
    """Compare two nets by the last layers of their heads: ours, and theirs.

    Args:
        blobs: arrays of the file's scale layers.
        title: name of our net, for messages.

    Raises:
        FCNXSError: a layer is of another kind, another one, or joins another number of layers.
    """
    found, seen, left = Compared([], [], {}), set(), [(*pair, pair[0]) for pair in reversed(ends)]
    while left:
        a, b, taker = left.pop()
        scaling = []
        while b.kind in IDENTITY or (b.kind in SCALING and (a.kind == "Input" or _is_identity(b, blobs))):
            scaling += [b] if b.kind in SCALING else []
            b = b.inputs[0]
        if (id(a), id(b)) in seen and a.kind != "Input":
            continue
        seen.add((id(a), id(b)))
        if a.kind == "Input" and b.kind == "Input":
            if taker.kind == "Convolution":
                found.scaling[a.blob] = scaling[::-1]
            continue
        found.differences.extend(_differences(a, b, blobs, title))
        if a.kind == "Crop":
            found.crops.append((a, b))
        inputs = [node.inputs for node in (a, b)]
        if a.kind == "Eltwise":  # a sum, in any order
            inputs = [sorted(each, key=lambda node: (node.kind, name_of(node.layer))) for each in inputs]
        left += [(*pair, a) for pair in zip(*inputs)]
    return found


def _differences(a: Node, b: Node, blobs: Blobs, title: str) -> Iterator[Difference]:
    """Settings of two layers that differ."""
    place = f"layer {b.name} is {b.kind}, where {title} has {a.kind} {a.name}"
    if a.kind == "Scale" and b.kind in SCALING:
        factor, shift = scaling_of(b, blobs)
        if not np.allclose(factor, SCALES[a.name], rtol=1e-6, atol=0) or shift.any():
            yield Difference(
                a, b, "scale and shift", (SCALES[a.name], 0.0), (float(factor[0]), float(shift[0]))
            )
    elif a.kind != b.kind or (a.kind in WEIGHTED and name_of(a.layer) != name_of(b.layer)):
        raise FCNXSError(place)
    if len(a.inputs) != len(b.inputs):
        raise FCNXSError(f"layer {b.name} has {len(b.inputs)} inputs, where {title} has {len(a.inputs)}")
    theirs = settings_of(b)
    for setting, expected in settings_of(a).items():
        if setting != "offset" and theirs[setting] != expected:
            yield Difference(a, b, setting, expected, theirs[setting])


def _is_identity(node: Node, blobs: Blobs) -> bool:
    factor, shift = scaling_of(node, blobs)
    return bool((factor == 1).all() and not shift.any())


def scaling_of(node: Node, blobs: Blobs) -> Tuple[np.ndarray, np.ndarray]:
    """Factor and shift of a Power, Scale or Bias layer, float64 (1,) or (C,), one for each channel.

    Raises:
        FCNXSError: it computes something else, or its numbers are not in the file.
    """
    layer, values = node.layer, [np.ravel(each).astype(np.float64) for each in blobs.get(node.name, [])]
    if node.kind == "Power":
        param = layer.power_param
        if param.power != 1:
            raise FCNXSError(
                f"layer {node.name} (Power) raises to the power of {param.power:g}, which no net has"
            )
        return np.array([decimal(param.scale)]), np.array([decimal(param.shift)])
    param = layer.scale_param if node.kind == "Scale" else layer.bias_param
    if len(node.inputs) != 1 or (param.axis != 1 and any(each.size > 1 for each in values)):
        raise FCNXSError(
            f"layer {node.name} ({node.kind}) has axis {param.axis} and {len(node.inputs)} inputs, not 1"
        )
    fillers = [(param.filler, float(node.kind == "Scale"))]
    if node.kind == "Scale" and (param.bias_term or len(values) > 1):
        fillers.append((param.bias_filler, 0.0))
    for filler, unset in fillers[len(values) :]:
        if filler.type != "constant":
            raise FCNXSError(f"layer {node.name} ({node.kind}) has no values in this file")
        values.append(np.array([decimal(filler.value) if filler.HasField("value") else unset]))
    if node.kind == "Bias":
        return np.ones(1), values[0]
    return values[0], values[1] if len(values) > 1 else np.zeros(1)


def decimal(value: float) -> float:
    """The shortest number that has a float32 value: 0.01 for 0.009999999776."""
    return float(str(np.float32(value)))

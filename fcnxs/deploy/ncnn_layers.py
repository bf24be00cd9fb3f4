"""Translate the layers of a net to those of ncnn.

ncnn has no batches: MXNet's (1, C, H, W) is (C, H, W) there, so axes count from C = 0.

Source: Tencent/ncnn docs/developer-guide/operators.md, and the code of the layers in src/layer.
"""

from __future__ import annotations

import re
from ast import literal_eval
from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from ..errors import FCNXSError
from ..net import Net, layer_shapes
from ..symbols.graph.nodes import Graph, Node, flag, setting, window
from ..symbols.interpolation import is_bilinear

UNCOMPRESSED = np.zeros(1, np.float32)  # these four bytes stand before a kernel
ALL = -233  # as the size of a crop: all that is left; as an end of a slice: the last cell
LATE = ("null", "BatchNorm")  # become layers when one is asked for that does not contain them
OFF = ("", "0", "None", "False", "(0,0)", "()", "NCHW")  # values of settings that change nothing
Settings = Dict[int, Any]  # by ncnn's numbers: whole numbers, floats, or lists of whole numbers
WITHOUT_EFFECT = ("workspace", "cudnn_off", "cudnn_tune", "use_global_stats", "momentum", "num_args")


class Layer(NamedTuple):
    """A layer of ncnn; its output has its name.

    Args:
        weights: arrays or lists of numbers, in the order of the file.
    """

    kind: str
    name: str
    inputs: List[str]
    settings: Settings
    weights: Sequence = ()


def translated(net: Net, size: Tuple[int, int] | None) -> Tuple[List[Layer], List[str]]:
    """The layers of ncnn, in order, and the names of those that are the outputs.

    Args:
        net: takes `data` (N, C, H, W).
        size: (H, W) of the only images that the net takes; None: any.

    Raises:
        FCNXSError: ncnn cannot compute a layer; the message has its name and what it cannot do.
    """
    translation = _Translation(net, size)
    for i, node in enumerate(translation.nodes):
        _check(node)
        if node["op"] not in LATE:
            translation.names[i] = TRANSLATIONS[node["op"]][0](translation, i, node)
    return translation.layers, [translation.names[head[0]] for head in translation.graph.heads]


def _check(node: Node) -> None:
    """Refuse an operator, a setting or a name that is not translated."""
    if node["op"] == "null":
        return
    if node["op"] not in TRANSLATIONS:
        raise _refusal(node, "this operator is not translated")
    known = TRANSLATIONS[node["op"]][1]
    for key, value in node["attrs"].items():
        plain = re.sub(r"\s", "", value).replace("[", "(").replace("]", ")")
        taken = known[key] is None or plain in known[key] if key in known else plain in OFF
        if not (taken or key in WITHOUT_EFFECT or key.startswith("__")):
            raise _refusal(node, f"{key}={value} is not translated")


def _refusal(node: Node, why: str) -> FCNXSError:
    return FCNXSError(
        f"--format ncnn: layer {node['name']!r} ({node['op']}) cannot be written: {why}; use another --format"
    )


class _Translation:
    """The layers found so far, and what the methods that find them share.

    A method takes a node's number and the node, and returns the name of the node's output in ncnn.
    """

    def __init__(self, net: Net, size: Tuple[int, int] | None) -> None:
        self.graph, self.params = Graph.of(net.symbol), {**net.arg_params, **net.aux_params}
        self.nodes, self.size = self.graph.nodes, size
        self.layers: List[Layer] = []
        self.names: Dict[int, str] = {}  # of the nodes' outputs, by their numbers
        self.shifts: Dict[int, int] = {}  # of nodes with further cells before the first: how many
        self.input = self.graph.image_shapes(size or (500, 500))["data"]
        self.shapes = layer_shapes(net.symbol, data=self.input)

    def add(self, kind: str, name: str, inputs: List[str], settings: Settings, *weights: Sequence) -> str:
        """Add a layer; returns its name, which is made one that no other layer has, and that ncnn can read."""
        name = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:200]
        while name in {layer.name for layer in self.layers}:
            name += "_"
        self.layers.append(Layer(kind, name, inputs, settings, weights))
        return name

    def taken(self, node: Node, number: int = 0) -> str:
        """Name of an input of a node; what is `LATE` becomes a layer when it is first asked for."""
        i = node["inputs"][number][0]
        if i not in self.names:
            name = self.nodes[i]["name"]
            if self.nodes[i]["op"] == "BatchNorm":
                self.names[i] = self.batch_norm(i, self.nodes[i])
            elif name == "data":
                shape = dict(enumerate(self.input[:0:-1])) if self.size else {}
                self.names[i] = self.add("Input", name, [], shape)
            else:
                array = self.params[name].asnumpy()
                if array.ndim != 4 or len(array) != 1:
                    raise _refusal(node, f"the constant {name} has the shape {array.shape}, not (1, C, H, W)")
                self.names[i] = self.add("MemoryData", name, [], dict(zip((2, 1, 0), array.shape[1:])), array)
        return self.names[i]

    def arrays(self, node: Node) -> List[np.ndarray]:
        """A layer's parameters."""
        return [self.params[self.nodes[entry[0]]["name"]].asnumpy() for entry in node["inputs"][1:]]

    def convolution(self, i: int, node: Node) -> str:
        weight, *bias = self.arrays(node)
        settings = {0: len(weight), **_window(node, 1, 3, 4, 2), 5: len(bias), 6: weight.size}
        before = self.nodes[node["inputs"][0][0]]
        factor, added = self._linear(before) if before["op"] == "BatchNorm" else (0, 0)
        if np.any(factor != 1) or not bias or setting(node, "num_group", 0, 1) > 1:
            return self._with_groups(node, settings, weight, bias)
        # W (x + a) + b = W x + (W a + b), and zeros around x + a are -a around x: a border, and no pass over x.
        rows, columns = settings.pop(14), settings.pop(4)
        sizes = {0: rows, 1: rows, 2: columns, 3: columns, 6: len(added)}
        x = self.add("Padding", f"{node['name']}_border", [self.taken(before)], sizes, -added)
        moved = bias[0] + weight.sum((2, 3), dtype=np.float64) @ added
        return self.add("Convolution", node["name"], [x], settings, UNCOMPRESSED, weight, moved)

    def _linear(self, node: Node) -> Tuple[np.ndarray, np.ndarray]:
        """Factor and summand of a BatchNorm, for each channel."""
        gamma, beta, mean, variance = self.arrays(node)
        fixed = "fix_gamma" not in node["attrs"] or flag(node, "fix_gamma")
        factor = (1 if fixed else gamma) / np.sqrt(variance + np.float32(_number(node, "eps", 1e-3)))
        return factor, beta - mean * factor

    def _with_groups(self, node: Node, settings: Settings, weight: np.ndarray, bias: List[np.ndarray]) -> str:
        """Add a convolution or deconvolution, whose type is another one if it has groups."""
        kind, groups = node["op"], setting(node, "num_group", 0, 1)
        if groups > 1:
            kind, settings[7] = f"{kind}DepthWise", groups
        return self.add(kind, node["name"], [self.taken(node)], settings, UNCOMPRESSED, weight, *bias)

    def activation(self, i: int, node: Node) -> str:
        """A ReLU, which becomes part of the convolution before it unless something else takes that too."""
        x, before = self.taken(node), self.layers[-1]
        alone = len(self.graph.consumers[node["inputs"][0][0]]) == 1
        if alone and before.name == x and before.kind.startswith("Convolution"):
            before.settings[9] = 1
            return x
        return self.add("ReLU", node["name"], [x], {})

    def pooling(self, i: int, node: Node) -> str:
        down = int(node["attrs"].get("pooling_convention") != "full")
        return self.add("Pooling", node["name"], [self.taken(node)], {0: 0, **_window(node, 1, 2, 3), 5: down})

    def deconvolution(self, i: int, node: Node) -> str:
        weight, *bias = self.arrays(node)
        windows, adj = zip(*((window(node, axis), setting(node, "adj", axis, 0)) for axis in (0, 1)))
        factor, groups = setting(node, "stride", 0, 1), setting(node, "num_group", 0, 1)
        if windows == ((2 * factor, factor, 0),) * 2 and factor % 2 == 0 and not bias and is_bilinear(weight):
            return self._interpolation(i, node, factor, adj)
        by_output = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)  # MXNet's is by input
        settings = {0: weight.shape[1] * groups, **_window(node, 1, 3, 4, 2), 5: len(bias), 6: weight.size}
        return self._with_groups(node, {**settings, 18: adj[1], 19: adj[0]}, by_output, bias)

    def _interpolation(self, i: int, node: Node, factor: int, adj: Sequence[int]) -> str:
        """Bilinear upsampling as an interpolation, which is much faster than a deconvolution.

        Beyond the border a deconvolution has zeros, and ncnn's `Interp` repeats the border's cells: zeros are
        added around the input. Cell k of the deconvolution is then cell k + factor / 2 of the interpolation.
        """
        name, start = node["name"], factor // 2
        after = [1 if more <= start else 2 for more in adj]
        x = self.add("Padding", f"{name}_border", [self.taken(node)], {0: 1, 1: after[0], 2: 1, 3: after[1]})
        scales = {0: 2, 1: float(factor), 2: float(factor)}
        readers = [self.nodes[k] for k in self.graph.consumers[i]]
        if all(reader["op"] == "Crop" and reader["inputs"][0][0] == i for reader in readers):
            self.shifts[i] = start
            return self.add("Interp", name, [x], scales)
        x = self.add("Interp", f"{name}_wide", [x], scales)
        rows, columns = (factor * n - start - more for n, more in zip(after, adj))
        sizes = {0: start, 1: start, 3: ALL, 4: ALL, 5: ALL, 6: columns, 7: rows}
        return self.add("Crop", name, [x], sizes)

    def crop(self, i: int, node: Node) -> str:
        """A crop to the size of another layer: in ncnn also to its channels, unless it is a plane."""
        if len(node["inputs"]) != 2:
            raise _refusal(node, "only a crop to the size of another layer is translated")
        x, like = self.taken(node), self.taken(node, 1)
        channels = [self._shape(entry[0])[1] for entry in node["inputs"]]
        if channels[0] != channels[1]:
            like = self.add("Reduction", f"{node['name']}_size", [like], {0: 0, 1: 0, 3: [0], 5: 1})
        shift = self.shifts.get(node["inputs"][0][0], 0)
        rows, columns = (setting(node, "offset", axis, 0) + shift for axis in (0, 1))
        return self.add("Crop", node["name"], [x, like], {0: columns, 1: rows})

    def _shape(self, i: int) -> Tuple[int, ...]:
        name = self.nodes[i]["name"]
        return self.shapes.get(f"{name}_output") or self.shapes[name]

    def slice(self, i: int, node: Node) -> str:
        begin, end = (literal_eval(node["attrs"][key]) for key in ("begin", "end"))
        axes = [k for k, span in enumerate(zip(begin, end)) if span != (None, None)]
        if 0 in axes or any(n is not None and n < 0 for n in (*begin, *end)):
            raise _refusal(node, "only channels, rows and columns can be cut, at places counted from the first")
        starts, ends = ([ALL if span[k] is None else span[k] for k in axes] for span in (begin, end))
        settings = {9: starts, 10: ends, 11: [k - 1 for k in axes]}
        return self.add("Crop", node["name"], [self.taken(node)], settings)

    def pad(self, i: int, node: Node) -> str:
        widths = [int(n) for n in re.findall(r"\d+", node["attrs"]["pad_width"])]
        if any(widths[:4]):
            raise _refusal(node, "only rows and columns can be padded")
        settings = {**dict(enumerate(widths[4:])), 5: _number(node, "constant_value", 0)}
        return self.add("Padding", node["name"], [self.taken(node)], settings)

    def batch_norm(self, i: int, node: Node) -> str:
        factor, added = self._linear(node)
        return self.add("Scale", node["name"], [self.taken(node)], {0: len(added), 1: 1}, factor, added)

    def lrn(self, i: int, node: Node) -> str:
        alpha, beta, bias = map(partial(_number, node), ("alpha", "beta", "knorm"), (1e-4, 0.75, 2))
        settings = {0: 0, 1: setting(node, "nsize", 0, 5), 2: alpha, 3: beta, 4: bias}
        return self.add("LRN", node["name"], [self.taken(node)], settings)

    def of_two(self, i: int, node: Node) -> str:
        kind = ("add", "sub", "mul").index(node["op"].rpartition("_")[2])
        return self.add("BinaryOp", node["name"], [self.taken(node), self.taken(node, 1)], {0: kind})

    def times(self, i: int, node: Node) -> str:
        factor = _number(node, "scalar", 1)
        return self.add("BinaryOp", node["name"], [self.taken(node)], {0: 2, 1: 1, 2: factor})

    def softmax(self, i: int, node: Node) -> str:
        return self.add("Softmax", node["name"], [self.taken(node)], {0: 0, 1: 1})

    def class_map(self, i: int, node: Node) -> str:
        """Class with the largest score, the first of equal ones; ncnn's ArgMax is over all cells of an array.

        The class map is the smallest of the classes' numbers, to which the number of classes is added where a
        class does not have the largest score.
        """
        name, x, classes = node["name"], self.taken(node), self._shape(node["inputs"][0][0])[1]
        over_classes = {1: 0, 3: [0], 5: 1}
        largest = self.add("Reduction", f"{name}_largest", [x], {0: 4, **over_classes, 4: 1})
        below = self.add("BinaryOp", f"{name}_below", [largest, x], {0: 1})
        is_below = self.add("Threshold", f"{name}_is_below", [below], {0: 0.0})
        scale = {0: classes, 1: 1}
        number = self.add("Scale", f"{name}_number", [is_below], scale, [classes] * classes, range(classes))
        return self.add("Reduction", name, [number], {0: 5, **over_classes})


def _number(node: Node, key: str, default: float) -> float:
    return float(node["attrs"].get(key, default))


def _window(node: Node, *numbers: int) -> Settings:
    """Kernel, stride, pad and dilation by their numbers for columns, those for rows are larger by 10."""
    found: Settings = {}
    for key, default, number in zip(("kernel", "stride", "pad", "dilate"), (1, 1, 0, 1), numbers):
        found[number], found[number + 10] = (setting(node, key, axis, default) for axis in (1, 0))
    return found


# By operator: its translation, and the settings that it reads, with the values that it takes; None: any.
WINDOW = {"kernel": None, "stride": None, "pad": None}
CONVOLUTION = {**WINDOW, "dilate": None, "num_filter": None, "num_group": None, "no_bias": None}
POOLING = {**WINDOW, "pool_type": ("max",), "pooling_convention": ("valid", "full")}
OF_TWO = ("elemwise_add", "broadcast_add", "broadcast_sub", "broadcast_mul")
TRANSLATIONS: Dict[str, Tuple[Callable[[_Translation, int, Node], str], Dict[str, Any]]] = {
    "Convolution": (_Translation.convolution, CONVOLUTION),
    "Deconvolution": (_Translation.deconvolution, {**CONVOLUTION, "adj": None}),
    "Pooling": (_Translation.pooling, POOLING),
    "Activation": (_Translation.activation, {"act_type": ("relu",)}),
    "LRN": (_Translation.lrn, {"alpha": None, "beta": None, "knorm": None, "nsize": None}),
    "BatchNorm": (_Translation.batch_norm, {"eps": None, "fix_gamma": None, "axis": ("1",)}),
    "Crop": (_Translation.crop, {"offset": None}),
    "slice": (_Translation.slice, {"begin": None, "end": None}),
    "Pad": (_Translation.pad, {"mode": ("constant",), "pad_width": None, "constant_value": None}),
    "_mul_scalar": (_Translation.times, {"scalar": None}),
    **{op: (_Translation.of_two, {}) for op in OF_TWO},
    "softmax": (_Translation.softmax, {"axis": ("1",)}),
    "argmax": (_Translation.class_map, {"axis": ("1",)}),
    "Cast": (lambda self, i, node: self.taken(node), {"dtype": ("float32",)}),
    "_copy": (lambda self, i, node: self.taken(node), {}),
}

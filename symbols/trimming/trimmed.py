"""Nets that compute only the part of their padded canvas that an image can change (see `windows.py`).

VGG-16's first layer pads the image by 100. Most of conv1_1 to pool4 is therefore plateau: constant, and known
from the weights alone. A trimmed net computes each layer on a window, and adds the rest at pool4:

    image + few zeros -> conv1_1 ... pool4 on windows -> + frame = whole pool4 -> the rest of the net

Zero padding must stand for the plateau c around a window. Layers are therefore rebased: the layer takes x - c,
which is zero on the plateau, and its own plateau as bias, since conv(x) = conv(x - c) + conv(c). At the other
end, bilinear upsampling computes only the cells that the crop keeps (`interpolation.py`).

Plateaus and frame are functions of the weights (`plateaus.py`). In training they are part of the graph, so that
gradients reach the weights through them too. For inference a second graph computes them once.
"""

from __future__ import annotations

from typing import Container, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from ...compat import mxnet as mx
from ..graph.nodes import Entry, Graph, Node, setting, window
from ..graph.rewrite import Writer
from ..interpolation import matrix
from .plateaus import constants, frame
from .trunk import Axes, Trunk, Trunks, Upsampling

# A BatchNorm with beta = -c subtracts the plateau, since it keeps oneDNN's layout of its input. With a variance
# of 1 - EPS it divides by 1; EPS is exact in float32.
EPS = 2.0**-10
FIXED = {"_rebased_gamma": 1.0, "_rebased_moving_mean": 0.0, "_rebased_moving_var": 1 - EPS}


def fixed_params(
    symbol: mx.sym.Symbol, inputs: Dict[str, Sequence[int]], ctx: mx.Context
) -> Tuple[Dict[str, mx.nd.NDArray], Dict[str, mx.nd.NDArray]]:
    """Arguments and auxiliary states of a trimmed net that have fixed values (`FIXED`), by name.

    Args:
        inputs: shape of the image, (N, 3, H, W), by the name of the input.
    """
    found, shapes = [], symbol.infer_shape(**inputs)
    for names, sizes in ((symbol.list_arguments(), shapes[0]), (symbol.list_auxiliary_states(), shapes[2])):
        fixed = [(name, size, end) for name, size in zip(names, sizes) for end in FIXED if name.endswith(end)]
        found.append({name: mx.nd.full(size, FIXED[end], ctx) for name, size, end in fixed})
    return tuple(found)


class Trimmed(NamedTuple):
    """A trimmed net for inference.

    Args:
        symbol: the net. Its arguments are the whole net's, the constants and the matrices.
        graph: the graph of `symbol`.
        constants: computes the constants from the net's weights, in the order of `names`.
        names: names of the constants.
        matrices: float32 factors of a bilinear upsampling, by name.
    """

    symbol: mx.sym.Symbol
    graph: Graph
    constants: mx.sym.Symbol
    names: List[str]
    matrices: Dict[str, np.ndarray]


class Trimmer:
    """Makes trimmed nets of one net, for images of any size.

    A trimmed net has further arguments and auxiliary states with fixed values (`fixed_params`).
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.nodes, self.trunks = graph, graph.nodes, Trunks(graph)
        deconvolutions = [node for node in self.nodes if node["op"] == "Deconvolution"]
        self.upsampling_weights = [self.nodes[node["inputs"][1][0]]["name"] for node in deconvolutions]

    def for_training(self, size: Axes) -> Graph | None:
        """The net, trimmed for images of a size (rows, columns); None if it cannot be trimmed.

        Arguments, outputs and gradients are those of the whole net.
        """
        trunk = self.trunks.get(size)
        if trunk is None:
            return None
        writer = Writer()
        known = constants(writer, self.nodes, trunk)
        return writer.graph(_Net(writer, self.graph, trunk, known, trained=True).written())

    def with_constants(
        self, size: Axes, bilinear: Container[str] = (), trained: bool = False
    ) -> Trimmed | None:
        """The trimmed net with plateaus and frame as arguments; None if the net cannot be trimmed.

        Args:
            bilinear: names out of `upsampling_weights` whose kernels are bilinear (`interpolation.py`).
            trained: whether gradients will be computed.
        """
        trunk = self.trunks.get(size)
        if trunk is None:
            return None
        writer, aside = Writer(), Writer()
        computed = constants(aside, self.nodes, trunk)
        named = {name: writer.variable(name, self._shape(name, trunk)) for name in computed}
        net = _Net(writer, self.graph, trunk, named, bilinear, trained)
        heads = net.written()
        symbols = (writer.symbol(heads), writer.graph(heads), aside.symbol([*computed.values()]))
        return Trimmed(*symbols, [*computed], net.matrices)

    def _shape(self, name: str, trunk: Trunk) -> Sequence[int] | None:
        """Shape of the frame, which MXNet does not infer; None for the other constants."""
        if not name.endswith("_frame"):
            return None
        convs = [self.nodes[i] for i in trunk.layers if self.nodes[i]["op"] == "Convolution"]
        sizes = (plan.cells[-1].size for plan in trunk.plans)
        return (1, int(convs[-1]["attrs"]["num_filter"]), *sizes)


class _Net:
    """Writes a trimmed net.

    Args:
        known: entries of the constants, by name.
        bilinear: names of weights whose deconvolutions become products of matrices.
        trained: write pads larger than half a kernel as layers: oneDNN has no fast gradients for them.
    """

    def __init__(
        self,
        writer: Writer,
        graph: Graph,
        trunk: Trunk,
        known: Dict[str, Entry],
        bilinear: Container[str] = (),
        trained: bool = False,
    ) -> None:
        self.writer, self.graph, self.nodes, self.trunk, self.known = writer, graph, graph.nodes, trunk, known
        self.bilinear, self.trained = bilinear, trained
        self.skips = {number: skip for skip in trunk.skips for number in (skip.conv, skip.crop)}
        self.scales = {skip.scale: skip for skip in trunk.skips if skip.scale is not None}
        self.rebased: Dict[int, Entry] = {}  # entries of layers minus their plateaus, by number
        self.layers = {i: k for k, i in enumerate(trunk.layers)}
        self.upsamplings = {i: up for up in trunk.upsamplings for i in (up.deconv, up.crop)}
        self.matrices: Dict[str, np.ndarray] = {}

    def written(self) -> List[Entry]:
        """Write the net; returns the entries of its outputs."""
        return self.writer.write(self.graph, self._change)

    def _change(self, i: int, node: Node, inputs: List[Entry]) -> Entry | None:
        if i in self.layers:
            return self._layer(node, inputs, self.layers[i])
        if i in self.skips:
            return self._skip(i, node, inputs)
        if i in self.upsamplings:
            return self._upsampling(i, node, inputs, self.upsamplings[i])
        if i in self.scales:
            return self.writer.copy(node, [self._rebase(self.scales[i].pool)])
        return None

    def _layer(self, node: Node, inputs: List[Entry], k: int) -> Entry:
        """Write a layer of the trunk, on its window; the last one is put together with its frame."""
        writer, name = self.writer, node["name"]
        if k == 0:
            inputs[0] = writer.pad(inputs[0], f"{name}_window", *(plan.zeros for plan in self.trunk.plans))
        if self.trunk.rebased[k]:
            inputs = [self._rebase(self.trunk.layers[k - 1]), inputs[1], self.known[f"{name}_plateau"]]
        if node["op"] == "Convolution":
            pads = tuple(plan.pads[k] for plan in self.trunk.plans)
            if self.trained:
                own = tuple(min(pad, (window(node, axis)[0] - 1) // 2) for axis, pad in enumerate(pads))
                more = [(pad - kept,) * 2 for pad, kept in zip(pads, own)]
                inputs[0], pads = writer.pad(inputs[0], f"{name}_padded", *more), own
            return writer.copy(node, inputs, pad=pads)
        if node["op"] == "Activation":
            return writer.copy(node, inputs)
        if k < len(self.trunk.layers) - 1:
            return writer.copy(node, inputs, pooling_convention="valid")
        inside = writer.copy(node, inputs, f"{name}_window", pooling_convention="valid")
        inside = writer.pad(inside, f"{name}_window_padded", *frame(self.trunk))
        return writer.add("broadcast_add", name, [inside, self.known[f"{name}_frame"]])

    def _rebase(self, i: int) -> Entry:
        """Output of a layer of the trunk minus its plateau."""
        if i not in self.rebased:
            name = f"{self.nodes[i]['name']}_rebased"
            gamma, mean, var = (self.writer.variable(f"{self.nodes[i]['name']}{end}") for end in FIXED)
            inputs = [self.writer.written[i], gamma, self.known[f"{name}_beta"], mean, var]
            settings = {"eps": EPS, "fix_gamma": True, "use_global_stats": True}
            self.rebased[i] = self.writer.add("BatchNorm", name, inputs, **settings)
        return self.rebased[i]

    def _skip(self, i: int, node: Node, inputs: List[Entry]) -> Entry:
        """Write the convolution of a skip, whose pad continues the plateau, or its crop."""
        skip = self.skips[i]
        if i == skip.crop:
            return self.writer.copy(node, inputs, offset=skip.offsets)
        x = inputs[0] if skip.scale is not None else self._rebase(skip.pool)
        return self.writer.copy(node, [x, inputs[1], self.known[f"{node['name']}_plateau"]], pad=skip.pads)

    def _upsampling(self, i: int, node: Node, inputs: List[Entry], up: Upsampling) -> Entry:
        """Write a head's last deconvolution, on the scores that the crop keeps cells of, or that crop."""
        if i == up.crop:
            cut = f"{self.nodes[up.deconv]['name']}_rows" in self.matrices
            return inputs[0] if cut else self.writer.copy(node, inputs, offset=up.offsets)
        scores = self.writer.cut(inputs[0], f"{node['name']}_window", *up.spans)
        weight, *bias = (self.nodes[entry[0]]["name"] for entry in node["inputs"][1:])
        plain = all(setting(node, key, axis, 1) == 1 for key in ("num_group", "dilate") for axis in (0, 1))
        if weight in self.bilinear and plain and not bias:
            return self._interpolation(node, scores, up)
        return self.writer.copy(node, [scores, *inputs[1:]])

    def _interpolation(self, node: Node, scores: Entry, up: Upsampling) -> Entry:
        """Write such a deconvolution and its crop as two products for each channel: columns, then rows."""
        writer, name = self.writer, node["name"]
        rows, columns = (
            matrix(window(node, axis), up.spans[axis][1] - up.spans[axis][0], up.offsets[axis], length)
            for axis, length in enumerate(up.size)
        )
        own = {f"{name}_rows": rows[np.newaxis], f"{name}_columns": columns.T[np.newaxis].copy()}
        self.matrices.update(own)
        by_rows, by_columns = (writer.variable(each, array.shape) for each, array in own.items())
        planes = writer.add("Reshape", f"{name}_planes", [scores], shape=(-1, rows.shape[1], columns.shape[1]))
        by_columns = self._for_each(by_columns, planes, f"{name}_all_columns")
        wide = writer.add("batch_dot", f"{name}_wide", [planes, by_columns])
        by_rows = self._for_each(by_rows, wide, f"{name}_all_rows")
        high = writer.add("batch_dot", f"{name}_high", [by_rows, wide])
        return writer.add("Reshape", name, [high], shape=(-1, int(node["attrs"]["num_filter"]), *up.size))

    def _for_each(self, one: Entry, planes: Entry, name: str) -> Entry:
        return self.writer.add("broadcast_like", name, [one, planes], lhs_axes=(0,), rhs_axes=(0,))

"""Nets that compute only what an image can change of their canvas (`windows.py`), and take the rest as known.

VGG-16's first layer pads the image by 100, so that most of what conv1_1 to pool4 have around it does not
depend on it. A convolution is linear: of x - c, where c is the plateau of x, it gives what it gives of x, less
its own plateau; and zeros around x - c are x going on at its plateau. So a layer of the window rebases its
input, has a pad by which its window grows as the image's support does, and takes its own plateau for a bias.
pool4 is put together from its window and the frame around it. At the other end, bilinear upsampling computes
what the crop leaves (`interpolation.py`).

Plateaus and frame depend on the weights alone (`plateaus.py`). In training they are part of the graph, and
gradients reach the weights through them too. For inference they are arguments, which another graph computes.
"""

from __future__ import annotations

from typing import Container, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from ...compat import mxnet as mx
from ..graph.nodes import Entry, Graph, Node, setting, window
from ..graph.rewrite import Writer
from ..interpolation import matrix
from .plateaus import constants, frame
from .trunk import Axes, Trunk, Trunks

# A BatchNorm rebases, since it keeps oneDNN's layout of its input: beta is -c. EPS is exact in float32.
EPS = 2.0**-10
FIXED = {"_rebased_gamma": 1.0, "_rebased_moving_mean": 0.0, "_rebased_moving_var": 1 - EPS}


def fixed_params(
    symbol: mx.sym.Symbol, inputs: Dict[str, Sequence[int]], ctx: mx.Context
) -> Tuple[Dict[str, mx.nd.NDArray], Dict[str, mx.nd.NDArray]]:
    """Arguments, and auxiliary states, of a trimmed net that always have the same values, in its shapes.

    Args:
        inputs: shape of the image, by its name.
    """
    found, shapes = [], symbol.infer_shape(**inputs)
    for names, sizes in ((symbol.list_arguments(), shapes[0]), (symbol.list_auxiliary_states(), shapes[2])):
        values = [next((value for end, value in FIXED.items() if name.endswith(end)), None) for name in names]
        pairs = [(name, size, value) for name, size, value in zip(names, sizes, values) if value is not None]
        found.append({name: mx.nd.full(size, value, ctx) for name, size, value in pairs})
    return tuple(found)


class Trimmed(NamedTuple):
    """A trimmed net for inference.

    Args:
        symbol: has the arguments of the net, `names` and those of `matrices`.
        graph: the same as a graph.
        constants: computes them, of the net's weights, in the order of `names`.
        matrices: by which a bilinear upsampling multiplies, float32, by name.
    """

    symbol: mx.sym.Symbol
    graph: Graph
    constants: mx.sym.Symbol
    names: List[str]
    matrices: Dict[str, np.ndarray]


class Trimmer:
    """Trimmed graphs of one net, by the size of the image.

    They have further arguments and auxiliary states, of fixed values (`fixed_params`).
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.nodes, self.trunks = graph, graph.nodes, Trunks(graph)
        deconvolutions = [node for node in self.nodes if node["op"] == "Deconvolution"]
        self.upsampling_weights = [self.nodes[node["inputs"][1][0]]["name"] for node in deconvolutions]

    def for_training(self, size: Axes) -> mx.sym.Symbol | None:
        """The net, trimmed for images of a size (rows, columns); None if it cannot be.

        It has the net's arguments, and the same outputs and gradients.
        """
        trunk = self.trunks.get(size)
        if trunk is None:
            return None
        writer = Writer()
        known = constants(writer, self.nodes, trunk)
        return writer.symbol(_Net(writer, self.graph, trunk, known, trained=True).written())

    def with_constants(
        self, size: Axes, bilinear: Container[str] = (), trained: bool = False
    ) -> Trimmed | None:
        """The same with constants in the place of what depends on the weights alone.

        Args:
            bilinear: those of `upsampling_weights` that interpolate bilinearly (`interpolation.py`).
            trained: gradients will be computed.
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
        """Shape of a constant, where MXNet does not infer it: that of the frame."""
        if not name.endswith("_frame"):
            return None
        convs = [self.nodes[i] for i in trunk.layers if self.nodes[i]["op"] == "Convolution"]
        return (
            1,
            int(convs[-1]["attrs"]["num_filter"]),
            *(plan.cells[-1].size for plan in (trunk.rows, trunk.columns)),
        )


class _Net:
    """A net written anew around a trunk.

    Args:
        known: constants, by name.
        bilinear: weights of deconvolutions that become products of matrices.
        trained: pads larger than half a kernel are layers of their own: oneDNN has no fast gradients for them.
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
        self.plans = (trunk.rows, trunk.columns)
        self.skips = {number: skip for skip in trunk.skips for number in (skip.conv, skip.crop)}
        self.scales = {skip.scale: skip for skip in trunk.skips if skip.scale is not None}
        self.rebased: Dict[int, Entry] = {}  # by the number of the layer
        self.layers = {i: k for k, i in enumerate(trunk.layers)}
        self.matrices: Dict[str, np.ndarray] = {}

    def written(self) -> List[Entry]:
        """Write the net; returns the entries of its outputs."""
        return self.writer.write(self.graph, self._change)

    def _change(self, i: int, node: Node, inputs: List[Entry]) -> Entry | None:
        if i in self.layers:
            return self._layer(node, inputs, self.layers[i])
        if i in self.skips:
            return self._skip(i, node, inputs)
        if self.trunk.upsampling is not None and i in self.trunk.upsampling[:2]:
            return self._upsampling(i, node, inputs)
        if i in self.scales:
            return self.writer.copy(node, [self._rebase(self.scales[i].pool)])
        return None

    def _layer(self, node: Node, inputs: List[Entry], k: int) -> Entry:
        """A layer of the trunk, on its window."""
        writer, name = self.writer, node["name"]
        if k == 0:
            inputs[0] = writer.pad(inputs[0], f"{name}_window", *(plan.zeros for plan in self.plans))
        if self.trunk.rebased[k]:
            inputs = [self._rebase(self.trunk.layers[k - 1]), inputs[1], self.known[f"{name}_plateau"]]
        if node["op"] == "Convolution":
            pads = tuple(plan.pads[k] for plan in self.plans)
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
        """A layer of the trunk minus its plateau."""
        if i not in self.rebased:
            name = f"{self.nodes[i]['name']}_rebased"
            gamma, mean, var = (
                self.writer.variable(f"{name}_{each}") for each in ("gamma", "moving_mean", "moving_var")
            )
            self.rebased[i] = self.writer.add(
                "BatchNorm",
                name,
                [self.writer.written[i], gamma, self.known[f"{name}_beta"], mean, var],
                **{"eps": EPS, "fix_gamma": True, "use_global_stats": True},
            )
        return self.rebased[i]

    def _skip(self, i: int, node: Node, inputs: List[Entry]) -> Entry:
        """The convolution of a skip, with its plateau around the window, or its crop."""
        skip = self.skips[i]
        if i == skip.crop:
            return self.writer.copy(node, inputs, offset=skip.offsets)
        x = inputs[0] if skip.scale is not None else self._rebase(skip.pool)
        return self.writer.copy(node, [x, inputs[1], self.known[f"{node['name']}_plateau"]], pad=skip.pads)

    def _upsampling(self, i: int, node: Node, inputs: List[Entry]) -> Entry:
        """The last deconvolution, of the scores that the crop leaves something of, or that crop."""
        up, name = self.trunk.upsampling, node["name"]
        if i == up.crop:
            return inputs[0] if self.matrices else self.writer.copy(node, inputs, offset=up.offsets)
        scores = self.writer.cut(inputs[0], f"{name}_window", *up.spans)
        weight, *bias = (self.nodes[entry[0]]["name"] for entry in node["inputs"][1:])
        plain = all(setting(node, key, axis, 1) == 1 for key in ("num_group", "dilate") for axis in (0, 1))
        if weight in self.bilinear and plain and not bias:
            return self._interpolation(node, scores)
        return self.writer.copy(node, [scores, *inputs[1:]])

    def _interpolation(self, node: Node, scores: Entry) -> Entry:
        """The last deconvolution and its crop as products: of each channel's columns, then of its rows."""
        writer, name, up = self.writer, node["name"], self.trunk.upsampling
        rows, columns = (
            matrix(window(node, axis), up.spans[axis][1] - up.spans[axis][0], up.offsets[axis], length)
            for axis, length in enumerate(up.size)
        )
        self.matrices.update(
            {f"{name}_rows": rows[np.newaxis], f"{name}_columns": columns.T[np.newaxis].copy()}
        )
        by_rows, by_columns = (writer.variable(each, array.shape) for each, array in self.matrices.items())
        planes = writer.add("Reshape", f"{name}_planes", [scores], shape=(-1, rows.shape[1], columns.shape[1]))
        by_columns = self._for_each(by_columns, planes, f"{name}_all_columns")
        wide = writer.add("batch_dot", f"{name}_wide", [planes, by_columns])
        by_rows = self._for_each(by_rows, wide, f"{name}_all_rows")
        high = writer.add("batch_dot", f"{name}_high", [by_rows, wide])
        return writer.add("Reshape", name, [high], shape=(-1, int(node["attrs"]["num_filter"]), *up.size))

    def _for_each(self, one: Entry, planes: Entry, name: str) -> Entry:
        return self.writer.add("broadcast_like", name, [one, planes], lhs_axes=(0,), rhs_axes=(0,))

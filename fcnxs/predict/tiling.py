"""Class maps of images of any size, in bounded memory: tiles whose results equal the whole image's.

The net is computed in three phases, which are read off the graph:

    image -> layers up to the last pooling -> layers up to the scores -> upsampling -> class scores

Each phase is computed in tiles, and its results are kept whole: they are small, at most an eighth of the
image's height and width. A tile reads just the cells of the previous phase that it needs (`subgraph.py`). So
neighbouring tiles overlap by the receptive field of one phase, not of the net, and little is computed twice.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import product
from math import prod
from typing import Callable, ContextManager, Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple

import numpy as np

from ..compat import mxnet as mx
from ..device_memory import SharedMemory
from ..errors import FCNXSError
from ..net import Net, layer_shapes, unfused
from ..symbols.graph.layer_sizes import layer_sizes
from ..symbols.graph.maps import walk
from ..symbols.graph.nodes import Graph, Node, image_inputs
from ..symbols.graph.reach import Extent
from .forward import peak_bytes
from .subgraph import Box, Subgraph, check_windows, subgraph_of

# Reads a window (rows, columns) of the image as an array (1, 3, h, w), zero outside the image.
Read = Callable[[Box], np.ndarray]
# Share of the memory limit that the estimate for one subgraph may reach. The rest is for memory that executors
# do not share, for the class map and for its pictures: 8192x8192 pixels took 1.4 times the estimate.
SHARE = 0.65
UPSAMPLING = {"Deconvolution", "UpSampling"}

# A grid of tiles: for each row of tiles the rows of every output, by node number; and the same for columns.
Tiles = Tuple[List[Dict[int, Extent]], ...]


class Phase(NamedTuple):
    """Layers that are computed together.

    Attributes:
        members: node numbers of these layers.
        outputs: those members that later phases read, the coarsest first.
    """

    members: Set[int]
    outputs: List[int]


class Tiling:
    """A net cut into tiles for one image size and one memory limit.

    Args:
        net: graph and parameters; its output are class scores, as `scores_symbol` makes it.
        size: rows and columns of the image.
        limit: bytes that may be used besides the parameters and the image.
        ctx: device of the parameters.
        graph: the parsed graph of the net's symbol, if the caller has it already.
        turn: lock held while a tile is computed. The results of a pass belong to its iterator, so that threads
            can run several passes, and a pass that is left unfinished keeps nobody waiting.

    Raises:
        FCNXSError: the net has a layer that cannot be tiled, or even the smallest tiles exceed the limit.
    """

    def __init__(
        self,
        net: Net,
        size: Tuple[int, int],
        limit: float,
        ctx: mx.Context | None = None,
        graph: Graph | None = None,
        turn: ContextManager = nullcontext(),  # noqa: B008  (it has no state)
    ) -> None:
        self.net, self.size, self.ctx, self._turn = net, size, ctx or mx.cpu(), turn
        graph = graph or Graph.of(net.symbol)
        self._nodes, self._image = graph.nodes, graph.image
        self._sizes = [
            [None if each is None else each.value(count) for each in layer_sizes(graph, axis)]
            for axis, count in enumerate(size)
        ]
        self._strides = [[None if fp is None else fp[0] for fp in walk(graph, a).maps] for a in (0, 1)]
        self._dtype = np.dtype(next(iter(net.arg_params.values())).dtype)
        self._channels = _channels(net.symbol, graph, size)
        self.phases = _phases(self._nodes, graph.heads[0][0])
        for phase in self.phases:
            for rows_or_columns in self._sizes:
                check_windows(self._nodes, phase.members, rows_or_columns)
        kept = [self._channels[i] * prod(self._shape(i)) for phase in self.phases[:-1] for i in phase.outputs]
        room = SHARE * (limit - sum(kept) * self._dtype.itemsize)
        self.tiles = [self._tiles(phase, room, limit) for phase in self.phases]

    def class_maps(self, read: Read) -> Iterator[Tuple[int, np.ndarray]]:
        """Yield first row and class map, uint8 (h, W), of each band of rows, from the top; see `bands`."""
        for row, scores in self.bands(read, classes=True):
            yield row, scores[0]

    def bands(self, read: Read, classes: bool = False) -> Iterator[Tuple[int, np.ndarray]]:
        """Yield first row and scores (C, h, W) of each band of rows, from the top of the image.

        Args:
            read: returns windows of the image minus the mean; see `reader`.
            classes: yield the class of the largest score, uint8 (1, h, W), instead of the scores.
        """
        kept: Dict[int, np.ndarray] = {}
        for phase, tiles in zip(self.phases[:-1], self.tiles):
            for i in phase.outputs:
                kept[i] = np.empty((self._channels[i], *self._shape(i)), self._dtype)
            for spans, results in self._run(phase, tiles, read, kept):
                for i, result in results.items():
                    rows, columns = spans[i]
                    kept[i][:, rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = result
        head, band = self.phases[-1].outputs[0], []
        for spans, results in self._run(self.phases[-1], self.tiles[-1], read, kept, classes):
            band.append(results[head])
            if spans[head][1][1] == self.size[1] - 1:
                yield spans[head][0][0], np.concatenate(band, axis=2)
                band = []

    def _run(
        self, phase: Phase, tiles: Tiles, read: Read, kept: Dict[int, np.ndarray], classes: bool = False
    ) -> Iterator[Tuple[Dict[int, Box], Dict[int, np.ndarray]]]:
        """Cells of every output of one tile after the other, and the results."""
        memory, executors = SharedMemory(self.ctx), {}
        with self._turn:
            plan = [self._subgraph(phase, rows, columns) for rows, columns in product(*tiles)]
            keys = [(subgraph.text, *self._input_shapes(subgraph).values()) for subgraph in plan]
            donor = max(dict(zip(keys, plan)).values(), key=self._peak)  # all work in the memory of the largest
            memory.donor = self._bind(donor, memory, classes)
        for key, subgraph in zip(keys, plan):
            inputs = {
                i: read(box) if i == self._image else _window(kept[i], box)
                for i, box in subgraph.inputs.items()
            }
            with self._turn:
                if key not in executors:
                    executors[key] = self._bind(subgraph, memory, classes)
                for i, array in inputs.items():
                    executors[key].arg_dict[self._nodes[i]["name"]][:] = array
                outputs = executors[key].forward(is_train=False)
                results = {i: output.asnumpy()[0] for i, output in zip(subgraph.outputs, outputs)}
            yield subgraph.outputs, results

    def _bind(self, subgraph: Subgraph, memory: SharedMemory, classes: bool) -> mx.executor.Executor:
        symbol, shapes = subgraph.symbol, self._input_shapes(subgraph)
        if classes:
            symbol = mx.sym.cast(mx.sym.argmax(symbol, axis=1, keepdims=True), dtype="uint8")
        inputs = {name: mx.nd.empty(shape, self.ctx, self._dtype) for name, shape in shapes.items()}
        args, grads = {**self.net.arg_params, **inputs}, unfused(symbol, self.net.arg_params)
        return memory.bind(symbol, args, grads, self.net.aux_params)

    def _subgraph(self, phase: Phase, rows: Dict[int, Extent], columns: Dict[int, Extent]) -> Subgraph:
        wanted = {i: (rows[i], columns[i]) for i in phase.outputs}
        return subgraph_of(self._nodes, phase.members, self._sizes, wanted)

    def _shape(self, i: int) -> Tuple[int, int]:
        return (self._sizes[0][i], self._sizes[1][i])

    def _input_shapes(self, subgraph: Subgraph) -> Dict[str, Tuple[int, ...]]:
        return {
            self._nodes[i]["name"]: (1, self._channels[i], *(last - first + 1 for first, last in box))
            for i, box in subgraph.inputs.items()
        }

    def _peak(self, subgraph: Subgraph) -> int:
        graph, shapes = Graph.read(subgraph.text), self._input_shapes(subgraph)
        return peak_bytes(subgraph.symbol, graph, shapes, self._dtype.itemsize)

    def _tiles(self, phase: Phase, room: float, limit: float) -> Tiles:
        """Largest tiles (square, unless the image is narrower) whose subgraphs need at most `room` bytes."""
        units = [self._unit(phase, axis) for axis in (0, 1)]
        counts = [-(-self._shape(phase.outputs[0])[axis] // units[axis]) for axis in (0, 1)]

        def tiles(side: int) -> Tiles:
            return tuple(self._spans(phase, axis, min(side, counts[axis]) * units[axis]) for axis in (0, 1))

        most, high = 0, max(counts)  # sides, in units: the largest known to fit, and the largest that may
        while most < high:
            side = (most + 1 + high) // 2
            if self._most(phase, tiles(side)) <= room:
                most = side
            else:
                high = side - 1
        if not most:
            least = (self._most(phase, tiles(1)) - room) / SHARE / 1e9 + limit / 1e9
            raise FCNXSError(
                f"{self.size[1]}x{self.size[0]} pixels need {least:.3f} GB, even in the smallest tiles; "
                f"the limit is {limit / 1e9:.3f} GB"
            )
        return tiles(most)

    def _unit(self, phase: Phase, axis: int) -> int:
        """Tile sides are multiples of so many cells of the coarsest output; then inner tiles share a graph."""
        taken = {j for i in phase.members for j in image_inputs(self._nodes[i])} - phase.members
        strides = [self._strides[axis][i] for i in (*phase.outputs, *taken)]
        unit = max(strides) / self._strides[axis][phase.outputs[0]]
        ratios = [self._strides[axis][phase.outputs[0]] / self._strides[axis][i] for i in phase.outputs]
        if any(ratio.denominator > 1 for ratio in (unit, *ratios)):
            raise FCNXSError("the strides of the net's layers do not divide each other; it cannot be tiled")
        return int(unit)

    def _spans(self, phase: Phase, axis: int, side: int) -> List[Dict[int, Extent]]:
        """For each tile along an axis, the cells of every output; at most `side` cells of the coarsest one."""
        coarsest, size = phase.outputs[0], self._shape(phase.outputs[0])[axis]
        count, unit = -(-size // side), self._unit(phase, axis)
        side = -(-size // (count * unit)) * unit  # equal tiles; the last may be smaller
        spans = []
        for first in range(0, size, side):
            spans.append({})
            for i in phase.outputs:
                ratio = int(self._strides[axis][coarsest] / self._strides[axis][i])
                end = (first + side) * ratio if first + side < size else self._shape(i)[axis]
                spans[-1][i] = (first * ratio, min(end, self._shape(i)[axis]) - 1)
        return spans

    def _most(self, phase: Phase, tiles: Tiles) -> int:
        """Bytes that the most demanding tile needs; it is a first, a middle or a last one along each axis."""
        ends = [{0: each[0], 1: each[len(each) // 2], 2: each[-1]}.values() for each in tiles]
        return max(self._peak(self._subgraph(phase, rows, columns)) for rows, columns in product(*ends))


def _phases(nodes: List[Node], head: int) -> List[Phase]:
    """The net's phases: layers up to the last pooling, layers up to the first upsampling, and the rest."""
    needed = {head}
    for i in range(head, -1, -1):
        if i in needed:
            needed.update(image_inputs(nodes[i]) if nodes[i]["op"] != "null" else ())
    layers = [i for i in sorted(needed) if nodes[i]["op"] != "null"]
    poolings = [i for i in layers if nodes[i]["op"] == "Pooling"]
    number: Dict[int, int] = {}
    for i in layers:
        inputs = [entry[0] for entry in nodes[i]["inputs"]]  # includes inputs that only give a size
        number[i] = max((number.get(j, 0) for j in inputs), default=0)
        if poolings[-1:] and poolings[-1] in inputs:
            number[i] = max(number[i], 1)
        if nodes[i]["op"] in UPSAMPLING:
            number[i] = 2
    phases = []
    for k in sorted({*number.values()}):
        members = {i for i in layers if number[i] == k}
        later = {j for i in layers if number[i] > k for j in image_inputs(nodes[i])}
        phases.append((members, sorted(members & (later | {head}))))
    return [Phase(members, outputs) for members, outputs in phases if outputs]


def _channels(symbol: mx.sym.Symbol, graph: Graph, size: Tuple[int, int]) -> List[int | None]:
    by_name = layer_shapes(symbol, **graph.image_shapes(size))
    names = [node["name"] if node["op"] == "null" else f"{node['name']}_output" for node in graph.nodes]
    return [by_name[name][1] if len(by_name.get(name, ())) == 4 else None for name in names]


def _window(array: np.ndarray, box: Box, mean: np.ndarray | None = None) -> np.ndarray:
    """A window of an array (C, H, W), minus a mean, as (1, C, h, w); zero outside the array."""
    there = [slice(max(first, 0), last + 1) for first, last in box]
    pads = [(max(-first, 0), max(last + 1 - size, 0)) for (first, last), size in zip(box, array.shape[1:])]
    cut = array[:, there[0], there[1]]
    cut = cut if mean is None else np.subtract(cut, mean, dtype=np.float32, order="C")
    return np.pad(cut, ((0, 0), *pads))[np.newaxis] if any(map(any, pads)) else cut[np.newaxis]


def reader(image: np.ndarray, mean: Sequence[float]) -> Read:
    """Function that reads windows of an image, RGB uint8 (H, W, 3), and subtracts the mean (R, G, B)."""
    mean = np.asarray(mean, np.float32)[:, np.newaxis, np.newaxis]
    return lambda box: _window(image.transpose(2, 0, 1), box, mean)


def windows(data: np.ndarray) -> Read:
    """Function that reads windows of `data` (1, 3, H, W), an image with the mean already subtracted."""
    return lambda box: _window(data[0], box)

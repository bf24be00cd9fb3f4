"""Finds the layers of a net that can be trimmed for one size of image.

    data -> conv1_1 -> relu -> ... -> pool3 -> conv4_1 -> ... -> pool4 -> fc6 ... score -> score2 (upsampled)
            |---------------- trunk ------|--------------------------|                       |
                                          `-> score_pool3 -> crop -------------- skip ------>+

The trunk is the chain from the image to the last pooling whose window still meets no ring. Only skips may
take its earlier poolings; any other use of a layer ends the trunk before it.
"""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Tuple

from ..graph.layer_sizes import layer_sizes
from ..graph.nodes import Graph, Node, flag, has, setting, window
from .windows import Plan, Span, Step, contains, needed, plan, smaller

# Rebasing costs a pass over a layer's input. At strides 1 and 2 that takes longer than it saves, except
# directly behind a pooling. From this stride on all convolutions are rebased.
REBASED_FROM = 4

Axes = Tuple[int, int]


class Skip(NamedTuple):
    """A 1x1 convolution on a pooling of the trunk, and the crop of its output.

    Args:
        pool, scale, conv, crop: numbers of the nodes; `scale` multiplies by a constant before the convolution,
            and is None where there is no such node.
        pads: pad of the convolution in the trimmed net, (rows, columns).
        offsets: offset of the crop in the trimmed net, (rows, columns).
    """

    pool: int
    scale: int | None
    conv: int
    crop: int
    pads: Axes
    offsets: Axes


class Upsampling(NamedTuple):
    """A deconvolution that is cropped like the image.

    Args:
        deconv, crop: numbers of the nodes.
        spans: rows and columns of its input that reach the cells that the crop keeps.
        offsets: offset of the crop where the deconvolution computes those rows and columns alone.
        size: rows and columns that the crop keeps.
    """

    deconv: int
    crop: int
    spans: Tuple[Span, Span]
    offsets: Axes
    size: Axes


class Trunk(NamedTuple):
    """The layers to trim for one size of image, from the first to a pooling, and how.

    Args:
        layers: numbers of the nodes.
        rebased: for each layer, whether it takes its input minus the plateau.
        plans: windows to compute, for rows and for columns.
        skips: layers that take poolings before the last one.
        canvas: (rows, columns) of each layer on the small empty canvas.
        upsamplings: the last one of each head, where it is cropped like the image.
    """

    layers: List[int]
    rebased: List[bool]
    plans: Tuple[Plan, Plan]
    skips: List[Skip]
    canvas: List[Axes]
    upsamplings: List[Upsampling]


class Trunks:
    """Trunks of one net, the layers from the image to a pooling that can be trimmed, by image size."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.nodes, self.consumers = graph, graph.nodes, graph.consumers
        self.sizes = [layer_sizes(graph, axis) for axis in (0, 1)]
        self.chain = list(self._chain())
        self.poolings = [k for k, i in enumerate(self.chain) if self.nodes[i]["op"] == "Pooling"]

    def get(self, size: Axes) -> Trunk | None:
        """The longest trunk that can be trimmed at an image size (rows, columns); None if there is none."""
        found = (self._trunk(self.chain[: k + 1], size) for k in reversed(self.poolings))
        return next((trunk for trunk in found if trunk is not None), None)

    def _chain(self) -> Iterator[int]:
        """Layers from the image towards the first upsampling, up to one that cannot be trimmed."""
        nodes = self.nodes
        i = next((i for i, node in enumerate(nodes) if node["op"] == "Deconvolution"), None)
        way = []
        while i is not None and nodes[i]["op"] != "null":
            i = nodes[i]["inputs"][0][0]
            way.append(i)
        if not way or way[-1] != self.graph.image:
            return
        for number, i in enumerate(reversed(way[:-1])):
            if not _can_be_trimmed(nodes[i], first=number == 0):
                return
            yield i

    def _trunk(self, layers: List[int], size: Axes) -> Trunk | None:
        nodes, plans, canvas, rebased = self.nodes, [], [], self._rebased(layers)
        for axis in (0, 1):
            chain = [Step(*window(nodes[i], axis), rebased=each) for i, each in zip(layers, rebased)]

            def sizes(image: int, axis: int = axis) -> List[int]:
                return [self.sizes[axis][i].value(image) for i in layers]

            plans.append(plan(chain, sizes(size[axis]), size[axis]))
            small = smaller(chain, sizes, size[axis])
            if plans[-1] is None or small is None:
                return None
            canvas.append(sizes(small))
        skips = self._skips(layers, plans, size)
        if skips is None:
            return None
        return Trunk(layers, rebased, tuple(plans), skips, [*zip(*canvas)], [*self._upsamplings(size)])

    def _rebased(self, layers: List[int]) -> List[bool]:
        found, stride = [], 1
        for k, i in enumerate(layers):
            behind = k > 0 and (self.nodes[layers[k - 1]]["op"] == "Pooling" or stride >= REBASED_FROM)
            found.append(behind and self.nodes[i]["op"] == "Convolution")
            stride *= window(self.nodes[i], 0)[1]
        return found

    def _skips(self, layers: List[int], plans: List[Plan], size: Axes) -> List[Skip] | None:
        """Skips from the trunk's layers before the last; None if a layer is used in another way too."""
        found = []
        for k, i in enumerate(layers[:-1]):
            for j in self.consumers[i]:
                if j != layers[k + 1]:
                    found.append(self._skip(i, j, k, plans, size))
        return None if None in found else found

    def _skip(self, pool: int, j: int, k: int, plans: List[Plan], size: Axes) -> Skip | None:
        nodes, scale = self.nodes, None
        if nodes[j]["op"] == "_mul_scalar" and len(self.consumers[j]) == 1:
            scale, j = j, self.consumers[j][0]
        if nodes[pool]["op"] != "Pooling" or nodes[j]["op"] != "Convolution" or flag(nodes[j], "no_bias"):
            return None
        if any(window(nodes[j], axis) != (1, 1, 0) for axis in (0, 1)) or len(self.consumers[j]) != 1:
            return None
        crop = self.consumers[j][0]
        if nodes[crop]["op"] != "Crop" or nodes[crop]["inputs"][0][0] != j or flag(nodes[crop], "center_crop"):
            return None
        pads, offsets = [], []
        for axis, each in enumerate(plans):
            offset, length = setting(nodes[crop], "offset", axis, 0), self.sizes[axis][crop]
            if length is None:
                return None
            needed = (offset, offset + length.value(size[axis]))
            if not contains(each.cells[k].plateau, needed):
                return None
            start, end = each.windows[k]
            pads.append(max(0, start - needed[0], needed[1] - end))
            offsets.append(offset - (start - pads[-1]))
        return Skip(pool, scale, j, crop, tuple(pads), tuple(offsets))

    def _upsamplings(self, size: Axes) -> Iterator[Upsampling]:
        for crop in self.consumers[self.graph.image]:
            deconv = self.nodes[crop]["inputs"][0][0]
            cropped = self.nodes[crop]["op"] == "Crop" and self.consumers[deconv] == [crop]
            cut = cropped and self.nodes[deconv]["op"] == "Deconvolution" and self._cut(deconv, crop, size)
            if cut:
                yield cut

    def _cut(self, deconv: int, crop: int, size: Axes) -> Upsampling | None:
        node, spans, offsets = self.nodes[deconv], [], []
        for axis in (0, 1):
            scores, step = self.sizes[axis][node["inputs"][0][0]], Step(*window(node, axis))
            if scores is None or flag(self.nodes[crop], "center_crop") or has(node, "target_shape"):
                return None
            offset = setting(self.nodes[crop], "offset", axis, 0)
            spans.append(needed(step, (offset, offset + size[axis]), scores.value(size[axis])))
            offsets.append(offset - spans[-1][0] * step.stride)
        return Upsampling(deconv, crop, tuple(spans), tuple(offsets), size)


def _can_be_trimmed(node: Node, first: bool) -> bool:
    op, attrs = node["op"], node["attrs"]
    if op == "Activation":
        return attrs["act_type"] == "relu" and not first
    if op == "Pooling":
        known = attrs.get("pool_type", "max") == "max" and not flag(node, "global_pool") and not first
        return known and attrs.get("pooling_convention", "valid") in ("valid", "full") and not has(node, "pad")
    return op == "Convolution" and not flag(node, "no_bias") and attrs.get("layout", "None") in ("None", "NCHW")

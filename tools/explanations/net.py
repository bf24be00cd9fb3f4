"""A net and the size of an image, with what the questions about it are answered from."""

from __future__ import annotations

from functools import cache
from typing import List, Sequence, Tuple

import numpy as np

from ...compat import mxnet as mx
from ...symbols import Row
from ...symbols.graph.layer_sizes import LARGEST, fits, smallest, telling
from ...symbols.graph.nodes import Graph


class Net:
    """A net and the size of an image, with what the answers are read off.

    Args:
        symbol: the net.
        size: rows and columns of the image.
        rows: result of `describe(symbol, size)`.
        columns: the same for axis 1.

    Attributes:
        pairs: the rows of each layer for both axes, by the number of its node.
        least: rows and columns of the smallest image that fits; None where none fits.
        gap: the first size that does not fit among those larger than `least`; None if all fit.
    """

    def __init__(
        self, symbol: mx.sym.Symbol, size: Tuple[int, int], rows: Sequence[Row], columns: Sequence[Row]
    ) -> None:
        self.symbol, self.size, self.rows, self.columns = symbol, size, rows, columns
        self.graph = Graph.of(symbol)
        self.pairs = dict(zip(self.graph.layers, zip(rows, columns)))
        self.least, self.gap = (smallest(self.graph, 0), smallest(self.graph, 1)), None
        if None not in self.least:
            found = [*self.least]
            for axis, least in enumerate(self.least):
                if telling(self.graph, axis)[1]:
                    larger = np.arange(least, LARGEST + 1)
                    found[axis] = int(larger[~fits(self.graph, axis, larger)][0])
            self.gap = None if found == [*self.least] else found

    def source(self, i: int, through: Sequence[str] = ()) -> int:
        """Number of the node whose output is a node's first input, before any operators in `through`."""
        return self._origins(through)[self.graph.nodes[i]["inputs"][0][0]]

    def takes_image(self, i: int) -> bool:
        """Whether a node is a convolution of an image."""
        node = self.graph.nodes[i]
        return node["op"] == "Convolution" and node["inputs"][0][0] in self.graph.images

    @cache  # noqa: B019  (there is one net)
    def _origins(self, through: Sequence[str]) -> List[int]:
        """Of every node, the node before any operators in `through` that end in it."""
        found = [*range(len(self.graph.nodes))]
        for i in self.graph.layers:
            node = self.graph.nodes[i]
            found[i] = found[node["inputs"][0][0]] if node["op"] in through and node["inputs"] else i
        return found

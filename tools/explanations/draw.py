"""Pictures of nets, by MXNet's `plot_network` and graphviz."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import List, Tuple

from PIL import Image

from ...compat import mxnet as mx
from ...errors import FCNXSError
from ...symbols import Row, describe
from ...symbols.graph.nodes import Entry, Graph, Node
from ...symbols.graph.rewrite import Writer
from ...system.files import written_whole
from ...system.own import is_marked, png_info, refuse_strangers


def draw_net(symbol: mx.sym.Symbol, size: Tuple[int, int], file: Path, overwrite: bool = False) -> None:
    """Write a PNG of a net, without its weights: a box for each layer with its shape, the image at the top.

    Args:
        size: rows and columns of the image.
        overwrite: replace the file also if it is no result of ours.

    Raises:
        FCNXSError: the file's name does not end in .png, it is there and not ours, the image is too small,
            graphviz's program `dot` is missing or fails, or the file cannot be written.
    """
    if file.suffix.lower() != ".png":
        raise FCNXSError(f"{file}: the picture is written as PNG; give a file name that ends in .png")
    refuse_strangers([file], overwrite, is_marked)
    rows, columns = describe(symbol, size), describe(symbol, size, axis=1)
    symbol, layers = _with_names_of_their_own(symbol)
    boxes = {"fontname": "Helvetica", "fixedsize": "false", "margin": "0.2,0.06", "height": "0"}
    picture = mx.viz.plot_network(symbol, node_attrs=boxes)
    picture.graph_attr.update(rankdir="BT", ranksep="0.25", nodesep="0.4", dpi="72")
    for name, row, column in zip(layers, rows, columns):
        picture.node(name, label=_label(row, column))  # in the place of the label that it had
    try:
        dot = subprocess.run(["dot", "-Tpng"], input=picture.source.encode(), capture_output=True)
    except FileNotFoundError:
        raise FCNXSError(
            f"{file}: drawing needs graphviz's program `dot`, which is not here: install graphviz "
            "(on Debian: apt-get install graphviz)"
        ) from None
    if dot.returncode != 0:
        raise FCNXSError(
            f"{file}: graphviz's program `dot` failed: {dot.stderr.decode(errors='replace').strip()}"
        )
    with written_whole(file) as (part,):
        Image.open(io.BytesIO(dot.stdout)).save(part, format="PNG", pnginfo=png_info())


def _with_names_of_their_own(symbol: mx.sym.Symbol) -> Tuple[mx.sym.Symbol, List[str]]:
    """The graph with unique names for `plot_network`, and the new names of its layers in order.

    `plot_network` identifies nodes by their names, which may occur twice; graphviz reads a colon as a port.
    """
    graph, writer = Graph.of(symbol), Writer()

    def named(i: int, node: Node, inputs: List[Entry]) -> Entry:
        if node["op"] == "null":  # plot_network leaves out weights, which it knows by the ends of their names
            return writer.copy(node, inputs, node["name"].replace(":", "_"))
        needed = {"pool_type": "max"} if node["op"] == "Pooling" else {}  # plot_network fails without it
        return writer.copy({**node, "attrs": {**needed, **node["attrs"]}}, inputs, f"layer {i}")

    return writer.symbol(writer.write(graph, named)), [f"layer {i}" for i in graph.layers]


def _both(row: object, column: object) -> str:
    """One number, if rows and columns have the same, or both as ROWSxCOLUMNS."""
    return f"{row}" if row == column else f"{row}x{column}"


def _label(row: Row, column: Row) -> str:
    """Name, operator with its window, and channels x rows x columns."""
    text = f"{row.name}\n{row.op}"
    if row.kernel is not None:
        text += f" {row.kernel}x{column.kernel}"
        text += f"/{_both(row.stride, column.stride)}" if (row.stride, column.stride) != (1, 1) else ""
        text += f" pad {_both(row.pad, column.pad)}" if (row.pad, column.pad) != (0, 0) else ""
    if row.op == "Crop" and None not in (row.own_map, column.own_map):
        text += f", offset {_both(row.own_map[1], column.own_map[1])}"
    return text if row.shape is None else f"{text}\n{' x '.join(map(str, row.shape[1:]))}"

"""Explain a net: its layers, sizes and maps, its crop offsets derived in three ways, and answers to questions.

The net is one of this package's by name, a saved symbol JSON or the prefix of a checkpoint: any graph of
convolutions, poolings, deconvolutions and crops. Unknown values of other operators are printed as '-'. The
exit code is 1 where the layers give another offset than the graph has, or layers are joined whose cells do not
lie on each other.

Example:
    fcnxs explain fcn8s --image-size 500x375
    fcnxs explain run/fcn8s --png fcn8s.png
    fcnxs explain fcn8s --html fcn8s.html
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, List, Tuple

from ..compat import hidden
from ..errors import FCNXSError
from ..system.files import refuse_irregular
from .shared import options
from .shared.printing import show
from .shared.sizes import height_and_width

if TYPE_CHECKING:
    from ..compat import mxnet as mx
    from ..symbols import Row
    from ..symbols.graph.nodes import Graph

CLASSIFIER_SIZE = {"vgg16": "224x224", "mask_regression": "224x224"}  # others take photographs as they are


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs explain`."""
    parser.add_argument("net", nargs="?", metavar="NET", help="name of a net, e.g. fcn8s, a symbol JSON, or "
                        "a checkpoint's prefix")  # fmt: skip
    parser.add_argument("--model", metavar="NET", help="the net, as an option in the place of NET")
    size = "width x height of the image (default: 500x375; for vgg16 and mask_regression 224x224)"
    options.add_renamed(parser, ["--image-size"], "--size", metavar="WxH", help=size)
    parser.add_argument("--pooling-convention", choices=("valid", "full"), help="round the sizes of pooled "
                        "layers down, as the original, or up, as Caffe (default: as the file says; full "
                        "if it is of 2016 and does not; valid for a net by name)")  # fmt: skip
    options.add_operators(parser)
    parser.add_argument("--layers", choices=("sized", "all"), default="sized", help="rows of the table of "
                        "layers: those with parameters or a new size (default), or all of them")  # fmt: skip
    parser.add_argument("--exact", action="store_true", help="write sizes without rounding and adj: (H + 6)/32 "
                        "for floor((H + 6)/32)")  # fmt: skip
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the net as a PNG (needs graphviz's dot)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page that draws the net, on which "
                        "the image's size and any kernel, stride and pad can be changed")  # fmt: skip
    options.add_overwrite(parser)


def run(args: argparse.Namespace) -> int:
    """Explain one net; 1 if an offset in it is wrong."""
    if (args.net is None) == (args.model is None):
        raise FCNXSError(f"give one net, as NET or with --model; {_known()}")
    name = args.net or args.model
    size = height_and_width(args.image_size) if args.image_size else None

    with hidden("cv2", "onnx", "scipy"):  # MXNet imports them if they are there, and nothing here needs them
        from ..net import fixed_size
        from ..symbols.graph.describe import describe
        from ..symbols.graph.nodes import Graph
    from .explanations.answers import answers
    from .explanations.tables import layers_text, legend, maps_text

    symbol, notes = _net(name, args.pooling_convention, args.operators)
    size = size or fixed_size(symbol) or height_and_width(CLASSIFIER_SIZE.get(name, "500x375"))
    graph = Graph.of(symbol)
    rows, columns = (describe(symbol, size, axis, graph) for axis in (0, 1))
    if args.png is not None:
        from .explanations.draw import draw_net

        draw_net(symbol, size, args.png, args.overwrite)
    if args.html is not None:
        from .explanations.page import write_page

        write_page(graph, name, size, rows, args.html, args.overwrite)
    images = graph.image_shapes(size) if args.layers == "all" else None
    show(layers_text(name, size, _exact(graph, rows) if args.exact else rows, images, args.exact))
    for note in notes:
        show(f"\n{note}")
    show(
        "\n"
        + "\n".join(textwrap.fill(line, 100) for line in legend(rows, args.exact, images is not None))
        + "\n"
    )
    show(maps_text(rows))
    square = [row[5:] for row in rows] == [column[5:] for column in columns]
    if not square:
        show("\nThe same for columns, where they differ from rows:\n")
        show(maps_text(columns))
    wrong = _print_crops(graph, square)
    for question, answer in answers(symbol, size, rows, columns):
        show(f"\n{question}\n{textwrap.fill(answer, 100, initial_indent='  ', subsequent_indent='  ')}")
    for file in filter(None, (args.png, args.html)):
        show(f"\nwrote {file}")
    if wrong:
        show(f"\nThese offsets differ from those that the layers give: {'; '.join(wrong)}")
    return 1 if wrong else 0


def _exact(graph: Graph, rows: List[Row]) -> List[Row]:
    """Rows with formulas that are not rounded; a layer without one keeps its formula."""
    from ..symbols.graph.crops import exact_sizes
    from .explanations.tables import exact_text

    sizes = exact_sizes(graph, 0)
    pairs = zip(rows, (sizes[i] for i in graph.layers))
    return [row._replace(formula=exact_text(size, "H")) if size else row for row, size in pairs]


def _known() -> str:
    from ..symbols import NETS

    return f"the nets are {', '.join(NETS)}; else a symbol JSON, or the prefix of a checkpoint"


def _net(name: str, pooling_convention: str | None, operators: List[str]) -> Tuple[mx.sym.Symbol, List[str]]:
    """Net by its name, or from a file as `checkpoint.load` reads it, and notes on what was changed."""
    from .. import checkpoint
    from ..symbols import NETS

    if name in NETS:
        return NETS[name](pooling_convention=pooling_convention or "valid"), []
    file = Path(name)
    if not file.is_file() and Path(f"{name}-symbol.json").is_file():
        file = Path(f"{name}-symbol.json")
    refuse_irregular(file)
    if not file.is_file():
        what = "no such file" if file.suffix or len(file.parts) > 1 else "neither the name of a net nor a file"
        raise FCNXSError(f"{name}: {what}; {_known()}")
    reading = checkpoint.read_symbol(file, pooling_convention, operators=operators)
    return reading.symbol, reading.notes


def _print_crops(graph: Graph, square: bool) -> List[str]:
    """Derive every offset; the names of the layers where something is wrong."""
    from ..symbols import crop_derivations, misaligned
    from .explanations.tables import crop_text

    wrong = []
    for axis, what in ((0, "rows"), (1, "columns")):
        crops = crop_derivations(graph, axis)
        for crop in crops:
            if axis == 0 or not square or not crop.agrees:
                show(f"\n{crop_text(crop, 'HW'[axis], what if not square else '')}")
            wrong += [] if crop.agrees else [f"offset {crop.offset} of {crop.name}, {what}"]
        for message in misaligned(graph, axis):
            show(f"\n{what}: {message}")
            wrong.append(message.split(" joins ")[0] + f", {what}")
    return wrong

"""Explain a net: its layers and sizes, its maps, its crop offsets derived three ways, and answers to questions.

The net is one of this package's by name, or a saved symbol JSON: any graph of convolutions, poolings,
deconvolutions and crops. What is not known of an operator is printed as '-'. The exit code is 1 where an
offset is not what the layers give, or layers are joined that do not lie on each other.

Example:
    fcnxs explain fcn8s --size 500x375
    fcnxs explain --model run/fcn8s-symbol.json --png fcn8s.png
"""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, List, Tuple

from ..errors import FCNXSError
from .text import table

if TYPE_CHECKING:
    from ..compat import mxnet as mx
    from ..symbols import Row

CLASSIFIER_SIZE = {"vgg16": "224x224", "mask_regression": "224x224"}  # others take photographs as they are


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fcnxs explain`."""
    parser.add_argument("net", nargs="?", metavar="NET", help="name of a net, e.g. fcn8s, or a symbol JSON")
    parser.add_argument("--model", metavar="NAME|FILE", help="the same, as an option")
    parser.add_argument("--size", metavar="WxH", help="of the image, width x height (default: 500x375; "
                        "vgg16 and mask_regression 224x224)")  # fmt: skip
    parser.add_argument("--pooling-convention", choices=("valid", "full"), help="of a net by name: sizes are "
                        "rounded down as the original has it, or up as Caffe (default: valid)")  # fmt: skip
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw the net (needs graphviz's dot)")


def run(args: argparse.Namespace) -> int:
    """Explain one net; 1 if an offset in it is wrong."""
    if (args.net is None) == (args.model is None):
        raise FCNXSError(f"want one net, as NET or with --model; {_known()}")
    name = args.net or args.model
    size = _size(args.size or CLASSIFIER_SIZE.get(name, "500x375"))

    from ..symbols import describe
    from .answers import answers

    symbol = _net(name, args.pooling_convention)
    rows, columns = describe(symbol, size), describe(symbol, size, axis=1)
    if args.png is not None:
        from ..draw import draw_net

        draw_net(symbol, size, args.png)
    _print_layers(name, size, rows)
    print(
        "\nK kernel, S stride, P pad. Cell x of a layer lies at S x + P' in the layer's input, with\n"
        "P' = (K - S)/2 - P (a deconvolution undoes that), and at stride x + offset in the image: where\n"
        "its edge is. It sees so many rows of the image and its padding.\n"
    )
    _print_maps(rows)
    square = [row[5:] for row in rows] == [column[5:] for column in columns]
    if not square:
        print("\nThe same for columns, where they differ from rows:\n")
        _print_maps(columns)
    wrong = _print_crops(symbol, square)
    for question, answer in answers(symbol, size, rows, columns):
        print(f"\n{question}\n{textwrap.fill(answer, 100, initial_indent='  ', subsequent_indent='  ')}")
    if args.png is not None:
        print(f"\nwrote {args.png}")
    if wrong:
        print(f"\nNot what the layers give: {'; '.join(wrong)}")
    return 1 if wrong else 0


def _known() -> str:
    from ..symbols import NETS

    return f"the nets are {', '.join(NETS)}; else a symbol JSON"


def _size(text: str) -> Tuple[int, int]:
    """Rows and columns of WxH."""
    if not re.fullmatch(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", text):
        raise FCNXSError(f"--size {text}: want width x height in pixels, such as 500x375")
    width, height = map(int, text.split("x"))
    return (height, width)


def _net(name: str, pooling_convention: str | None) -> mx.sym.Symbol:
    """Net by its name, or from a file."""
    from .. import checkpoint
    from ..symbols import NETS

    if name in NETS:
        return NETS[name](pooling_convention=pooling_convention or "valid")
    file = Path(name)
    if not file.is_file():
        what = "no such file" if file.suffix or len(file.parts) > 1 else "neither a net nor a file"
        raise FCNXSError(f"{name}: {what}; {_known()}")
    if pooling_convention is not None:
        raise FCNXSError(
            f"--pooling-convention {pooling_convention}: {name} says itself how its poolings round"
        )
    return checkpoint.load_symbol(file)


def _print_layers(name: str, size: Tuple[int, int], rows: List[Row]) -> None:
    total = sum(row.parameters for row in rows)
    print(f"{name}: {len(rows)} layers, {total:,} parameters. Image {size[1]}x{size[0]}: H = {size[0]} rows.\n")
    cells = []
    for row in rows:
        number = None if row.formula is None or row.shape is None else row.shape[-2]
        count = f"{row.parameters:,}" if row.parameters else ""
        cells.append((row.name, row.op, count, row.formula, number, _shape(row)))
    header = ("layer", "type", "parameters", "rows", "number", "channels x rows x columns")
    print(table(header, cells, right=(2, 5)))


def _shape(row: Row) -> str | None:
    return None if row.shape is None else " x ".join(map(str, row.shape[1:]))


def _print_maps(rows: List[Row]) -> None:
    """Table of the layers that move cells; the others leave them where they are."""
    cells = []
    for row in rows:
        if row.kernel is not None or row.own_map != (1, 0) or row is rows[-1]:
            maps = [_pair(fp) for fp in (row.own_map, row.map)]
            cells.append((row.name, row.kernel, row.stride, row.pad, *maps, row.receptive_field))
    header = ("layer", "K", "S", "P", "S, P'", "stride, offset", "sees")
    print(table(header, cells, right=(4, 5)))


def _pair(fp: tuple | None) -> str | None:
    return None if fp is None else f"{fp[0]}, {fp[1]}"


def _print_crops(symbol: mx.sym.Symbol, square: bool) -> List[str]:
    """Derive every offset; the names of the layers where something is wrong."""
    from ..symbols import crop_derivations, misaligned
    from .derivations import crop_text

    wrong = []
    for axis, what in ((0, "rows"), (1, "columns")):
        crops = crop_derivations(symbol, axis)
        for crop in crops:
            if axis == 0 or not square or not crop.agrees:
                print(f"\n{crop_text(crop, 'HW'[axis], what if not square else '')}")
            wrong += [] if crop.agrees else [f"offset {crop.offset} of {crop.name}, {what}"]
        for message in misaligned(symbol, axis):
            print(f"\n{what}: {message}")
            wrong.append(message.split(" joins ")[0] + f", {what}")
    return wrong

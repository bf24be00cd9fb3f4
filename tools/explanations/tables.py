"""The tables of `fcnxs explain`: layers with their sizes, their windows and maps, and the offsets of crops."""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from typing import List, Mapping, Sequence, Tuple

from ...symbols import CropDerivation, Row
from ...symbols.graph.crops import MOST_TERMS, Affine, Path
from ...symbols.graph.shapes import Shape
from ..shared.text import table

CAFFE = {"Activation": "ReLU", "FullyConnected": "InnerProduct", "elemwise_add": "Eltwise"}  # names of types


def layers_text(
    name: str,
    size: Tuple[int, int],
    rows: Sequence[Row],
    images: Mapping[str, Shape] | None = None,
    exact: bool = False,
) -> str:
    """The table of layers; layers without parameters that keep the size of the layer above are left out.

    Args:
        images: shapes of the net's images by name, for a table of all layers that begins with them.
        exact: whether the formulas of the rows are without rounding.
    """
    total = sum(row.parameters for row in rows)
    head = f"{name}: {len(rows)} layers, {total:,} parameters. Image {size[1]}x{size[0]}: H = {size[0]} rows."
    shown = [row for before, row in zip([None, *rows], rows) if not _says_nothing_new(row, before)]
    shown = shown if images is None else [*rows]
    if len(shown) < len(rows):
        kept = {id(row) for row in shown}
        kinds = " and ".join(sorted({row.op for row in rows if id(row) not in kept}))
        left_out = f"{len(rows) - len(shown)} ({kinds})"
        head += f"\nLeft out: {left_out}, without parameters and as large as the layer above."
    cells = [
        (image, "Variable", "", "H", size[0], " x ".join(map(str, shape[1:])))
        for image, shape in (images or {}).items()
    ]
    for row in shown:
        number = None if row.formula is None or row.shape is None else row.shape[-2]
        count = f"{row.parameters:,}" if row.parameters else ""
        shape = None if row.shape is None else " x ".join(map(str, row.shape[1:]))
        cells.append((row.name, row.op, count, row.formula, number, shape))
    what = "rows, not rounded" if exact else "rows"
    header = ("layer", "type", "parameters", what, "number", "channels x rows x columns")
    return f"{head}\n\n{table(header, cells, right=(2, 5))}"


def _says_nothing_new(row: Row, before: Row | None) -> bool:
    plain = row.op in ("Activation", "Dropout") and row.parameters == 0 and row.shape is not None
    return plain and before is not None and (row.shape, row.formula) == (before.shape, before.formula)


def maps_text(rows: Sequence[Row]) -> str:
    """Table of the layers that move cells, that is, whose map is not (1, 0).

    The columns adj and group are there where a layer has any.
    """
    keys = (("adj", 0), ("group", 1))
    more = [key for key, none in keys if any((getattr(row, key) or none) > none for row in rows)]
    cells = []
    for row in rows:
        if row.kernel is not None or row.own_map != (1, 0) or row is rows[-1]:
            maps = [fp and f"{fp[0]}, {fp[1]}" for fp in (row.own_map, row.map)]
            empty = None if row.op == "Deconvolution" else ""
            extra = [empty if getattr(row, key) is None else getattr(row, key) for key in more]
            cells.append((row.name, row.kernel, row.stride, row.pad, *extra, *maps, row.receptive_field))
    header = ("layer", "K", "S", "P", *more, "S, P'", "stride, offset", "sees")
    return table(header, cells, right=(4 + len(more), 5 + len(more)))


def legend(rows: Sequence[Row], exact: bool = False, all_layers: bool = False) -> List[str]:
    """Explanation of the columns, for the kinds of layers that the net has; the arguments as `layers_text`."""
    operators = {row.op for row in rows}
    sizes = {
        "Convolution": "a convolution makes floor((n + 2 P - K)/S) + 1",
        "Pooling": "a pooling as many, with ceil for floor in the convention 'full'",
        "Deconvolution": "a deconvolution S (n - 1) + K - 2 P + adj",
    }
    inverse = " (for a deconvolution it is the inverse of that)" if "Deconvolution" in operators else ""
    made = ", ".join(text for op, text in sizes.items() if op in operators)
    lines = [
        "K is the kernel (a dilated one as it spans), S the stride, P the pad."
        + (f" Out of n rows {made}." if made else "")
        + (
            " The formulas of the table above are these without rounding and adj; its numbers are rounded."
            * exact
        ),
        "Cell x of a layer begins, with its upper or left edge, at S * x + P' in cells of the layer's input, "
        f"where P' = (K - S)/2 - P{inverse}, and at stride * x + offset in pixels of the image, whose first "
        "pixel begins at 0. The cell sees so many rows of the image and its padding.",
    ]
    if "Crop" in operators:
        lines.append(
            "Caffe's coord_map.py goes the other way, from pixels to cells, and measures from centre to "
            "centre: its numbers in between differ, the offsets of the crops are the same."
        )
    of_caffe = ", ".join(f"{caffe} for {op}" for op, caffe in CAFFE.items() if op in operators)
    return [*lines, f"Caffe's names of these types: {of_caffe}."] if all_layers and of_caffe else lines


def crop_text(crop: CropDerivation, variable: str, what: str) -> str:
    """A crop and its derivations, in lines. `variable` is H or W; `what` is "rows", "columns" or empty."""
    verdict = f"the graph has {crop.offset}{': they agree' if crop.agrees else ', WHICH THEY DO NOT GIVE'}"
    head = f"Crop {crop.name}: {crop.x} cut like {crop.like}{f', {what}' if what else ''}"
    return "\n  ".join([head, *_lines(crop, variable), verdict])


def _lines(crop: CropDerivation, variable: str) -> List[str]:
    sizes = total = maps = "no offset follows"
    terms: List[str] = []
    if crop.from_sizes is not None:
        x, like = (exact_text(size, variable) for size in crop.sizes)
        sizes = f"{crop.x} {x}, {crop.like} {like}; half of the difference is {crop.from_sizes}"
    if crop.from_sum is not None:
        terms = [*_terms(crop.x, crop.paths[0]), *_terms(crop.like, crop.paths[1])]
        x, like = (path.total for path in crop.paths)
        like_text = f"({like})" if like < 0 else str(like)
        total = f"-({x} - {like_text})/{crop.paths[0].stride} = {crop.from_sum}, with"
    if crop.from_maps is not None:
        (x_stride, x_shift), (like_stride, like_shift) = crop.maps
        x, like = f"{crop.x} ({x_stride}, {x_shift})", f"{crop.like} ({like_stride}, {like_shift})"
        maps = f"{x}, from {like}, is (1, {-crop.from_maps}); negated, {crop.from_maps}"
    return [
        f"sizes without rounding: {sizes}",
        f"sum over the layers: {total}",
        *terms,
        f"composed maps: {maps}",
    ]


def exact_text(size: Affine, variable: str) -> str:
    """An exact size: `(H + 6)/32 + 12`, with a remainder below the divisor beside H, or `H + 38`."""
    scale, shift = size
    divisor = lcm(scale.denominator, shift.denominator) if scale.denominator > 1 else 1
    whole, rest = divmod(shift * divisor, divisor) if shift > 0 and divisor > 1 else (0, shift * divisor)
    inner = _plus(variable if scale * divisor == 1 else f"{scale * divisor} {variable}", rest)
    inner = f"({inner})" if rest and divisor > 1 else inner
    return _plus(inner if divisor == 1 else f"{inner}/{divisor}", whole)


def _plus(text: str, number: Fraction | int) -> str:
    return f"{text} {'-' if number < 0 else '+'} {abs(number)}" if number else text


def _terms(name: str, path: Path) -> List[str]:
    """Sum of a layer, with a line for each term: `((3 - 1)/2 - 100) x 1 = -99  conv1_1`."""
    width = max((len(term.text) for term in path.terms), default=0)
    lines = [f"    {term.text.rjust(width)} = {str(term.shift).rjust(5)}  {term.name}" for term in path.terms]
    lines = ["    ...", *lines] if len(lines) == MOST_TERMS else lines
    return [f"  {name} {path.total}:" if lines else f"  {name} 0", *lines]

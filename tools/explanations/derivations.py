"""Prints a crop's offset with its three derivations."""

from __future__ import annotations

from fractions import Fraction
from typing import List, Tuple

from ...symbols.graph.crops import CropDerivation, Path


def crop_text(crop: CropDerivation, variable: str, what: str) -> str:
    """A crop and its derivations, in lines. `variable` is H or W; `what` is "rows", "columns" or empty."""
    verdict = f"the graph has {crop.offset}{': they agree' if crop.agrees else ', WHICH THEY DO NOT GIVE'}"
    head = f"Crop {crop.name}: {crop.x} cut like {crop.like}{f', {what}' if what else ''}"
    return "\n  ".join([head, *_lines(crop, variable), verdict])


def _lines(crop: CropDerivation, variable: str) -> List[str]:
    sizes = total = maps = "no offset follows"
    terms: List[str] = []
    if crop.from_sizes is not None:
        x, like = (_affine(size, variable) for size in (crop.x_size, crop.like_size))
        sizes = f"{crop.x} {x}, {crop.like} {like}; half of the difference is {crop.from_sizes}"
    if crop.from_sum is not None:
        terms = [*_terms(crop.x, crop.x_path), *_terms(crop.like, crop.like_path)]
        x, like = crop.x_path.total, crop.like_path.total
        like_text = f"({like})" if like < 0 else str(like)
        total = f"-({x} - {like_text})/{crop.x_path.stride} = {crop.from_sum}, with"
    if crop.from_maps is not None:
        (x_stride, x_shift), (like_stride, like_shift) = crop.x_map, crop.like_map
        x, like = f"{crop.x} ({x_stride}, {x_shift})", f"{crop.like} ({like_stride}, {like_shift})"
        maps = f"{x}, from {like}, is (1, {-crop.from_maps}); negated, {crop.from_maps}"
    return [
        f"sizes without rounding: {sizes}",
        f"sum over the layers: {total}",
        *terms,
        f"composed maps: {maps}",
    ]


def _affine(size: Tuple[Fraction, Fraction], variable: str) -> str:
    scale, shift = size
    whole, parts = scale.numerator, scale.denominator
    base = (variable if whole == 1 else f"{whole} {variable}") + (f"/{parts}" if parts != 1 else "")
    return f"{base} {'-' if shift < 0 else '+'} {abs(shift)}" if shift else base


def _terms(name: str, path: Path) -> List[str]:
    """Sum of a layer, with a line for each term: `((3 - 1)/2 - 100) x 1 = -99  conv1_1`."""
    width = max((len(term.text) for term in path.terms), default=0)
    lines = [f"    {term.text.rjust(width)} = {str(term.shift).rjust(5)}  {term.name}" for term in path.terms]
    return [f"  {name} {path.total}:" if lines else f"  {name} 0", *lines]

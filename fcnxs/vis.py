"""Turn class maps into pictures: palette, masks, overlays, comparisons."""

from __future__ import annotations

import os
from typing import Dict, List, Sequence, Tuple

import numpy as np
from PIL import Image

from .conventions import Palette
from .errors import FCNXSError
from .system.own import png_info


def voc_palette(colours: int = 256) -> List[List[int]]:
    """Colours (R, G, B) of PASCAL VOC: the bits of the class number, spread over the three channels.

    >>> voc_palette(4)
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]

    Source: VOCdevkit's VOClabelcolormap.
    """
    numbers, channels = np.arange(colours)[:, np.newaxis], np.arange(3)
    return sum(((numbers >> (3 * i + channels)) & 1) << (7 - i) for i in range(3)).tolist()


def background_of(classes: Sequence[str], name: str | None = None) -> int | None:
    """Number of the class that is the background, which overlays leave clear; None if there is none.

    >>> background_of(["road", "car"]), background_of(["__background__", "car"]), background_of(["class 0"])
    (None, 0, 0)

    Args:
        classes: names of the classes. If they are only numbered (class 0, class 1, ...), class 0 is it.
        name: name of the class, or "none"; None: the one named background, in any case and with underscores.

    Raises:
        FCNXSError: no class has this name.
    """
    lower = [each.lower() for each in classes]
    if name is not None:
        if name not in classes and name.lower() not in (*lower, "none"):
            raise FCNXSError(f"background {name}: no class has this name; there are {', '.join(classes)}")
        found = list(classes) if name in classes else lower
        return found.index(name if name in classes else name.lower()) if name.lower() in lower else None
    if lower[:1] == ["class 0"]:
        return 0
    return next((number for number, each in enumerate(lower) if each.strip("_ ") == "background"), None)


def default_palette(classes: Sequence[str]) -> List[List[int]]:
    """VOC's colours (R, G, B) for these classes; black, the first of them, is for the background alone."""
    colours, background = voc_palette(len(classes) + 1)[1:], background_of(classes)
    if background is not None:
        colours.insert(background, [0, 0, 0])
    return colours[: len(classes)]


def full_palette(palette: Palette) -> List[List[int]]:
    """Palette of 256 colours: the given ones, then VOC's colours for the remaining numbers."""
    return [*map(list, palette), *voc_palette()[len(palette) :]]


def palette_bytes(palette: Palette) -> bytes:
    """`full_palette` as a palette PNG has it: three bytes for each of 256 colours."""
    return bytes(np.asarray(full_palette(palette), np.uint8))


def save_mask(path: str | os.PathLike[str], mask: np.ndarray, palette: Palette) -> None:
    """Write a class map, uint8 (H, W), as a palette PNG whose indices are the classes.

    Classes beyond the end of `palette`, such as 255, get their VOC colour. The file has the mark of results
    (`system/own.py`).
    """
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette(palette_bytes(palette))  # makes it a palette image
    image.save(path, format="PNG", pnginfo=png_info())


def colour(mask: np.ndarray, palette: Palette) -> np.ndarray:
    """Colour a class map (H, W) by its palette. Returns RGB uint8 (H, W, 3).

    >>> colour(np.array([[0, 1]]), voc_palette(2)).tolist()
    [[[0, 0, 0], [128, 0, 0]]]
    """
    return np.asarray(full_palette(palette), np.uint8)[mask]


def overlay(
    image: np.ndarray, mask: np.ndarray, palette: Palette, alpha: float = 0.5, background: int | None = 0
) -> np.ndarray:
    """Blend the colours of a class map into an image; pixels of the background stay unchanged.

    Args:
        image: RGB uint8 (H, W, 3).
        mask: class map, uint8 (H, W).
        palette: colour (R, G, B) of each class.
        alpha: weight of the colours, from 0 (only the image) to 1 (only the colours).
        background: number of its class; None: every class is drawn.

    Returns:
        RGB uint8 (H, W, 3).
    """
    import cv2

    mixed = cv2.addWeighted(image, 1 - alpha, colour(mask, palette), alpha, 0)
    return mixed if background is None else np.where((mask != background)[..., np.newaxis], mixed, image)


def comparison(
    rows: Sequence[Dict[str, np.ndarray]],
    gap: int = 8,
    header: int = 28,
    legend: Sequence[Tuple[str, Sequence[int]]] = (),
) -> np.ndarray:
    """Arrange pictures in a grid, one row for each image, one titled column for each kind of picture.

    Args:
        rows: for each row, its pictures, RGB uint8 (H, W, 3), by title; all rows have the same titles.
        gap: white pixels between pictures.
        header: pixels above the first row, for the titles, and below the last, for the legend.
        legend: names and colours (R, G, B), which are shown in one line below the pictures.

    Returns:
        the grid, RGB uint8 (H, W, 3), on white.
    """
    import cv2

    height, width, _ = np.max([picture.shape for row in rows for picture in row.values()], axis=0)
    titles = list(rows[0])
    bottom = header + len(rows) * (height + gap)
    shape = (bottom + header * bool(legend), len(titles) * (width + gap) + gap, 3)
    canvas, font, grey = np.full(shape, 255, np.uint8), cv2.FONT_HERSHEY_SIMPLEX, (40, 40, 40)
    for column, title in enumerate(titles):
        left = gap + column * (width + gap)
        cv2.putText(canvas, title, (left, header - 9), font, 0.55, grey, 1, cv2.LINE_AA)
        for number, row in enumerate(rows):
            top, picture = header + number * (height + gap), row[title]
            canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    left, side = gap, header // 2
    for name, shown in legend:
        canvas[bottom : bottom + side, left : left + side] = shown
        cv2.putText(canvas, name, (left + side + 6, bottom + side - 1), font, 0.55, grey, 1, cv2.LINE_AA)
        left += side + 30 + cv2.getTextSize(name, font, 0.55, 1)[0][0]
    return canvas

"""Encode images and class maps as data URIs, within a limit of characters."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Dict, List, Sequence

import numpy as np
from PIL import Image

from ..conventions import Palette
from ..vis import save_mask
from .evaluation import Example

LIMIT = 4_000_000  # characters of all pictures of a page; the smallest pictures may exceed it
SIDES = (480, 320, 200)  # longer sides of a picture in pixels; the first that keeps the limit is taken


@dataclass(frozen=True)
class Shown:
    """An example as data URIs: the image, the truth, and the class map of each stage."""

    example: Example
    image: str
    truth: str
    class_maps: Dict[str, str]


def shown(examples: Sequence[Example], palette: Palette, limit: int = LIMIT) -> List[Shown]:
    """Encode examples in the largest size that keeps the limit."""
    for side in SIDES:
        result = [
            Shown(
                each,
                _image(each.image, side),
                _class_map(each.truth, palette, side),
                {stage: _class_map(one, palette, side) for stage, one in each.class_maps.items()},
            )
            for each in examples
        ]
        uris = [uri for each in result for uri in (each.image, each.truth, *each.class_maps.values())]
        if sum(map(len, uris)) <= limit:
            break
    return result


def _image(pixels: np.ndarray, side: int) -> str:
    """JPEG of an image, RGB uint8 (H, W, 3)."""
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.save(file, format="JPEG", quality=85)
    return _uri("jpeg", file.getvalue())


def _class_map(class_map: np.ndarray, palette: Palette, side: int) -> str:
    """Palette PNG of a class map, uint8 (H, W), made smaller without mixing classes."""
    image, file = Image.fromarray(class_map), io.BytesIO()
    image.thumbnail((side, side), Image.Resampling.NEAREST)
    save_mask(file, np.asarray(image), palette)
    return _uri("png", file.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

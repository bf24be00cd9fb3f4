"""Generated pictures of coloured shapes, with labels: licence-free data for the demo and the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

import numpy as np
from PIL import Image

from ..vis import save_mask, voc_palette

CLASSES = ("background", "disc", "square", "triangle", "star")
SIZES = ((272, 336), (336, 272), (304, 304))  # (height, width) of the pictures of a data set


def outline(kind: str, radius: float, angle: float) -> np.ndarray:
    """Corners (n, 2) of a shape around the origin, in pixels: x to the right, y down.

    Args:
        kind: disc, square, triangle or star.
        radius: distance of the outer corners from the origin, in pixels.
        angle: rotation, in radians.
    """
    corners = {"disc": 48, "square": 4, "triangle": 3, "star": 10}[kind]
    angles = np.arange(corners) * 2 * np.pi / corners
    radii = np.tile([radius, 0.42 * radius], 5) if kind == "star" else np.full(corners, radius)
    return np.stack([radii * np.cos(angles + angle), radii * np.sin(angles + angle)], axis=1)


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Surface of a random colour with coarse and fine noise, RGB float32 (H, W, 3), roughly 0 to 255."""
    import cv2

    surface = rng.standard_normal((height, width, 1), np.float32) * rng.uniform(2, 8)
    surface = surface + rng.uniform(25, 230, 3).astype(np.float32)
    for cells in (3, 10):
        coarse = rng.normal(0, rng.uniform(3, 12), (cells, cells, 3)).astype(np.float32)
        surface += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return surface


def picture(
    rng: np.random.Generator,
    height: int,
    width: int,
    shapes: int,
    kind: int | None = None,
    radii: Tuple[float, float] = (0.18, 0.32),
    spread: float = 1.0,
) -> Tuple[np.ndarray, np.ndarray]:
    """Generate a picture of shapes on a textured background; later shapes cover earlier ones.

    Args:
        rng: source of all random numbers.
        height: rows of the picture.
        width: columns of the picture.
        shapes: number of shapes.
        kind: class of all shapes, an index into `CLASSES`; None draws a class for each shape.
        radii: smallest and largest radius of a shape, as a fraction of the picture's smaller side.
        spread: 1 places shapes anywhere, 0 in the middle of the picture.

    Returns:
        the image, RGB uint8 (H, W, 3), and the label, uint8 (H, W), indices into `CLASSES`.
    """
    import cv2

    image, label = texture(rng, height, width), np.zeros((height, width), np.uint8)
    placed = []  # centre and radius of each shape
    for _ in range(shapes):
        index = int(rng.integers(1, len(CLASSES))) if kind is None else kind
        radius = rng.uniform(*radii) * min(height, width)
        middle = np.array([width, height]) / 2
        for _ in range(20):  # try places until the shape hardly overlaps those already placed
            centre = middle + spread * rng.uniform(-1, 1, 2) * (middle - 0.8 * radius)
            if all(np.hypot(*(centre - other)) > 0.8 * (radius + size) for other, size in placed):
                break
        placed.append((centre, radius))
        corners = outline(CLASSES[index], radius, rng.uniform(0, 2 * np.pi)) + centre
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], 1)
        fill = texture(rng, height, width)
        inside = mask > 0
        shift = fill[inside].mean(0) - image[inside].mean(0)
        if np.abs(shift).max() < 70:  # keep a shape distinct from what is below it
            fill = fill + np.where(image[inside].mean(0) < 128, 90, -90).astype(np.float32)
        image[inside], label[inside] = fill[inside], index
    image = cv2.GaussianBlur(image, (3, 3), 0.6)
    return np.clip(np.round(image), 0, 255).astype(np.uint8), label


def write_voc(folder: Path, counts: dict[str, int], seed: int = 0) -> None:
    """Write a generated data set in VOC layout; `counts` maps each split to its number of pictures."""
    rng = np.random.default_rng(seed)
    lists = folder / "ImageSets" / "Segmentation"
    for part in (lists, folder / "JPEGImages", folder / "SegmentationClass"):
        part.mkdir(parents=True, exist_ok=True)
    for split, count in counts.items():
        names = [f"{split}_{i:04d}" for i in range(count)]
        for i, name in enumerate(names):
            image, label = picture(rng, *SIZES[i % len(SIZES)], shapes=int(rng.integers(2, 4)))
            Image.fromarray(image).save(folder / "JPEGImages" / f"{name}.jpg", quality=92)
            save_mask(folder / "SegmentationClass" / f"{name}.png", label, voc_palette())
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in CLASSES))

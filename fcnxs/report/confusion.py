"""Write a confusion matrix: the pixels as CSV, and a picture of their shares of each true class."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Sequence

import numpy as np

from ..errors import shown
from ..system.own import SOFTWARE, is_marked

CORNER = "true class (row), predicted class (column)"  # first cell of a CSV
MOST = 32  # with more classes the cells of a picture have no numbers
CELL, WIDEST = 0.36, 30  # inches: side of a cell, most of all cells together
LONGEST = 30  # characters of a name in a picture


def write_csv(file: Path, matrix: np.ndarray, classes: Sequence[str]) -> None:
    """Write a matrix of pixels, int64 (C, C), whose rows are true classes, with the names of both."""
    with file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow([CORNER, *classes])
        rows.writerows([name, *map(int, row)] for name, row in zip(classes, matrix))


def write_picture(file: Path, matrix: np.ndarray, classes: Sequence[str]) -> None:
    """Write a PNG of a matrix of pixels, (C, C): a cell's blue is its share of the true class, the row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count, totals = len(classes), matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    cell = min(CELL, WIDEST / count)
    figure = Figure(figsize=(cell * count + 3.5, cell * count + 3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size, names = min(8, 60 * cell), [shown(name)[:LONGEST] for name in classes]
    rows = [name if total else f"{name} (absent)" for name, total in zip(names, totals[:, 0])]
    how = {"fontsize": size, "parse_math": False}
    axes.set_xticks(range(count), names, rotation=90, **how)
    axes.set_yticks(range(count), rows, **how)
    axes.set_xlabel("predicted class", fontsize=9)
    axes.set_ylabel("true class, per cent of its pixels", fontsize=9)
    for i, j in np.argwhere(matrix > 0) if count <= MOST else ():
        ink = "white" if shares[i, j] > 0.6 else "black"
        axes.text(j, i, f"{100 * shares[i, j]:.0f}", ha="center", va="center", color=ink, fontsize=size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font does not have
        figure.savefig(file, format="png", dpi=120, metadata={"Software": SOFTWARE})


def is_confusion(file: Path) -> bool:
    """Whether a file is a picture of ours, or a CSV as `write_csv` writes it."""
    with file.open("rb") as stream:
        return is_marked(file) or stream.read(len(CORNER) + 3) == f'"{CORNER}",'.encode()

"""Draw the figures of symbols/README.md: `python .docs/figures.py [FOLDER]`. Their numbers are computed."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Dict, List, Tuple

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "fcnxs", "svg.fonttype": "none", "font.size": 9})

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from fcnxs import symbols  # noqa: E402
from fcnxs.symbols.coord_map import Map, format_map  # noqa: E402
from fcnxs.symbols.graph.rewrite import with_pad  # noqa: E402

IMAGE, LAYER, MARKED, CUT = "#cfe3f5", "#fbdcb6", "#f2a65a", "#dddddd"


def cells(axes: Axes, fp: Map, count: int, height: float, colour: str, names: bool = True) -> None:
    """A row of cells, each where its map puts it, with its number."""
    for x in range(count):
        start, width = float(fp[0] * x + fp[1]), float(fp[0])
        axes.add_patch(plt.Rectangle((start, height), width, 0.7, facecolor=colour, edgecolor="black", lw=0.7))
        if names:
            axes.text(start + width / 2, height + 0.35, x, ha="center", va="center")


def brackets(axes: Axes, window: Dict[str, int], count: int, height: float) -> None:
    """What each cell of a layer sees of its input, in turns above each other."""
    kernel, stride, pad = (
        window.get(key, default) for key, default in (("kernel", 1), ("stride", 1), ("pad", 0))
    )
    for x in range(count):
        start, level = stride * x - pad, height + 0.14 * (x % 2)
        axes.plot(
            [start + 0.06, start + kernel - 0.06], [level, level], color="black", lw=2, solid_capstyle="butt"
        )


def drawn(
    height: float, span: Tuple[float, float], rows: float, ticks: List[int], label: str
) -> Tuple[Figure, Axes]:
    """An empty figure without a frame; its x axis, which goes through `ticks`, is in edges of cells."""
    figure, axes = plt.subplots(figsize=(7.6, height))
    axes.set(xlim=span, ylim=(0, rows), yticks=[], xticks=ticks)
    axes.set_xlabel(label, x=((ticks[0] + ticks[-1]) / 2 - span[0]) / (span[1] - span[0]))
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.spines["bottom"].set_bounds(ticks[0], span[1])
    return figure, axes


def windows() -> Figure:
    """Two poolings of eight pixels: the cells are as wide as the stride, in the middle of their windows."""
    figure, axes = drawn(3.1, (-5.2, 8.4), 4.6, [*range(9)], "edges of the pixels")
    cells(axes, symbols.filter_map(), 8, 0.1, IMAGE)
    axes.text(-1.2, 0.45, "pixels", ha="right", va="center")
    for height, window in ((1.2, {"kernel": 2, "stride": 2}), (3.0, {"kernel": 3, "stride": 2, "pad": 1})):
        fp = symbols.filter_map(**window)
        brackets(axes, window, 4, height)
        cells(axes, fp, 4, height + 0.4, LAYER)
        text = f"kernel {window['kernel']}, stride {window['stride']}, pad {window.get('pad', 0)}"
        axes.text(-1.2, height, "windows", ha="right", va="center", color="#555555")
        axes.text(-1.2, height + 0.75, f"{text}: {format_map(fp)}", ha="right", va="center")
    return figure


def deconvolution() -> Figure:
    """A deconvolution of three cells: its map is the inverse of the convolution's."""
    window = {"kernel": 4, "stride": 2}
    fp = symbols.inv_fp(symbols.filter_map(**window))
    count = 2 * (3 - 1) + window["kernel"]
    figure, axes = drawn(2.0, (-2.4, 4.0), 2.6, [*range(4)], "edges of the coarse cells")
    cells(axes, symbols.filter_map(), 3, 0.1, IMAGE)
    axes.text(-0.6, 0.45, "scores", ha="right", va="center")
    cells(axes, fp, count, 1.2, LAYER)
    cells(axes, (fp[0], fp[0] * window["stride"] + fp[1]), window["kernel"], 1.2, MARKED, names=False)
    axes.add_patch(plt.Rectangle((1, 0.1), 1, 0.7, fill=False, edgecolor=MARKED, lw=2.5))
    axes.text(-0.6, 1.55, f"upsampled twice: {format_map(fp)}", ha="right", va="center")
    middle = fp[0] * (window["stride"] + Fraction(window["kernel"], 2)) + fp[1]
    axes.text(float(middle), 2.2, "what cell 1 spreads to", ha="center", va="center", color="#b5651d")
    return figure


def skip() -> Figure:
    """The first cells of the two layers that FCN-16s adds, on the pixels of the image."""
    (crop, _) = symbols.crop_derivations(symbols.get_fcn16s_symbol())
    left, right = int(crop.maps[0][1]), 64
    edges = [int(crop.maps[0][1]), int(crop.maps[1][1]), 0]
    figure, axes = drawn(2.6, (left - 62, right), 3.7, edges, "pixels of the image")
    axes.add_patch(plt.Rectangle((0, 0.1), right, 0.5, facecolor=IMAGE, edgecolor="black", lw=0.7))
    axes.text(right / 2, 0.35, "image", ha="center", va="center")
    for height, name, fp, cut in (
        (0.9, crop.like, crop.maps[1], 0),
        (1.9, crop.x, crop.maps[0], crop.offset),
    ):
        axes.text(left - 4, height + 0.35, f"{name}\n{format_map(fp)}", ha="right", va="center")
        cells(axes, fp, int((right - fp[1]) / fp[0]), height, LAYER)
        cells(axes, fp, cut, height, CUT)
    begin, end = int(crop.maps[0][1]), int(crop.maps[1][1])
    axes.annotate("", (begin, 2.9), (end, 2.9), arrowprops={"arrowstyle": "<->", "shrinkA": 0, "shrinkB": 0})
    text = f"{end - begin} pixels = {crop.offset} cells: the crop"
    axes.text((begin + end) / 2, 3.2, text, ha="center", va="center")
    axes.plot([end, end], [0, 3.1], color="black", lw=0.7, ls=":")
    return figure


def _extents(pad: int, size: int) -> List[Tuple[str, Fraction, Fraction]]:
    """Name, first and last edge in the image of some layers of FCN-32s, up to the uncropped scores."""
    net = with_pad(symbols.get_fcn32s_symbol(), 0, pad).get_internals()["bigscore_output"]
    rows = {row.name: row for row in symbols.describe(net, (size, size))}
    names = ("conv1_1", "pool3", "pool5", "score", "bigscore")
    return [
        (name, rows[name].map[1], rows[name].map[1] + rows[name].map[0] * rows[name].shape[2]) for name in names
    ]


def extents() -> Figure:
    """Where the layers of FCN-32s lie with the pad of 100, and with the classifier's pad of 1."""
    size, figure = 375, plt.figure(figsize=(7.6, 3.0))
    for number, pad in enumerate((100, 1)):
        axes = figure.add_subplot(1, 2, number + 1)
        axes.set(xlim=(-110, 520), ylim=(-6.1, 0.2), yticks=[], xticks=[0, size], title=f"conv1_1 pads {pad}")
        axes.spines[["left", "right", "top"]].set_visible(False)
        axes.axvspan(0, size, color=IMAGE, lw=0)
        axes.text(size / 2, -5.85, f"image, {size} rows", ha="center", va="center")
        for row, (name, begin, end) in enumerate(_extents(pad, size)):
            axes.add_patch(plt.Rectangle((float(begin), -row - 0.8), float(end - begin), 0.6, facecolor=LAYER,
                                         edgecolor="black", lw=0.7))  # fmt: skip
            inside = end - begin > 250
            where, side = (float(begin + end) / 2, "center") if inside else (float(end) + 8, "left")
            axes.text(where, -row - 0.5, f"{name}: {begin} to {end}", ha=side, va="center")
    return figure


FIGURES = {"windows": windows, "deconvolution": deconvolution, "skip": skip, "extents": extents}


def main(folder: Path) -> None:
    """Draw every figure into a folder, as SVG."""
    for name, draw in FIGURES.items():
        figure = draw()
        figure.savefig(folder / f"{name}.svg", bbox_inches="tight", facecolor="white", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

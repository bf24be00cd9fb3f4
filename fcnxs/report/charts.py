"""Curves of a run, drawn by matplotlib as SVG elements of a page."""

from __future__ import annotations

import io
import re
from typing import Dict, List, Sequence
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..epoch_choice import best_of
from .run import Record

SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"
INK = "#010203"  # placeholder, which `to_svg` replaces by the page's text colour
SIZE = (3.8, 2.8)  # inches; small, to be readable on a telephone
SMALL = 8  # points
LOSSES = {"train_loss": ("training", "#d1661f"), "val_loss": ("validation", "#3a7fc4")}
SCORES = {
    "pixel_accuracy": ("pixel accuracy", "#8d8d8d"),
    "mean_accuracy": ("mean accuracy", "#c08a00"),
    "frequency_weighted_iu": ("f.w. IU", "#6f9a3f"),
    "mean_iu": ("mean IU", "#3a7fc4"),
}


def curves(records: Dict[str, List[Record]]) -> Dict[str, str]:
    """SVG of the losses, and of the scores if there are any, over the epochs of all stages, by chart name."""
    charts = {"losses": LOSSES, "scores": SCORES}
    every = [record for each in records.values() for record in each]
    result = {}
    for name, lines in charts.items():
        lines = {key: line for key, line in lines.items() if any(record[key] is not None for record in every)}
        if lines:
            figure = Figure(figsize=SIZE, layout="constrained")
            _draw(figure.subplots(), records, lines, "mean_iu" in lines)
            result[name] = to_svg(figure, name)
    return result


def _draw(axes: Axes, records: Dict[str, List[Record]], lines: Dict[str, Sequence[str]], mark: bool) -> None:
    """Draw the lines of one chart, with a gap between stages; `mark`: ring each stage's best epoch."""
    begins = 1
    for stage, each in records.items():
        epochs = range(begins, begins + len(each))
        for key, (label, colour) in lines.items():
            values = [float("nan") if record[key] is None else record[key] for record in each]
            bold = 2 if key == "mean_iu" else 1.3
            axes.plot(epochs, values, color=colour, marker="o", markersize=2.5, linewidth=bold, label=label)
        best = best_of(each) if mark else None
        if best:
            ring = {"markersize": 8, "markerfacecolor": "none", "markeredgecolor": INK, "linestyle": "none"}
            axes.plot([epochs[each.index(best)]], [best["mean_iu"]], marker="o", label="best epoch", **ring)
        if begins > 1:
            axes.axvline(begins - 0.5, color=INK, linewidth=0.6, linestyle=":")
        middle, transform = (epochs[0] + epochs[-1]) / 2, axes.get_xaxis_transform()
        axes.text(middle, 1.02, stage, transform=transform, ha="center", fontsize=SMALL, color=INK)
        begins += len(each)
    _frame(axes, begins - 0.5)


def _frame(axes: Axes, end: float) -> None:
    axes.set_xlim(0.5, end)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch, counted over all stages", fontsize=SMALL, color=INK)
    axes.tick_params(labelsize=SMALL, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.grid(axis="y", color=INK, alpha=0.15, linewidth=0.6)
    axes.patch.set_visible(False)
    handles = {label: handle for handle, label in zip(*axes.get_legend_handles_labels())}
    axes.figure.legend(
        handles.values(),
        handles,
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=SMALL,
        labelcolor=INK,
    )


def to_svg(figure: Figure, name: str) -> str:
    """SVG element of a figure; the prefix `name` makes its ids unique in the page.

    Text stays text, in the page's colour. The same figure always gives the same bytes.
    """
    figure.patch.set_visible(False)
    FigureCanvasSVG(figure)
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=nothing)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", LINK[1:].partition("}")[0])
    root = ElementTree.fromstring(file.getvalue())
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                value = f"{name}-{value}"
            elif key == LINK:
                value = value.replace("#", f"#{name}-")
            else:
                value = re.sub(r"url\(#", f"url(#{name}-", value).replace(INK, "currentColor")
            element.set(key, value)
    for key in ("width", "height"):
        del root.attrib[key]
    return ElementTree.tostring(root, encoding="unicode")

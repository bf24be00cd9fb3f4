"""The chart of `fcnxs benchmark infer`: a panel for each size and precision, a bar for each engine."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .engines import ENGINES
from .results import Report, Row

COLOURS = {"ours": "#1f6fb4", "mxnet": "#8c8c8c", "other": "#c9c9c9"}
INK, QUIET = "#222222", "#666666"
BAR, HEAD = 0.3, 0.9  # inches: of a bar, and of what stands above and below the bars of a panel


def draw(report: Report, file: Path) -> None:
    """Write the chart, PNG; the fastest is on top of its panel, and seconds start at 0."""
    sizes, precisions = (
        list(dict.fromkeys(getattr(row, key) for row in report.rows)) for key in ("size", "precision")
    )
    groups = {
        (size, precision): [row for row in report.rows if (row.size, row.precision) == (size, precision)]
        for size in sizes
        for precision in precisions
    }
    tallest = [max(len(groups[size, precision]) for precision in precisions) for size in sizes]
    heights = [HEAD + BAR * count for count in tallest]
    figure = Figure(figsize=(1.2 + 4.2 * len(precisions), 0.9 + sum(heights)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(sizes), len(precisions), squeeze=False, gridspec_kw={"height_ratios": heights})
    for line, size, count in zip(axes, sizes, tallest):
        for panel, precision in zip(line, precisions):
            _panel(panel, groups[size, precision], count)
            panel.set_title(f"{size}, {precision}", loc="left", fontsize=10, color=INK)
    figure.suptitle(
        f"{report.net}: median seconds of one image;\nratio to the fastest other engine; "
        f"{report.processor}, {report.threads} threads",
        fontsize=10,
        color=INK,
    )
    figure.savefig(file, format="png", facecolor="white")


def _panel(panel: Axes, rows: Sequence[Row], count: int) -> None:
    """Bars of one size and precision, in room for `count` of them."""
    rows = sorted(rows, key=lambda row: row.median)
    kinds = [ENGINES[row.engine].kind for row in rows]
    bars = panel.barh(
        range(len(rows)), [row.median for row in rows], height=0.72, color=[COLOURS[kind] for kind in kinds]
    )
    labels = [
        f"{row.median:.3f}" + (f"  ({row.ratio:.2f}x)" if kind == "ours" and row.ratio else "")
        for row, kind in zip(rows, kinds)
    ]
    panel.bar_label(bars, labels, padding=3, fontsize=8, color=INK)
    panel.set_yticks(range(len(rows)), [ENGINES[row.engine].title for row in rows], fontsize=8, color=INK)
    panel.set_ylim(count - 0.4, -0.6)
    panel.margins(x=0.3)
    panel.tick_params(axis="x", labelsize=8, colors=QUIET)
    panel.tick_params(axis="y", length=0)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color(QUIET)
    panel.set_visible(bool(rows))

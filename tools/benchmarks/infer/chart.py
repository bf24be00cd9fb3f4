"""The chart of `fcnxs benchmark infer`: a panel for each size and precision, a bar for each engine."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .engines import ENGINES
from .results import Measurements, Row

COLOURS = {"ours": "#1f6fb4", "mxnet": "#8c8c8c", "other": "#c9c9c9"}
INK, QUIET = "#222222", "#666666"
BAR, HEAD = 0.3, 0.9  # inches: a bar, and the room above and below the bars of a panel


def draw(measured: Measurements, file: Path) -> None:
    """Write the chart, PNG; in each panel the fastest is on top, and seconds start at 0."""
    groups: Dict[Tuple[str, str], List[Row]] = {}
    for row in measured.rows:
        groups.setdefault((row.size, row.precision), []).append(row)
    sizes, precisions = (list(dict.fromkeys(key)) for key in zip(*groups))
    most = max(map(len, groups.values()))
    shape = (1.2 + 4.2 * len(precisions), 0.9 + (HEAD + BAR * most) * len(sizes))
    figure = Figure(figsize=shape, dpi=150, layout="constrained")
    axes = figure.subplots(len(sizes), len(precisions), squeeze=False)
    for panel, (size, precision) in zip(axes.flat, product(sizes, precisions)):
        _panel(panel, groups.get((size, precision), []), most)
        panel.set_title(f"{size}, {precision}", loc="left", fontsize=10, color=INK)
    figure.suptitle(
        f"{measured.net}: median seconds of one image;\nratio to the fastest other engine; "
        f"{measured.processor}, {measured.threads} threads",
        fontsize=10,
        color=INK,
    )
    figure.savefig(file, format="png", facecolor="white")


def _panel(panel: Axes, rows: Sequence[Row], count: int) -> None:
    """Draw the bars of one size and precision, in the room of `count` bars."""
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

"""Measurements of `fcnxs benchmark infer`: a row for each engine, precision and size, and their display."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ....system.files import written_whole
from ....system.own import SOFTWARE, is_marked, json_with, refuse_strangers
from ...shared.text import table
from ..worker import Answer
from .engines import ENGINES

NOTES = """
ratio: speed relative to the fastest other engine at this precision; MXNet's own graphs and our trimmed exports
    are not among the others
peak GB: peak of the resident memory of the engine's process, from the time when the net is loaded and converted
agreement: share of the pixels with the class of the untrimmed net in float32; the weights are random
GFLOP: multiplications and additions in the layers with weights, of which Winograd's algorithm (ncnn's, MNN's)
    needs fewer; a trimmed net needs fewer for the same scores
GFLOP/s: the same in a second
matrix rate: GFLOP/s, divided by the rate of the fastest of some large products of matrices"""
COLOURS = {"ours": "#1f6fb4", "export": "#8fbce0", "mxnet": "#8c8c8c", "other": "#c9c9c9"}
INK, QUIET = "#222222", "#666666"
BAR, HEAD = 0.3, 0.9  # inches: a bar, and the room above and below the bars of a panel


@dataclass
class Row:
    """One engine at one precision and size.

    Args:
        seconds: times of the passes.
        peak: peak of resident memory, GB.
        agreement: share of the pixels that have the class of the untrimmed net in float32.
        operations: multiplications and additions of a pass.
        ratio: median of the fastest other engine, divided by this one's; None if there is no other.
        share: operations in a second, divided by those of a plain matrix product; None if not measured.
    """

    engine: str
    precision: str
    size: str
    version: str
    seconds: List[float]
    peak: float
    agreement: float
    operations: int
    ratio: float | None = None
    share: float | None = None

    @property
    def median(self) -> float:
        """Median of the passes, in seconds."""
        return statistics.median(self.seconds)


@dataclass
class LeftOut:
    """An engine without measurements, and the reason; `failed` if it is installed and should have worked."""

    engine: str
    precision: str
    reason: str
    size: str = "every size"
    failed: bool = False

    def __str__(self) -> str:
        title = ENGINES[self.engine].title if self.engine in ENGINES else self.engine
        return f"{title}, {self.precision}, {self.size}: {self.reason}"


@dataclass
class Measurements:
    """All measurements of a run.

    Args:
        matrix_rates: highest rate of large products of matrices so far, operations in a second, by precision.
    """

    processor: str
    threads: int
    net: str
    steps: int
    matrix_rates: Dict[str, float] = field(default_factory=dict)
    rows: List[Row] = field(default_factory=list)
    left_out: List[LeftOut] = field(default_factory=list)

    def leave_out(self, *what: str, failed: bool = False) -> None:
        """Record and print an engine without measurements; `what` are the fields of `LeftOut`."""
        self.left_out.append(LeftOut(*what, failed=failed))
        print(f"left out: {self.left_out[-1]}", flush=True)

    def add(self, rows: Sequence[Row], rates: Sequence[Answer], folder: Path) -> None:
        """Add the rows of one size and precision, with their ratios and shares.

        Args:
            rates: passes of the matrix product.
            folder: ROOT/WxH, where its process has left the number of its operations.
        """
        if not rows:
            return
        precision = rows[0].precision
        if rates:
            operations = json.loads((folder / f"rate-{precision}.json").read_text())["operations"]
            best = operations / min(answer.seconds for answer in rates)
            self.matrix_rates[precision] = max(best, self.matrix_rates.get(precision, 0))
        others = [row.median for row in rows if ENGINES[row.engine].kind == "other"]
        for row in rows:
            row.ratio = min(others) / row.median if others else None
            if precision in self.matrix_rates:
                row.share = row.operations / row.median / self.matrix_rates[precision]
        self.rows += rows


def make_row(engine: str, precision: str, answers: Sequence[Answer], folder: Path) -> Row:
    """Row of one engine, from its timed passes (`answers`) and the facts that its process wrote to ROOT/WxH."""
    facts = json.loads((folder / f"{engine}-{precision}.json").read_text())
    seconds, _, peaks = zip(*answers)
    return Row(engine, precision, folder.name, seconds=list(seconds), peak=max(peaks), **facts)


def group_table(measured: Measurements, rows: Sequence[Row]) -> str:
    """Table of one size and precision, the fastest first."""
    columns = "engine, version, median s, ratio, peak GB, agreement, GFLOP, GFLOP/s, matrix rate"
    header = columns.split(", ")
    cells = [
        (
            ENGINES[row.engine].title,
            row.version,
            f"{row.median:.3f}",
            "-" if row.ratio is None else f"{row.ratio:.2f}",
            f"{row.peak:.2f}",
            f"{100 * row.agreement:.3f}%",
            f"{row.operations / 1e9:.1f}",
            f"{row.operations / 1e9 / row.median:.0f}",
            "-" if row.share is None else f"{100 * row.share:.0f}%",
        )
        for row in sorted(rows, key=lambda row: row.median)
    ]
    text = table(header, cells, right=range(2, len(header)))
    rate = measured.matrix_rates.get(rows[0].precision)
    return text + (f"\nthe machine's matrix rate: {rate / 1e9:.0f} GFLOP/s" if rate else "")


def markdown(measured: Measurements) -> str:
    """One table of all sizes and precisions in Markdown; in each precision the fastest engine comes first."""
    sizes = list(dict.fromkeys(row.size for row in measured.rows))
    precisions = list(dict.fromkeys(row.precision for row in measured.rows))
    engines: Dict[Tuple[str, str], List[Row]] = {}
    for row in measured.rows:
        engines.setdefault((row.precision, row.engine), []).append(row)
    header = [
        "precision",
        "engine",
        *(cell for size in sizes for cell in (f"{size}, s", "ratio")),
        "same class",
    ]
    lines = []
    for precision, engine in engines:
        rows = engines[precision, engine]
        cells = dict.fromkeys(sizes, ("", ""))
        cells.update({row.size: (f"{row.median:.3f}", f"{row.ratio:.2f}" if row.ratio else "") for row in rows})
        seconds = statistics.mean(row.median for row in rows)
        name, comma, form = ENGINES[engine].title.partition(",")
        name += f" {rows[0].version}" if ENGINES[engine].kind != "ours" else ""
        same = f"{100 * min(row.agreement for row in rows):.2f}%"
        line = [precision, name + comma + form, *(cell for pair in cells.values() for cell in pair), same]
        lines.append((precisions.index(precision), seconds, line))
    shown = [header, ["---"] * len(header), *(line for _, _, line in sorted(lines))]
    return "\n".join(f"| {' | '.join(line)} |" for line in shown)


def refuse_to_replace(prefix: Path, overwrite: bool) -> None:
    """Refuse to replace PREFIX.json and PREFIX.png if they are of something else, unless `overwrite` is true.

    Raises:
        FCNXSError: one of them is.
    """
    file, picture = _files(prefix)
    refuse_strangers([file], overwrite, json_with("processor", "threads", "rows"))
    refuse_strangers([picture], overwrite, is_marked)


def _files(prefix: Path) -> Tuple[Path, Path]:
    return prefix.with_name(f"{prefix.name}.json"), prefix.with_name(f"{prefix.name}.png")


def write(measured: Measurements, prefix: Path) -> None:
    """Write PREFIX.json and PREFIX.png; print what the columns of the tables mean, and one table in Markdown.

    Raises:
        FCNXSError: a file cannot be written.
    """
    print(f"{NOTES}\n\n{markdown(measured)}\n")
    file, picture = _files(prefix)
    document = asdict(measured)
    for row, each in zip(measured.rows, document["rows"]):
        each["median"] = row.median
    with written_whole(file) as (part,):
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    with written_whole(picture) as (part,):
        _draw(measured, part)
    print(f"{file}: all figures\n{picture}: chart of the medians")


def _draw(measured: Measurements, file: Path) -> None:
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
    figure.savefig(file, format="png", facecolor="white", metadata={"Software": SOFTWARE})


def _panel(panel: Axes, rows: Sequence[Row], count: int) -> None:
    """Draw the bars of one size and precision, in the room of `count` bars."""
    rows = sorted(rows, key=lambda row: row.median)
    kinds = [ENGINES[row.engine].kind for row in rows]
    bars = panel.barh(
        range(len(rows)), [row.median for row in rows], height=0.72, color=[COLOURS[kind] for kind in kinds]
    )
    labels = [
        f"{row.median:.3f}" + (f"  ({row.ratio:.2f}x)" if kind in ("ours", "export") and row.ratio else "")
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

"""What `fcnxs benchmark infer` has measured: rows, tables, a JSON file and a chart."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Sequence

import numpy as np

from .benchmark_engines import ENGINES
from .benchmark_worker import Answer
from .text import table

NOTES = """
ratio: how many times faster than the fastest other engine at this precision; MXNet's own graphs do not count
peak GB: resident memory of the engine's process while it runs, after the net has been loaded and converted
agreement: pixels whose class is that of the untrimmed net in float32; the weights are random
GFLOP: multiplications and additions that are done, in the layers with weights; a trimmed net does fewer for the
    same scores, and GFLOP/s counts only those
matrix rate: GFLOP/s as part of what the best of some large products of matrices had"""


@dataclass
class Row:
    """One engine at one precision and size.

    Args:
        seconds: of each pass.
        peak: resident memory, GB.
        agreement: part of the pixels whose class is that of the untrimmed net in float32.
        operations: multiplications and additions of a pass.
        ratio: median of the fastest other engine, by this one's; None if there is no other.
        share: operations in a second, as part of the matrix rate; None if that is not known.
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
    """An engine that has not been measured, and why; `failed` if it should have been."""

    engine: str
    precision: str
    reason: str
    size: str = "every size"
    failed: bool = False

    def __str__(self) -> str:
        title = ENGINES[self.engine].title if self.engine in ENGINES else self.engine
        return f"{title}, {self.precision}, {self.size}: {self.reason}"


@dataclass
class Report:
    """All of a run.

    Args:
        matrix_rates: operations in a second of the best product of matrices so far, by precision.
    """

    processor: str
    threads: int
    net: str
    steps: int
    matrix_rates: Dict[str, float] = field(default_factory=dict)
    rows: List[Row] = field(default_factory=list)
    left_out: List[LeftOut] = field(default_factory=list)

    def add(self, rows: Sequence[Row], rates: Sequence[Answer], folder: Path) -> None:
        """Add the rows of one size and precision, measured in turns, with what compares them."""
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


def make_row(engine: str, precision: str, size: str, answers: Sequence[Answer], folder: Path) -> Row:
    """Row of an engine's timed passes and of the files that it has left."""
    left = folder / f"{engine}-{precision}"
    facts = json.loads(left.with_suffix(".json").read_text())
    agreement = np.mean(np.load(left.with_suffix(".npy")) == np.load(folder / "classes.npy"))
    whole = json.loads((folder / "whole.json").read_text())["operations"]
    return Row(
        engine=engine,
        precision=precision,
        size=size,
        version=facts["version"],
        seconds=[answer.seconds for answer in answers],
        peak=max(answer.peak for answer in answers),
        agreement=float(agreement),
        operations=facts["operations"] or whole,
    )


def group_table(report: Report, rows: Sequence[Row]) -> str:
    """Table of one size and precision, the fastest first."""
    header = (
        "engine",
        "version",
        "median s",
        "ratio",
        "peak GB",
        "agreement",
        "GFLOP",
        "GFLOP/s",
        "matrix rate",
    )
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
    rate = report.matrix_rates.get(rows[0].precision)
    return text + (f"\nthe machine's matrix rate: {rate / 1e9:.0f} GFLOP/s" if rate else "")


def write(report: Report, prefix: Path, say: Callable[[str], object]) -> None:
    """Write PREFIX.json, and PREFIX.png if matplotlib is there.

    Raises:
        FCNXSError: they cannot be written.
    """
    from ..system.files import written_whole

    say(NOTES)
    file, picture = (prefix.with_name(f"{prefix.name}.{suffix}") for suffix in ("json", "png"))
    document = asdict(report)
    for row, each in zip(report.rows, document["rows"]):
        each["median"] = row.median
    with written_whole(file) as (part,):
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    say(f"{file}: all figures")
    try:
        from .benchmark_infer_chart import draw
    except ImportError as error:
        say(f"no chart: {error} (pip install 'fcnxs[bench]')")
        return
    with written_whole(picture) as (part,):
        draw(report, part)
    say(f"{picture}: chart of the medians")

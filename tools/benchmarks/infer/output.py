"""What `fcnxs benchmark infer` shows and writes: tables, JSON, Markdown, and a chart."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Callable, Sequence

from ....system.files import written_whole
from ...shared.text import table
from .engines import ENGINES
from .results import Report, Row

NOTES = """
ratio: how many times faster than the fastest other engine at this precision; MXNet's own graphs do not count
peak GB: resident memory of the engine's process while it runs, after the net has been loaded and converted
agreement: pixels whose class is that of the untrimmed net in float32; the weights are random
GFLOP: multiplications and additions that are done, in the layers with weights; a trimmed net does fewer for the
    same scores, and GFLOP/s counts only those
matrix rate: GFLOP/s as part of what the best of some large products of matrices had"""


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
    say(NOTES)
    file, picture = (prefix.with_name(f"{prefix.name}.{suffix}") for suffix in ("json", "png"))
    document = asdict(report)
    for row, each in zip(report.rows, document["rows"]):
        each["median"] = row.median
    with written_whole(file) as (part,):
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    say(f"{file}: all figures")
    try:
        from .chart import draw
    except ImportError as error:
        say(f"no chart: {error} (pip install 'fcnxs[bench]')")
        return
    with written_whole(picture) as (part,):
        draw(report, part)
    say(f"{picture}: chart of the medians")

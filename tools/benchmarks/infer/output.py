"""Tables, JSON file and chart of `fcnxs benchmark infer`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Sequence

from ....system.files import written_whole
from ...shared.text import table
from .chart import draw
from .engines import ENGINES
from .results import Measurements, Row

NOTES = """
ratio: speed relative to the fastest other engine at this precision; MXNet's own graphs are not among the others
peak GB: peak of the resident memory of the engine's process, from the time when the net is loaded and converted
agreement: share of the pixels with the class of the untrimmed net in float32; the weights are random
GFLOP: multiplications and additions in the layers with weights; a trimmed net needs fewer for the same scores
GFLOP/s: the same in a second
matrix rate: GFLOP/s, divided by the rate of the fastest of some large products of matrices"""


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


def write(measured: Measurements, prefix: Path) -> None:
    """Write PREFIX.json and PREFIX.png, and print what the columns of the tables mean.

    Raises:
        FCNXSError: a file cannot be written.
    """
    print(NOTES)
    file, picture = (prefix.with_name(f"{prefix.name}.{suffix}") for suffix in ("json", "png"))
    document = asdict(measured)
    for row, each in zip(measured.rows, document["rows"]):
        each["median"] = row.median
    with written_whole(file) as (part,):
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    with written_whole(picture) as (part,):
        draw(measured, part)
    print(f"{file}: all figures\n{picture}: chart of the medians")

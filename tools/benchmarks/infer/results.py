"""Measurements of `fcnxs benchmark infer`: a row for each engine, precision and size, and comparisons."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Sequence

import numpy as np

from ..worker import Answer
from .engines import ENGINES


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


def make_row(engine: str, precision: str, size: str, answers: Sequence[Answer], folder: Path) -> Row:
    """Row of one engine, from its timed passes (`answers`) and the files that its process wrote to `folder`."""
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

"""What `fcnxs export` prints of what it has written."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Tuple

from ..score import NAMES, Scores
from .text import table

if TYPE_CHECKING:
    from ..deploy.form import Form
    from ..deploy.write import Report

WHAT = {"softmax": "probability", "logits": "score", "argmax": ""}


def print_report(report: Report, form: Form, args: argparse.Namespace) -> None:
    """Print the layers of a lower precision, the comparison, the scores, and the files."""
    if report.layers or report.kept:
        print(_layers_table(report, form.precision))
        print()
    if form.trimmed and not report.trimmed:
        print("--trim changed nothing: this net cannot be trimmed at this size, or would not be faster\n")
    print(_images_table(report))
    print()
    runtime = "ONNX Runtime" if form.format == "onnx" else "plain MXNet"
    differences = [each.difference for each in report.compared if each.difference is not None]
    largest = f"largest difference of a {WHAT[form.head]} {max(differences):.1e}, " if differences else ""
    same = sum(each.agreement for each in report.compared) / len(report.compared)
    print(
        f"read again by {runtime} and compared with the checkpoint: {largest}"
        f"the same class at {same:.4%} of the pixels"
    )
    if report.scores:
        print(f"\nscores on {args.data}:")
        print(_scores_table(report.scores, form))
        print()
    print("wrote " + ", ".join(f"{file} ({size / 1e6:.1f} MB)" for file, size in report.files.items()))
    if form.precision == "int8":
        print("MXNet keeps the weights in float32 in the file, and quantizes them at the first pass")


def _layers_table(report: Report, precision: str) -> str:
    found = {loss.layer: loss for loss in report.layers}
    kept = [name for name in report.kept if name not in found]
    rows = [(name, "fp32", "-", "-") for name in kept]
    for name, loss in found.items():
        kind = "fp32, loses too much" if name in report.kept else precision
        rows.append((name, kind, f"{loss.changed:.4%}", f"{loss.error:.1e}"))
    header = ("layer", "precision", f"pixels changed by it alone in {precision}", "largest error of a score")
    return table(header, rows, right=(2, 3))


def _images_table(report: Report) -> str:
    rows = [
        (
            each.name,
            "x".join(map(str, each.size)),
            "-" if each.difference is None else f"{each.difference:.1e}",
            f"{each.agreement:.4%}",
        )
        for each in report.compared
    ]
    return table(("image", "H x W", "largest difference", "same class"), rows, right=(1, 2, 3))


def _scores_table(both: Tuple[Scores, Scores], form: Form) -> str:
    pairs = [(name, *(getattr(each, name) for each in both)) for name in NAMES]
    rows = [
        (name.replace("_", " ").replace("iu", "IU"), f"{a:.4f}", f"{b:.4f}", f"{b - a:+.4f}")
        for name, a, b in pairs
    ]
    return table(("score", "checkpoint", f"{form.format} {form.precision}", "change"), rows, right=(1, 2, 3))

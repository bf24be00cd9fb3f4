"""Tables of text."""

from __future__ import annotations

from typing import Dict, List, Sequence

from ...epoch_choice import best_of
from ...errors import shown
from ...score import NAMES, Scores

SHOWN = 10  # most classes that a sentence names
TITLES = {name: name.replace("_", " ").replace("iu", "IU") for name in NAMES}  # of the four scores


def table(header: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[int] = ()) -> str:
    """Text table. Columns of numbers, and those whose indices are in `right`, are aligned to the right."""
    cells = [[shown(_cell(value)) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells)]
    numeric = [
        i in right or all(isinstance(row[i], (int, float, type(None))) for row in rows)
        for i in range(len(header))
    ]
    lines = [header, ["-" * width for width in widths], *cells]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric)
        ).rstrip()
        for line in lines
    )


def scores_table(result: Scores, classes: Sequence[str]) -> str:
    """Table with a row for each class; classes that occur nowhere have no scores."""
    keys = ("class", "pixels", "precision", "recall", "f1", "iu")
    rows = [[each[key] for key in keys] for each in result.of_classes(classes)]
    return table(("class", "pixels", "precision", "recall", "F1", "IU"), rows)


def without_scores(result: Scores, classes: Sequence[str]) -> str:
    """Sentence on the classes that lack a score, since they are in no label or never predicted; "" without."""
    lacking = {"in no label": result.class_recall, "never predicted": result.class_precision}
    parts = []
    for why, values in lacking.items():
        names = [name for name, value in zip(classes, values) if value != value]  # NaN
        more = f" and {len(names) - SHOWN} more" * (len(names) > SHOWN)
        said = f"{len(names)} of {len(classes)} classes are {why}: {', '.join(names[:SHOWN])}{more}"
        parts += [said] * bool(names)
    return f"- stands for no score; {'; '.join(parts)}" if parts else ""


def summary_table(rows: Sequence[dict]) -> str:
    """Table with a row for each stage of a run: its net, epochs, four scores and seconds.

    Below a net of several heads, whose scores are means, stands a row for each.
    """
    header = ("net", "epoch", "pixel acc.", "mean acc.", "mean IU", "f.w. IU", "seconds")
    cells = []
    for row in rows:
        cells.append((row["name"], row["epoch"], *(row[key] for key in NAMES), round(row["seconds"])))
        for head, scores in (row.get("heads") or {}).items():
            cells.append((f"  {head}", row["epoch"], *(scores[key] for key in NAMES), None))
    return table(header, cells)


def best_epochs(records: Sequence[dict]) -> str:
    """Text that names each stage's best epoch by mean IU; "" if none was evaluated.

    Args:
        records: the records of metrics.jsonl, one for each epoch.
    """
    stages: Dict[str, List[dict]] = {}
    for record in records:
        stages.setdefault(record["stage"], []).append(record)
    best = [each for each in map(best_of, stages.values()) if each]
    return ", ".join(f"{each['stage']} epoch {each['epoch']} ({each['mean_iu']:.4f})" for each in best)


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN
        return "-"
    return f"{value:.4f}" if isinstance(value, float) and abs(value) <= 1 else str(value)

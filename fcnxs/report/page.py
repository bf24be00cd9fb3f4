"""Fill the template `report.html` with a run's records, scores and pictures."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Dict, List, Mapping, Sequence

import numpy as np
from jinja2 import Environment, StrictUndefined

from ..conventions import IGNORE_LABEL
from ..finetune.run_log import installed
from ..score import NAMES
from .charts import curves
from .evaluation import Evaluation, Scored
from .pictures import Shown, shown
from .run import Run, best_of

MOST = 32  # with more classes the page has no matrix, only a longer list of the largest confusions
CONFUSIONS = {True: 10, False: 40}  # length of the list beside a matrix, and without one
DARK, WHITE = np.array((11, 61, 117)), np.array((255, 255, 255))  # cells with all of a row's pixels, and none
WARNING = "Warning of the run: {}"
SCORES = ("pixel accuracy", "mean accuracy", "mean IU", "f.w. IU")  # titles of NAMES


def page(run: Run, evaluation: Evaluation | None, notes: Sequence[str] = ()) -> str:
    """HTML of the report of a run. It contains its pictures and styles, has no script, and loads nothing.

    Args:
        evaluation: None: the page has only the records of training.
        notes: sentences for the page, besides the run's and the evaluation's.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        score=_score, number="{:,}".format, percent=_percent, said=_said, colour=_hex, best=best_of
    )
    template = environment.from_string(files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    scored = evaluation.stages if evaluation else []
    return template.render(
        name="/".join(run.folder.resolve().parts[-2:]),  # many are called `run`
        state=_state(run),
        notes=[
            *run.notes,
            *notes,
            *(evaluation.notes if evaluation else ()),
            *map(WARNING.format, run.log.warnings),
        ],
        score_names=list(zip(NAMES, SCORES)),
        records=run.records,
        charts=curves(run.records),
        images=evaluation.images if evaluation else 0,
        scored=scored,
        classes=_classes(run, scored),
        matrices=[_matrix(run, each) for each in reversed(scored)] if len(_names(run, scored)) <= MOST else [],
        confusions=_confusions(run, scored[-1]) if scored else [],
        examples=_examples(run, evaluation) if evaluation else {},
        legend=_legend(run, evaluation) if evaluation else [],
        settings=run.plan.get("stages", []),
        options={f"--{key.replace('_', '-')}": value for key, value in run.plan.get("options", {}).items()},
        facts=_facts(run),
    )


def _state(run: Run) -> str:
    """Progress of the run, in a sentence."""
    names = [stage["name"] for stage in run.plan.get("stages", ())]
    done = sum(len(run.records.get(name, ())) for name in names)
    epochs = f"{done} of {run.planned} epochs" if names else f"{run.done} epoch{'s' * (run.done != 1)}"
    if run.finished:
        return f"Finished: {epochs}."
    how = "it goes on, or was killed" if run.log.ends is None else f"it ended with {run.log.ends}"
    return f"Not finished: {epochs}; {how}. fcnxs finetune --resume {run.folder} goes on where it is."


def _names(run: Run, scored: Sequence[Scored]) -> List[str]:
    """Names of the classes, or `class N` if the run has no names."""
    count = len(scored[-1].matrix) if scored else len(run.classes)
    return run.classes if len(run.classes) == count else [f"class {number}" for number in range(count)]


def _classes(run: Run, scored: Sequence[Scored]) -> List[Dict[str, Any]]:
    """Rows of the table of classes: share of the pixels, IU in each stage, accuracy in the last stage."""
    if not scored:
        return []
    results = [each.scores for each in scored]
    pixels = results[-1].class_pixels
    return [
        {
            "name": name,
            "colour": run.palette[i],
            "share": pixels[i] / max(pixels.sum(), 1),
            "iu": [result.class_iu[i] for result in results],
            "accuracy": results[-1].class_accuracy[i],
        }
        for i, name in enumerate(_names(run, scored))
    ]


def _matrix(run: Run, scored: Scored) -> Dict[str, Any]:
    """A confusion matrix; each cell is a share of its row, and coloured by it."""
    totals = scored.matrix.sum(axis=1, keepdims=True)
    shares = scored.matrix / np.maximum(totals, 1)
    names = _names(run, [scored])
    rows = [
        {
            "name": name,
            "pixels": int(total),
            "cells": [_cell(count, share) for count, share in zip(counts, line)],
        }
        for name, total, counts, line in zip(names, totals[:, 0], scored.matrix, shares)
    ]
    return {"stage": scored.stage, "epoch": scored.epoch, "names": names, "rows": rows}


def _cell(count: int, share: float) -> Dict[str, Any]:
    """Text and colours of a cell; the text is dark on light cells and light on dark ones."""
    colour = _hex(np.rint(WHITE + share * (DARK - WHITE)).astype(int))
    text = "" if count == 0 else f"{100 * share:.0f}"
    ink = "#fff" if share > 0.62 else "#767676" if text == "0" else "#111"
    return {"pixels": int(count), "text": text, "colour": colour, "ink": ink}


def _confusions(run: Run, scored: Scored) -> List[Dict[str, Any]]:
    """The largest confusions of a stage, in pixels."""
    names, totals = _names(run, [scored]), scored.matrix.sum(axis=1)
    wrong = scored.matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[: CONFUSIONS[len(names) <= MOST]]
    pairs = [tuple(map(int, divmod(place, len(names)))) for place in order]
    return [
        {
            "truth": names[i],
            "prediction": names[j],
            "pixels": int(wrong[i, j]),
            "share": wrong[i, j] / totals[i],
        }
        for i, j in pairs
        if wrong[i, j]
    ]


def _examples(run: Run, evaluation: Evaluation) -> Dict[str, List[Shown]]:
    """Pictures of the best images and the worst, by title."""
    pictures = shown([*evaluation.best, *evaluation.worst], run.palette)
    split = len(evaluation.best)
    return {"Best first": pictures[:split], "Worst first": pictures[split:]}


def _legend(run: Run, evaluation: Evaluation) -> List[Dict[str, Any]]:
    """Names and colours of the classes in the pictures, and of unlabelled pixels if there are any."""
    examples = [*evaluation.best, *evaluation.worst]
    maps = [each for example in examples for each in (example.truth, *example.class_maps.values())]
    names = {**dict(enumerate(_names(run, evaluation.stages))), IGNORE_LABEL: f"not counted ({IGNORE_LABEL})"}
    found = sorted({int(value) for each in maps for value in np.unique(each)})
    return [{"name": names[i], "colour": run.palette[i]} for i in found]


def _facts(run: Run) -> Dict[str, Any]:
    """Facts of run.log and run.json besides options, classes and stages."""
    begun = {"begun": run.log.begun} if run.log.begun else {}
    facts = {key: fact for key, fact in run.log.facts.items() if key not in ("options", "classes", "skipped")}
    left_out = {name: len(pairs) for name, pairs in run.plan.get("skipped", {}).items() if pairs}
    left_out = {"images left out": left_out} if left_out else {}
    return {**begun, **facts, **left_out, "this page is by": installed()}


def _hex(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{int(value):02x}" for value in colour)


def _score(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{100 * value:.1f}%"


def _said(value: object) -> str:
    """A fact as text: `name: value` of a dict, the elements of a list, a string unchanged, otherwise JSON."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_said(each)}" for key, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_said, value))
    return value if isinstance(value, str) else json.dumps(value)

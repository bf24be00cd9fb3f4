"""Fill the template `report.html` with a run's records, scores and pictures; these as data URIs."""

from __future__ import annotations

import base64
import io
import json
from importlib.resources import files
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from PIL import Image

from .. import errors
from ..conventions import IGNORE_LABEL, Palette
from ..epoch_choice import best_of
from ..finetune.run_log import installed
from ..score import NAMES
from ..vis import save_mask
from .charts import curves
from .evaluation import Evaluation, Example
from .run import RunRecord

MOST = 32  # with more classes the page has no matrix, only a longer list of the largest confusions
CONFUSIONS = {True: 10, False: 40}  # length of the list beside a matrix, and without one
DARK, WHITE = np.array((11, 61, 117)), np.array((255, 255, 255))  # cells with all of a row's pixels, and none
LIMIT = 4_000_000  # characters of all pictures of a page; the smallest pictures may exceed it
SIDES = (480, 320, 200)  # longer sides of a picture in pixels; the first that keeps the limit is taken
SCORES = ("pixel accuracy", "mean accuracy", "mean IU", "f.w. IU")  # titles of NAMES


def page(run: RunRecord, evaluation: Evaluation | None, notes: Sequence[str] = ()) -> str:
    """HTML of the report of a run. It contains its pictures and styles, has no script, and loads nothing.

    Args:
        evaluation: None: the page has only the records of training.
        notes: sentences for the page, besides the run's and the evaluation's.
    """
    environment = Environment(
        autoescape=True,
        finalize=_seen,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        score=_score,
        number="{:,}".format,
        percent=_percent,
        said=_said,
        colour=_hex,
        shade=_shade,
        best=best_of,
    )
    template = environment.from_string(files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    scored = evaluation.stages if evaluation else []
    count = len(scored[-1].matrix) if scored else len(run.classes)
    names = run.classes if len(run.classes) == count else [f"class {number}" for number in range(count)]
    examples = [*evaluation.best, *evaluation.worst] if evaluation else []
    return template.render(
        run=run,
        name="/".join(run.folder.resolve().parts[-2:]) + f", head {run.head}" * bool(run.head),  # often `run`
        state=_state(run),
        notes=[
            *run.notes,
            *notes,
            *(evaluation.notes if evaluation else ()),
            *map("Warning of the run: {}".format, run.log.warnings),
        ],
        score_names=list(zip(NAMES, SCORES)),
        charts=curves(run.records),
        evaluation=evaluation,
        scored=scored,
        which="best" if run.plan.get("patience") else "last",
        names=names,
        most=MOST,
        confusions=_confusions(scored[-1].matrix, names) if scored else [],
        pictures=shown(examples, run.palette),
        legend=_legend(examples, names),
        options={f"--{key.replace('_', '-')}": value for key, value in run.plan.get("options", {}).items()},
        facts=_facts(run),
    )


def _seen(value: object) -> object:
    """A text of the page, in which what cannot be seen is escaped, such as marks of another direction."""
    return errors.shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _state(run: RunRecord) -> str:
    """Progress of the run, in a sentence."""
    done = {stage: len(records) for stage, records in run.records.items()}
    planned = {stage["name"]: stage["epochs"] for stage in run.plan.get("stages") or ()}
    if planned:
        epochs = f"{sum(done.get(name, 0) for name in planned)} of {sum(planned.values())} epochs"
    else:
        epochs = f"{sum(done.values())} epoch{'s' * (sum(done.values()) != 1)}"
    if run.plan.get("finished"):
        return f"Finished: {epochs}{' (stages end early with --patience)' if run.plan.get('patience') else ''}."
    how = "it is still running, or was killed" if run.log.ends is None else f"it ended with {run.log.ends}"
    return f"Not finished: {epochs}; {how}. fcnxs finetune --resume {errors.quoted(run.folder)} continues it."


def _confusions(matrix: np.ndarray, names: Sequence[str]) -> List[Tuple[str, str, int, float]]:
    """The largest confusions: true class, predicted class, pixels, and their share of the true class."""
    wrong, totals = matrix - np.diag(np.diag(matrix)), matrix.sum(axis=1)
    order = np.argsort(-wrong, axis=None, kind="stable")[: CONFUSIONS[len(names) <= MOST]]
    pairs = zip(*np.unravel_index(order, wrong.shape))
    return [(names[i], names[j], wrong[i, j], wrong[i, j] / totals[i]) for i, j in pairs if wrong[i, j]]


def _legend(examples: Sequence[Example], names: Sequence[str]) -> Dict[int, str]:
    """Names of the classes in the pictures by number, and of unlabelled pixels if there are any."""
    maps = [each for example in examples for each in (example.truth, *example.class_maps.values())]
    every = {**dict(enumerate(names)), IGNORE_LABEL: f"not counted ({IGNORE_LABEL})"}
    return {i: every[i] for i in sorted({int(value) for each in maps for value in np.unique(each)})}


def _facts(run: RunRecord) -> Dict[str, Any]:
    """Facts of run.log and run.json besides options, classes and stages."""
    begun = {"begun": run.log.begun} if run.log.begun else {}
    facts = {key: fact for key, fact in run.log.facts.items() if key not in ("options", "classes", "skipped")}
    left_out = {name: len(pairs) for name, pairs in (run.plan.get("skipped") or {}).items() if pairs}
    left_out = {"images left out": left_out} if left_out else {}
    return {**begun, **facts, **left_out, "this page is by": installed()}


def _hex(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{int(value):02x}" for value in colour)


def _shade(share: float) -> str:
    """Colour of a cell of a matrix, the darker the larger its share of the row."""
    return _hex(np.rint(WHITE + share * (DARK - WHITE)))


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


class Shown(NamedTuple):
    """An example as data URIs: the image, the truth, and the class map of each stage."""

    example: Example
    image: str
    truth: str
    class_maps: Dict[str, str]


def shown(examples: Sequence[Example], palette: Palette, limit: int = LIMIT) -> List[Shown]:
    """Encode examples in the largest size that keeps the limit."""
    for side in SIDES:
        result = [
            Shown(
                each,
                _image(each.image, side),
                _class_map(each.truth, palette, side),
                {stage: _class_map(one, palette, side) for stage, one in each.class_maps.items()},
            )
            for each in examples
        ]
        uris = [uri for each in result for uri in (each.image, each.truth, *each.class_maps.values())]
        if sum(map(len, uris)) <= limit:
            break
    return result


def _image(pixels: np.ndarray, side: int) -> str:
    """JPEG of an image, RGB uint8 (H, W, 3)."""
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.save(file, format="JPEG", quality=85)
    return _uri("jpeg", file.getvalue())


def _class_map(class_map: np.ndarray, palette: Palette, side: int) -> str:
    """Palette PNG of a class map, uint8 (H, W), made smaller without mixing classes."""
    image, file = Image.fromarray(class_map), io.BytesIO()
    image.thumbnail((side, side), Image.Resampling.NEAREST)
    save_mask(file, np.asarray(image), palette)
    return _uri("png", file.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

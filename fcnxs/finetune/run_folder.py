"""The folder of a run: its files' names, plan and scores, and the lock of the process at work there.

run.json                      the plan: identity, options, stages; written when the run begins
run.log                       what happened; a process at work holds a lock beside it
STAGE-NNNN.params             the net after epoch NNNN, with STAGE-symbol.json and STAGE-meta.json
STAGE-best-0000.params        the net of the best mean IU, with its -symbol.json and -meta.json
STAGE-last.EEEE-PPPPPP.json   a state to resume from, in epoch EEEE after PPPPPP batches; arrays in .state
metrics.jsonl                 one line for each epoch
summary.json                  one row for each stage that has ended
tensorboard/STAGE/            TensorBoard's events

A state is described in `state.py`.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

from ..checkpoint import meta
from ..class_weights import WEIGHT
from ..epoch_choice import EPOCH, METRICS, RECORD, SCORES
from ..errors import FCNXSError, quoted
from ..stages import Stage
from ..system import locks
from ..system.files import read_text, write_json, written_whole
from ..system.json_files import COUNT, Number, Or, checked, parse_json, read_json, told_of

PLAN, LOG, SUMMARY = "run.json", "run.log", "summary.json"
TENSORBOARD = "tensorboard"
WAY_OUT = "choose another --output"  # of a damaged file, unless the caller has another one
SCORES_WAY_OUT = "`fcnxs finetune --resume {}` writes anew those of a run that has not ended"

FORM = {  # of run.json; all but the first three, class_weights and patience are the command's
    "run": str,
    "finished": Or(bool, False),
    "options": Or(dict, {}),
    "meta": Or(meta.FORM),
    "data": Or({str: str}),
    "skipped": Or({str: [(COUNT, str)]}),
    "warnings": Or([str], []),
    "class_weights": Or([WEIGHT]),
    "patience": Or(COUNT),
    "stages": Or([{"name": str, "epochs": EPOCH}]),
}
# A row of summary.json.
ROW = {"name": str, "epoch": EPOCH, **SCORES, "heads": RECORD["heads"], "seconds": Number(float, 0)}


def params_file(folder: Path, stage: str, epoch: int) -> Path:
    """Parameters of a stage after an epoch, counted from 1."""
    return folder / f"{stage}-{epoch:04d}.params"


def params_files(folder: Path, stages: Sequence[Stage]) -> List[Path]:
    """Parameters of all epochs of these stages, oldest first."""
    pattern = "-[0-9][0-9][0-9][0-9].params"
    return [file for stage in stages for file in sorted(folder.glob(f"{stage.name}{pattern}"))]


def state_files(folder: Path, stages: Sequence[str] = ("*",)) -> List[Path]:
    """JSON of all states of these stages, oldest first."""
    return [file for stage in stages for file in sorted(folder.glob(f"{stage}-last.*.json"))]


def write_sealed(file: Path, content: Dict[str, Any]) -> None:
    """Write JSON with a checksum of its content."""
    content = json.loads(json.dumps(content))
    write_json(file, {**content, "sha256": _digest(content)})


def read_sealed(file: Path, what: str, form: Any, way_out: str = "") -> Dict[str, Any]:  # noqa: ANN401
    """Content that `write_sealed` wrote; arguments and errors as those of `read_json`.

    Raises:
        FCNXSError: it was changed, too.
    """
    content = read_json(file, what, way_out=way_out)
    with told_of(file, what, way_out):
        if content.pop("sha256", None) != _digest(content):
            raise ValueError("its checksum is wrong")
        return checked(content, form)


def _digest(content: Dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_plan(folder: Path, plan: Dict[str, Any]) -> None:
    """Write run.json.

    Raises:
        FCNXSError: it cannot be written.
    """
    with written_whole(folder / PLAN) as (part,):
        write_sealed(part, {key: value for key, value in plan.items() if key != "sha256"})


def read_plan(folder: Path, way_out: str = WAY_OUT) -> Dict[str, Any] | None:
    """Content of run.json; None if there is no such file. `way_out` ends the message of an error.

    Raises:
        FCNXSError: it is damaged.
    """
    file = folder / PLAN
    return read_sealed(file, "the record of a run", FORM, way_out) if file.exists() else None


def refuse_to_overwrite(folder: Path, stages: Sequence[Stage]) -> None:
    """Raise FCNXSError if the folder has a checkpoint of these stages, an unfinished run, or others' files."""
    plan = read_plan(folder)
    if plan is not None and not plan.get("finished") and state_files(folder):
        raise FCNXSError(
            f"{folder / PLAN}: the run in this folder has not ended; continue it with "
            f"--resume {quoted(folder)}, or choose another --output for a new run"
        )
    for file in params_files(folder, stages):
        raise FCNXSError(f"{file} exists already; choose another --output, or remove the old run")
    for file in (folder / METRICS, folder / SUMMARY):
        if plan is None and file.exists():
            raise FCNXSError(f"{file} exists already, and is of no run in this folder; choose another --output")


def write_scores(folder: Path, records: List[Dict[str, Any]], rows: List[Dict[str, Any]]) -> None:
    """Write the lines of metrics.jsonl, and the rows of summary.json if there are any."""
    with written_whole(folder / METRICS) as (part,):
        part.write_text("".join(json.dumps(_tidy(record)) + "\n" for record in records))
    if rows:
        with written_whole(folder / SUMMARY) as (part,):
            write_json(part, {"stages": [_tidy(row) for row in rows]})


def read_records(folder: Path) -> List[Dict[str, Any]]:
    """Lines of metrics.jsonl, [] without such a file; raises FCNXSError if it is damaged."""
    file, what = folder / METRICS, "the scores of an epoch"
    lines = read_text(file, what).splitlines() if file.exists() else []
    records = []
    for number, line in enumerate(lines, 1):
        with told_of(f"{file}, line {number}", what, SCORES_WAY_OUT.format(quoted(folder))):
            records.append(_tidy(checked(parse_json(line), RECORD)))
    return records


def read_rows(folder: Path) -> List[Dict[str, Any]]:
    """Rows of summary.json, [] without such a file; raises FCNXSError if it is damaged."""
    file, form = folder / SUMMARY, {"stages": [ROW]}
    if not file.exists():
        return []
    content = read_json(file, "a summary of finetuning", form, SCORES_WAY_OUT.format(quoted(folder)))
    return [_tidy(row) for row in content["stages"]]


def _tidy(scores: Dict[str, Any]) -> Dict[str, Any]:
    """Scores without the key `heads`, if there are not several."""
    return {name: value for name, value in scores.items() if name != "heads" or value is not None}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one run, and remove the half-written files that a killed run left there.

    Raises:
        FCNXSError: another run holds it, or it cannot be written to.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.held(folder / LOG, alone=True))
        except locks.HeldError as error:
            way_out = "wait for it, or choose another folder"
            raise FCNXSError(f"{folder}: {error.who} trains in this folder; {way_out}") from None
        locks.sweep(folder, again=True)
        for arrays_file in folder.glob("*-last.*.state"):
            if not arrays_file.with_suffix(".json").exists():
                arrays_file.unlink()
        yield

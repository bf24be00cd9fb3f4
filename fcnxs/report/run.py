"""Read the folder of a run: its plan (run.json), the records of the epochs (metrics.jsonl), and its log."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Tuple

from ..checkpoint.meta import meta_of, read_meta
from ..epoch_choice import METRICS, best_of
from ..errors import FCNXSError
from ..finetune.run_folder import LOG, PLAN, read_plan, read_records
from ..system.files import read_text
from ..system.json_files import parse_json
from ..vis import default_palette, full_palette

Record = Dict[str, Any]


@dataclass(frozen=True)
class Log:
    """Content of run.log.

    Args:
        facts: command, versions, machine, ..., by name, of the last start or resume; strings or JSON's values.
        begun: time (UTC) of the first line; "" if there is none.
        ends: how the run ended; None: it is still running, or the process was killed.
        warnings: warnings of the run, in order.
    """

    facts: Dict[str, Any] = field(default_factory=dict)
    begun: str = ""
    ends: str | None = None
    warnings: Tuple[str, ...] = ()


@dataclass(frozen=True)
class RunRecord:
    """A run of finetuning, ended or not.

    Args:
        plan: content of run.json.
        records: lines of metrics.jsonl by stage, in the order of training.
        classes, palette: names; colours (R, G, B) of the classes, then VOC's up to 256.
        notes: sentences on missing files.
        head: whose classes and scores these are, of nets with several heads.
    """

    folder: Path
    plan: Dict[str, Any]
    records: Dict[str, List[Record]]
    log: Log
    classes: List[str]
    palette: List[List[int]]
    notes: Tuple[str, ...] = ()
    head: str = ""

    @property
    def heads(self) -> Dict[str, List[str]]:
        """Names of the classes of each head, of nets with several."""
        return (self.plan.get("meta") or {}).get("heads") or {}

    def of_head(self, head: str) -> RunRecord:
        """The run as that of one of its heads, with its classes and scores; of a net with one, "", itself."""
        if not head:
            return self
        records = {
            stage: [{**each, **(each.get("heads") or {}).get(head, {})} for each in epochs]
            for stage, epochs in self.records.items()
        }
        palette = full_palette(default_palette(self.heads[head]))
        return replace(self, records=records, classes=self.heads[head], palette=palette, head=head)

    @property
    def chosen(self) -> Dict[str, Record]:
        """Record of the epoch of each stage that the next starts from: the last, with `patience` the best."""
        patient = bool(self.plan.get("patience"))
        return {stage: (patient and best_of(each)) or each[-1] for stage, each in self.records.items()}


def read_run(folder: Path) -> RunRecord:
    """Read the folder of a run; only run.json has to be there.

    Raises:
        FCNXSError: the folder is not a run's, or one of its files is damaged.
    """
    plan = _plan(folder)
    records = _records(folder)
    log, notes = _log(folder / LOG), []
    if not records:
        notes.append(f"No epoch has ended yet: {METRICS} has no scores.")
    if not log.facts:
        notes.append(f"{LOG} does not record the command, the versions and the machine.")
    classes, palette = _classes(folder, plan, list(records))
    return RunRecord(folder, plan, records, log, classes, full_palette(palette), tuple(notes))


def _plan(folder: Path) -> Dict[str, Any]:
    if not folder.is_dir():
        raise FCNXSError(f"{folder}: no such folder; give one that `fcnxs finetune` wrote")
    plan = read_plan(folder, "a report needs this file undamaged")
    if plan is None:
        raise FCNXSError(f"{folder / PLAN}: no such file; give a folder that `fcnxs finetune` wrote")
    return plan


def _records(folder: Path) -> Dict[str, List[Record]]:
    """Records by stage; of a stage that was trained again only the last training's."""
    result: Dict[str, List[Record]] = {}
    for record in read_records(folder):
        if record["epoch"] == 1:
            result.pop(record["stage"], None)
        result.setdefault(record["stage"], []).append(record)
    return result


def _log(file: Path) -> Log:
    """Parse the log: lines with a time, and below some of them facts `  name: value`; skip other lines."""
    facts, begun, ends, warnings = {}, "", None, []
    text = read_text(file, "the log of the run", errors="replace") if file.exists() else ""
    for line in text.splitlines():
        event = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ) (.*)", line)
        if event is None:
            name, colon, value = line.partition(": ")
            if colon and name.startswith("  ") and name != "  stage":
                facts[name.strip()] = _value(value)
            continue
        begun, text = begun or event[1], event[2]
        if text.startswith("run begins"):
            facts, ends = {}, None
        elif text.startswith("run ends: "):
            ends = text.partition(": ")[2]
        elif text.startswith("warning: "):
            warnings.append(text.partition(": ")[2])
    return Log(facts, begun, ends, tuple(warnings))


def _value(text: str) -> object:
    """Value of a fact: parsed if it is a JSON object, list or string, otherwise its text."""
    try:
        return parse_json(text) if text.startswith(("{", "[", '"')) else text
    except ValueError:
        return text


def _classes(folder: Path, plan: Dict[str, Any], stages: List[str]) -> Tuple[List[str], List[List[int]]]:
    """Names and colours of the classes, from the plan or from a stage's checkpoint."""
    files = [folder / f"{stage}-meta.json" for stage in stages]
    found = [meta_of(plan["meta"], folder / PLAN)] if plan["meta"] else []
    found = found or [read_meta(file) for file in files if file.is_file()]
    return (found[0].classes or [], found[0].palette or []) if found else ([], [])

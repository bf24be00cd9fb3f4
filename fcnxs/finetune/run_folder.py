"""The folder of a run: its files' names, plan, scores and states, and the lock of the process at work there.

run.json                      the plan: identity, options, stages; written when the run begins
run.log                       what happened; a process at work holds a lock on it
STAGE-NNNN.params             the net after epoch NNNN, with STAGE-symbol.json and STAGE-meta.json
STAGE-best-0000.params        the net of the best mean IU, with its -symbol.json and -meta.json
STAGE-last.EEEE-PPPPPP.json   a state to resume from, in epoch EEEE after PPPPPP batches; arrays in .state
metrics.jsonl                 one line for each epoch
summary.json                  one row for each stage that has ended
tensorboard/STAGE/            TensorBoard's events

A state is all that a run needs to resume as if it had not been interrupted: the arrays in `.state`, in MXNet's
format, the rest in `.json`, with a checksum of both files. The JSON is moved into place last, so that a state
is either whole or not there. The newest two states of a stage are kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Sequence

from ..checkpoint.params_file import check_finite, load_params, write_arrays
from ..epoch_choice import METRICS
from ..errors import FCNXSError
from ..net import Params
from ..score import NAMES
from ..stages import Stage
from ..system.files import BESIDE, refuse_irregular, sha256_of, write_json, written_whole

PLAN, LOG, SUMMARY = "run.json", "run.log", "summary.json"
TENSORBOARD = "tensorboard"
WAY_OUT = "choose another --output"  # of a damaged file, unless the caller has another one
KEPT = 2  # states of a stage
ARRAYS = {"arg": "arg_params", "aux": "aux_params", "state": "arrays"}  # prefix of an array's name -> field
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)  # of what is not our JSON


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


def read_sealed(file: Path) -> Dict[str, Any]:
    """Content that `write_sealed` wrote; raises one of `DAMAGED` if it cannot be read or was changed."""
    content = json.loads(file.read_text(encoding="utf-8"))
    if content.pop("sha256") != _digest(content):
        raise ValueError("its checksum is wrong")
    return content


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
    return _read(folder / PLAN, "the record of a run, or damaged: {}", read_sealed, way_out)


def refuse_to_overwrite(folder: Path, stages: Sequence[Stage]) -> None:
    """Raise FCNXSError if the folder has a checkpoint of these stages, or a run that can be resumed."""
    plan = read_plan(folder)
    if plan is not None and not plan.get("finished") and state_files(folder):
        raise FCNXSError(
            f"{folder / PLAN}: the run in this folder has not ended; continue it with --resume {folder}, "
            "or choose another --output for a new run"
        )
    for file in params_files(folder, stages):
        raise FCNXSError(f"{file} exists already; choose another --output, or remove the old run")


def write_scores(folder: Path, records: List[Dict[str, Any]], rows: List[Dict[str, Any]]) -> None:
    """Write the lines of metrics.jsonl, and the rows of summary.json if there are any."""
    with written_whole(folder / METRICS) as (part,):
        part.write_text("".join(json.dumps(record) + "\n" for record in records))
    if rows:
        with written_whole(folder / SUMMARY) as (part,):
            write_json(part, {"stages": rows})


def read_records(folder: Path) -> List[Dict[str, Any]]:
    """Lines of metrics.jsonl; raises FCNXSError if it is damaged."""

    def parse(file: Path) -> List[Dict[str, Any]]:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    return _read(folder / METRICS, "the scores of finetuning ({})", parse) or []


def read_rows(folder: Path) -> List[Dict[str, Any]]:
    """Rows of summary.json; raises FCNXSError if it is damaged."""

    def parse(file: Path) -> List[Dict[str, Any]]:
        rows = json.loads(file.read_text(encoding="utf-8"))["stages"]
        for row in rows:
            str(row["name"]), float(row["seconds"]), int(row["epoch"]), [row[name] for name in NAMES]
        return rows

    return _read(folder / SUMMARY, "a summary of finetuning ({})", parse) or []


def _read(file: Path, what: str, parse: Callable[[Path], Any], way_out: str = WAY_OUT) -> Any:  # noqa: ANN401
    """Result of `parse`; None without such a file. `what` describes it, with {} for an error's text."""
    refuse_irregular(file)
    try:
        return parse(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except DAMAGED as error:
        raise FCNXSError(f"{file}: not {what.format(error)}; {way_out}") from None


@dataclass
class State:
    """Where a run stands.

    Args:
        run: identity of the run, the same as in run.json.
        stage: name of the stage; "" before the first.
        epoch: epoch of the stage, from 1; one more than the stage's last if the stage is done.
        position: batches of this epoch that are done.
        steps: steps of this stage so far.
        seconds, stage_seconds: time that this epoch and this stage have taken.
        symbol: JSON of the net.
        optimizer: numbers of the optimizer's state.
        metric: loss and confusion matrix of this epoch's training so far.
        records: lines of metrics.jsonl.
        rows: rows of summary.json.
        best: mean IU of STAGE-best.
        arg_params, aux_params, arrays: parameters, and the optimizer's arrays; not in the JSON.
    """

    run: str
    stage: str
    epoch: int = 1
    position: int = 0
    steps: int = 0
    seconds: float = 0.0
    stage_seconds: float = 0.0
    symbol: str = ""
    optimizer: Dict[str, Any] = field(default_factory=dict)
    metric: Dict[str, Any] = field(default_factory=dict)
    records: List[Dict[str, Any]] = field(default_factory=list)
    rows: List[Dict[str, Any]] = field(default_factory=list)
    best: float | None = None
    arg_params: Params = field(default_factory=dict, repr=False)
    aux_params: Params = field(default_factory=dict, repr=False)
    arrays: Params = field(default_factory=dict, repr=False)

    def forget_arrays(self) -> None:
        """Drop all arrays, to free their memory."""
        self.arg_params, self.aux_params, self.arrays = {}, {}, {}

    def file(self, folder: Path) -> Path:
        """Path of the state's JSON."""
        return folder / f"{self.stage}-last.{self.epoch:04d}-{self.position:06d}.json"


def save_state(folder: Path, state: State) -> Path:
    """Write a state, and remove all but the newest two of its stage; returns the path of its JSON.

    Raises:
        FCNXSError: it cannot be written; the states before it are then still there.
    """
    file = state.file(folder)
    arrays_file = file.with_suffix(".state")
    arrays = {
        f"{kind}:{name}": array for kind, of in ARRAYS.items() for name, array in getattr(state, of).items()
    }
    with written_whole(arrays_file, file) as (arrays_part, part):
        write_arrays(arrays_part, arrays)
        names = [each.name for each in fields(state) if each.name not in ARRAYS.values()]
        content = {name: getattr(state, name) for name in names}
        write_sealed(part, {**content, "arrays_sha256": sha256_of(arrays_part)})
    of_this_run = [each for each in state_files(folder, [state.stage]) if _run_of(each) == state.run]
    for old in of_this_run[:-KEPT]:
        old.unlink()
        old.with_suffix(".state").unlink(missing_ok=True)
    return file


def load_state(folder: Path, run: str, stages: Sequence[str]) -> State | None:
    """Newest state of a run, whose stages have these names, in order; None if there is none.

    Raises:
        FCNXSError: the newest is damaged; the message offers the last good one.
    """
    damaged: FCNXSError | None = None
    files = [file for file in state_files(folder, stages) if _run_of(file) in (run, None)]
    for file in reversed(files):
        try:
            state = _read_state(file)
        except FCNXSError as error:
            damaged = damaged or error
            continue
        if damaged:
            where = f"{state.stage}, {state.epoch - 1} epochs and {state.position} batches done"
            raise FCNXSError(
                f"{damaged}; the last good one is {file} ({where}): remove {files[-1]} to continue from it"
            )
        return state
    if damaged:
        raise FCNXSError(f"{damaged}; no older state is intact: remove {files[-1]} to start anew")
    return None


def _read_state(file: Path) -> State:
    arrays_file = file.with_suffix(".state")
    try:
        content = read_sealed(file)
        whole = sha256_of(arrays_file) == content.pop("arrays_sha256")
        state = State(**content)
    except FileNotFoundError as error:
        raise FCNXSError(f"{error.filename}: no such file") from None
    except DAMAGED as error:
        raise FCNXSError(f"{file}: damaged: {error}") from None
    if not whole:
        raise FCNXSError(f"{arrays_file}: damaged or cut off: its checksum is another")
    for key, array in check_finite(load_params(arrays_file), arrays_file).items():
        kind, _, name = key.partition(":")
        getattr(state, ARRAYS[kind])[name] = array
    return state


def _run_of(file: Path) -> str | None:
    """Identity of the run that wrote a state; None if the file is damaged."""
    try:
        return read_sealed(file)["run"]
    except DAMAGED:
        return None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one run, and remove the half-written files that a killed run left there.

    Raises:
        FCNXSError: another process holds it, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = open(folder / LOG, "a")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise FCNXSError(f"{folder / LOG}: cannot write: {error.strerror}") from None
    with log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FCNXSError(
                f"{folder}: another process trains in this folder; wait for it, or choose another folder"
            ) from None
        except OSError:
            pass  # a file system without locks
        for part in folder.glob(f"{BESIDE}*"):
            shutil.rmtree(part, ignore_errors=True)
        for arrays_file in folder.glob("*-last.*.state"):
            if not arrays_file.with_suffix(".json").exists():
                arrays_file.unlink()
        yield

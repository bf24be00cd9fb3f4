"""State of a run of finetuning: all that is needed to go on as if it had not been interrupted.

A state is two files: RUN/STAGE-last.EEEE-PPPPPP.state, arrays in MXNet's format, and the same with .json for
the rest, which has the checksum of the first and its own. It is named for epoch and position, and written
last: a state is there whole, or it is not there. The newest two of a stage are kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

from ..checkpoint.params_file import load_params, write_arrays
from ..compat import mxnet as mx
from ..errors import FCNXSError
from ..net import Params
from ..system.files import BESIDE, sha256_of, write_json, written_whole

PLAN, LOCK = "run.json", "run.log"
KEPT = 2


@dataclass
class State:
    """Where a run stands.

    Args:
        run: identity of the run, as run.json has it.
        stage, epoch, position: batches of this epoch of this stage that are done; epochs count from 1, the
            one after the stage's last says that the stage is done.
        steps: steps of this stage so far.
        seconds: that this epoch, and `stage_seconds` that this stage has taken.
        symbol: JSON of the net.
        optimizer: numbers of the optimizer's state.
        metric: loss and confusion matrix of this epoch's training so far.
        records: lines of metrics.jsonl; `rows`: those of summary.json; `best`: mean IU of STAGE-best.
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

    def load_symbol(self) -> mx.sym.Symbol:
        """The net."""
        return mx.sym.load_json(self.symbol)

    def forget_arrays(self) -> None:
        """Let go of all arrays, which are large."""
        self.arg_params, self.aux_params, self.arrays = {}, {}, {}


ARRAYS = {"arg": "arg_params", "aux": "aux_params", "state": "arrays"}  # prefix of the name -> field


def save_state(folder: Path, state: State) -> Path:
    """Write a state, and remove all but the newest two of its stage; returns the path of its JSON.

    Raises:
        FCNXSError: it cannot be written; those before are then still there.
    """
    file = state_file(folder, state)
    arrays_file = file.with_suffix(".state")
    arrays = {
        f"{kind}:{name}": array for kind, of in ARRAYS.items() for name, array in getattr(state, of).items()
    }
    with written_whole(arrays_file, file) as (arrays_part, part):
        write_arrays(arrays_part, arrays)
        content = {
            each.name: getattr(state, each.name) for each in fields(state) if each.name not in ARRAYS.values()
        }
        content["arrays_sha256"] = sha256_of(arrays_part)
        write_json(part, {**content, "sha256": _digest(content)})
    of_this_run = [each for each in _files(folder, [state.stage]) if _run_of(each) == state.run]
    for old in of_this_run[:-KEPT]:
        old.unlink()
        old.with_suffix(".state").unlink(missing_ok=True)
    return file


def state_file(folder: Path, state: State) -> Path:
    """JSON of a state."""
    return folder / f"{state.stage}-last.{state.epoch:04d}-{state.position:06d}.json"


def load_state(folder: Path, run: str, stages: Sequence[str]) -> State | None:
    """Newest state of a run, or None.

    Args:
        stages: their names, in order.

    Raises:
        FCNXSError: the newest is damaged; the message offers the last good one.
    """
    damaged: FCNXSError | None = None
    files = [file for file in _files(folder, stages) if _run_of(file) in (run, None)]
    for file in reversed(files):
        try:
            state = _read(file)
        except FCNXSError as error:
            damaged = damaged or error
            continue
        if damaged:
            where = f"{state.stage}, {state.epoch - 1} epochs and {state.position} batches done"
            raise FCNXSError(
                f"{damaged}; the last good one is {file} ({where}): remove {files[-1]} to go on from it"
            )
        return state
    if damaged:
        raise FCNXSError(f"{damaged}; there is no good one: remove {files[-1]} to begin anew")
    return None


def _read(file: Path) -> State:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content.pop("sha256") != _digest(content):
            raise FCNXSError(f"{file}: damaged: its checksum is another")
        arrays_file = file.with_suffix(".state")
        if sha256_of(arrays_file) != content.pop("arrays_sha256"):
            raise FCNXSError(f"{arrays_file}: damaged or cut off: its checksum is another")
        state = State(**content)
    except FileNotFoundError as error:
        raise FCNXSError(f"{error.filename}: no such file") from None
    except FCNXSError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FCNXSError(f"{file}: damaged: {error}") from None
    for key, array in load_params(arrays_file).items():
        kind, _, name = key.partition(":")
        getattr(state, ARRAYS[kind])[name] = array
    return state


def _run_of(file: Path) -> str | None:
    """Identity of the run that a state is of; None if the file is damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return content["run"] if content.pop("sha256") == _digest(content) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _files(folder: Path, stages: Sequence[str]) -> List[Path]:
    """JSON files of the states of these stages, oldest first."""
    return [file for stage in stages for file in sorted(folder.glob(f"{stage}-last.*.json"))]


def _digest(content: Dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_plan(folder: Path, plan: Dict[str, Any]) -> None:
    """Write run.json: what a run is, from its first moment on.

    Raises:
        FCNXSError: it cannot be written.
    """
    with written_whole(folder / PLAN) as (part,):
        plan = {key: value for key, value in plan.items() if key != "sha256"}
        write_json(part, {**plan, "sha256": _digest(json.loads(json.dumps(plan)))})


def read_plan(folder: Path) -> Dict[str, Any] | None:
    """What `write_plan` wrote, or None.

    Raises:
        FCNXSError: it is damaged.
    """
    file = folder / PLAN
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
        if plan.pop("sha256") != _digest(plan):
            raise ValueError("its checksum is another")
        return plan
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FCNXSError(
            f"{file}: not the plan of a run, or damaged: {error}; choose another --output"
        ) from None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for one run; what a killed one has left half-written is removed.

    Raises:
        FCNXSError: another process holds it, or it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = open(folder / LOCK, "a")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise FCNXSError(f"{folder / LOCK}: cannot write: {error.strerror}") from None
    with log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FCNXSError(
                f"{folder}: another run is at work there; wait for it, or choose another folder"
            ) from None
        except OSError:
            pass  # a file system without locks
        for part in folder.glob(f"{BESIDE}*"):
            shutil.rmtree(part, ignore_errors=True)
        for arrays_file in folder.glob("*-last.*.state"):
            if not arrays_file.with_suffix(".json").exists():
                arrays_file.unlink()
        yield

"""The state of a run: all that it needs to resume as if it had not been interrupted.

A state is two files, named for its epoch and the batches done. The arrays are in `.state`, in MXNet's format.
The rest is in `.json`, with a checksum of both files; it is moved into place last, so that a state is either
whole or not there. The newest two states of a stage are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Dict, List, Sequence

from ..checkpoint.params_file import load_params, write_arrays
from ..errors import FCNXSError
from ..net import Params
from ..system.files import sha256_of, written_whole
from .run_folder import DAMAGED, read_sealed, state_files, write_sealed

KEPT = 2
ARRAYS = {"arg": "arg_params", "aux": "aux_params", "state": "arrays"}  # prefix of an array's name -> field


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
    """Newest state of a run, or None.

    Args:
        stages: their names, in order.

    Raises:
        FCNXSError: the newest is damaged; the message offers the last good one.
    """
    damaged: FCNXSError | None = None
    files = [file for file in state_files(folder, stages) if _run_of(file) in (run, None)]
    for file in reversed(files):
        try:
            state = _read(file)
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


def _read(file: Path) -> State:
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
    for key, array in load_params(arrays_file).items():
        kind, _, name = key.partition(":")
        getattr(state, ARRAYS[kind])[name] = array
    return state


def _run_of(file: Path) -> str | None:
    """Identity of the run that wrote a state; None if the file is damaged."""
    try:
        return read_sealed(file)["run"]
    except DAMAGED:
        return None

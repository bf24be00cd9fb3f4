"""The states of a run, from which it resumes as if it had not been interrupted.

A state's arrays are in `.state`, in MXNet's format, the rest in `.json`, with a checksum of both files. The
JSON is moved into place last, so that a state is either whole or not there. The newest two of a stage are kept.
Bilinear kernels that are not trained are left out: with 171 classes, FCN-32s's would take 479 MB.
A checksum tells of damage, not of who wrote a file, so that what is read is checked as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Callable, Collection, Dict, List, Sequence

from ..checkpoint.params_file import check_finite, load_params, write_arrays
from ..compat import mxnet as mx
from ..epoch_choice import EPOCH, RECORD, SCORES
from ..errors import FCNXSError, printable, reason
from ..net import ANY_SIZE, DECONVOLUTIONS, Params, fixed_size
from ..symbols import NETS
from ..symbols.graph.nodes import Graph
from ..symbols.interpolation import bilinear
from ..symbols.upsampling import upsamples_bilinearly
from ..system.files import sha256_of, written_whole
from ..system.json_files import COUNT, Number, Or, told_of
from .run_folder import ROW, read_sealed, state_files, write_sealed

WHAT = "the state of a run"
KEPT = 2  # states of a stage
ARRAYS = {"arg": "arg_params", "aux": "aux_params", "state": "arrays"}  # prefix of an array's name -> field
KERNELS = {f"{layer}_weight" for layer in DECONVOLUTIONS}

UPDATES = Number(int, 0, 2**31)  # of a parameter
WEIGHTED = {"weighted_sum": Or(Number(), 0.0)}
HEADS = {"heads": Or({str: {"loss_sum": Number(), "matrix": [[COUNT]], **WEIGHTED}})}  # of several
FORM = {
    **{"run": str, "stage": str, "symbol": str},
    **{"epoch": EPOCH, "position": COUNT, "steps": COUNT},
    **{"seconds": Number(float, 0), "stage_seconds": Number(float, 0)},
    "optimizer": Or({"num_update": UPDATES, "counts": {str: UPDATES}, "m_schedule": Or(Number())}, {}),
    "metric": Or({"loss_sum": Or(Number()), "matrix": Or([[COUNT]]), **WEIGHTED, **HEADS}, {}),
    **{"records": [RECORD], "rows": [ROW], "best": SCORES["mean_iu"]},
    **{"arrays_sha256": str, "bilinear": Or([str], [])},
}


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
        metric: loss and confusion matrix of this epoch's training so far; those of several heads in `heads`.
        records: lines of metrics.jsonl.
        rows: rows of summary.json.
        best: mean IU of STAGE-best.
        bilinear: names of the parameters that are left out, since they are bilinear upsampling.
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
    bilinear: List[str] = field(default_factory=list)
    arg_params: Params = field(default_factory=dict, repr=False)
    aux_params: Params = field(default_factory=dict, repr=False)
    arrays: Params = field(default_factory=dict, repr=False)

    def forget_arrays(self) -> None:
        """Drop all arrays, to free their memory."""
        self.arg_params, self.aux_params, self.arrays = {}, {}, {}

    def file(self, folder: Path) -> Path:
        """Path of the state's JSON."""
        return folder / f"{self.stage}-last.{self.epoch:04d}-{self.position:06d}.json"


def leave_out_bilinear(state: State, fixed: Collection[str]) -> None:
    """Leave bilinear kernels out of a state, if they are among `fixed`, the parameters that are not trained."""
    args = state.arg_params
    state.bilinear = [
        name for name in args if name in KERNELS.intersection(fixed) and upsamples_bilinearly(args[name])
    ]
    state.arg_params = {name: array for name, array in args.items() if name not in state.bilinear}


def restore_bilinear(state: State, classes: Dict[str, int]) -> None:
    """Put what `leave_out_bilinear` left out back in its place; the run has so many classes for each head.

    Raises:
        FCNXSError: the net of the stage has no such kernel.
    """
    net = NETS[state.stage](**{"numclass": classes[""]} if "" in classes else {"heads": classes})
    images = Graph.of(net).image_shapes(fixed_size(net) or ANY_SIZE[2:])
    shapes = dict(zip(net.list_arguments(), net.infer_shape(**images)[0]))
    for name in state.bilinear:
        if name not in KERNELS.intersection(shapes):
            raise FCNXSError(f"bilinear: {name!r:.80} is no upsampling of {state.stage}")
        state.arg_params[name] = mx.nd.array(bilinear(shapes[name]))
    order = {name: place for place, name in enumerate(shapes)}
    state.arg_params = dict(sorted(state.arg_params.items(), key=lambda each: order.get(each[0], len(order))))


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


def load_state(
    folder: Path, run: str, stages: Sequence[str], check: Callable[[State], None] = lambda state: None
) -> State | None:
    """Newest state of a run, whose stages have these names, in order; None if there is none.

    Args:
        check: raises FCNXSError if a state does not fit the run, although it is one.

    Raises:
        FCNXSError: the newest is damaged; the message offers the last good one.
    """
    damaged: FCNXSError | None = None
    files = [file for file in state_files(folder, stages) if _run_of(file) in (run, None)]
    for file in reversed(files):
        try:
            state = _read_state(file, check)
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


def _read_state(file: Path, check: Callable[[State], None]) -> State:
    arrays_file = file.with_suffix(".state")
    content = read_sealed(file, WHAT, FORM)
    state = State(**{each.name: content[each.name] for each in fields(State) if each.name in content})
    with told_of(file, WHAT):
        if state.file(file.parent) != file:
            raise ValueError(
                f"stage, epoch or position: they are those of {state.file(file.parent).name!r:.80}"
            )
    try:
        whole = sha256_of(arrays_file) == content["arrays_sha256"]
    except OSError as error:
        raise FCNXSError(f"{arrays_file}: cannot read: {reason(error)}") from None
    if not whole:
        raise FCNXSError(f"{arrays_file}: damaged or cut off: its checksum is another")
    for key, array in check_finite(load_params(arrays_file), arrays_file).items():
        kind, _, name = key.partition(":")
        if kind not in ARRAYS:
            raise FCNXSError(f"{arrays_file}: not the arrays of a state: has one named {printable(key)!r:.80}")
        getattr(state, ARRAYS[kind])[name] = array
    try:
        check(state)
    except FCNXSError as error:
        raise FCNXSError(f"{file}: not a state of this run: {error}") from None
    return state


def _run_of(file: Path) -> str | None:
    """Identity of the run that wrote a state; None if the file is damaged."""
    try:
        return read_sealed(file, WHAT, {"run": str})["run"]
    except FCNXSError:
        return None

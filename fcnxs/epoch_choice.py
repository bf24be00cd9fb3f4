"""Which epoch of a checkpoint to read: a number, the best or the last.

A run of `fcnxs finetune` writes PREFIX-NNNN.params for each epoch NNNN, a line with the epoch's mean IU to
metrics.jsonl beside it, and the parameters with the best mean IU a second time, as PREFIX-best-0000.params:

    choose("run/fcn8s")          the best epoch; without one, the last
    choose("run/fcn8s", "last")  the last epoch
    choose("run/fcn8s", 3)       epoch 3, without a look at the files
"""

from __future__ import annotations

import os
from contextlib import suppress
from difflib import get_close_matches
from glob import escape
from numbers import Integral
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

from .conventions import PathLike
from .errors import FCNXSError
from .score import NAMES
from .system.files import read_text
from .system.json_files import Null, Number, Or, checked, parse_json

METRICS = "metrics.jsonl"
EPOCH = Number(int, 1, 10**6)
LOSSES = ("train_loss", "val_loss")
SCORES = {name: Null(Number(float, 0, 1)) for name in NAMES}
RECORD = {  # a line of metrics.jsonl
    **{"stage": str, "epoch": EPOCH, "mean_iu": SCORES["mean_iu"]},
    **{name: Or(SCORES[name]) for name in NAMES if name != "mean_iu"},
    **{name: Or(Number()) for name in ("learning_rate", *LOSSES, "seconds")},
    "heads": Or({str: {**{name: Or(Number()) for name in LOSSES}, **SCORES}}),  # of each, if there are several
}


class Choice(NamedTuple):
    """Prefix and epoch of the files to read. `note` says in a line which were chosen; "" for a number."""

    prefix: str
    epoch: int
    note: str = ""


def choose(prefix: PathLike, epoch: int | str | None = None) -> Choice:
    """Find the files of an epoch. Those of a number are not looked for.

    Args:
        prefix: prefix of the checkpoint, such as "run/fcn8s".
        epoch: number; "best", by mean IU; "last"; or None, the best if one is known, else the last.

    Raises:
        FCNXSError: `epoch` is none of these, no best epoch is known, its parameters are gone, or there are no
            parameters at all.
    """
    prefix = os.fspath(prefix)
    if isinstance(epoch, Integral):
        return Choice(prefix, int(epoch))
    if epoch not in (None, "best", "last"):
        raise FCNXSError(f"epoch {epoch!r}: expected a whole number, best or last")
    there = epochs_of(prefix)
    best = None if epoch == "last" else _best(prefix, there)
    if best is not None:
        return best
    if not there:
        raise FCNXSError(f"{prefix}: there is no {prefix}-NNNN.params of any epoch{hint(prefix)}")
    if epoch == "best":
        raise FCNXSError(
            f"{prefix}: the best epoch is not known: {Path(prefix).with_name(METRICS)} has no mean IU of it, "
            f"and no {prefix}-best-0000.params is there; choose the last, or one of {str(there)[1:-1]}"
        )
    return Choice(prefix, there[-1], f"reading epoch {there[-1]} of {prefix}, the last one")


def _best(prefix: str, there: Sequence[int]) -> Choice | None:
    """Files of the best epoch: its own, or else their copy; None if no best one is known."""
    copy = str(best_prefix(Path(prefix).parent, Path(prefix).name))
    copied = Path(f"{copy}-0000.params").is_file()
    records = _records(prefix)
    best = best_of(records)
    if best is None:
        mine = copied and not records  # a copy beside records without scores is that of an earlier run
        return Choice(copy, 0, f"reading {copy}, the best epoch of {prefix}") if mine else None
    epoch, what = best["epoch"], f"the best by mean IU ({best['mean_iu']:.4f})"
    if epoch in there:
        return Choice(prefix, epoch, f"reading epoch {epoch} of {prefix}, {what}")
    if copied:
        return Choice(copy, 0, f"reading {copy}, the copy of epoch {epoch} of {prefix}, {what}")
    raise FCNXSError(
        f"{prefix}: epoch {epoch} was {what}, but its parameters are gone: there is neither "
        f"{prefix}-{epoch:04d}.params nor {copy}-0000.params; choose the last epoch (--epoch last), or another"
    )


def _records(prefix: str) -> List[Dict[str, Any]]:
    """Lines of metrics.jsonl on the last training of this prefix; other lines and files are left out."""
    found: List[Dict[str, Any]] = []
    file = Path(prefix).with_name(METRICS)
    text = read_text(file, "the scores of the epochs", errors="replace") if file.exists() else ""
    for line in text.splitlines():
        with suppress(ValueError):
            record = checked(parse_json(line), RECORD)
            if record["stage"] == Path(prefix).name:
                if record["epoch"] == 1:
                    found.clear()
                found.append(record)
    return found


def best_of(records: Sequence[Dict[str, Any]]) -> Dict[str, Any] | None:
    """Record of the epoch with the best mean IU, the first of equal ones; None if none was evaluated.

    Args:
        records: lines of metrics.jsonl on one stage.
    """
    scored = [record for record in records if record["mean_iu"] is not None]
    return max(scored, key=lambda record: record["mean_iu"], default=None)


def best_prefix(folder: Path, stage: str) -> Path:
    """Prefix of the copy of a stage's best checkpoint, which is saved under epoch number 0."""
    return folder / f"{stage}-best"


def epochs_of(prefix: PathLike) -> List[int]:
    """Sorted epochs for which a prefix has a file of parameters."""
    name = Path(prefix).name
    found = Path(prefix).parent.glob(f"{escape(name)}-*.params")
    return sorted(int(number) for number in (file.stem[len(name) + 1 :] for file in found) if number.isdigit())


def hint(prefix: str, missing: Path | None = None) -> str:
    """End of the message on a missing file: which files are there instead. `missing`: of a known epoch."""
    inside = sorted(str(file)[: -len("-symbol.json")] for file in Path(prefix).glob("*-symbol.json"))
    inside = [name for name in inside if not name.endswith("-best")] or inside
    if inside:  # PREFIX is the folder of a run; the last name is fcn8s
        return f"; {prefix} is a folder; give a prefix, e.g. {inside[-1]}"
    beside = {file.name[: -len("-symbol.json")] for file in Path(prefix).parent.glob("*-symbol.json")}
    near = get_close_matches(Path(prefix).name, beside, n=1)
    if near and near != [Path(prefix).name]:
        return f"; did you mean {Path(prefix).with_name(near[0])}?"
    there = ", ".join(map(str, epochs_of(prefix)))
    if there and missing is not None and missing.suffix == ".params":
        return f"; it has the epochs {there}"
    return "; give the prefix without -symbol.json or -0000.params" if Path(prefix).is_file() else ""

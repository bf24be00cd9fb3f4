"""What `fcnxs finetune` shows and logs: the lines before the training, during it, and after it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Sequence

from ...errors import quoted
from ...stages import Stage
from ..shared.printing import say, show
from ..shared.text import best_epochs, summary_table
from .run_options import storable
from .stage_options import describe

if TYPE_CHECKING:
    from ...finetune import Listener, Output


def listeners_of(
    args: argparse.Namespace, output: Output, stages: Sequence[Stage], contexts: list, processes: int
) -> List[Listener]:
    """Print what will be done; make the progress bars, run.log, and TensorBoard's files if asked for."""
    from ...finetune.run_folder import LOG, TENSORBOARD
    from ...finetune.run_log import RunLog, facts
    from ..shared.progress import Progress

    folder, meta, kept = output.folder, output.meta, output.plan
    weights = dict(zip(meta.classes or (), kept.get("class_weights") or ()))
    if not args.quiet:
        named = args.classes or args.num_classes is not None or meta.heads
        origin = "" if named else " (--classes or --num-classes give others)"
        for head, names in meta.of_heads.items():
            say(f"{len(names)} classes{f' of the head {head}' if head else ''}{origin}: {', '.join(names)}")
        if weights:
            say(f"weights of the classes in the loss: {', '.join(f'{k} {v:.4g}' for k, v in weights.items())}")
        for stage in stages:
            say(describe(stage, args.accumulate))
    more = {"options": storable(args), "skipped": kept["skipped"], "processes": processes}
    more.update({"class weights": weights} if weights else {})
    command = ["fcnxs", *sys.argv[1:]]
    known = facts(command, contexts, args.seed, meta, kept["data"], **more)
    log = RunLog(folder / LOG, known, kept.get("warnings", ()))  # which older versions do not write
    listeners: List[Listener] = [Progress(args.quiet), log]
    if args.tensorboard:
        from ...finetune.tensorboard import TensorBoard

        colours = meta.classes, meta.palette, meta.input_mean
        listeners.append(TensorBoard(folder / TENSORBOARD, *colours, heads=meta.heads))
    return listeners


def print_end(
    folder: Path, stages: Sequence[Stage], rows: Sequence[Dict[str, Any]], ended_before: bool
) -> None:
    """Print the table of stages, the best epochs, and where the checkpoints are."""
    from ...epoch_choice import METRICS
    from ...finetune.run_folder import SUMMARY, read_records

    if ended_before:
        say(f"the run in {folder} has ended already; nothing is left to do")
    show(summary_table(rows))
    best = best_epochs(read_records(folder))
    if best:
        say(f"best by mean IU, which --prefix {quoted(folder / 'STAGE')} reads by default: {best}")
    say(
        f"{'there are' if ended_before else 'wrote'} {folder / SUMMARY}, {METRICS} and checkpoints, the last "
        f"with --prefix {quoted(folder / stages[-1].name)} --epoch last"
    )
    what = "a page of each head" if any(row.get("heads") for row in rows) else "one page of it"
    say(f"`fcnxs report {quoted(folder)}` makes {what}")

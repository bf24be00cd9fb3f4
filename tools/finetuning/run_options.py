"""Options of a run of finetuning that is gone on with: those that it began with."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, Dict, Tuple

from ...data.datasets import NAMED
from ...errors import FCNXSError

PATHS = ("data", "val", "root", "classes", "prefix", "output")
REQUIRED = ("data", "prefix", "epoch", "output")
# What may be another each time: where and how it runs, not what is computed.
FREE = (
    *("gpus", "cpus", "kv_store", "workers", "mirror", "quiet", "tensorboard", "resume"),
    *("checkpoint_every", "keep"),
)


def restored(args: argparse.Namespace) -> Tuple[argparse.Namespace, Dict[str, Any] | None]:
    """Options of the run that --resume names, with what is given now; and what its run.json keeps, or None.

    Raises:
        FCNXSError: an option does not agree with what the run began with, or one that is needed is missing.
    """
    given, before = _given(args), None
    defaults = {name: args.parser.get_default(name) for name in vars(args)}
    if args.resume is not None:
        from ...finetune.state import read_plan

        if _path(args.output or args.resume) != _path(args.resume):
            raise FCNXSError(
                f"--output {args.output}: --resume {args.resume} is another folder; give one of them"
            )
        given["output"] = args.resume
        before = read_plan(Path(args.resume))
    if before is not None and "skipped" not in before:
        raise FCNXSError(
            f"{args.resume}: this run was begun from Python, not by this command; go on with it there"
        )
    if before is not None:
        began = {**defaults, **before["options"]}
        for name, value in storable(argparse.Namespace(given=given)).items():
            if name not in (*FREE, "output") and value != began.get(name):
                has = f"with {began[name]}" if began.get(name) else "without"
                said = _option(name) if value is True else f"{_option(name)} {value}"
                raise FCNXSError(
                    f"{said}: the run in {args.resume} began {has}; leave the option out to "
                    "go on with it, or begin another run with --output"
                )
        free = {name: value for name, value in given.items() if name in (*FREE, "output")}
        # A job of several processes may go on as one process, and the other way round.
        store, job = before["options"].get("kv_store", "local"), os.environ.get("DMLC_ROLE") == "worker"
        store = store if ("dist" in store) == job else "dist_sync" if job else "local"
        began_with = dict(before["options"], kv_store=store)
        if "gpus" in given or "cpus" in given:
            began_with.update(gpus=None, cpus=None)
        given = {**began_with, **free}
    missing = [_option(name) for name in REQUIRED if given.get(name) is None]
    if missing:
        what = f"no run to go on with in {args.resume}, and " if args.resume is not None else ""
        raise FCNXSError(f"{what}missing: {', '.join(missing)}; see fcnxs finetune --help")
    return argparse.Namespace(**{**defaults, **given, "given": given}), before


def _given(args: argparse.Namespace) -> Dict[str, Any]:
    """Options that were not left out."""
    left_out = object()
    probe = argparse.Namespace(**dict.fromkeys(vars(args), left_out))
    args.parser.parse_args(args.arguments, probe)
    return {name: value for name, value in vars(probe).items() if value is not left_out}


def storable(args: argparse.Namespace) -> Dict[str, Any]:
    """Options that were given, as JSON has them, with absolute paths: they hold from any folder."""
    return {
        name: _path(value) if name in PATHS and value not in NAMED else value
        for name, value in args.given.items()
        if name != "resume" and value is not None
    }


def _path(value: str) -> str:
    return str(Path(value).absolute())


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
